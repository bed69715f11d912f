/* A client that connects and then does not do what the server of
 * examples/unrelated.c expects: misbehaving_client HOW PATH. It ends with
 * status 0 when the server has closed the connection. */
#include "sendfd.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void misbehave(int connection, const char *how)
{
    int ends[2];
    if (pipe(ends) < 0)
        err(1, "pipe");
    if (strcmp(how, "closes") == 0) {
        _exit(0);
    } else if (strcmp(how, "sends a byte") == 0) {
        if (send(connection, "x", 1, MSG_NOSIGNAL) != 1)
            err(1, "send");
    } else if (strcmp(how, "sends two") == 0) {
        if (sendfds(connection, ends, 2) < 0)
            err(1, "sendfds");
    } else if (strcmp(how, "sends a pipe") == 0) {
        if (sendfd(connection, ends[0]) < 0)
            err(1, "sendfd");
    } else if (strcmp(how, "sends what cannot be read") == 0) {
        if (sendfd(connection, open("/proc/self/exe", O_PATH)) < 0)
            err(1, "sendfd");
    } else if (strcmp(how, "takes no answer") == 0) {
        if (shutdown(connection, SHUT_RD) < 0 ||
            sendfd(connection, open("/proc/self/exe", O_RDONLY)) < 0)
            err(1, "sendfd");
        _exit(0);
    } else if (strcmp(how, "hangs") != 0) {
        errx(1, "unknown: %s", how);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3 || strlen(argv[2]) >= sizeof((struct sockaddr_un *)0)->sun_path)
        errx(1, "misbehaving_client HOW PATH");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, argv[2]);
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(connection, (const struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    printf("connected\n");
    fflush(stdout);

    misbehave(connection, argv[1]);
    char answer;
    if (recv(connection, &answer, 1, 0) > 0)
        errx(1, "it was answered");
    return 0;
}

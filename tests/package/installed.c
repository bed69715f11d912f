/* A program of a user who has installed the library: passes a pipe to itself
 * over a socket pair. Compiled as C99 and as C++11. */
#include <sendfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    int pair[2], ends[2], received;
    char text[6];

    if (strcmp(sendfd_version(), SENDFD_VERSION) != 0) {
        fprintf(stderr, "header %s, library %s\n", SENDFD_VERSION, sendfd_version());
        return 1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || pipe(ends) < 0) {
        perror("socketpair, pipe");
        return 1;
    }
    if (sendfd(pair[0], ends[0]) != 1) {
        perror("sendfd");
        return 1;
    }
    received = recvfd(pair[1]);
    if (received < 0) {
        perror("recvfd");
        return 1;
    }
    if (write(ends[1], "hello", 6) != 6 || read(received, text, 6) != 6)
        return 1;
    close(pair[0]);
    return strcmp(text, "hello") != 0 || recvfd(pair[1]) != RECVFD_EOF;
}

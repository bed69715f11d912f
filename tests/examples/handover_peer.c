/* The other side of examples/handover for tests/examples/handover.t:
 *
 *     handover_peer successor PATH WHEN    one that fails: see when
 *     handover_peer in_the_middle PORT     three clients, see there
 *     handover_peer many PORT              600, each with half a request sent
 *     handover_peer stuffed PORT           one that reads no answers
 *
 * A successor ends by SIGKILL, or with 0 if it was let go by the server. Clients
 * print "waiting" when they are in the middle, go on when there is a line to
 * read, and exit with 0 if they have had the answers to everything. */
#include "handover.h"

#include <sendfd.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { patience = 15000, fds_most = 4096 };

/* --- successors -------------------------------------------------------------- */

/* After what a successor fails: it has connected, has the header, one message of
 * listening sockets, all of them, has said that it is ready, has one connection. Or it
 * says nothing until the server ends it; or it says only then that it takes over. */
static const char *when;

static void die_if(const char *now)
{
    if (strcmp(now, when) == 0)
        raise(SIGKILL);
}

static void must(bool done)
{
    if (!done)
        err(1, "the server has ended it");
}

/* Until the server has shut it down. */
static void wait_for_end(int socket)
{
    struct pollfd end = {.fd = socket, .events = 0};
    if (poll(&end, 1, patience) != 1)
        errx(1, "the server does not end it");
}

static int succeed(int socket)
{
    static int fds[fds_most];
    struct header header;
    struct unfinished unfinished;
    int first, rest;
    die_if("connected");
    if (strcmp(when, "silent") == 0) {
        wait_for_end(socket);
        return 0;
    }
    must(receive_message(socket, fds, 1, &header, sizeof header));
    die_if("header");
    must((first = recvfds(socket, fds, SENDFD_MAX_FDS)) > 0);
    die_if("one_message");
    rest = (int)header.count - first;
    must(rest <= fds_most && receive_descriptors(socket, fds, rest));
    die_if("listening");

    must(send_step(socket, READY));
    die_if("ready");
    must(receive_message(socket, NULL, 0, &header, sizeof header));
    for (uint32_t i = 0; i < header.count; i++) {
        must(receive_message(socket, fds, 1, &unfinished, sizeof unfinished));
        die_if("connections");
    }

    wait_for_end(socket);
    if (send_step(socket, TAKEN) || errno != EPIPE)
        errx(1, "it could still take over");
    return 0;
}

static int successor(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "%s", path);
    printf("connected\n");
    return succeed(connection);
}

/* --- clients ----------------------------------------------------------------- */

static int connect_to(const char *port)
{
    const int room = 1 << 16;
    const struct timeval limit = {.tv_sec = patience / 1000};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connecting to port %s", port);
    return fd;
}

static void put(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        err(1, "sending");
}

/* Reads an answer, prints it after the name of the client, and checks it. */
static void expect(FILE *stream, const char *name, const char *request)
{
    char line[1024];
    if (fgets(line, sizeof line, stream) == NULL)
        errx(1, "%s: no answer", name);
    const char *space = strchr(line, ' ');
    if (space == NULL || strcmp(space + 1, request) != 0)
        errx(1, "%s: a wrong answer: %s", name, line);
    if (name[0] != '\0')
        printf("%s: %s", name, line);
}

/* Not with stdio, which would read what others wait for. */
static void wait_for_go(void)
{
    char line;
    printf("waiting\n");
    if (read(0, &line, 1) != 1)
        err(1, "waiting");
}

enum { stuffing = 500, stuffing_most = 200000 };

static void fill(char *request, long number)
{
    snprintf(request, stuffing + 1, "%0*ld\n", stuffing - 1, number);
}

/* Sends requests, and reads no answer, until the server does not read any more;
 * returns how many were begun, and in *sent the bytes that went of the last. */
static long stuff(int fd, size_t *sent)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    char request[stuffing + 1];
    for (long n = 0; n < stuffing_most; n++) {
        fill(request, n);
        for (*sent = 0; *sent < stuffing;) {
            ssize_t more =
                send(fd, request + *sent, stuffing - *sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (more > 0)
                *sent += (size_t)more;
            else if (errno != EAGAIN)
                err(1, "stuffing");
            else if (poll(&writable, 1, 3000) == 0)
                return n + 1;
        }
    }
    errx(1, "the server reads on and on");
}

static void read_stuffed(int fd, long requests, size_t sent)
{
    char request[stuffing + 1];
    FILE *stream = fdopen(fd, "r");
    for (long n = 0; n < requests - 1; n++) {
        fill(request, n);
        expect(stream, "", request);
    }
    fill(request, requests - 1);
    put(fd, request + sent);
    expect(stream, "", request);
    fclose(stream);
    printf("stuffed: all %ld answers came in their order\n", requests);
}

static void in_the_middle(const char *port)
{
    int silent = connect_to(port), half = connect_to(port), whole = connect_to(port);
    FILE *silent_in = fdopen(silent, "r"), *half_in = fdopen(half, "r"),
         *whole_in = fdopen(whole, "r");
    put(half, "half a requ");
    /* When it has the answer to this, the server has read that. */
    put(whole, "a whole one\n");
    expect(whole_in, "whole", "a whole one\n");
    wait_for_go();

    put(half, "est\nand another one\n");
    put(silent, "at last\n");
    put(whole, "once more\n");
    expect(half_in, "half", "half a request\n");
    expect(half_in, "half", "and another one\n");
    expect(silent_in, "silent", "at last\n");
    expect(whole_in, "whole", "once more\n");
    fclose(silent_in);
    fclose(half_in);
    fclose(whole_in);
}

static void many(const char *port)
{
    enum { clients = 600 };
    static int fds[clients];
    char request[32];
    for (int i = 0; i < clients; i++) {
        fds[i] = connect_to(port);
        snprintf(request, sizeof request, "number %d", i);
        put(fds[i], request);
    }
    wait_for_go();
    for (int i = 0; i < clients; i++) {
        FILE *stream = fdopen(fds[i], "r");
        put(fds[i], "\n");
        snprintf(request, sizeof request, "number %d\n", i);
        expect(stream, "", request);
        fclose(stream);
    }
    printf("many: all %d answers came\n", clients);
}

static void stuffed(const char *port)
{
    int fd = connect_to(port);
    size_t sent;
    long requests = stuff(fd, &sent);
    wait_for_go();
    read_stuffed(fd, requests, sent);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (argc == 4 && strcmp(argv[1], "successor") == 0) {
        when = argv[3];
        return successor(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "in_the_middle") == 0)
        in_the_middle(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "many") == 0)
        many(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "stuffed") == 0)
        stuffed(argv[2]);
    else
        errx(2, "usage: handover_peer WHAT PORT");
    return 0;
}

/* Two unrelated processes pass an open file over a socket in the file system. In two
 * terminals, in any order:
 *
 *     cc -D_GNU_SOURCE unrelated.c $(pkg-config --cflags --libs sendfd) -o unrelated
 *     ./unrelated server PATH [CLIENTS]     until Ctrl-C, or CLIENTS were served
 *     ./unrelated client PATH FILE
 *
 * The server reads the client's file through the descriptor that it is sent. PATH has
 * one owner at a time: a second server is refused, and the socket that a killed one
 * left is replaced. Use a directory of your own: it is locked while a server starts.
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { seconds_for_server = 10, seconds_for_client = 5 };

static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void set_address(const char *path)
{
    size_t length = strlen(path);
    if (length < 1 || length >= sizeof address.sun_path)
        errx(1, "the path of a socket has 1 to %zu bytes, this one has %zu: %s",
             sizeof address.sun_path - 1, length, path);
    memcpy(address.sun_path, path, length);
}

static bool connect_to_server(int socket)
{
    return connect(socket, (const struct sockaddr *)&address, sizeof address) == 0;
}

/* --- the server ------------------------------------------------------------- */

static struct stat own_socket;

/* Removes a socket that nobody listens on, and nothing else. Its server may be just
 * about to remove it: then it is gone (ENOENT). */
static void remove_stale_socket(void)
{
    const char *path = address.sun_path;
    struct stat file;
    if (lstat(path, &file) < 0) {
        if (errno == ENOENT)
            return;
        err(1, "%s", path);
    }
    if (!S_ISSOCK(file.st_mode))
        errx(1, "%s exists and is not a socket, leaving it alone", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect_to_server(probe) || errno == EAGAIN || errno == EPROTOTYPE)
        errx(1, "another server is running on %s", path);
    if ((errno != ECONNREFUSED || unlink(path) < 0) && errno != ENOENT)
        err(1, "%s", path);
    close(probe);
    printf("server %d: took over %s, which a server left\n", (int)getpid(), path);
}

/* The lock on the directory makes servers that start at once do so one by one. */
static int listen_at_path(void)
{
    struct sockaddr_un copy = address;
    int directory = open(dirname(copy.sun_path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || flock(directory, LOCK_EX) < 0)
        err(1, "the directory of %s", address.sun_path);
    remove_stale_socket();
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    umask(0177); /* for its owner only, from its first moment on */
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        lstat(address.sun_path, &own_socket) < 0 || listen(listener, SOMAXCONN) < 0)
        err(1, "listening on %s", address.sun_path);
    close(directory);
    return listener;
}

/* Before the listener is closed: until then no other server takes the path. */
static void remove_own_socket(void)
{
    struct stat now;
    if (lstat(address.sun_path, &now) == 0 && now.st_dev == own_socket.st_dev &&
        now.st_ino == own_socket.st_ino)
        unlink(address.sun_path);
}

static void end(int signal)
{
    (void)signal;
    remove_own_socket();
    _exit(0);
}

/* Whether the client may be served: the same user, or root. */
static bool check_peer(int socket)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        err(1, "SO_PEERCRED");
    bool welcome = peer.uid == geteuid() || peer.uid == 0;
    printf("server %d: process %d of user %u connects%s\n", (int)getpid(), (int)peer.pid,
           (unsigned)peer.uid, welcome ? "" : ": refused, it is another user");
    return welcome;
}

/* Returns NULL, or why there is no descriptor. */
static const char *receive_file(int socket, int *fd)
{
    const struct timeval limit = {.tv_sec = seconds_for_client};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
        return strerror(errno);
    *fd = recvfd(socket);
    if (*fd >= 0)
        return NULL;
    if (*fd == RECVFD_EOF)
        return "the client closed the connection and sent nothing";
    if (errno == EAGAIN)
        return "the client sent nothing in time";
    if (errno == ENOMSG)
        return "the client sent a message without a descriptor";
    if (errno == EMSGSIZE)
        return "the client sent more than one descriptor";
    return strerror(errno);
}

/* Prints a file from its beginning. pread does not move the offset, which is the
 * client's as well. Returns NULL, or why it is not printed. */
static const char *print_file(int fd)
{
    struct stat file;
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        return "the client sent something that is not a regular file";
    printf("server %d: received a file of %jd bytes, here it is descriptor %d\n",
           (int)getpid(), (intmax_t)file.st_size, fd);

    printf("----- content begins\n");
    char block[65536], last = '\n';
    off_t offset = 0;
    ssize_t got;
    while ((got = pread(fd, block, sizeof block, offset)) > 0 && offset < file.st_size) {
        fwrite(block, 1, (size_t)got, stdout);
        last = block[got - 1];
        offset += got;
    }
    printf("%s----- content ends\n", last == '\n' ? "" : "\n");
    return got < 0 || offset < file.st_size ? "the file cannot be read to its end" : NULL;
}

static bool serve(int socket)
{
    if (!check_peer(socket))
        return false;
    int fd = -1;
    const char *reason = receive_file(socket, &fd);
    if (reason == NULL)
        reason = print_file(fd);
    if (fd >= 0)
        close(fd);
    if (reason == NULL && send(socket, "!", 1, MSG_NOSIGNAL) != 1)
        reason = "the client did not wait for the answer";
    if (reason != NULL)
        printf("server %d: not served: %s\n", (int)getpid(), reason);
    return reason == NULL;
}

static void server(long clients)
{
    const struct sigaction action = {.sa_handler = end};
    int listener = listen_at_path();
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    printf("server %d: listening on %s\n", (int)getpid(), address.sun_path);
    for (long served = 0; served < clients;) {
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (socket < 0)
            err(1, "accept");
        served += serve(socket);
        close(socket);
    }
    remove_own_socket();
    close(listener);
    printf("server %d: ends\n", (int)getpid());
}

/* --- the client ------------------------------------------------------------- */

/* Connects, and waits for a server that is not up yet. */
static int connect_in_time(void)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    const int tries = seconds_for_server * 50;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int i = 0; !connect_to_server(connection); i++) {
        if (errno != ENOENT && errno != ECONNREFUSED)
            err(1, "connecting to %s", address.sun_path);
        if (i == tries)
            errx(1, "no server on %s in %d seconds", address.sun_path,
                 seconds_for_server);
        if (i == 0)
            printf("client %d: no server on %s yet, waiting\n", (int)getpid(),
                   address.sun_path);
        nanosleep(&pause, NULL);
    }
    return connection;
}

static void client(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", file);
    printf("client %d: opened %s as descriptor %d\n", (int)getpid(), file, fd);
    int connection = connect_in_time();
    if (sendfd(connection, fd) < 0)
        err(1, "sendfd");
    printf("client %d: sent descriptor %d\n", (int)getpid(), fd);

    char answer;
    ssize_t got = recv(connection, &answer, 1, 0);
    if (got != 1)
        errx(1, "the server did not answer: %s",
             got == 0 ? "it closed the connection" : strerror(errno));
    printf("client %d: the server has read it\n", (int)getpid());
    close(connection);
    close(fd);
}

int main(int argc, char **argv)
{
    bool is_client = argc == 4 && strcmp(argv[1], "client") == 0;
    bool is_server = (argc == 3 || argc == 4) && strcmp(argv[1], "server") == 0;
    long clients = is_server && argc == 4 ? atol(argv[3]) : LONG_MAX;
    if ((!is_client && !is_server) || clients < 1) {
        fprintf(stderr, "usage: unrelated server PATH [CLIENTS]\n"
                        "       unrelated client PATH FILE\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* whole lines, at once, in a pipe too */
    set_address(argv[2]);
    if (is_client)
        client(argv[3]);
    else
        server(clients);
    return 0;
}

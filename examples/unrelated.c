/* Two processes that are no relatives of each other pass an open file over a
 * socket in the file system. In two terminals, in any order:
 *
 *     cc -D_GNU_SOURCE unrelated.c $(pkg-config --cflags --libs sendfd) -o unrelated
 *     ./unrelated server PATH [CLIENTS]     until Ctrl-C, or CLIENTS were served
 *     ./unrelated client PATH FILE
 *
 * The server reads the client's file through the descriptor that it is sent.
 * PATH has one owner at a time, the process that holds a lock on PATH.lock: a
 * second server is refused, and the socket that a killed one left is replaced.
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    server_limit = 10, /* seconds a client waits for a server to come up */
    answer_limit = 60, /* and for its answer: others may be before it */
    client_limit = 5,  /* seconds a server waits for what a client sends */
};

/* Whether all that was printed has been written: a full disk shows only here. */
static bool output_is_written(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    warnx("standard output could not be written");
    return false;
}

static bool set_address(struct sockaddr_un *address, const char *path)
{
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path) {
        warnx("the path of a socket has 1 to %zu bytes, this one has %zu: %s",
              sizeof address->sun_path - 1, length, path);
        return false;
    }
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, length);
    return true;
}

static int connect_to(int socket, const struct sockaddr_un *address)
{
    return connect(socket, (const struct sockaddr *)address, sizeof *address);
}

/* --- the server: owning the path ------------------------------------------ */

struct place {
    struct sockaddr_un address; /* its path is PATH */
    char lock_path[sizeof(struct sockaddr_un) + sizeof ".lock"];
    int lock, listener;
    struct stat lock_file, socket_file;
};

static bool is_still(const char *path, const struct stat *file)
{
    struct stat now;
    return lstat(path, &now) == 0 && now.st_dev == file->st_dev &&
           now.st_ino == file->st_ino;
}

/* Takes the lock; the kernel releases it when this process ends, however that is. */
static bool lock_place(struct place *place)
{
    for (;;) {
        place->lock =
            open(place->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (place->lock < 0) {
            warn("%s", place->lock_path);
            return false;
        }
        if (flock(place->lock, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                warnx("another server is running on %s", place->address.sun_path);
            else
                warn("locking %s", place->lock_path);
            break;
        }
        if (fstat(place->lock, &place->lock_file) < 0) {
            warn("%s", place->lock_path);
            break;
        }
        /* It will be removed: it had better not be somebody's data. */
        if (!S_ISREG(place->lock_file.st_mode) || place->lock_file.st_size != 0) {
            warnx("%s is not a lock file, leaving it alone", place->lock_path);
            break;
        }
        /* A server that ended between open and flock has removed the file: the
         * lock is on one that nobody else will find. */
        if (is_still(place->lock_path, &place->lock_file))
            return true;
        close(place->lock);
    }
    close(place->lock);
    return false;
}

/* Removes the socket of a killed server, and nothing else. Call with the lock held. */
static bool clear_place(const struct place *place)
{
    const char *path = place->address.sun_path;
    struct stat file;
    if (lstat(path, &file) < 0) {
        if (errno == ENOENT)
            return true;
        warn("%s", path);
        return false;
    }
    if (!S_ISSOCK(file.st_mode)) {
        warnx("%s exists and is not a socket, leaving it alone", path);
        return false;
    }

    /* Servers of this program hold the lock, those of others may not. Without
     * SOCK_NONBLOCK this would wait for one whose queue is full. */
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        warn("socket");
        return false;
    }
    int refused = connect_to(probe, &place->address) < 0 ? errno : 0;
    close(probe);
    if (refused == 0 || refused == EAGAIN || refused == EPROTOTYPE) {
        warnx("another program is listening on %s", path);
        return false;
    }
    if (refused != ECONNREFUSED) {
        warnx("%s is a socket, but whose? %s", path, strerror(refused));
        return false;
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        warn("removing %s, which a server left", path);
        return false;
    }
    printf("server %d: took over %s, which a server left\n", (int)getpid(), path);
    return true;
}

static bool listen_at_place(struct place *place)
{
    const char *path = place->address.sun_path;
    place->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (place->listener < 0) {
        warn("socket");
        return false;
    }
    /* For its owner only, from its first moment on. */
    mode_t mask = umask(0177);
    int bound = bind(place->listener, (const struct sockaddr *)&place->address,
                     sizeof place->address);
    umask(mask);
    if (bound < 0 || lstat(path, &place->socket_file) < 0 ||
        listen(place->listener, SOMAXCONN) < 0) {
        warn("listening on %s", path);
        if (bound == 0)
            unlink(path);
        close(place->listener);
        return false;
    }
    return true;
}

static void remove_if_still(const char *path, const struct stat *file)
{
    if (is_still(path, file) && unlink(path) < 0)
        warn("removing %s", path);
}

/* The lock file goes while it is locked, as whoever opened it may now get the lock. */
static void unlock_place(struct place *place)
{
    remove_if_still(place->lock_path, &place->lock_file);
    close(place->lock);
}

static bool take_place(struct place *place, const char *path)
{
    if (!set_address(&place->address, path))
        return false;
    snprintf(place->lock_path, sizeof place->lock_path, "%s.lock", path);
    if (!lock_place(place))
        return false;
    if (clear_place(place) && listen_at_place(place))
        return true;
    unlock_place(place);
    return false;
}

static void leave_place(struct place *place)
{
    remove_if_still(place->address.sun_path, &place->socket_file);
    close(place->listener);
    unlock_place(place);
}

/* --- the server: serving --------------------------------------------------- */

enum event { READY, STOP, TIMEOUT, FAILED };

/* Waits until fd is readable (-1: none) or a signal tells to stop. */
static enum event wait_for(int fd, int signals, int milliseconds)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = fd, .events = POLLIN}};
    int ready = poll(fds, 2, milliseconds);
    if (ready < 0) {
        warn("poll");
        return FAILED;
    }
    if (fds[0].revents != 0)
        return STOP;
    return ready == 0 ? TIMEOUT : READY;
}

/* Whether the peer may be served: the same user, or root. */
static bool check_peer(int socket)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        warn("SO_PEERCRED");
        return false;
    }
    bool welcome = peer.uid == geteuid() || peer.uid == 0;
    printf("server %d: process %d of user %u connects%s\n", (int)getpid(), (int)peer.pid,
           (unsigned)peer.uid, welcome ? "" : ": refused, it is another user");
    return welcome;
}

static void tell_why_not(const char *reason)
{
    printf("server %d: not served: %s\n", (int)getpid(), reason);
}

static int receive_file(int socket)
{
    int fd = recvfd(socket);
    if (fd >= 0)
        return fd;
    if (fd == RECVFD_EOF)
        tell_why_not("the client closed the connection and sent nothing");
    else if (errno == ENOMSG)
        tell_why_not("the client sent a message without a descriptor");
    else if (errno == EMSGSIZE)
        tell_why_not("the client sent more than one descriptor");
    else
        tell_why_not(strerror(errno));
    return -1;
}

/* Prints a file from its beginning, wherever the client has its offset, which
 * pread does not move. */
static bool print_file(int fd, int signals)
{
    struct stat file;
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode)) {
        tell_why_not("the client sent something that is not a regular file");
        return false;
    }
    printf("server %d: received a file of %jd bytes, here it is descriptor %d\n",
           (int)getpid(), (intmax_t)file.st_size, fd);

    printf("----- content begins\n");
    char block[65536], last = '\n';
    off_t offset = 0;
    bool stop = false;
    while (offset < file.st_size && !(stop = wait_for(-1, signals, 0) == STOP)) {
        off_t left = file.st_size - offset;
        size_t wanted = left < (off_t)sizeof block ? (size_t)left : sizeof block;
        ssize_t got = pread(fd, block, wanted, offset);
        if (got <= 0)
            break;
        fwrite(block, 1, (size_t)got, stdout);
        last = block[got - 1];
        offset += got;
    }
    printf("%s----- content ends\n", last == '\n' ? "" : "\n");
    if (offset < file.st_size)
        tell_why_not(stop ? "told to stop" : "the file cannot be read to its end");
    return offset == file.st_size;
}

/* Serves one client: true if it got its answer. */
static bool serve(int socket, int signals)
{
    if (!check_peer(socket))
        return false;
    enum event event = wait_for(socket, signals, client_limit * 1000);
    if (event == TIMEOUT)
        tell_why_not("the client sent nothing in time");
    if (event == STOP)
        tell_why_not("told to stop");
    if (event != READY)
        return false;
    int fd = receive_file(socket);
    if (fd < 0)
        return false;
    bool printed = print_file(fd, signals);
    close(fd);
    if (!printed)
        return false;
    if (send(socket, "!", 1, MSG_NOSIGNAL) != 1) {
        tell_why_not("the client did not wait for the answer");
        return false;
    }
    return true;
}

/* Serves one client after another: false if something other than a client failed. */
static bool serve_all(int listener, int signals, long clients)
{
    long served = 0;
    while (clients == 0 || served < clients) {
        if (!output_is_written())
            return false;
        enum event event = wait_for(listener, signals, -1);
        if (event != READY)
            return event == STOP;
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (socket >= 0) {
            served += serve(socket, signals);
            close(socket);
        } else if (errno != EAGAIN && errno != ECONNABORTED) {
            warn("accept");
            return false;
        }
    }
    return true;
}

/* From here on these signals are not lost, but wait: the descriptor is then readable. */
static int hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int fd =
        sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -1 : signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        warn("signalfd");
    /* A reader of our output that goes away is an error of fflush, no death. */
    signal(SIGPIPE, SIG_IGN);
    return fd;
}

static bool server(const char *path, long clients)
{
    struct place place;
    int signals = hold_signals();
    if (signals < 0)
        return false;
    bool done = false;
    if (take_place(&place, path)) {
        printf("server %d: listening on %s\n", (int)getpid(), path);
        done = serve_all(place.listener, signals, clients);
        leave_place(&place);
        printf("server %d: ends\n", (int)getpid());
    }
    close(signals);
    return done;
}

/* --- the client ------------------------------------------------------------ */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Connects, and waits for a server that is not up yet. */
static bool connect_in_time(int socket, const struct sockaddr_un *address)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    double give_up = seconds() + server_limit;
    bool waiting = false;
    while (connect_to(socket, address) < 0) {
        if (errno != ENOENT && errno != ECONNREFUSED && errno != EINTR) {
            warn("connecting to %s", address->sun_path);
            return false;
        }
        if (seconds() >= give_up) {
            warnx("no server on %s in %d seconds", address->sun_path, server_limit);
            return false;
        }
        if (!waiting)
            printf("client %d: no server on %s yet, waiting\n", (int)getpid(),
                   address->sun_path);
        waiting = true;
        nanosleep(&pause, NULL);
    }
    return true;
}

static bool send_file(int socket, int fd)
{
    if (sendfd(socket, fd) < 0) {
        warn("sendfd");
        return false;
    }
    printf("client %d: sent descriptor %d\n", (int)getpid(), fd);

    /* Stopped and continued, a receive with a time limit ends with EINTR. */
    char answer;
    ssize_t got;
    do
        got = recv(socket, &answer, 1, 0);
    while (got < 0 && errno == EINTR);
    if (got != 1) {
        warnx("the server did not answer: %s",
              got == 0 ? "it closed the connection" : strerror(errno));
        return false;
    }
    printf("client %d: the server has read it\n", (int)getpid());
    return true;
}

static bool client(const char *path, const char *file)
{
    struct sockaddr_un address;
    if (!set_address(&address, path))
        return false;
    bool sent = false;
    int fd = open(file, O_RDONLY | O_CLOEXEC), connection = -1;
    if (fd < 0) {
        warn("%s", file);
        goto out;
    }
    printf("client %d: opened %s as descriptor %d\n", (int)getpid(), file, fd);

    const struct timeval limit = {.tv_sec = answer_limit};
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 ||
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0) {
        warn("socket");
        goto out;
    }
    sent = connect_in_time(connection, &address) && send_file(connection, fd);
out:
    if (connection >= 0)
        close(connection);
    if (fd >= 0)
        close(fd);
    return sent;
}

static int usage(void)
{
    fprintf(stderr, "usage: unrelated server PATH [CLIENTS]\n"
                    "       unrelated client PATH FILE\n");
    return 2;
}

int main(int argc, char **argv)
{
    /* Whole lines: what happens is seen as it happens, in a pipe too. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);

    bool done;
    if (argc == 4 && strcmp(argv[1], "client") == 0) {
        done = client(argv[2], argv[3]);
    } else if ((argc == 3 || argc == 4) && strcmp(argv[1], "server") == 0) {
        long clients = 0; /* no limit */
        if (argc == 4) {
            char *end;
            errno = 0;
            clients = strtol(argv[3], &end, 10);
            if (clients < 1 || *end != '\0' || errno != 0)
                return usage();
        }
        done = server(argv[2], clients);
    } else {
        return usage();
    }
    return output_is_written() && done ? 0 : 1;
}

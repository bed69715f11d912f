/* A TCP server that is replaced while it runs, and no connection is dropped:
 *
 *     cc -D_GNU_SOURCE -o handover main.c clients.c listen.c messages.c hand_over.c
 *         take_over.c $(pkg-config --cflags --libs sendfd)
 *     ./handover --listen COUNT PATH    starts with COUNT sockets on 127.0.0.1
 *     ./handover --takeover PATH        takes them all from the one running there
 *
 * A request is a line; the answer is the server's process id and that line. A
 * connection may have any number of them. SIGUSR1 makes the server print how much
 * it has served and has open, SIGINT and SIGTERM end it.
 *
 * The successor connects to the Unix-domain socket PATH. Each side checks with
 * SO_PEERCRED that the other runs as the same user, and ends it there if not. Then:
 *
 *     running server (hand_over.c)               successor (take_over.c)
 *     1  header with PATH's socket,
 *        all listening sockets                ->
 *        goes on accepting and serving        <- 2  READY: has them, can accept
 *     3  stops; header, all connections, each
 *        with what is unfinished on it        ->
 *        waits, and touches none of them      <- 4  TAKEN: has everything
 *     5  closes everything, exits with 0            accepts and serves
 *
 * The byte TAKEN decides. Before it the successor accepts and reads nothing, and
 * whatever becomes of it, the running server goes on as if nothing had happened;
 * after it the running server does nothing more. Nobody is refused meanwhile: both
 * have the same listening sockets, with one queue of connections, which exists as
 * long as either has them. PATH always has exactly one owner: its socket is handed
 * over, not made again.
 *
 * The format is that of one machine and of one version of this program.
 */
#include "handover.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

bool watch(int epoll, struct source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, source->fd, &event) == 0)
        return true;
    warn("epoll_ctl");
    return false;
}

/* To be called before close: epoll watches the open file description, not the
 * descriptor, and goes on while another process has it too. */
void unwatch(int epoll, const struct source *source)
{
    epoll_ctl(epoll, EPOLL_CTL_DEL, source->fd, NULL);
}

/* How many descriptors this process has open, or -1. */
static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return -1;
    int count = -1; /* the one of the directory does not count */
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void report(const struct server *server)
{
    int count = count_descriptors();
    printf(
        "server %d: %ju requests served, %d descriptors open (%d listening sockets, %d "
        "connections, %d others)\n",
        (int)getpid(), server->served, count, server->nlisteners, server->nconnections,
        count - server->nlisteners - server->nconnections);
}

static void handle_signal(struct server *server)
{
    struct signalfd_siginfo signal;
    if (read(server->signals.fd, &signal, sizeof signal) != sizeof signal)
        return;
    if (signal.ssi_signo == SIGUSR1)
        report(server);
    else if (signal.ssi_signo != SIGALRM)
        server->state = STOPPED;
    else if (server->successor.fd >= 0)
        drop_successor(server, "the successor does not get ready");
}

static void handle_event(struct server *server, struct source *source)
{
    switch (source->kind) {
    case SIGNALS:
        handle_signal(server);
        break;
    case CONTROL:
        greet_successor(server);
        break;
    case SUCCESSOR:
        if (source->fd >= 0) /* SIGALRM may have come just before */
            hand_over(server);
        break;
    case LISTENERS:
        accept_connections(server);
        break;
    case CONNECTION:
        serve_connection(server, (struct connection *)source);
        break;
    }
}

static bool run(struct server *server)
{
    struct epoll_event events[64];
    set_accepting(server, server->nconnections < server->connections_most);
    while (server->state == RUNNING) {
        int count = epoll_wait(server->epoll, events, 64, -1);
        if (count < 0 && errno != EINTR) {
            warn("epoll_wait");
            return false;
        }
        for (int i = 0; i < count && server->state == RUNNING; i++)
            handle_event(server, events[i].data.ptr);
    }
    return true;
}

static bool set_up(struct server *server)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            warn("RLIMIT_NOFILE stays as it is");
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN); /* a reader of the output goes away: no reason to die */
    sigprocmask(SIG_BLOCK, &set, NULL);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->epoll >= 0 && server->signals.fd >= 0)
        return watch(server->epoll, &server->signals, EPOLLIN);
    warn("setting up");
    return false;
}

/* The epoll instance first: it takes with it what it watches. */
static void end_server(struct server *server)
{
    const int fds[] = {server->epoll, server->accepting.fd, server->signals.fd,
                       server->control.fd, server->successor.fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    while (server->nlisteners > 0)
        close(server->listeners[--server->nlisteners]);
    while (server->nconnections > 0)
        forget_connection(server, server->connections[0]);
    free(server->listeners);
    free(server->connections);
}

static int usage(void)
{
    fprintf(stderr, "usage: handover --listen COUNT PATH\n"
                    "       handover --takeover PATH\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct server server = {.path = argv[argc - 1],
                            .epoll = -1,
                            .signals = {.kind = SIGNALS, .fd = -1},
                            .control = {.kind = CONTROL, .fd = -1},
                            .successor = {.kind = SUCCESSOR, .fd = -1},
                            .accepting = {.kind = LISTENERS, .fd = -1}};
    long count = 0;
    if (argc == 4 && strcmp(argv[1], "--listen") == 0) {
        char *end;
        count = strtol(argv[2], &end, 10);
        if (count < 1 || count > 65535 || *end != '\0')
            return usage();
    } else if (argc != 3 || strcmp(argv[1], "--takeover") != 0) {
        return usage();
    }
    size_t length = strlen(server.path);
    if (length < 1 || length >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        errx(1, "the path of a socket has 1 to 107 bytes: %s", server.path);

    /* Whole lines, at once, in a pipe too. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    bool done = set_up(&server) &&
                (count > 0 ? listen_afresh(&server, (int)count) : take_over(&server));
    if (done) {
        done = run(&server);
        if (server.state != HANDED_OVER && unlink(server.path) < 0)
            warn("removing %s", server.path);
    }
    end_server(&server);
    if (done) {
        printf("server %d: ends\n", (int)getpid());
        report(&server);
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        errx(1, "standard output could not be written");
    return done ? 0 : 1;
}

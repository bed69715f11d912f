/* A TCP server that is replaced while it runs, and no connection is dropped:
 *
 *     cc -D_GNU_SOURCE handover.c $(pkg-config --cflags --libs sendfd) -o handover
 *     ./handover --listen COUNT PATH    starts with COUNT sockets on 127.0.0.1
 *     ./handover --takeover PATH        takes them all from the one running there
 *
 * A request is a line; the answer is the server's process id and that line. A
 * connection may have any number of them. SIGUSR1 makes it print how much it
 * has served and has open, SIGINT and SIGTERM end it.
 *
 * The successor connects to the Unix-domain socket PATH. Each side checks with
 * SO_PEERCRED that the other is of the same user, or ends it there. Then:
 *
 *     running server                             successor
 *     1  sockets: PATH itself, all listening  ->
 *        goes on accepting and serving        <- 2  READY: has them, can accept
 *     3  stops; sockets: all connections      ->
 *        waits, and touches none of them      <- 4  TAKEN: has everything
 *     5  closes everything, exits with 0            accepts and serves
 *
 * "sockets" is a header (struct header: what version, how many), sent with
 * sendfds_msg(), the one of step 1 together with the descriptor of PATH's
 * socket; then the names of the sockets (struct name: what it is, on what
 * port, and for a connection the bytes of a request that is half read and of
 * answers that are half written); then their descriptors in the same order,
 * with sendfds_all(), so that there may be any number.
 *
 * The byte TAKEN decides. Before it the successor accepts and reads nothing,
 * and whatever becomes of it, the running server goes on as if nothing had
 * been; after it the running server does nothing more. Nobody is refused
 * meanwhile: both have the same listening sockets, with one queue of
 * connections, which is there as long as either has them. Nor has PATH ever no
 * owner, or two: its socket is handed over, not made anew.
 *
 * The format is that of one machine and of one version of this program.
 */
#include <sendfd.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    protocol_version = 1,
    request_limit = 512, /* bytes of a request, with its newline */
    answer_limit = 4096, /* bytes of answers that wait until the client reads */
    patience = 3,        /* seconds a server waits for its successor */
    long_patience = 20,  /* and that for it: there may be others before */
    descriptors_most = 1 << 20,
    descriptors_spare = 8, /* not for connections: a takeover needs some */
};

/* --- what a server has ----------------------------------------------------- */

enum kind { SIGNALS, CONTROL, SUCCESSOR, LISTENER, CONNECTION };

/* A descriptor that epoll watches. */
struct source {
    enum kind kind;
    int fd;
    uint16_t port; /* of a listener or connection, on this side */
};

struct connection {
    struct source source; /* first: epoll knows the connection by it */
    int index;
    uint32_t events;
    size_t unread, unsent;
    char request[request_limit]; /* read, but not yet a whole line */
    char answer[answer_limit];   /* not yet written */
};

struct server {
    const char *path;
    int epoll;
    struct source signals, control, successor;
    double successor_deadline;
    struct source *listeners;
    int nlisteners;
    struct connection **connections;
    int nconnections, connections_room, connections_most;
    bool accepting;
    uintmax_t served;
    enum { RUNNING, STOPPED, HANDED_OVER } state;
};

/* How many descriptors this process has open, or -1. */
static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return -1;
    int count = -1; /* that of the directory does not count */
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

/* Counts how many connections there may be, by what is left of RLIMIT_NOFILE. */
static bool make_room(struct server *server)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        warn("RLIMIT_NOFILE");
        return false;
    }
    int most = limit.rlim_cur > descriptors_most ? descriptors_most : (int)limit.rlim_cur;
    server->connections_most = most - count_descriptors() - descriptors_spare;
    if (server->connections_most > 0)
        return true;
    warnx("RLIMIT_NOFILE is %d, too low for any connection", most);
    return false;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool watch(struct server *server, struct source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, source->fd, &event) == 0)
        return true;
    warn("epoll_ctl");
    return false;
}

/* To be called before close: epoll watches the open file description, not the
 * descriptor, and while another process has it too it would be watched on. */
static void unwatch(struct server *server, struct source *source)
{
    epoll_ctl(server->epoll, EPOLL_CTL_DEL, source->fd, NULL);
}

static void set_accepting(struct server *server, bool accepting)
{
    if (server->accepting == accepting)
        return;
    server->accepting = accepting;
    for (int i = 0; i < server->nlisteners; i++) {
        if (accepting)
            watch(server, &server->listeners[i], EPOLLIN);
        else
            unwatch(server, &server->listeners[i]);
    }
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

/* --- serving clients ------------------------------------------------------- */

/* A connection of which the server's list has a new place, or NULL. */
static struct connection *new_connection(struct server *server, int fd, uint16_t port)
{
    if (server->nconnections == server->connections_room) {
        int room = server->connections_room * 2 + 64;
        struct connection **grown =
            realloc(server->connections, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        server->connections = grown;
        server->connections_room = room;
    }
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->source = (struct source){.kind = CONNECTION, .fd = fd, .port = port};
    connection->events = EPOLLIN;
    connection->index = server->nconnections;
    server->connections[server->nconnections++] = connection;
    return connection;
}

static void forget_connection(struct server *server, struct connection *connection)
{
    struct connection *last = server->connections[--server->nconnections];
    server->connections[connection->index] = last;
    last->index = connection->index;
    free(connection);
}

static void end_connection(struct server *server, struct connection *connection)
{
    int fd = connection->source.fd;
    unwatch(server, &connection->source);
    /* close alone would not end it while a successor that failed has it too. */
    shutdown(fd, SHUT_RDWR);
    close(fd);
    forget_connection(server, connection);
    set_accepting(server, server->nconnections < server->connections_most);
}

static void accept_connection(struct server *server, const struct source *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
            return;
        warn("accept");
        /* Until a connection ends: that may be what is short. */
        set_accepting(server, server->nconnections == 0);
        return;
    }
    struct connection *connection = new_connection(server, fd, listener->port);
    if (connection == NULL) {
        warn("out of memory");
        close(fd);
    } else if (!watch(server, &connection->source, connection->events)) {
        end_connection(server, connection);
    }
    if (server->nconnections >= server->connections_most)
        set_accepting(server, false);
}

/* False at the end of file and on errors. */
static bool read_requests(struct connection *connection)
{
    ssize_t got = recv(connection->source.fd, connection->request + connection->unread,
                       sizeof connection->request - connection->unread, 0);
    if (got > 0)
        connection->unread += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Answers the requests that are there as a whole, as long as there is room for
 * answers. False if a request is too long. */
static bool answer_requests(struct server *server, struct connection *connection)
{
    for (;;) {
        char *end = memchr(connection->request, '\n', connection->unread);
        if (end == NULL)
            return connection->unread < sizeof connection->request;
        size_t length = (size_t)(end + 1 - connection->request);
        char pid[16];
        size_t pid_length = (size_t)snprintf(pid, sizeof pid, "%d ", (int)getpid());
        if (connection->unsent + pid_length + length > sizeof connection->answer)
            return true;
        char *answer = connection->answer + connection->unsent;
        memcpy(answer, pid, pid_length);
        memcpy(answer + pid_length, connection->request, length);
        connection->unsent += pid_length + length;
        connection->unread -= length;
        memmove(connection->request, end + 1, connection->unread);
        server->served++;
    }
}

static bool write_answers(struct connection *connection)
{
    ssize_t sent =
        send(connection->source.fd, connection->answer, connection->unsent, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->unsent -= (size_t)sent;
    memmove(connection->answer, connection->answer + sent, connection->unsent);
    return true;
}

/* A client that does not read its answers is not read from either. */
static bool serve_requests(struct server *server, struct connection *connection)
{
    if (connection->unsent == 0 && !read_requests(connection))
        return false;
    for (;;) {
        if (!answer_requests(server, connection))
            return false;
        if (connection->unsent == 0)
            return true;
        size_t before = connection->unsent;
        if (!write_answers(connection))
            return false;
        if (connection->unsent == before)
            return true;
    }
}

static void serve_connection(struct server *server, struct connection *connection)
{
    if (!serve_requests(server, connection)) {
        end_connection(server, connection);
        return;
    }
    uint32_t events = connection->unsent > 0 ? EPOLLOUT : EPOLLIN;
    if (events == connection->events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = &connection->source};
    connection->events = events;
    if (epoll_ctl(server->epoll, EPOLL_CTL_MOD, connection->source.fd, &event) < 0)
        end_connection(server, connection);
}

/* --- the protocol of a handover --------------------------------------------- */

#define MAGIC "handover"

enum step { READY = 'R', TAKEN = 'T' };

struct header {
    char magic[sizeof MAGIC - 1];
    uint32_t version, listeners, connections;
    uint32_t bytes; /* of the names that follow */
};

/* Followed by the bytes of requests, then those of answers. */
struct name {
    uint16_t kind, port, unread, unsent;
};

/* Both sides use a blocking socket, and wait no longer than this for anything. */
static bool set_patience(int socket, int limit)
{
    const struct timeval time = {.tv_sec = limit};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0 &&
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) == 0)
        return true;
    warn("setsockopt");
    return false;
}

/* Of a socket that was connected to, the peer is the process that called listen. */
static bool check_peer(int socket, const char *what)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        warn("SO_PEERCRED");
        return false;
    }
    if (peer.uid == geteuid())
        return true;
    printf("server %d: refused: the %s, process %d, is of user %u, this one of user %u\n",
           (int)getpid(), what, (int)peer.pid, (unsigned)peer.uid, (unsigned)geteuid());
    return false;
}

/* Sends all of the bytes. The descriptors go with the first of them: whatever
 * is left of the bytes after that must go without. */
static bool send_message(int socket, const int *fds, int nfds, const void *data,
                         size_t length)
{
    const char *next = data;
    while (length > 0) {
        ssize_t sent = sendfds_msg(socket, fds, nfds, next, length, 0);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        next += sent;
        length -= (size_t)sent;
        nfds = 0;
    }
    return true;
}

/* Receives exactly that many bytes, and at most one descriptor with them, if fd
 * is not NULL; *fd is -1 if none came. Returns 1, or -1, or RECVFD_EOF. */
static int receive_message(int socket, int *fd, void *data, size_t length)
{
    char *next = data;
    int received = -1;
    while (length > 0) {
        int nfds = fd != NULL && received < 0 ? 1 : 0;
        ssize_t got = recvfds_msg(socket, &received, &nfds, next, length, 0);
        if (got == -1 && errno == EINTR)
            continue;
        if (got < 0) {
            if (received >= 0)
                close(received);
            return (int)got;
        }
        next += got;
        length -= (size_t)got;
    }
    if (fd != NULL)
        *fd = received;
    return 1;
}

static bool send_descriptors(int socket, const int *fds, int nfds)
{
    int sent = 0;
    while (sent < nfds) {
        int more = sendfds_all(socket, fds + sent, nfds - sent);
        if (more > 0)
            sent += more; /* if it is short, the next call meets the reason again */
        else if (errno != EINTR)
            return false;
    }
    return true;
}

static void close_all(const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
}

/* Receives exactly that many. Returns 1, or -1, or RECVFD_EOF, and has closed
 * those that came. */
static int receive_descriptors(int socket, int *fds, int nfds)
{
    int received = 0;
    while (received < nfds) {
        errno = 0; /* which it stays if a short count is due to the end of file */
        int more = recvfds_all(socket, fds + received, nfds - received);
        if (more > 0)
            received += more;
        if (received < nfds && errno != EINTR) {
            int error = errno;
            close_all(fds, received);
            errno = error;
            return more == RECVFD_EOF || error == 0 ? RECVFD_EOF : -1;
        }
    }
    return 1;
}

static bool send_step(int socket, enum step step)
{
    char byte = (char)step;
    return send_message(socket, NULL, 0, &byte, 1);
}

static bool receive_step(int socket, enum step step)
{
    char byte;
    return receive_message(socket, NULL, &byte, 1) == 1 && byte == (char)step;
}

/* --- handing over ----------------------------------------------------------- */

static struct source *source_of(const struct server *server, enum kind kind, int i)
{
    return kind == LISTENER ? &server->listeners[i] : &server->connections[i]->source;
}

static size_t put_bytes(char *names, size_t at, const void *bytes, size_t length)
{
    memcpy(names + at, bytes, length);
    return at + length;
}

static size_t put_name(char *names, size_t at, const struct source *source)
{
    struct name name = {.kind = (uint16_t)source->kind, .port = source->port};
    if (source->kind != CONNECTION)
        return put_bytes(names, at, &name, sizeof name);
    const struct connection *connection = (const struct connection *)source;
    name.unread = (uint16_t)connection->unread;
    name.unsent = (uint16_t)connection->unsent;
    at = put_bytes(names, at, &name, sizeof name);
    at = put_bytes(names, at, connection->request, connection->unread);
    return put_bytes(names, at, connection->answer, connection->unsent);
}

/* Sends all listeners, with the control socket, or all connections. */
static bool send_sockets(const struct server *server, int socket, enum kind kind)
{
    int nfds = kind == LISTENER ? server->nlisteners : server->nconnections;
    size_t bytes = (size_t)nfds * sizeof(struct name), at = 0;
    for (int i = 0; kind == CONNECTION && i < nfds; i++)
        bytes += server->connections[i]->unread + server->connections[i]->unsent;
    char *names = malloc(bytes + 1);
    int *fds = malloc((size_t)nfds * sizeof *fds + 1);
    bool sent = false;
    if (names == NULL || fds == NULL)
        goto out;

    for (int i = 0; i < nfds; i++) {
        const struct source *source = source_of(server, kind, i);
        fds[i] = source->fd;
        at = put_name(names, at, source);
    }
    struct header header = {.version = protocol_version, .bytes = (uint32_t)at};
    memcpy(header.magic, MAGIC, sizeof header.magic);
    *(kind == LISTENER ? &header.listeners : &header.connections) = (uint32_t)nfds;
    sent = send_message(socket, &server->control.fd, kind == LISTENER, &header,
                        sizeof header) &&
           send_message(socket, NULL, 0, names, at) &&
           send_descriptors(socket, fds, nfds);
out:
    free(names);
    free(fds);
    return sent;
}

static void drop_successor(struct server *server, const char *why)
{
    printf("server %d: no handover, going on: %s\n", (int)getpid(), why);
    unwatch(server, &server->successor);
    close(server->successor.fd);
    server->successor.fd = -1;
    watch(server, &server->control, EPOLLIN); /* the next one may have its turn */
}

/* Step 1. It takes no time, as a socket's queue has room for some 70,000. */
static void greet_successor(struct server *server)
{
    int socket = accept4(server->control.fd, NULL, NULL, SOCK_CLOEXEC);
    if (socket < 0) {
        if (errno != EAGAIN)
            warn("accepting a successor");
        return;
    }
    if (!check_peer(socket, "successor") || !set_patience(socket, patience)) {
        close(socket);
        return;
    }
    unwatch(server, &server->control); /* one at a time */
    server->successor.fd = socket;
    server->successor_deadline = seconds() + patience;
    if (!send_sockets(server, socket, LISTENER))
        drop_successor(server, strerror(errno));
    else if (!watch(server, &server->successor, EPOLLIN))
        drop_successor(server, "it cannot be watched");
}

/* Whether the successor has decided to take over. If it has not in time, it may
 * just be about to: after the shutdown it cannot any more, and what it has sent
 * before that is there. */
static bool is_taken(int socket)
{
    if (receive_step(socket, TAKEN))
        return true;
    shutdown(socket, SHUT_RDWR);
    return receive_step(socket, TAKEN);
}

/* Steps 3 and 5. Without a look at other events in between: so all stays as it
 * is, and what clients send waits in the sockets, for whoever will go on. */
static void hand_over(struct server *server)
{
    int socket = server->successor.fd;
    if (!receive_step(socket, READY)) {
        drop_successor(server, "the successor gave up before it was ready");
        return;
    }
    if (send_sockets(server, socket, CONNECTION) && is_taken(socket)) {
        printf("server %d: handed over %d listening sockets and %d connections\n",
               (int)getpid(), server->nlisteners, server->nconnections);
        server->state = HANDED_OVER;
        return;
    }
    drop_successor(server, "the successor gave up before it had taken everything");
}

/* --- taking over ------------------------------------------------------------- */

static bool fail(const char *what, int result)
{
    warnx("no takeover: %s: %s", what,
          result == RECVFD_EOF ? "the running server ended it" : strerror(errno));
    return false;
}

/* Whether a socket is what its name says. O_NONBLOCK belongs to the open file
 * description, so it came along; neither side may change it now. */
static bool is_named(int fd, const struct name *name)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    int listens;
    socklen_t listens_size = sizeof listens;
    return getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
           address.sin_family == AF_INET && ntohs(address.sin_port) == name->port &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) == 0 &&
           listens == (name->kind == LISTENER) && (fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static bool add_listener(struct server *server, int fd, uint16_t port)
{
    struct source *listener = &server->listeners[server->nlisteners++];
    *listener = (struct source){.kind = LISTENER, .fd = fd, .port = port};
    server->accepting = true;
    return watch(server, listener, EPOLLIN);
}

static bool add_connection(struct server *server, int fd, const struct name *name,
                           const char *bytes)
{
    struct connection *connection = new_connection(server, fd, name->port);
    if (connection == NULL) {
        close(fd);
        return false;
    }
    connection->unread = name->unread;
    connection->unsent = name->unsent;
    memcpy(connection->request, bytes, name->unread);
    memcpy(connection->answer, bytes + name->unread, name->unsent);
    connection->events = name->unsent > 0 ? EPOLLOUT : EPOLLIN;
    return watch(server, &connection->source, connection->events);
}

/* Makes a descriptor the server's, to use or to close, by the name at *at,
 * which it moves on. The bytes of a batch have been counted, not looked at. */
static bool adopt(struct server *server, int fd, enum kind kind, const char **at,
                  const char *end)
{
    struct name name;
    if ((size_t)(end - *at) < sizeof name)
        goto mismatch;
    memcpy(&name, *at, sizeof name);
    *at += sizeof name;
    if (name.kind != kind || name.unread > request_limit || name.unsent > answer_limit ||
        name.unread + name.unsent > end - *at || !is_named(fd, &name))
        goto mismatch;
    const char *bytes = *at;
    *at += name.unread + name.unsent;
    return kind == LISTENER ? add_listener(server, fd, name.port)
                            : add_connection(server, fd, &name, bytes);
mismatch:
    close(fd);
    warnx("no takeover: a socket is not what its name says");
    return false;
}

static bool check_header(const struct header *header, enum kind kind)
{
    uint32_t none = kind == LISTENER ? header->connections : header->listeners;
    uint32_t nfds = kind == LISTENER ? header->listeners : header->connections;
    const size_t name_most = sizeof(struct name) + request_limit + answer_limit;
    if (memcmp(header->magic, MAGIC, sizeof header->magic) != 0)
        warnx("no takeover: it is another program that runs there");
    else if (header->version != protocol_version)
        warnx("no takeover: the running server speaks version %u, this one %d",
              header->version, protocol_version);
    else if (none != 0 || nfds > descriptors_most || header->bytes > nfds * name_most)
        warnx("no takeover: a header that makes no sense");
    else
        return true;
    return false;
}

/* Receives what send_sockets sent; the control socket comes with listeners. */
static bool receive_sockets(struct server *server, int socket, enum kind kind)
{
    struct header header;
    int *control = kind == LISTENER ? &server->control.fd : NULL;
    int result = receive_message(socket, control, &header, sizeof header);
    if (result < 0)
        return fail("receiving a header", result);
    if (!check_header(&header, kind))
        return false;

    bool received = false;
    int nfds = (int)(header.listeners + header.connections), adopted = 0;
    char *names = malloc(header.bytes + 1);
    int *fds = malloc((size_t)nfds * sizeof *fds + 1);
    if (kind == LISTENER)
        server->listeners = calloc((size_t)nfds + 1, sizeof *server->listeners);
    if (names == NULL || fds == NULL || server->listeners == NULL) {
        fail("making room", -1);
        goto out;
    }
    result = receive_message(socket, NULL, names, header.bytes);
    if (result < 0) {
        fail("receiving names", result);
        goto out;
    }
    result = receive_descriptors(socket, fds, nfds);
    if (result < 0) {
        fail("receiving descriptors", result);
        goto out;
    }

    const char *at = names;
    received = true;
    while (adopted < nfds && received)
        received = adopt(server, fds[adopted++], kind, &at, names + header.bytes);
    close_all(fds + adopted, nfds - adopted);
out:
    free(names);
    free(fds);
    return received;
}

static bool is_control(int fd)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof address;
    return fd >= 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
           address.sun_family == AF_UNIX && (fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static void tell_takeover(const struct server *server)
{
    size_t unread = 0, unsent = 0;
    for (int i = 0; i < server->nconnections; i++) {
        unread += server->connections[i]->unread;
        unsent += server->connections[i]->unsent;
    }
    printf("server %d: took over %d listening sockets and %d connections (%zu bytes of "
           "requests half read, %zu of answers half written)\n",
           (int)getpid(), server->nlisteners, server->nconnections, unread, unsent);
}

/* Steps 2 and 4. Once TAKEN is sent, which the running server may have made
 * impossible, all is this one's; nothing may fail after that. */
static bool take_over_from(struct server *server, int socket)
{
    if (!check_peer(socket, "running server") || !set_patience(socket, long_patience))
        return false;
    if (!receive_sockets(server, socket, LISTENER))
        return false;
    if (!is_control(server->control.fd)) {
        warnx("no takeover: the socket %s did not come along", server->path);
        return false;
    }
    if (!make_room(server) || !watch(server, &server->control, EPOLLIN))
        return false;
    if (!send_step(socket, READY))
        return fail("getting ready", -1);
    if (!receive_sockets(server, socket, CONNECTION))
        return false;
    if (!send_step(socket, TAKEN))
        return fail("taking over", -1);
    return true;
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

static bool take_over(struct server *server)
{
    struct sockaddr_un address;
    if (!set_address(&address, server->path))
        return false;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0) {
        warn("socket");
        return false;
    }
    bool taken = false;
    if (connect(connection, (const struct sockaddr *)&address, sizeof address) < 0)
        warn("no takeover: connecting to %s", server->path);
    else
        taken = take_over_from(server, connection);
    close(connection);
    if (taken)
        tell_takeover(server);
    return taken;
}

/* --- starting afresh --------------------------------------------------------- */

static bool own_path(struct server *server)
{
    struct sockaddr_un address;
    if (!set_address(&address, server->path))
        return false;
    server->control.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->control.fd < 0) {
        warn("socket");
        return false;
    }
    /* For this user only, from its first moment on. */
    mode_t mask = umask(0177);
    int bound =
        bind(server->control.fd, (const struct sockaddr *)&address, sizeof address);
    int error = errno;
    umask(mask);
    if (bound == 0 && listen(server->control.fd, SOMAXCONN) == 0)
        return watch(server, &server->control, EPOLLIN);
    errno = bound < 0 ? error : errno;
    if (errno == EADDRINUSE)
        warnx("%s exists: of a server that runs (--takeover), or that was killed "
              "(remove it)",
              server->path);
    else
        warn("listening on %s", server->path);
    if (bound == 0)
        unlink(server->path);
    return false;
}

static bool open_listener(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, size) == 0 &&
        listen(fd, SOMAXCONN) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        return add_listener(server, fd, ntohs(address.sin_port));
    warn("opening a listening socket");
    if (fd >= 0)
        close(fd);
    return false;
}

static bool listen_afresh(struct server *server, int count)
{
    server->listeners = calloc((size_t)count, sizeof *server->listeners);
    if (server->listeners == NULL) {
        warn("calloc");
        return false;
    }
    while (server->nlisteners < count) {
        if (!open_listener(server))
            return false;
    }
    if (!make_room(server) || !own_path(server))
        return false;
    printf("server %d: listening on ports", (int)getpid());
    for (int i = 0; i < count; i++)
        printf(" %d", server->listeners[i].port);
    printf("\n");
    return true;
}

/* --- the loop ---------------------------------------------------------------- */

static void handle_signal(struct server *server)
{
    struct signalfd_siginfo signal;
    if (read(server->signals.fd, &signal, sizeof signal) != sizeof signal)
        return;
    if (signal.ssi_signo == SIGUSR1)
        report(server);
    else
        server->state = STOPPED;
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
        hand_over(server);
        break;
    case LISTENER:
        accept_connection(server, source);
        break;
    case CONNECTION:
        serve_connection(server, (struct connection *)source);
        break;
    }
}

/* How long to wait for events, in milliseconds; -1 is without end. */
static int time_to_wait(const struct server *server)
{
    if (server->successor.fd < 0)
        return -1;
    double left = server->successor_deadline - seconds();
    return left > 0 ? (int)(left * 1000) + 1 : 0;
}

static bool run(struct server *server)
{
    struct epoll_event events[64];
    while (server->state == RUNNING) {
        int count = epoll_wait(server->epoll, events, 64, time_to_wait(server));
        if (count < 0 && errno != EINTR) {
            warn("epoll_wait");
            return false;
        }
        /* One event a source, and each closes no other than itself. */
        for (int i = 0; i < count && server->state == RUNNING; i++)
            handle_event(server, events[i].data.ptr);
        if (server->successor.fd >= 0 && seconds() > server->successor_deadline)
            drop_successor(server, "the successor does not get ready");
    }
    return true;
}

/* Allows this process as many descriptors as it may have. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        warn("RLIMIT_NOFILE stays as it is");
}

static bool set_up(struct server *server)
{
    raise_limit();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    /* A reader of our output that goes away is no reason to die. */
    signal(SIGPIPE, SIG_IGN);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
        warn("setting up");
        return false;
    }
    server->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signals.fd < 0) {
        warn("signalfd");
        return false;
    }
    return watch(server, &server->signals, EPOLLIN);
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Closes everything, the epoll instance first: it takes with it what it watches. */
static void end_server(struct server *server)
{
    close_if_open(server->epoll);
    close_if_open(server->signals.fd);
    close_if_open(server->control.fd);
    close_if_open(server->successor.fd);
    while (server->nlisteners > 0)
        close(server->listeners[--server->nlisteners].fd);
    while (server->nconnections > 0) {
        struct connection *last = server->connections[server->nconnections - 1];
        close(last->source.fd);
        forget_connection(server, last);
    }
    free(server->listeners);
    free(server->connections);
}

/* Whether all that was printed has been written: a full disk shows only here. */
static bool output_is_written(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    warnx("standard output could not be written");
    return false;
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
                            .successor = {.kind = SUCCESSOR, .fd = -1}};
    long count = 0;
    if (argc == 4 && strcmp(argv[1], "--listen") == 0) {
        char *end;
        count = strtol(argv[2], &end, 10);
        if (count < 1 || count > 65535 || *end != '\0')
            return usage();
    } else if (argc != 3 || strcmp(argv[1], "--takeover") != 0) {
        return usage();
    }

    /* Whole lines: what happens is seen as it happens, in a pipe too. */
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
    return output_is_written() && done ? 0 : 1;
}

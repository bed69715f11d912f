/* Serving clients. Each request is a line; its answer is the process id and the line. */
#include "handover.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* For as many connections as RLIMIT_NOFILE leaves room for. */
bool make_room(struct server *server)
{
    const int most = 1 << 20;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        warn("RLIMIT_NOFILE");
        return false;
    }
    server->connections_most =
        (limit.rlim_cur > (rlim_t)most ? most : (int)limit.rlim_cur) -
        server->nlisteners - descriptors_spare;
    if (server->connections_most <= 0) {
        warnx("RLIMIT_NOFILE is too low for any connection");
        return false;
    }
    server->connections =
        calloc((size_t)server->connections_most, sizeof(struct connection *));
    if (server->connections == NULL)
        warn("making room for connections");
    return server->connections != NULL;
}

/* One event in the server's own epoll instance stands for all listeners. */
void set_accepting(struct server *server, bool accepting)
{
    if (accepting && !server->is_accepting)
        server->is_accepting = watch(server->epoll, &server->accepting, EPOLLIN);
    if (!accepting && server->is_accepting) {
        unwatch(server->epoll, &server->accepting);
        server->is_accepting = false;
    }
}

/* Owns fd from then on, or closes it and returns NULL. */
struct connection *add_connection(struct server *server, int fd)
{
    struct connection *connection = NULL;
    errno = EMFILE;
    if (server->nconnections < server->connections_most)
        connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(fd);
        return NULL;
    }
    connection->source = (struct source){.kind = CONNECTION, .fd = fd};
    connection->index = server->nconnections;
    server->connections[server->nconnections++] = connection;
    return connection;
}

void forget_connection(struct server *server, struct connection *connection)
{
    struct connection *last = server->connections[--server->nconnections];
    server->connections[connection->index] = last;
    last->index = connection->index;
    close(connection->source.fd);
    free(connection);
}

static void end_connection(struct server *server, struct connection *connection)
{
    unwatch(server->epoll, &connection->source);
    /* close alone would not end it while a successor that failed has it too. */
    shutdown(connection->source.fd, SHUT_RDWR);
    forget_connection(server, connection);
    set_accepting(server, true);
}

static uint32_t events_wanted(const struct connection *connection)
{
    return connection->unfinished.unsent > 0 ? EPOLLOUT : EPOLLIN;
}

bool watch_connection(struct server *server, struct connection *connection)
{
    connection->events = events_wanted(connection);
    return watch(server->epoll, &connection->source, connection->events);
}

static void accept_connection(struct server *server, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
            return;
        warn("accept");
        /* Until a connection ends: that may be what is short. */
        set_accepting(server, server->nconnections == 0);
        return;
    }
    struct connection *connection = add_connection(server, fd);
    if (connection == NULL)
        warn("accepting a connection");
    else if (!watch_connection(server, connection))
        end_connection(server, connection);
    if (server->nconnections == server->connections_most)
        set_accepting(server, false);
}

void accept_connections(struct server *server)
{
    struct epoll_event events[64];
    int count = epoll_wait(server->accepting.fd, events, 64, 0);
    for (int i = 0; i < count && server->is_accepting; i++)
        accept_connection(server, events[i].data.fd);
}

/* Makes the answer to the next request, if that has come as a whole. */
static bool answer_request(struct server *server, struct unfinished *unfinished)
{
    char *end = memchr(unfinished->request, '\n', unfinished->unread);
    if (end == NULL)
        return false;
    size_t length = (size_t)(end + 1 - unfinished->request);
    int pid_length =
        snprintf(unfinished->answer, sizeof unfinished->answer, "%d ", (int)getpid());
    memcpy(unfinished->answer + pid_length, unfinished->request, length);
    unfinished->unsent = (uint32_t)pid_length + (uint32_t)length;
    unfinished->unread -= (uint32_t)length;
    memmove(unfinished->request, end + 1, unfinished->unread);
    server->served++;
    return true;
}

/* Reads once and answers what is there as a whole. False if the connection is to end. A
 * client that does not read its answers is not read from either. */
static bool serve_requests(struct server *server, int fd, struct unfinished *unfinished)
{
    if (unfinished->unsent == 0) {
        ssize_t got = recv(fd, unfinished->request + unfinished->unread,
                           sizeof unfinished->request - unfinished->unread, 0);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        unfinished->unread += (uint32_t)got;
    }
    while (unfinished->unsent > 0 || answer_request(server, unfinished)) {
        ssize_t sent = send(fd, unfinished->answer, unfinished->unsent, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        unfinished->unsent -= (uint32_t)sent;
        memmove(unfinished->answer, unfinished->answer + sent, unfinished->unsent);
    }
    return unfinished->unread < sizeof unfinished->request; /* else it is too long */
}

void serve_connection(struct server *server, struct connection *connection)
{
    int fd = connection->source.fd;
    bool goes_on = serve_requests(server, fd, &connection->unfinished);
    uint32_t wanted = events_wanted(connection);
    if (goes_on && wanted != connection->events) {
        struct epoll_event event = {.events = wanted, .data.ptr = &connection->source};
        connection->events = wanted;
        goes_on = epoll_ctl(server->epoll, EPOLL_CTL_MOD, fd, &event) == 0;
    }
    if (!goes_on)
        end_connection(server, connection);
}

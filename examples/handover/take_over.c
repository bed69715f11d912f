/* The successor's side of a handover: steps 2 and 4 of main.c. Until it says TAKEN
 * it may fail at any point: it closes what it has received, and that is all. */
#include "handover.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { patience = 20 }; /* seconds: there may be other successors before this one */

static bool fail(const char *what)
{
    warn("no takeover: %s", what);
    return false;
}

/* O_NONBLOCK belongs to the open file description, so it comes along with the
 * descriptor, and neither side may change it now. */
static bool is_socket(int fd, int family, int listens)
{
    int is_family, is_listening;
    socklen_t size = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &is_family, &size) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 &&
           is_family == family && is_listening == listens &&
           (fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static bool receive_header(int socket, int *fd, int *count)
{
    struct header header;
    if (!receive_message(socket, fd, fd != NULL, &header, sizeof header))
        return fail("receiving a header");
    *count = (int)header.count;
    if (memcmp(header.magic, MAGIC, sizeof header.magic) != 0)
        warnx("no takeover: another program runs there");
    else if (header.version != protocol_version)
        warnx("no takeover: the running server speaks version %u, this one %d",
              header.version, protocol_version);
    else if (*count < 0)
        warnx("no takeover: too many sockets");
    else
        return true;
    return false;
}

static bool take_listeners(struct server *server, int socket)
{
    int count;
    if (!receive_header(socket, &server->control.fd, &count))
        return false;
    server->listeners = calloc((size_t)count + 1, sizeof *server->listeners);
    if (server->listeners == NULL)
        return fail("making room");
    if (!receive_descriptors(socket, server->listeners, count))
        return fail("receiving descriptors");
    server->nlisteners = count;
    bool right = is_socket(server->control.fd, AF_UNIX, 1);
    for (int i = 0; i < count; i++)
        right = right && is_socket(server->listeners[i], AF_INET, 1);
    if (!right)
        warnx("no takeover: one of the sockets is of the wrong kind");
    return right && watch_listeners(server) && make_room(server) &&
           watch(server->epoll, &server->control, EPOLLIN);
}

static bool take_connection(struct server *server, int socket)
{
    int fd;
    struct unfinished unfinished;
    if (!receive_message(socket, &fd, 1, &unfinished, sizeof unfinished))
        return fail("receiving a connection");
    struct connection *connection = add_connection(server, fd);
    if (connection == NULL)
        return fail("making room for a connection");
    connection->unfinished = unfinished;
    if (!is_socket(fd, AF_INET, 0) || unfinished.unread > request_limit ||
        unfinished.unsent > answer_limit) {
        warnx("no takeover: a connection makes no sense");
        return false;
    }
    return watch_connection(server, connection);
}

static bool take_connections(struct server *server, int socket)
{
    int count;
    if (!receive_header(socket, NULL, &count))
        return false;
    while (server->nconnections < count) {
        if (!take_connection(server, socket))
            return false;
    }
    return true;
}

/* Once TAKEN is sent, which the running server may have made impossible, everything
 * belongs to this one, and nothing may fail after that. */
static bool take_over_from(struct server *server, int socket)
{
    if (!check_peer(socket, "running server") || !set_patience(socket, patience) ||
        !take_listeners(server, socket))
        return false;
    if (!send_step(socket, READY))
        return fail("getting ready");
    if (!take_connections(server, socket))
        return false;
    return send_step(socket, TAKEN) || fail("taking over");
}

static void tell_takeover(const struct server *server)
{
    size_t unread = 0, unsent = 0;
    for (int i = 0; i < server->nconnections; i++) {
        unread += server->connections[i]->unfinished.unread;
        unsent += server->connections[i]->unfinished.unsent;
    }
    printf("server %d: took over %d listening sockets and %d connections (%zu bytes of "
           "requests half read, %zu of answers half written)\n",
           (int)getpid(), server->nlisteners, server->nconnections, unread, unsent);
}

bool take_over(struct server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, server->path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return fail("socket");
    bool taken;
    if (connect(connection, (const struct sockaddr *)&address, sizeof address) < 0)
        taken = fail(server->path);
    else
        taken = take_over_from(server, connection);
    close(connection);
    if (taken)
        tell_takeover(server);
    return taken;
}

/* The running server's side of a handover: steps 1, 3 and 5 of main.c. Until the
 * successor says TAKEN, any failure means: drop it and go on. */
#include "handover.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { patience = 3 }; /* seconds to wait for a successor */

void drop_successor(struct server *server, const char *why)
{
    printf("server %d: no handover, going on: %s\n", (int)getpid(), why);
    alarm(0);
    unwatch(server->epoll, &server->successor);
    close(server->successor.fd);
    server->successor.fd = -1;
    watch(server->epoll, &server->control, EPOLLIN); /* the next one has its turn */
}

static bool send_header(int socket, const int *fd, int count)
{
    struct header header = {.version = protocol_version, .count = (uint32_t)count};
    memcpy(header.magic, MAGIC, sizeof header.magic);
    return send_message(socket, fd, fd != NULL, &header, sizeof header);
}

/* Step 1. The successor has what it needs in its queue at once; the server goes on
 * with its clients until the successor is ready. SIGALRM ends a wait too long. */
void greet_successor(struct server *server)
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
    unwatch(server->epoll, &server->control); /* one at a time */
    server->successor.fd = socket;
    alarm(patience);
    if (!send_header(socket, &server->control.fd, server->nlisteners) ||
        !send_descriptors(socket, server->listeners, server->nlisteners))
        drop_successor(server, strerror(errno));
    else if (!watch(server->epoll, &server->successor, EPOLLIN))
        drop_successor(server, "it cannot be watched");
}

static bool send_connections(const struct server *server, int socket)
{
    if (!send_header(socket, NULL, server->nconnections))
        return false;
    for (int i = 0; i < server->nconnections; i++) {
        const struct connection *connection = server->connections[i];
        if (!send_message(socket, &connection->source.fd, 1, &connection->unfinished,
                          sizeof connection->unfinished))
            return false;
    }
    return true;
}

/* Whether the successor has decided to take over. If it has not in time, it may
 * be just about to: after the shutdown it cannot any more, and anything that it
 * sent before can still be read. */
static bool is_taken(int socket)
{
    if (receive_step(socket, TAKEN))
        return true;
    shutdown(socket, SHUT_RDWR);
    return receive_step(socket, TAKEN);
}

/* Steps 3 and 5. No other event is handled in between, so nothing changes, and
 * what clients send waits in the sockets for whoever goes on. */
void hand_over(struct server *server)
{
    int socket = server->successor.fd;
    if (!receive_step(socket, READY)) {
        drop_successor(server, "the successor gave up before it was ready");
    } else if (send_connections(server, socket) && is_taken(socket)) {
        printf("server %d: handed over %d listening sockets and %d connections\n",
               (int)getpid(), server->nlisteners, server->nconnections);
        server->state = HANDED_OVER;
    } else {
        drop_successor(server, "the successor gave up before it had taken everything");
    }
}

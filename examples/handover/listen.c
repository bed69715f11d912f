/* Starting with new sockets, without a server to take them from. */
#include "handover.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool own_path(struct server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, server->path);
    server->control.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177); /* for this user only, from its first moment on */
    bool bound =
        server->control.fd >= 0 &&
        bind(server->control.fd, (const struct sockaddr *)&address, sizeof address) == 0;
    umask(mask);
    if (bound && listen(server->control.fd, SOMAXCONN) == 0)
        return watch(server->epoll, &server->control, EPOLLIN);
    if (errno == EADDRINUSE)
        warnx("%s exists: its server runs (use --takeover) or was killed (remove it)",
              server->path);
    else
        warn("listening on %s", server->path);
    return false;
}

static bool open_listener(struct server *server)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        server->listeners[server->nlisteners++] = fd;
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, SOMAXCONN) == 0)
        return true;
    warn("opening a listening socket");
    return false;
}

static void print_ports(const struct server *server)
{
    printf("server %d: listening on ports", (int)getpid());
    for (int i = 0; i < server->nlisteners; i++) {
        struct sockaddr_in address = {.sin_port = 0};
        socklen_t size = sizeof address;
        getsockname(server->listeners[i], (struct sockaddr *)&address, &size);
        printf(" %d", ntohs(address.sin_port));
    }
    printf("\n");
}

bool watch_listeners(struct server *server)
{
    server->accepting.fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < server->nlisteners; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = server->listeners[i]};
        if (epoll_ctl(server->accepting.fd, EPOLL_CTL_ADD, server->listeners[i], &event) <
            0) {
            warn("watching the listening sockets");
            return false;
        }
    }
    return true;
}

bool listen_afresh(struct server *server, int count)
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
    if (!watch_listeners(server) || !make_room(server) || !own_path(server))
        return false;
    print_ports(server);
    return true;
}

/* A ProxyCommand for ssh(1): connects to a host and port, hands the connected
 * socket to ssh over the standard output, and ends. ssh then talks over the socket
 * itself, with no process between it and the network.
 *
 *     cc proxy_fdpass.c $(pkg-config --cflags --libs sendfd) -o proxy_fdpass
 *     ssh -o ProxyUseFdpass=yes -o ProxyCommand='./proxy_fdpass %h %p' user@host
 *
 * A real one does more before it hands the socket over (a dialogue with a proxy, a choice
 * among addresses, a socket option): put that between the connection and sendfd().
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* The first address of the host that answers; -1 if none does, having said why. */
static int connect_to(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses;
    int error = getaddrinfo(host, port, &hints, &addresses);
    if (error != 0) {
        warnx("%s port %s: %s", host, port, gai_strerror(error));
        return -1;
    }
    int connection = -1;
    for (struct addrinfo *address = addresses; address != NULL && connection < 0;
         address = address->ai_next) {
        connection = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, 0);
        if (connection >= 0 &&
            connect(connection, address->ai_addr, address->ai_addrlen) < 0) {
            error = errno;
            close(connection);
            connection = -1;
            errno = error;
        }
    }
    if (connection < 0)
        warn("%s port %s", host, port);
    freeaddrinfo(addresses);
    return connection;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: proxy_fdpass HOST PORT\n");
        return 2;
    }
    int connection = connect_to(argv[1], argv[2]);
    if (connection < 0)
        return 1;
    if (sendfd(STDOUT_FILENO, connection) < 0) {
        if (errno == ENOTSOCK || errno == EAFNOSUPPORT)
            errx(1, "the standard output is no Unix-domain socket: "
                    "ssh makes it one if ProxyUseFdpass is yes");
        err(1, "sendfd");
    }
    return 0;
}

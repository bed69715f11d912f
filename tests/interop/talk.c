/* Receives a connected socket with recvfd() over descriptor 3, sends its argument
 * there as a line, and prints what comes back until the end of file: talk TEXT */
#include <err.h>
#include <fcntl.h>
#include <sendfd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(1, "usage: talk TEXT");
    int connection = recvfd(3);
    if (connection == RECVFD_EOF)
        errx(1, "recvfd: end of file");
    if (connection < 0)
        err(1, "recvfd");
    /* The status flags came with it, and nc leaves its sockets non-blocking. */
    if (fcntl(connection, F_SETFL, 0) < 0)
        err(1, "fcntl");
    if (dprintf(connection, "%s\n", argv[1]) < 0 || shutdown(connection, SHUT_WR) < 0)
        err(1, "sending over what was received");
    char part[4096];
    ssize_t got;
    while ((got = read(connection, part, sizeof part)) > 0) {
        if (write(STDOUT_FILENO, part, (size_t)got) != got)
            err(1, "standard output");
    }
    if (got < 0)
        err(1, "receiving over what was received");
    return 0;
}

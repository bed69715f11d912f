/* Stores an entry of systemd's journal as its clients do with one that is too large for
 * a datagram: a sealed memory file goes with an empty datagram. Given bytes to send
 * with the descriptor, it sends those. */
#include <sendfd.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LARGE 500000 /* more than a datagram holds by default */

static int entry(const char *id)
{
    static char filler[LARGE];
    int fd = memfd_create("journal-entry", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    memset(filler, 'x', sizeof filler);
    if (fd < 0 ||
        dprintf(fd, "MESSAGE=passed by libsendfd\nPRIORITY=6\nSENDFD_ID=%s\nFILLER=",
                id) < 0 ||
        write(fd, filler, sizeof filler) != sizeof filler || write(fd, "\n", 1) != 1 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) <
            0)
        return -1;
    return fd;
}

int main(int argc, char **argv)
{
    struct sockaddr_un journal = {
        .sun_family = AF_UNIX,
        .sun_path = "/run/systemd/journal/socket",
    };
    if (argc != 3) {
        fprintf(stderr, "usage: %s ID DATA\n", argv[0]);
        return 2;
    }
    int fd = entry(argv[1]), socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    size_t len = strlen(argv[2]);
    if (fd < 0 || socket_fd < 0 ||
        connect(socket_fd, (const void *)&journal, sizeof journal) < 0) {
        perror(argv[0]);
        return 1;
    }
    if (sendfds_msg(socket_fd, &fd, 1, argv[2], len, 0) != (ssize_t)len) {
        perror("sendfds_msg");
        return 1;
    }
    return 0;
}

/* Who sent me this descriptor? A datagram says so: the kernel adds the sender's process,
 * user and address.
 *
 *     cc -D_GNU_SOURCE who_sent.c $(pkg-config --cflags --libs sendfd) -o who_sent
 *     ./who_sent PATH         waits at PATH for one descriptor
 *     ./who_sent PATH FILE    sends it an open file
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* In a user namespace every user that it does not know appears as this one. */
static uid_t overflow_uid(void)
{
    unsigned uid;
    FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
    if (file == NULL || fscanf(file, "%u", &uid) != 1)
        err(1, "/proc/sys/kernel/overflowuid");
    fclose(file);
    return uid;
}

/* The kernel has checked these: only root can send those of somebody else. */
static struct ucred find_credentials(struct msghdr *message)
{
    struct ucred sender;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL;
         c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&sender, CMSG_DATA(c), sizeof sender);
            return sender;
        }
    }
    errx(1, "refused: no credentials came");
}

static int receive(int datagrams, const struct sockaddr_un *place)
{
    const int on = 1;
    if (setsockopt(datagrams, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
        bind(datagrams, (const struct sockaddr *)place, sizeof *place) < 0)
        err(1, "%s", place->sun_path);
    printf("waiting at %s\n", place->sun_path);
    fflush(stdout);

    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))];
    char data[100];
    struct iovec buffer = {.iov_base = data, .iov_len = sizeof data};
    struct sockaddr_un from = {.sun_family = AF_UNSPEC};
    struct msghdr message = {.msg_name = &from,
                             .msg_namelen = sizeof from - 1, /* keeps a NUL at its end */
                             .msg_iov = &buffer,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    int fd, nfds = 1;
    ssize_t got;
    do
        got = recvfds_msghdr(datagrams, &fd, &nfds, &message, 0);
    while (got < 0 && errno == EINTR);
    unlink(place->sun_path);
    if (got < 0)
        err(1, "recvfds_msghdr");

    struct ucred sender = find_credentials(&message);
    printf("%zd bytes and %d descriptors from process %d of user %u", got, nfds,
           (int)sender.pid, (unsigned)sender.uid);
    if (message.msg_namelen > sizeof from.sun_family) /* else the sender has no address */
        printf(" at %c%s", from.sun_path[0] ? from.sun_path[0] : '@', from.sun_path + 1);
    printf("\n");
    if (sender.uid == overflow_uid())
        errx(1, "refused: nobody knows who this user is");
    if (sender.uid != geteuid() && sender.uid != 0)
        errx(1, "refused: another user");
    if (nfds != 1)
        errx(1, "refused: no descriptor");
    printf("accepted: it is descriptor %d here\n", fd);
    close(fd);
    return 0;
}

static int send_file(int datagrams, struct sockaddr_un *place, const char *path)
{
    /* Only the family: the kernel chooses an address, so that it can be answered. */
    const struct sockaddr any = {.sa_family = AF_UNIX};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || bind(datagrams, &any, sizeof any.sa_family) < 0)
        err(1, "%s", path);

    /* Without these the kernel would add the process, the real user and group. */
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))] = "";
    char data[] = "FILE=1";
    struct iovec buffer = {.iov_base = data, .iov_len = strlen(data)};
    struct msghdr message = {.msg_name = place,
                             .msg_namelen = sizeof *place,
                             .msg_iov = &buffer,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *credentials = CMSG_FIRSTHDR(&message);
    credentials->cmsg_level = SOL_SOCKET;
    credentials->cmsg_type = SCM_CREDENTIALS;
    credentials->cmsg_len = CMSG_LEN(sizeof(struct ucred));
    const struct ucred self = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
    memcpy(CMSG_DATA(credentials), &self, sizeof self);
    if (sendfds_msghdr(datagrams, &fd, 1, &message, 0) < 0)
        err(1, "sendfds_msghdr");
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    int datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (datagrams < 0)
        err(1, "socket");
    if (argc < 2 || argc > 3 || strlen(argv[1]) >= sizeof place.sun_path)
        errx(2, "usage: who_sent PATH [FILE]");
    strcpy(place.sun_path, argv[1]);
    return argc == 2 ? receive(datagrams, &place) : send_file(datagrams, &place, argv[2]);
}

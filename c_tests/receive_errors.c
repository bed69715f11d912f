/* The caller gets each errno of the kernel for a receive, and nothing is left open. Other
 * tests have the errors that the library finds in a message. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

static void all_fail(int socket, int error, const char *what)
{
    int fds[3] = {-7, -7, -7}, nfds = 3;
    char data[4];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    fails(recvfd(socket), error, "recvfd: %s", what);
    fails(recvfds(socket, fds, 3), error, "recvfds: %s", what);
    fails(recvfds_all(socket, fds, 3), error, "recvfds_all: %s", what);
    fails(recvfds_msg(socket, fds, &nfds, data, sizeof data, 0), error, "recvfds_msg: %s",
          what);
    fails(recvfds_msghdr(socket, fds, &nfds, &message, 0), error, "recvfds_msghdr: %s",
          what);
    is(nfds, 3, "%s: *nfds is as it was", what);
    ok(fds[0] == -7 && fds[1] == -7 && fds[2] == -7, "%s: nothing is written", what);
}

static void not_connected(int type, int error, const char *what)
{
    int socket_fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    need(socket_fd >= 0);
    all_fail(socket_fd, error, what);
    close(socket_fd);
}

static void listening(void)
{
    int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* An address of the kernel's choosing, in no file system. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    need(bind(socket_fd, (struct sockaddr *)&address, sizeof address.sun_family) == 0);
    need(listen(socket_fd, 1) == 0);
    all_fail(socket_fd, EINVAL, "a listening socket");
    close(socket_fd);
}

static void shut_down(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "", 1, &fd, 1) == 1);
    need(shutdown(pair[1], SHUT_RD) == 0);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: after SHUT_RD what was queued comes", type->name);
    close(received);
    if (type->type == SOCK_DGRAM)
        fails(recvfd(pair[1]), ENOMSG, "%s: then nothing, no end of file", type->name);
    else
        is(recvfd(pair[1]), RECVFD_EOF, "%s: then the end of file", type->name);
    close(fd);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    int ends[2], path_only = open(".", O_PATH | O_CLOEXEC);
    need(pipe2(ends, O_CLOEXEC) == 0);
    all_fail(-1, EBADF, "-1");
    all_fail(1 << 20, EBADF, "a number above the limit");
    all_fail(path_only, EBADF, "an O_PATH descriptor");
    all_fail(ends[0], ENOTSOCK, "a pipe");
    close_fds(ends, 2);
    close(path_only);
    not_connected(SOCK_STREAM, EINVAL, "a stream that is not connected");
    not_connected(SOCK_SEQPACKET, ENOTCONN, "a sequence of packets not connected");
    listening();
    for (int i = 0; i < SOCKET_TYPES; i++)
        shut_down(&socket_types[i]);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

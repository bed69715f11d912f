/* sendfd.h as a careful programmer writes it who needs no more than that descriptors
 * pass: close-on-exec, no SIGPIPE, a look at what came. What libsendfd does more is
 * missing: nothing that came is closed on errors, and no reason for them is found
 * out. With CHECK_DOMAIN each send makes sure of its socket first, as libsendfd does.
 *
 * The same names as libsendfd's, so that one program can be linked with either. */
#include "rights.h"
#include "sendfd.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

union control_of_many {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(SENDFD_MAX_FDS * sizeof(int))];
};

static bool may_carry_descriptors(int socket)
{
#ifdef CHECK_DOMAIN
    sa_family_t domain;
    socklen_t size = sizeof domain;
    if (getsockname(socket, (struct sockaddr *)&domain, &size) < 0)
        return false;
    if (domain != AF_UNIX) {
        errno = EAFNOSUPPORT;
        return false;
    }
#endif
    (void)socket;
    return true;
}

int sendfd(int socket, int fd)
{
    union control_of_one control;
    struct iovec iov = {.iov_base = "", .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
    if (!may_carry_descriptors(socket))
        return -1;
    message.msg_controllen = write_rights(&control, &fd, 1);
    return (int)sendmsg(socket, &message, MSG_NOSIGNAL);
}

int recvfd(int socket)
{
    union control_of_one control;
    char byte;
    int fd;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (bytes <= 0)
        return bytes < 0 ? -1 : RECVFD_EOF;
    return read_rights(&message, &fd, 1) == 1 ? fd : -1;
}

static ssize_t send_message(int socket, const int *fds, int nfds, const void *data,
                            size_t len, int flags)
{
    union control_of_many control;
    struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (!may_carry_descriptors(socket))
        return -1;
    if (nfds > 0) {
        message.msg_control = &control;
        message.msg_controllen = write_rights(&control, fds, nfds);
    }
    return sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

static ssize_t receive_message(int socket, int *fds, int *nfds, void *data, size_t len,
                               int flags)
{
    union control_of_many control;
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    int max_fds = *nfds;
    *nfds = 0;
    ssize_t bytes = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    if (bytes <= 0)
        return bytes < 0 ? -1 : RECVFD_EOF;
    if (message.msg_controllen == 0)
        return bytes;
    *nfds = read_rights(&message, fds, max_fds);
    return *nfds < 0 ? -1 : bytes;
}

int sendfds(int socket, const int *fds, int nfds)
{
    if (nfds < 1 || nfds > SENDFD_MAX_FDS) {
        errno = EINVAL;
        return -1;
    }
    char byte = (char)nfds;
    return send_message(socket, fds, nfds, &byte, 1, 0) < 0 ? -1 : nfds;
}

int recvfds(int socket, int *fds, int max_fds)
{
    char byte;
    int nfds = max_fds;
    ssize_t bytes = receive_message(socket, fds, &nfds, &byte, 1, 0);
    return bytes < 0 ? (int)bytes : nfds;
}

int sendfds_all(int socket, const int *fds, int nfds)
{
    long wait_ns = 1000000;
    int sent = 0;
    while (sent < nfds) {
        int batch = nfds - sent < SENDFD_MAX_FDS ? nfds - sent : SENDFD_MAX_FDS;
        if (sendfds(socket, fds + sent, batch) == batch) {
            sent += batch;
            wait_ns = 1000000;
        } else if (errno == ETOOMANYREFS) {
            nanosleep(&(struct timespec){.tv_nsec = wait_ns}, NULL);
            wait_ns = wait_ns < 16000000 ? wait_ns * 2 : 32000000;
        } else {
            return sent > 0 ? sent : -1;
        }
    }
    return sent;
}

int recvfds_all(int socket, int *fds, int nfds)
{
    int received = 0;
    while (received < nfds) {
        int came = recvfds(socket, fds + received, nfds - received);
        if (came < 0)
            return received > 0 ? received : came;
        received += came;
    }
    return received;
}

ssize_t sendfds_msg(int socket, const int *fds, int nfds, const void *data, size_t len,
                    int flags)
{
    if (nfds < 0 || nfds > SENDFD_MAX_FDS) {
        errno = EINVAL;
        return -1;
    }
    return send_message(socket, fds, nfds, data, len, flags);
}

ssize_t recvfds_msg(int socket, int *fds, int *nfds, void *data, size_t len, int flags)
{
    return receive_message(socket, fds, nfds, data, len, flags);
}

const char *sendfd_version(void)
{
    return SENDFD_VERSION;
}

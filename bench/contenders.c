/* The contenders, in a file of their own so that, as libsendfd's functions, they are
 * called and not inlined. They are what a careful programmer writes who needs no more
 * than this: close-on-exec, no SIGPIPE, a look at what came, and nothing else. */
#include "contenders.h"
#include "bench.h"
#include "rights.h"
#include "sendfd.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/* A multiple of the header's alignment, so that one may follow the other. */
#define CONTROL_OF_BATCH CMSG_SPACE(BATCH * sizeof(int))

/* A message of one byte, and with room for so long a control message. */
static struct msghdr message_of(struct iovec *iov, void *control, size_t controllen)
{
    return (struct msghdr){
        .msg_iov = iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = controllen,
    };
}

int hand_written_send(int socket, int fd)
{
    union control_of_one control;
    struct iovec iov = {.iov_base = "", .iov_len = 1};
    struct msghdr message = message_of(&iov, &control, sizeof control);
    write_rights(&control, &fd, 1);
    return (int)sendmsg(socket, &message, MSG_NOSIGNAL);
}

int hand_written_receive(int socket)
{
    union control_of_one control;
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = message_of(&iov, &control, sizeof control);
    ssize_t bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (bytes <= 0)
        return bytes < 0 ? -1 : RECVFD_EOF;
    int fd;
    return read_rights(&message, &fd, 1) == 1 ? fd : -1;
}

int domain_checked_send(int socket, int fd)
{
    sa_family_t domain;
    socklen_t size = sizeof domain;
    if (getsockname(socket, (struct sockaddr *)&domain, &size) < 0)
        return -1;
    if (domain != AF_UNIX) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return hand_written_send(socket, fd);
}

int byte_send(int socket, int fd)
{
    (void)fd;
    struct iovec iov = {.iov_base = "", .iov_len = 1};
    struct msghdr message = message_of(&iov, NULL, 0);
    return (int)sendmsg(socket, &message, MSG_NOSIGNAL);
}

int byte_receive(int socket)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = message_of(&iov, NULL, 0);
    ssize_t bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (bytes <= 0)
        return bytes < 0 ? -1 : RECVFD_EOF;
    return 0;
}

const struct way by_hand = {hand_written_send, hand_written_receive, true};
const struct way with_check = {domain_checked_send, hand_written_receive, true};
const struct way with_library = {sendfd, recvfd, true};
const struct way no_descriptor = {byte_send, byte_receive, false};

void close_received(const struct way *way, int fd)
{
    if (way->passes)
        need(close(fd) == 0);
}

int hand_written_send_batch(int socket, const int *fds, int nfds)
{
    _Alignas(struct cmsghdr) char control[CONTROL_OF_BATCH];
    struct iovec iov = {.iov_base = "", .iov_len = 1};
    size_t controllen = write_rights(control, fds, nfds);
    struct msghdr message = message_of(&iov, control, controllen);
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : nfds;
}

int hand_written_receive_batch(int socket, int *fds, int max_fds)
{
    _Alignas(struct cmsghdr) char control[CONTROL_OF_BATCH];
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = message_of(&iov, control, sizeof control);
    ssize_t bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (bytes <= 0)
        return bytes < 0 ? -1 : RECVFD_EOF;
    return read_rights(&message, fds, max_fds);
}

static int at_most(int limit, int n)
{
    return n < limit ? n : limit;
}

/* After a send failed: whether it was ETOOMANYREFS, which a user without privileges
 * gets when the receiver lags, and has now been waited out as sendfds_all() does. */
static bool waited_out(long *wait_ns)
{
    if (errno != ETOOMANYREFS)
        return false;
    nanosleep(&(struct timespec){.tv_nsec = *wait_ns}, NULL);
    *wait_ns = *wait_ns < 16000000 ? *wait_ns * 2 : 32000000;
    return true;
}

int hand_written_send_all(int socket, const int *fds, int nfds)
{
    long wait_ns = 1000000;
    for (int sent = 0; sent < nfds;) {
        int went =
            hand_written_send_batch(socket, fds + sent, at_most(BATCH, nfds - sent));
        if (went > 0) {
            sent += went;
            wait_ns = 1000000;
        } else if (!waited_out(&wait_ns)) {
            return -1;
        }
    }
    return nfds;
}

int hand_written_receive_all(int socket, int *fds, int nfds)
{
    for (int received = 0; received < nfds;) {
        int came = hand_written_receive_batch(socket, fds + received, nfds - received);
        if (came < 0)
            return came;
        received += came;
    }
    return nfds;
}

/* --- sendmmsg(2) and recvmmsg(2) -----------------------------------------------------
 */

#define MESSAGES 32 /* in one call */

static struct iovec zero_byte = {.iov_base = "", .iov_len = 1};

/* Prepares as many messages as the descriptors need, or as fit. */
static int prepare_messages(struct mmsghdr *messages, char (*controls)[CONTROL_OF_BATCH],
                            const int *fds, int nfds)
{
    int n = 0;
    for (; n < MESSAGES && nfds > 0; n++) {
        int batch = at_most(BATCH, nfds);
        size_t controllen = write_rights(controls[n], fds, batch);
        messages[n].msg_hdr = message_of(&zero_byte, controls[n], controllen);
        fds += batch;
        nfds -= batch;
    }
    return n;
}

int mmsg_send_all(int socket, const int *fds, int nfds)
{
    struct mmsghdr messages[MESSAGES];
    _Alignas(struct cmsghdr) char controls[MESSAGES][CONTROL_OF_BATCH];
    long wait_ns = 1000000;
    for (int sent = 0; sent < nfds;) {
        int n = prepare_messages(messages, controls, fds + sent, nfds - sent);
        int went = sendmmsg(socket, messages, (unsigned)n, MSG_NOSIGNAL);
        if (went > 0) {
            sent = at_most(nfds, sent + went * BATCH);
            wait_ns = 1000000;
        } else if (!waited_out(&wait_ns)) {
            return -1;
        }
    }
    return nfds;
}

int mmsg_receive_all(int socket, int *fds, int nfds)
{
    struct mmsghdr messages[MESSAGES];
    _Alignas(struct cmsghdr) char controls[MESSAGES][CONTROL_OF_BATCH];
    char bytes[MESSAGES];
    struct iovec iov[MESSAGES];
    for (int received = 0; received < nfds;) {
        int wanted = at_most(MESSAGES, (nfds - received + BATCH - 1) / BATCH);
        for (int i = 0; i < wanted; i++) {
            iov[i] = (struct iovec){.iov_base = &bytes[i], .iov_len = 1};
            messages[i].msg_hdr = message_of(&iov[i], controls[i], sizeof controls[i]);
        }
        /* Not to wait for more than the first one is what makes it fast. */
        int came = recvmmsg(socket, messages, (unsigned)wanted,
                            MSG_CMSG_CLOEXEC | MSG_WAITFORONE, NULL);
        if (came < 0)
            return -1;
        for (int i = 0; i < came; i++) {
            int n =
                messages[i].msg_len == 0
                    ? -1
                    : read_rights(&messages[i].msg_hdr, fds + received, nfds - received);
            if (n < 0)
                return -1;
            received += n;
        }
    }
    return nfds;
}

/* --- one at a time -------------------------------------------------------------------
 */

int one_by_one_send(int socket, const int *fds, int nfds)
{
    long wait_ns = 1000000;
    for (int sent = 0; sent < nfds;) {
        if (sendfd(socket, fds[sent]) == 1) {
            sent++;
            wait_ns = 1000000;
        } else if (!waited_out(&wait_ns)) {
            return -1;
        }
    }
    return nfds;
}

int one_by_one_receive(int socket, int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++) {
        fds[i] = recvfd(socket);
        if (fds[i] < 0)
            return fds[i];
    }
    return nfds;
}

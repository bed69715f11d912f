/* Socket options make the kernel add other control messages. The descriptors that were
 * sent still arrive, nothing else is taken for one, such as the sender's pid, and nothing
 * leaks, such as the pidfd of SO_PASSPIDFD. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Numbers that the headers of an older system do not have; Linux 6.5. */
#define PASSPIDFD 76
#define PIDFD 4
#define INQ 84 /* SO_INQ and SCM_INQ, Linux 6.17 */

#define OPTIONS 6
static const struct {
    const char *name;
    int option, value;
} options[OPTIONS] = {
    {"SO_PASSCRED", SO_PASSCRED, 1},
    {"SO_PASSPIDFD", PASSPIDFD, 1},
    {"SO_PASSSEC", SO_PASSSEC, 1},
    {"SO_TIMESTAMP", SO_TIMESTAMP, 1},
    {"SO_TIMESTAMPNS", SO_TIMESTAMPNS, 1},
    {"SO_TIMESTAMPING", SO_TIMESTAMPING,
     SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE},
};

static bool is_supported(int option, int value)
{
    int pair[2];
    socket_pair(SOCK_DGRAM, pair);
    bool set = setsockopt(pair[1], SOL_SOCKET, option, &value, sizeof value) == 0;
    need(set || errno == ENOPROTOOPT || errno == EOPNOTSUPP);
    close_pair(pair);
    return set;
}

/* A pair whose second socket has the options of the set, one bit each. */
static void pair_with_options(int type, unsigned set, int pair[2])
{
    socket_pair(type, pair);
    for (int i = 0; i < OPTIONS; i++)
        if (set & 1u << i)
            need(set_option(pair[1], options[i].option, options[i].value));
}

/* Shows what comes with one descriptor: without this, the test below proves little. */
static void they_do_come(const struct socket_type *type, bool with_pidfd)
{
    _Alignas(struct cmsghdr) char control[1024];
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    int pair[2], fd = open_file(), rights = 0, pidfds = 0, timestamps = 0;
    struct ucred credentials = {0};
    socket_pair(type->type, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    need(set_option(pair[1], SO_TIMESTAMPNS, 1));
    need(!with_pidfd || set_option(pair[1], PASSPIDFD, 1));
    need(raw_send(pair[0], "a", 1, &fd, 1) == 1);
    need(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        int installed;
        memcpy(&installed, CMSG_DATA(header), sizeof installed);
        if (header->cmsg_type == SCM_CREDENTIALS)
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
        else if (header->cmsg_type == SCM_RIGHTS && ++rights)
            close(installed);
        else if (header->cmsg_type == PIDFD && ++pidfds)
            need(close(installed) == 0);
        else
            timestamps++;
    }
    is(credentials.pid, getpid(), "%s: SO_PASSCRED brings credentials", type->name);
    is(rights, 1, "%s: with the descriptor", type->name);
    if (with_pidfd)
        is(pidfds, 1, "%s: SO_PASSPIDFD brings a pidfd", type->name);
    if (type->type != SOCK_STREAM)
        is(timestamps, 1, "%s: SO_TIMESTAMPNS brings a timestamp", type->name);
    close(fd);
    close_pair(pair);
}

/* Receives one message with nfds of the files. Returns NULL if all is right, or else what
 * is wrong. */
static const char *wrong_with_recvfd(const int pair[2], const int *files, int nfds)
{
    need(raw_send(pair[0], "a", 1, files, nfds) == 1);
    errno = 0;
    int fd = recvfd(pair[1]), error = errno;
    bool same = fd >= 0 && same_file(files[0], fd);
    if (fd >= 0)
        close(fd);
    if (nfds == 1)
        return same ? NULL : "recvfd does not bring the file";
    if (nfds == 0)
        return fd == -1 && error == ENOMSG ? NULL : "recvfd does not fail with ENOMSG";
    return fd == -1 && error == EMSGSIZE ? NULL : "recvfd does not fail with EMSGSIZE";
}

static const char *wrong_with_recvfds(const int pair[2], const int *files, int nfds,
                                      int max_fds)
{
    int fds[SENDFD_MAX_FDS];
    need(raw_send(pair[0], "a", 1, files, nfds) == 1);
    errno = 0;
    int returned = recvfds(pair[1], fds, max_fds), error = errno;
    bool same = returned == nfds && same_files(files, fds, nfds);
    close_fds(fds, returned);
    if (nfds > 0)
        return same ? NULL : "recvfds does not bring the files";
    return returned == -1 && error == ENOMSG ? NULL : "recvfds does not fail with ENOMSG";
}

static const char *wrong_with_any(const int pair[2], const int *files, int nfds)
{
    const char *wrong = wrong_with_recvfd(pair, files, nfds);
    if (!wrong)
        wrong = wrong_with_recvfds(pair, files, nfds, nfds > 0 ? nfds : 1);
    if (!wrong)
        wrong = wrong_with_recvfds(pair, files, nfds, SENDFD_MAX_FDS);
    return wrong;
}

static void combination(const struct socket_type *type, unsigned set, const int *files)
{
    static const int counts[] = {0, 1, 2, SENDFD_MAX_FDS};
    char names[128] = "no option";
    for (int i = 0, length = 0; i < OPTIONS; i++)
        if (set & 1u << i)
            length += snprintf(names + length, sizeof names - (size_t)length, "%s%s",
                               length ? " " : "", options[i].name);
    int pair[2];
    pair_with_options(type->type, set, pair);
    int before = count_fds();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const char *wrong = wrong_with_any(pair, files, counts[i]);
        ok(!wrong, "%s: %d descriptors with %s", type->name, counts[i], names);
        if (wrong)
            tap_note("%s", wrong);
    }
    is(count_fds(), before, "%s: none is left open with %s", type->name, names);
    ok(is_empty(pair[1]), "%s: no message is left with %s", type->name, names);
    close_pair(pair);
}

/* SO_INQ, on a stream only, reports how many bytes are left, and comes with all others.
 */
static void bytes_left(unsigned set, const int *files)
{
    static const int counts[] = {0, 1, 2, SENDFD_MAX_FDS};
    _Alignas(struct cmsghdr) char control[1024];
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    int pair[2], on = 1;
    socket_pair(SOCK_STREAM, pair);
    if (setsockopt(pair[1], SOL_SOCKET, INQ, &on, sizeof on) < 0) {
        tap_skip("this kernel has no SO_INQ for Unix-domain sockets");
        close_pair(pair);
        return;
    }
    need(send(pair[0], "a", 1, 0) == 1 && recvmsg(pair[1], &message, 0) == 1);
    ok(find_control(&message, SOL_SOCKET, INQ) != NULL, "SO_INQ brings a number");
    for (int i = 0; i < OPTIONS; i++)
        if (set & 1u << i)
            need(set_option(pair[1], options[i].option, options[i].value));
    int before = count_fds();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const char *wrong = wrong_with_any(pair, files, counts[i]);
        ok(!wrong, "SOCK_STREAM: %d descriptors with SO_INQ and all others", counts[i]);
        if (wrong)
            tap_note("%s", wrong);
    }
    is(count_fds(), before, "SOCK_STREAM: none is left open with SO_INQ");
    close_pair(pair);
}

/* The end of file is that whatever is set. */
static void end_of_file(const struct socket_type *type, unsigned set)
{
    int pair[2], before = count_fds();
    pair_with_options(type->type, set, pair);
    close(pair[0]);
    is(recvfd(pair[1]), RECVFD_EOF, "%s: the end of file with all options", type->name);
    close(pair[1]);
    is(count_fds(), before, "%s: brings no descriptor", type->name);
}

int main(void)
{
    int before = count_fds(), files[SENDFD_MAX_FDS];
    unsigned supported = 0;
    for (int i = 0; i < OPTIONS; i++)
        if (is_supported(options[i].option, options[i].value))
            supported |= 1u << i;
        else
            tap_skip("this kernel has no %s", options[i].name);
    open_files(files, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        they_do_come(&socket_types[i], is_supported(PASSPIDFD, 1));
        for (unsigned set = 0; set < 1u << OPTIONS; set++)
            if ((set & ~supported) == 0)
                combination(&socket_types[i], set, files);
        if (socket_types[i].type != SOCK_DGRAM)
            end_of_file(&socket_types[i], supported);
    }
    bytes_left(supported, files);
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

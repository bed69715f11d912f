/* recvfds_msghdr: several buffers, the sender's address, the other control messages and
 * every flag of recvmsg(2) with the descriptors. Whatever the caller has no room for is
 * left out, reported and closed. If the call fails, the caller's message is unchanged. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */
#define PIDFD 4      /* SCM_PIDFD */
#define UNTOUCHED 0xa5
#define CREDENTIALS_SPACE CMSG_SPACE(sizeof(struct ucred))
#define PIDFD_SPACE CMSG_SPACE(sizeof(int))

static int files[SENDFD_MAX_FDS];

/* Where a message is received: some buffers, and room for control messages. */
struct place {
    char data[3][8];
    struct iovec iov[3];
    _Alignas(struct cmsghdr) unsigned char control[256];
    struct sockaddr_un name;
    struct msghdr message, before;
    int fds[SENDFD_MAX_FDS], nfds;
};

static void prepare(struct place *place, size_t room)
{
    static const size_t sizes[3] = {2, 0, 8};
    memset(place, UNTOUCHED, sizeof *place);
    memset(&place->message, 0, sizeof place->message);
    for (int i = 0; i < 3; i++)
        place->iov[i] = (struct iovec){.iov_base = place->data[i], .iov_len = sizes[i]};
    place->message.msg_iov = place->iov;
    place->message.msg_iovlen = 3;
    place->message.msg_control = room ? place->control : NULL;
    place->message.msg_controllen = room;
    place->message.msg_flags = -1; /* which nobody reads */
    place->nfds = SENDFD_MAX_FDS;
    place->before = place->message;
}

static ssize_t receive(int socket, struct place *place, int flags)
{
    return recvfds_msghdr(socket, place->fds, &place->nfds, &place->message, flags);
}

/* Whether a call that failed has left the message and *nfds alone. */
static bool unchanged(const struct place *place, int nfds)
{
    return memcmp(&place->message, &place->before, sizeof place->message) == 0 &&
           place->nfds == nfds;
}

static bool untouched_from(const struct place *place, size_t used)
{
    for (size_t i = used; i < sizeof place->control; i++)
        if (place->control[i] != UNTOUCHED)
            return false;
    return true;
}

static bool has_files(const struct place *place, int nfds)
{
    bool right = place->nfds == nfds && same_files(place->fds, files, nfds);
    for (int i = 0; i < nfds && right; i++)
        right = is_close_on_exec(place->fds[i]);
    return right;
}

static bool is_truncated(const struct place *place)
{
    return place->message.msg_flags & MSG_CTRUNC;
}

static bool has_credentials(struct place *place)
{
    struct ucred ids = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    struct cmsghdr *header = find_control(&place->message, SOL_SOCKET, SCM_CREDENTIALS);
    return header && header->cmsg_len == CMSG_LEN(sizeof ids) &&
           memcmp(CMSG_DATA(header), &ids, sizeof ids) == 0;
}

/* The pidfd in the message, or -1. */
static int pidfd_in(struct place *place)
{
    int fd = -1;
    struct cmsghdr *header = find_control(&place->message, SOL_SOCKET, PIDFD);
    if (header && header->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

static void several_buffers(const struct socket_type *type, int nfds)
{
    struct place place;
    int pair[2];
    socket_pair(type->type, pair);
    prepare(&place, sizeof place.control);
    need(raw_send(pair[0], "abcdef", 6, files, nfds) == 6);
    is(receive(pair[1], &place, 0), 6, "%s: into three buffers, with %d descriptors",
       type->name, nfds);
    ok(memcmp(place.data[0], "ab", 2) == 0 && memcmp(place.data[2], "cdef", 4) == 0 &&
           (unsigned char)place.data[2][4] == UNTOUCHED,
       "%s: the bytes are in their places", type->name);
    ok(has_files(&place, nfds), "%s: the descriptors are right", type->name);
    is((long)place.message.msg_controllen, 0, "%s: and there is no control message",
       type->name);
    ok(untouched_from(&place, 0), "%s: the buffer for them is not touched", type->name);
    ok(!(place.message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)), "%s: msg_flags",
       type->name);
    is((long)place.message.msg_namelen, 0, "%s: msg_namelen: no address", type->name);
    ok(place.message.msg_iov == place.iov && place.message.msg_iovlen == 3 &&
           place.message.msg_control == place.control,
       "%s: the rest is the caller's", type->name);
    close_fds(place.fds, place.nfds);

    /* No room for control messages: NULL or 0, whatever the other is. */
    for (int i = 0; i < 2; i++) {
        prepare(&place, sizeof place.control);
        if (i)
            place.message.msg_control = NULL;
        else
            place.message.msg_controllen = 0;
        need(raw_send(pair[0], "abcdef", 6, files, nfds) == 6);
        is(receive(pair[1], &place, 0), 6, "%s: %s", type->name,
           i ? "msg_control NULL" : "msg_controllen 0");
        ok(has_files(&place, nfds) && !is_truncated(&place),
           "%s: the descriptors need no buffer of the caller's", type->name);
        is((long)place.message.msg_controllen, 0, "%s: no control message", type->name);
        close_fds(place.fds, place.nfds);
    }
    close_pair(pair);
}

static void most_buffers(const struct socket_type *type)
{
    static struct iovec iov[IOV_MAX + 1];
    static char data[IOV_MAX + 1], sent[IOV_MAX];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = IOV_MAX + 1};
    int pair[2], fds[2], nfds = 2;
    socket_pair(type->type, pair);
    for (int i = 0; i < IOV_MAX; i++)
        sent[i] = (char)('a' + i % 26);
    for (int i = 0; i <= IOV_MAX; i++)
        iov[i] = (struct iovec){.iov_base = data + i, .iov_len = 1};
    need(raw_send(pair[0], sent, sizeof sent, files, 2) == sizeof sent);
    fails(recvfds_msghdr(pair[1], fds, &nfds, &message, 0), EMSGSIZE, "%s: %d buffers",
          type->name, IOV_MAX + 1);
    fails(recvfds_msghdr(-1, fds, &nfds, &message, 0), EMSGSIZE,
          "%s: from descriptor -1, too", type->name);
    message.msg_iovlen = IOV_MAX;
    is(recvfds_msghdr(pair[1], fds, &nfds, &message, 0), IOV_MAX,
       "%s: nothing was consumed, and it comes in %d", type->name, IOV_MAX);
    ok(memcmp(data, sent, sizeof sent) == 0 && nfds == 2 && same_files(fds, files, 2),
       "%s: in their order, with the descriptors", type->name);
    close_fds(fds, nfds);
    close_pair(pair);
}

/* Credentials fit if their padding does, else MSG_CTRUNC is set; without a buffer
 * nobody wants them. */
static void credentials(const struct socket_type *type, int nfds)
{
    static const size_t rooms[] = {0,
                                   1,
                                   CMSG_LEN(0),
                                   CREDENTIALS_SPACE - 1,
                                   CREDENTIALS_SPACE,
                                   CREDENTIALS_SPACE + 1,
                                   256};
    int pair[2];
    socket_pair(type->type, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    for (size_t i = 0; i < LENGTH(rooms); i++) {
        struct place place;
        bool fit = rooms[i] >= CREDENTIALS_SPACE;
        need(raw_send(pair[0], "abcdef", 6, files, nfds) == 6);
        prepare(&place, rooms[i]);
        is(receive(pair[1], &place, 0), 6, "%s: credentials, room for %zu bytes",
           type->name, rooms[i]);
        ok(has_files(&place, nfds), "%s: %d descriptors", type->name, nfds);
        is((long)place.message.msg_controllen, fit ? (long)CREDENTIALS_SPACE : 0,
           "%s: msg_controllen", type->name);
        is(is_truncated(&place), rooms[i] > 0 && !fit, "%s: MSG_CTRUNC", type->name);
        is(fit ? has_credentials(&place) : count_control(&place.message), fit,
           "%s: the credentials, whole or not at all", type->name);
        ok(untouched_from(&place, rooms[i]), "%s: nothing behind the buffer is written",
           type->name);
        close_fds(place.fds, place.nfds);
    }
    close_pair(pair);
}

/* A pidfd is the caller's where its message fits, and closed where it does not. A later
 * message may fit although an earlier one does not. */
static void pidfds(const struct socket_type *type, int nfds, bool with_credentials)
{
    int pair[2];
    socket_pair(type->type, pair);
    if (!set_option(pair[1], PASSPIDFD, 1)) {
        tap_skip("no SO_PASSPIDFD before Linux 6.5");
        close_pair(pair);
        return;
    }
    if (with_credentials)
        need(set_option(pair[1], SO_PASSCRED, 1));
    size_t both = PIDFD_SPACE + (with_credentials ? CREDENTIALS_SPACE : 0);
    const size_t rooms[] = {0, PIDFD_SPACE - 1, PIDFD_SPACE, both - 1, both, 256};
    for (size_t i = 0; i < LENGTH(rooms); i++) {
        struct place place;
        bool ids_fit = with_credentials && rooms[i] >= CREDENTIALS_SPACE;
        bool pidfd_fits = rooms[i] >= PIDFD_SPACE + (ids_fit ? CREDENTIALS_SPACE : 0);
        need(raw_send(pair[0], "abcdef", 6, files, nfds) == 6);
        int before = count_fds();
        prepare(&place, rooms[i]);
        is(receive(pair[1], &place, 0), 6, "%s: a pidfd%s, room for %zu bytes",
           type->name, with_credentials ? " and credentials" : "", rooms[i]);
        ok(has_files(&place, nfds), "%s: %d descriptors", type->name, nfds);
        is(count_fds(), before + nfds + pidfd_fits, "%s: the pidfd is %s", type->name,
           pidfd_fits ? "open" : "closed");
        is(pidfd_in(&place) >= 0, pidfd_fits, "%s: and %sthe caller's", type->name,
           pidfd_fits ? "" : "not ");
        is(count_control(&place.message), ids_fit + pidfd_fits,
           "%s: number of control messages", type->name);
        is(is_truncated(&place),
           rooms[i] > 0 && !(pidfd_fits && ids_fit == with_credentials), "%s: MSG_CTRUNC",
           type->name);
        if (pidfd_fits) {
            ok(is_close_on_exec(pidfd_in(&place)), "%s: close-on-exec", type->name);
            close(pidfd_in(&place));
        }
        close_fds(place.fds, place.nfds);
        is(count_fds(), before, "%s: nothing else is open", type->name);
    }
    close_pair(pair);
}

/* A longer datagram is cut and marked, with its descriptors. */
static void long_datagram(const struct socket_type *type)
{
    struct place place;
    int pair[2];
    if (type->type == SOCK_STREAM)
        return;
    socket_pair(type->type, pair);
    for (int i = 0; i < 2; i++) {
        prepare(&place, 0);
        need(raw_send(pair[0], "0123456789abcdef", 16, files, 2) == 16);
        is(receive(pair[1], &place, i ? MSG_TRUNC : 0), i ? 16 : 10,
           "%s: 16 bytes into 10%s", type->name, i ? ", with MSG_TRUNC" : "");
        ok(place.message.msg_flags & MSG_TRUNC && !is_truncated(&place),
           "%s: msg_flags has MSG_TRUNC", type->name);
        ok(memcmp(place.data[0], "01", 2) == 0 &&
               memcmp(place.data[2], "23456789", 8) == 0,
           "%s: the first ten", type->name);
        ok(has_files(&place, 2), "%s: and the descriptors", type->name);
        close_fds(place.fds, place.nfds);
        ok(is_empty(pair[1]), "%s: the rest is gone", type->name);
    }
    close_pair(pair);
}

/* Flags are recvmsg's own. */
static void flags(const struct socket_type *type)
{
    static const int harmless[] = {MSG_DONTWAIT, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC,
                                   MSG_WAITALL};
    struct place place;
    int pair[2];
    socket_pair(type->type, pair);
    for (size_t i = 0; i < LENGTH(harmless); i++) {
        need(raw_send(pair[0], "0123456789", 10, files, 2) == 10);
        prepare(&place, 0);
        is(receive(pair[1], &place, harmless[i]), 10, "%s: flag %#x", type->name,
           (unsigned)harmless[i]);
        ok(has_files(&place, 2), "%s: the descriptors", type->name);
        close_fds(place.fds, place.nfds);
    }
    prepare(&place, 16);
    fails(receive(pair[1], &place, MSG_DONTWAIT), EAGAIN, "%s: MSG_DONTWAIT", type->name);
    ok(unchanged(&place, SENDFD_MAX_FDS), "%s: the message is as it was", type->name);

    int before = count_fds();
    need(raw_send(pair[0], "0123456789", 10, files, 2) == 10);
    for (int peeks = 0; peeks < 2; peeks++) {
        prepare(&place, 0);
        is(receive(pair[1], &place, MSG_PEEK), 10, "%s: MSG_PEEK", type->name);
        ok(has_files(&place, 2), "%s: the descriptors", type->name);
        close_fds(place.fds, place.nfds);
    }
    prepare(&place, 0);
    place.nfds = 1;
    fails(receive(pair[1], &place, MSG_PEEK), EMSGSIZE, "%s: MSG_PEEK without room",
          type->name);
    is(count_fds(), before, "%s: what came is closed", type->name);
    prepare(&place, 0);
    is(receive(pair[1], &place, 0), 10, "%s: the message is still there", type->name);
    close_fds(place.fds, place.nfds);
    ok(is_empty(pair[1]), "%s: once", type->name);

    if (type->type == SOCK_SEQPACKET) {
        need(raw_send_flags(pair[0], "abc", 3, files, 1, MSG_EOR) == 3);
        prepare(&place, 0);
        is(receive(pair[1], &place, 0), 3, "%s: MSG_EOR", type->name);
        close_fds(place.fds, place.nfds);
    }
    close_pair(pair);
}

/* Wrong arguments consume nothing; EINVAL comes before EFAULT, and both before the
 * socket is looked at. */
static void wrong_arguments(const struct socket_type *type)
{
    static const int counts[] = {-1, -253, INT_MIN};
    struct place place;
    int pair[2], nfds;
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "abcdef", 6, files, 2) == 6);
    const int sockets[] = {pair[1], -1};
    for (int i = 0; i < 2; i++) {
        int socket = sockets[i];
        for (size_t j = 0; j < LENGTH(counts); j++) {
            prepare(&place, 16);
            place.nfds = counts[j];
            fails(receive(socket, &place, 0), EINVAL, "%s: room for %d", type->name,
                  counts[j]);
            ok(unchanged(&place, counts[j]), "%s: nothing is written", type->name);
            fails(recvfds_msghdr(socket, null_fds, &place.nfds, &place.message, 0),
                  EINVAL, "%s: at NULL, too", type->name);
        }
        prepare(&place, 16);
        fails(receive(socket, &place, MSG_OOB), EINVAL, "%s: MSG_OOB", type->name);
        fails(receive(socket, &place, MSG_ERRQUEUE | MSG_DONTWAIT), EINVAL,
              "%s: MSG_ERRQUEUE", type->name);
        place.message.msg_iovlen = 0;
        fails(receive(socket, &place, 0), EINVAL, "%s: no buffer", type->name);
        place.message.msg_iov = NULL;
        fails(receive(socket, &place, 0), EINVAL, "%s: nor an array of any", type->name);
        place.message.msg_iov = place.iov;
        place.message.msg_iovlen = 2;
        place.iov[0].iov_len = 0;
        fails(receive(socket, &place, 0), EINVAL, "%s: two empty buffers", type->name);
        fails(recvfds_msghdr(socket, null_fds, &place.nfds, &place.message, 0), EINVAL,
              "%s: and no array", type->name);
        fails(recvfds_msghdr(socket, place.fds, null_fds, &place.message, 0), EINVAL,
              "%s: nor a number", type->name);

        prepare(&place, 16);
        fails(recvfds_msghdr(socket, null_fds, &place.nfds, &place.message, 0), EFAULT,
              "%s: fds is NULL", type->name);
        ok(unchanged(&place, SENDFD_MAX_FDS), "%s: nothing is written", type->name);
        fails(recvfds_msghdr(socket, place.fds, null_fds, &place.message, 0), EFAULT,
              "%s: nfds is NULL", type->name);
        fails(recvfds_msghdr(socket, place.fds, &place.nfds, null_data, 0), EFAULT,
              "%s: message is NULL", type->name);
        place.message.msg_iov = NULL;
        fails(receive(socket, &place, 0), EFAULT, "%s: msg_iov is NULL", type->name);
        /* The kernel would take the datagram, and lose it. */
        for (int j = 0; j < 3; j += 2) {
            prepare(&place, 16);
            place.iov[j].iov_base = NULL;
            fails(receive(socket, &place, 0), EFAULT, "%s: iov_base %d is NULL",
                  type->name, j);
            ok(unchanged(&place, SENDFD_MAX_FDS), "%s: nothing is written", type->name);
        }
    }
    prepare(&place, 0);
    place.message.msg_control = NULL; /* no buffer, whatever its length */
    place.message.msg_controllen = (size_t)-1;
    place.iov[1].iov_base = NULL; /* of no length */
    is(receive(pair[1], &place, 0), 6, "%s: nothing has been consumed", type->name);
    ok(has_files(&place, 2), "%s: the descriptors come", type->name);
    close_fds(place.fds, place.nfds);
    ok(is_empty(pair[1]), "%s: that was all", type->name);

    prepare(&place, 0);
    nfds = 0;
    need(raw_send(pair[0], "abcdef", 6, NULL, 0) == 6);
    is(recvfds_msghdr(pair[1], NULL, &nfds, &place.message, 0), 6,
       "%s: no array is needed for no descriptors", type->name);
    prepare(&place, 16);
    fails(receive(-1, &place, 0), EBADF, "%s: descriptor -1", type->name);
    fails(receive(files[0], &place, 0), ENOTSOCK, "%s: a file", type->name);
    ok(unchanged(&place, SENDFD_MAX_FDS), "%s: nothing is written", type->name);
    close_pair(pair);
}

/* Receives that fail because of the message: its descriptors are closed, the caller's
 * pidfd too, and the message is consumed. */
static void failures(const struct socket_type *type, int option)
{
    struct place place;
    int pair[2];
    socket_pair(type->type, pair);
    if (option && !set_option(pair[1], option, 1)) {
        tap_skip("no SO_PASSPIDFD before Linux 6.5");
        close_pair(pair);
        return;
    }
    int before = count_fds();
    for (int room = 0; room < 3; room++) {
        need(raw_send(pair[0], "abcdef", 6, files, 3) == 6);
        prepare(&place, sizeof place.control);
        place.nfds = room;
        fails(receive(pair[1], &place, 0), EMSGSIZE, "%s: 3 descriptors, room for %d",
              type->name, room);
        ok(unchanged(&place, room), "%s: the message is as it was", type->name);
        is(count_fds(), before, "%s: everything is closed", type->name);
        ok(is_empty(pair[1]), "%s: and consumed", type->name);

        need(raw_send(pair[0], "abcdef", 6, files, 3) == 6);
        prepare(&place, sizeof place.control);
        leave_room_for(room);
        fails(receive(pair[1], &place, 0), EMFILE, "%s: 3 descriptors, %d can be opened",
              type->name, room);
        restore_limit();
        ok(unchanged(&place, SENDFD_MAX_FDS), "%s: the message is as it was", type->name);
        is(count_fds(), before, "%s: everything is closed", type->name);
        ok(is_empty(pair[1]), "%s: and consumed", type->name);
    }
    for (size_t i = 0; i < SENDFD_MAX_FDS; i++)
        if (place.fds[i] != (int)0xa5a5a5a5)
            ok(false, "%s: place %zu of the array is written", type->name, i);
    close_pair(pair);
}

/* -2, and a pidfd that comes even then, on sockets that have connections. An empty
 * packet looks the same. */
static void end_of_file(const struct socket_type *type, int option)
{
    struct place place;
    int pair[2];
    socket_pair(type->type, pair);
    if (option && !set_option(pair[1], option, 1)) {
        tap_skip("no SO_PASSPIDFD before Linux 6.5");
        close_pair(pair);
        return;
    }
    int before = count_fds();
    if (type->type != SOCK_STREAM) {
        need(send(pair[0], "", 0, 0) == 0);
        prepare(&place, sizeof place.control);
        if (type->type == SOCK_DGRAM) {
            is(receive(pair[1], &place, 0), 0, "%s: an empty datagram", type->name);
            is(place.nfds, 0, "%s: has no descriptor", type->name);
            if (pidfd_in(&place) >= 0)
                close(pidfd_in(&place));
        } else {
            is(receive(pair[1], &place, 0), RECVFD_EOF, "%s: an empty packet",
               type->name);
            ok(unchanged(&place, SENDFD_MAX_FDS), "%s: the message is as it was",
               type->name);
        }
        is(count_fds(), before, "%s: no pidfd is left open", type->name);
    }
    need(raw_send(pair[0], "abcdef", 6, files, 1) == 6);
    close(pair[0]);
    prepare(&place, 0);
    is(receive(pair[1], &place, 0), 6, "%s: the last message", type->name);
    close_fds(place.fds, place.nfds);
    for (int i = 0; i < 2; i++) {
        prepare(&place, sizeof place.control);
        if (type->type == SOCK_DGRAM)
            fails(receive(pair[1], &place, MSG_DONTWAIT), EAGAIN, "%s: then nothing",
                  type->name);
        else
            is(receive(pair[1], &place, 0), RECVFD_EOF, "%s: then the end of file",
               type->name);
        ok(unchanged(&place, SENDFD_MAX_FDS), "%s: the message is as it was", type->name);
        is(count_fds(), before - 1, "%s: nothing is opened", type->name);
    }
    close(pair[1]);
}

/* Descriptors without data are no end of file, and no data needs no array. */
static void descriptors_alone(const struct socket_type *type)
{
    struct place place;
    int pair[2];
    if (type->type == SOCK_STREAM)
        return;
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "", 0, files, 3) == 0);
    prepare(&place, sizeof place.control);
    is(receive(pair[1], &place, 0), 0, "%s: descriptors without data", type->name);
    ok(has_files(&place, 3), "%s: come", type->name);
    close_fds(place.fds, place.nfds);
    close_pair(pair);
}

/* Who sent it: the address of a datagram, cut where the caller has less room. */
static void addresses(const char *directory)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX}, own = {.sun_family = AF_UNIX};
    struct place place;
    int receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    need(receiver >= 0 && sender >= 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s/receiver", directory);
    snprintf(own.sun_path, sizeof own.sun_path, "%s/sender", directory);
    size_t length = offsetof(struct sockaddr_un, sun_path) + strlen(own.sun_path) + 1;
    need(bind(receiver, (const void *)&name, sizeof name) == 0);
    need(connect(sender, (const void *)&name, sizeof name) == 0);
    need(raw_send(sender, "abcdef", 6, files, 1) == 6);
    prepare(&place, 0);
    place.message.msg_name = &place.name;
    place.message.msg_namelen = sizeof place.name;
    is(receive(receiver, &place, 0), 6, "a datagram of a sender without address");
    is((long)place.message.msg_namelen, 0, "msg_namelen is 0");
    close_fds(place.fds, place.nfds);

    need(bind(sender, (const void *)&own, sizeof own) == 0);
    for (int i = 0; i < 3; i++) {
        const socklen_t room[] = {sizeof place.name, 8, 0};
        need(raw_send(sender, "abcdef", 6, files, 1) == 6);
        prepare(&place, 0);
        place.message.msg_name = room[i] ? &place.name : NULL;
        place.message.msg_namelen = room[i];
        is(receive(receiver, &place, 0), 6, "of one with an address, room for %d bytes",
           (int)room[i]);
        ok(has_files(&place, 1), "the descriptor comes");
        close_fds(place.fds, place.nfds);
        if (!room[i])
            continue;
        is((long)place.message.msg_namelen, (long)length, "msg_namelen is its length");
        ok(memcmp(&place.name, &own, room[i] < length ? room[i] : length) == 0,
           "and that is it, as far as there is room");
    }

    /* Where the call fails msg_namelen is as it was, too. */
    need(raw_send(sender, "abcdef", 6, files, 2) == 6);
    prepare(&place, 0);
    place.message.msg_name = &place.name;
    place.message.msg_namelen = sizeof place.name;
    place.before = place.message;
    place.nfds = 1;
    fails(receive(receiver, &place, 0), EMSGSIZE, "one descriptor too many");
    ok(unchanged(&place, 1), "msg_namelen is as it was");
    close(receiver);
    close(sender);
}

int main(void)
{
    int before = count_fds();
    char *directory = make_directory();
    open_files(files, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        static const int counts[] = {0, 1, SENDFD_MAX_FDS};
        for (size_t j = 0; j < LENGTH(counts); j++) {
            several_buffers(type, counts[j]);
            credentials(type, counts[j]);
            pidfds(type, counts[j], false);
            pidfds(type, counts[j], true);
        }
        most_buffers(type);
        long_datagram(type);
        flags(type);
        wrong_arguments(type);
        failures(type, 0);
        failures(type, PASSPIDFD);
        failures(type, SO_PASSCRED);
        end_of_file(type, 0);
        end_of_file(type, PASSPIDFD);
        descriptors_alone(type);
    }
    addresses(directory);
    remove_directory(directory);
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

/* sendfds_msghdr: several buffers, an address, other control messages and every flag
 * of sendmsg(2) with the descriptors. The message that the caller describes is not
 * changed, and a wrong one is reported before anything is sent. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define MOST_CONTROL 512 /* bytes besides descriptors */

static int files[SENDFD_MAX_FDS];

/* A message of up to three buffers. */
struct parts {
    struct iovec iov[3];
    struct msghdr message;
};

static struct parts parts(const char *first, const char *second, const char *third)
{
    struct parts parts = {
        .iov =
            {
                {.iov_base = (void *)(uintptr_t)first, .iov_len = strlen(first)},
                {.iov_base = (void *)(uintptr_t)second, .iov_len = strlen(second)},
                {.iov_base = (void *)(uintptr_t)third, .iov_len = strlen(third)},
            },
    };
    parts.message.msg_iovlen = 3;
    return parts;
}

/* Field by field, as there is padding between them. */
static bool is_same(const struct parts *a, const struct parts *b)
{
    const struct msghdr *one = &a->message, *other = &b->message;
    return memcmp(a->iov, b->iov, sizeof a->iov) == 0 &&
           one->msg_name == other->msg_name && one->msg_namelen == other->msg_namelen &&
           one->msg_iov == other->msg_iov && one->msg_iovlen == other->msg_iovlen &&
           one->msg_control == other->msg_control &&
           one->msg_controllen == other->msg_controllen &&
           one->msg_flags == other->msg_flags;
}

/* Whether the next message is these bytes with so many of the files. */
static bool comes(int socket, const char *data, int nfds)
{
    struct raw_message message;
    bool right = raw_receive(socket, sizeof message.data, MSG_DONTWAIT, &message) ==
                     (ssize_t)strlen(data) &&
                 memcmp(message.data, data, strlen(data)) == 0 && message.nfds == nfds &&
                 same_files(files, message.fds, nfds);
    if (message.bytes >= 0)
        close_fds(message.fds, message.nfds);
    return right;
}

static void several_buffers(const struct socket_type *type, int nfds)
{
    struct parts three = parts("header ", "", "body");
    int pair[2];
    socket_pair(type->type, pair);
    three.message.msg_iov = three.iov;
    struct parts before = three;
    is(sendfds_msghdr(pair[0], files, nfds, &three.message, 0), 11,
       "%s: three buffers, one of them empty, with %d descriptors", type->name, nfds);
    ok(is_same(&three, &before), "%s: the message is not changed", type->name);
    ok(comes(pair[1], "header body", nfds), "%s: one message on the wire", type->name);
    ok(is_empty(pair[1]), "%s: and no other", type->name);

    /* Pointers that are not used may be NULL. */
    three.iov[1].iov_base = NULL;
    is(sendfds_msghdr(pair[0], nfds ? files : NULL, nfds, &three.message, 0), 11,
       "%s: NULL for what has no length", type->name);
    ok(comes(pair[1], "header body", nfds), "%s: comes as well", type->name);
    close_pair(pair);
}

/* As many as sendmsg(2) takes, and one more. */
static void most_buffers(const struct socket_type *type)
{
    static struct iovec iov[IOV_MAX + 1];
    static char data[IOV_MAX + 1], received[IOV_MAX + 1];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = IOV_MAX};
    int pair[2], fds[2], nfds = 2;
    socket_pair(type->type, pair);
    for (int i = 0; i <= IOV_MAX; i++) {
        data[i] = (char)('a' + i % 26);
        iov[i] = (struct iovec){.iov_base = data + i, .iov_len = 1};
    }
    is(sendfds_msghdr(pair[0], files, 2, &message, 0), IOV_MAX, "%s: %d buffers",
       type->name, IOV_MAX);
    is(recvfds_msg(pair[1], fds, &nfds, received, sizeof received, 0), IOV_MAX,
       "%s: come as one message", type->name);
    ok(memcmp(data, received, IOV_MAX) == 0 && nfds == 2 && same_files(fds, files, 2),
       "%s: in their order, with the descriptors", type->name);
    close_fds(fds, 2);
    message.msg_iovlen++;
    fails(sendfds_msghdr(pair[0], files, 2, &message, 0), EMSGSIZE, "%s: one more",
          type->name);
    fails(sendfds_msghdr(pair[0], NULL, 0, &message, 0), EMSGSIZE,
          "%s: without descriptors too", type->name);
    fails(sendfds_msghdr(-1, files, 2, &message, 0), EMSGSIZE,
          "%s: to descriptor -1, too", type->name);
    ok(is_empty(pair[1]), "%s: nothing is sent", type->name);
    close_pair(pair);
}

static void credentials(const struct socket_type *type, int nfds, bool padded)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))],
        copy[sizeof control];
    struct ucred ids = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    struct parts one = parts("abc", "", "");
    struct msghdr received = {0};
    int pair[2], fds[SENDFD_MAX_FDS], count = SENDFD_MAX_FDS;
    char data[4];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    socket_pair(type->type, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    put_control(control, 0, SOL_SOCKET, SCM_CREDENTIALS, &ids, sizeof ids);
    memcpy(copy, control, sizeof copy);
    one.message.msg_iov = one.iov;
    one.message.msg_control = control;
    one.message.msg_controllen = padded ? sizeof control : CMSG_LEN(sizeof ids);
    is(sendfds_msghdr(pair[0], files, nfds, &one.message, 0), 3,
       "%s: credentials, %s, and %d descriptors", type->name,
       padded ? "padded" : "not padded", nfds);
    ok(memcmp(control, copy, sizeof copy) == 0, "%s: the buffer is not changed",
       type->name);

    _Alignas(struct cmsghdr) char came[RECVFDS_CMSG_SPACE(SENDFD_MAX_FDS)];
    received.msg_iov = &iov;
    received.msg_iovlen = 1;
    received.msg_control = came;
    received.msg_controllen = sizeof came;
    need(recvmsg(pair[1], &received, MSG_CMSG_CLOEXEC) == 3);
    struct cmsghdr *header = find_control(&received, SOL_SOCKET, SCM_CREDENTIALS);
    ok(header && memcmp(CMSG_DATA(header), &ids, sizeof ids) == 0,
       "%s: the credentials come", type->name);
    need(recvfds_cmsg(pair[1], fds, &count, &received, 0) == 0);
    ok(count == nfds && same_files(fds, files, nfds), "%s: and the descriptors",
       type->name);
    close_fds(fds, count);
    close_pair(pair);
}

/* One that the kernel refuses: another's credentials, from a process that may not. */
static int send_as_another(void *argument)
{
    const struct socket_type *type = argument;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))];
    struct ucred ids = {.pid = 1, .uid = 0, .gid = 0};
    struct parts one = parts("abc", "", "");
    int pair[2];
    socket_pair(type->type, pair);
    if (geteuid() == 0 && !become_a_user_of_its_own())
        return 77;
    one.message.msg_iov = one.iov;
    one.message.msg_control = control;
    one.message.msg_controllen =
        put_control(control, 0, SOL_SOCKET, SCM_CREDENTIALS, &ids, sizeof ids);
    return sendfds_msghdr(pair[0], files, 1, &one.message, 0) == -1 && errno == EPERM &&
                   is_empty(pair[1])
               ? 0
               : 1;
}

static void credentials_of_another(const struct socket_type *type)
{
    struct socket_type copy = *type;
    int status = wait_for_child(run_in_child(send_as_another, &copy));
    if (status == 77)
        tap_skip("cannot become another user here, and root may claim anything");
    else
        is(status, 0, "%s: credentials of another process: EPERM, nothing is sent",
           type->name);
}

/* Messages of a level that Unix-domain sockets ignore, as many as there is room for. */
static void most_control(const struct socket_type *type)
{
    static const char zeros[2 * MOST_CONTROL];
    _Alignas(struct cmsghdr) char control[2 * MOST_CONTROL];
    struct parts one = parts("abc", "", "");
    int pair[2];
    socket_pair(type->type, pair);
    one.message.msg_iov = one.iov;
    one.message.msg_control = control;
    one.message.msg_controllen =
        put_control(control, 0, IPPROTO_IPV6, 1, zeros, MOST_CONTROL - CMSG_LEN(0));
    need(one.message.msg_controllen == MOST_CONTROL);
    is(sendfds_msghdr(pair[0], files, SENDFD_MAX_FDS, &one.message, 0), 3,
       "%s: 512 bytes of other messages, and 253 descriptors", type->name);
    ok(comes(pair[1], "abc", SENDFD_MAX_FDS), "%s: all come", type->name);
    for (size_t more = 1; more <= sizeof(long); more += sizeof(long) - 1) {
        one.message.msg_controllen = MOST_CONTROL + more;
        fails(sendfds_msghdr(pair[0], files, 1, &one.message, 0), EINVAL,
              "%s: %zu bytes are too many", type->name, MOST_CONTROL + more);
    }
    one.message.msg_controllen =
        put_control(control, 0, IPPROTO_IPV6, 1, zeros, sizeof control - CMSG_LEN(0));
    is(sendfds_msghdr(pair[0], NULL, 0, &one.message, 0), 3,
       "%s: without descriptors it is the kernel's matter", type->name);
    ok(comes(pair[1], "abc", 0), "%s: which takes more", type->name);

    /* Bytes behind the last message that are too few for one are ignored. */
    for (size_t behind = 1; behind < sizeof(struct cmsghdr); behind++) {
        memset(control, 0xff, sizeof control);
        size_t used = put_control(control, 0, IPPROTO_IPV6, 1, zeros, 8);
        one.message.msg_controllen = used + behind;
        if (sendfds_msghdr(pair[0], files, 2, &one.message, 0) != 3 ||
            !comes(pair[1], "abc", 2))
            ok(false, "%s: %zu bytes behind the last message", type->name, behind);
    }
    one.message.msg_controllen = 3;
    is(sendfds_msghdr(pair[0], files, 2, &one.message, 0), 3,
       "%s: a buffer with no room for any message", type->name);
    ok(comes(pair[1], "abc", 2), "%s: is ignored", type->name);
    close_pair(pair);
}

/* A message whose length is wrong would swallow the descriptors behind it, and the
 * send would report success. */
static void wrong_control(const struct socket_type *type)
{
    static const char zeros[64];
    _Alignas(struct cmsghdr) char control[256];
    struct parts one = parts("abc", "", "");
    struct cmsghdr *header = (void *)control;
    int pair[2];
    socket_pair(type->type, pair);
    one.message.msg_iov = one.iov;
    one.message.msg_control = control;
    for (int nfds = 0; nfds < 3; nfds += 2) {
        size_t used = put_control(control, 0, IPPROTO_IPV6, 1, zeros, 8);
        one.message.msg_controllen = used;
        const size_t lengths[] = {0,    1,       CMSG_LEN(0) - 1, used + 1, used + 8,
                                  4096, INT_MAX, SIZE_MAX - 7,    SIZE_MAX};
        for (size_t i = 0; i < LENGTH(lengths); i++) {
            header->cmsg_len = lengths[i];
            fails(sendfds_msghdr(pair[0], files, nfds, &one.message, 0), EINVAL,
                  "%s: cmsg_len of %zu of %zu bytes with %d descriptors", type->name,
                  lengths[i], used, nfds);
            fails(sendfds_msghdr(-1, files, nfds, &one.message, 0), EINVAL,
                  "%s: which the library sees, not the kernel", type->name);
        }
        /* The second of two, also where only its header is there. */
        used = put_control(control, 0, IPPROTO_IPV6, 1, zeros, 8);
        put_control(control, used, IPPROTO_IPV6, 1, zeros, 8);
        one.message.msg_controllen = used + sizeof(struct cmsghdr);
        fails(sendfds_msghdr(pair[0], files, nfds, &one.message, 0), EINVAL,
              "%s: the second message reaches beyond msg_controllen", type->name);

        put_control(control, used, SOL_SOCKET, SCM_RIGHTS, files, sizeof(int));
        one.message.msg_controllen = used + CMSG_SPACE(sizeof(int));
        fails(sendfds_msghdr(pair[0], files, nfds, &one.message, 0), EINVAL,
              "%s: SCM_RIGHTS of the caller's with %d descriptors", type->name, nfds);
        put_control(control, 0, SOL_SOCKET, SCM_RIGHTS, files, 0);
        one.message.msg_controllen = CMSG_LEN(0);
        fails(sendfds_msghdr(pair[0], files, nfds, &one.message, 0), EINVAL,
              "%s: SCM_RIGHTS of none, too", type->name);
    }
    ok(is_empty(pair[1]), "%s: nothing is sent", type->name);
    ok(passes_a_file(pair), "%s: the socket is as before", type->name);
    close_pair(pair);
}

/* Wrong arguments, reported before the socket is looked at; EINVAL before EFAULT. */
static void wrong_arguments(const struct socket_type *type)
{
    static const int counts[] = {-1, INT_MIN, SENDFD_MAX_FDS + 1, INT_MAX};
    struct parts one = parts("abc", "", "");
    int pair[2];
    socket_pair(type->type, pair);
    const int sockets[] = {pair[0], -1};
    one.message.msg_iov = one.iov;
    for (int i = 0; i < 2; i++) {
        int socket = sockets[i];
        struct msghdr message = one.message;
        for (size_t j = 0; j < LENGTH(counts); j++) {
            volatile int nfds = counts[j];
            fails(sendfds_msghdr(socket, files, nfds, &message, 0), EINVAL,
                  "%s: %d descriptors", type->name, counts[j]);
            fails(sendfds_msghdr(socket, null_fds, nfds, null_data, 0), EINVAL,
                  "%s: from NULL, too", type->name);
        }
        fails(sendfds_msghdr(socket, files, 1, &message, MSG_OOB), EINVAL, "%s: MSG_OOB",
              type->name);
        fails(sendfds_msghdr(socket, NULL, 0, &message, MSG_OOB | MSG_DONTWAIT), EINVAL,
              "%s: without descriptors, too", type->name);
        fails(sendfds_msghdr(socket, files, 1, &message, RECVFD_PARTIAL), EINVAL,
              "%s: RECVFD_PARTIAL", type->name);
        fails(sendfds_msghdr(socket, NULL, 0, &message, RECVFD_PARTIAL), EINVAL,
              "%s: without descriptors, too", type->name);
        fails(sendfds_msghdr(socket, files, 1, null_data, MSG_OOB), EINVAL,
              "%s: and no message", type->name);
        fails(sendfds_msghdr(socket, files, 1, null_data, 0), EFAULT, "%s: no message",
              type->name);
        fails(sendfds_msghdr(socket, null_fds, 1, &message, 0), EFAULT, "%s: fds is NULL",
              type->name);
        message.msg_iov = NULL;
        fails(sendfds_msghdr(socket, files, 1, &message, 0), EFAULT,
              "%s: msg_iov is NULL", type->name);
        fails(sendfds_msghdr(socket, NULL, 0, &message, 0), EFAULT,
              "%s: without descriptors, too", type->name);
        message = one.message;
        struct iovec iov[2] = {one.iov[0], {.iov_base = NULL, .iov_len = 1}};
        message.msg_iov = iov;
        message.msg_iovlen = 2;
        fails(sendfds_msghdr(socket, files, 1, &message, 0), EFAULT,
              "%s: iov_base is NULL", type->name);
        message = one.message;
        message.msg_controllen = 32;
        fails(sendfds_msghdr(socket, files, 1, &message, 0), EFAULT,
              "%s: msg_control is NULL", type->name);
        message.msg_controllen = 600;
        fails(sendfds_msghdr(socket, files, 1, &message, 0), EINVAL,
              "%s: and is too long", type->name);
        message.msg_controllen = 32;
        iov[0].iov_len = (size_t)-1;
        message.msg_iov = iov;
        fails(sendfds_msghdr(socket, files, 1, &message, 0), EINVAL, "%s: or the data is",
              type->name);
    }
    fails(sendfds_msghdr(-1, files, 1, &one.message, 0), EBADF, "%s: descriptor -1",
          type->name);
    fails(sendfds_msghdr(files[0], files, 1, &one.message, 0), ENOTSOCK, "%s: a file",
          type->name);
    fails(sendfds_msghdr(pair[0], (int[]){files[0], -1}, 2, &one.message, 0), EBADF,
          "%s: one of the descriptors is not open", type->name);
    ok(is_empty(pair[1]), "%s: nothing is sent", type->name);
    close_pair(pair);
}

/* Flags are sendmsg's own. */
static void flags(const struct socket_type *type)
{
    static const int harmless[] = {
        0,           MSG_DONTWAIT, MSG_EOR, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC, MSG_DONTROUTE,
        MSG_CONFIRM, MSG_MORE};
    struct parts one = parts("abc", "", "");
    int pair[2], queued, nfds;
    socket_pair(type->type, pair);
    one.message.msg_iov = one.iov;
    for (size_t i = 0; i < LENGTH(harmless); i++) {
        is(sendfds_msghdr(pair[0], files, 2, &one.message, harmless[i]), 3,
           "%s: flags %#x", type->name, (unsigned)harmless[i]);
        ok(comes(pair[1], "abc", 2), "%s: it comes", type->name);
    }
    queued = fill_queue(pair[0]);
    fails(sendfds_msghdr(pair[0], files, 2, &one.message, MSG_DONTWAIT), EAGAIN,
          "%s: MSG_DONTWAIT on a full queue", type->name);
    is(drain_queue(pair[1], &nfds), queued, "%s: the queue is as it was", type->name);
    is(nfds, 0, "%s: no descriptor was sent", type->name);
    close(pair[1]);
    fails(sendfds_msghdr(pair[0], files, 2, &one.message, 0),
          type->type == SOCK_DGRAM ? ECONNREFUSED : EPIPE,
          "%s: the peer has closed, and there is no SIGPIPE", type->name);
    fails(sendfds_msghdr(pair[0], NULL, 0, &one.message, 0),
          type->type == SOCK_DGRAM ? ENOTCONN : EPIPE, "%s: without descriptors neither",
          type->name);
    close(pair[0]);
}

/* Whether sendmsg(2) sends an empty message for no buffer; an emulator may not. */
static bool sends_no_buffer(int pair[2])
{
    struct msghdr message = {.msg_iov = NULL};
    char byte;
    return sendmsg(pair[0], &message, 0) == 0 && !is_empty(pair[1]) &&
           recv(pair[1], &byte, 1, 0) == 0;
}

/* Descriptors alone: one buffer that is empty, or none. */
static void without_data(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    for (int niov = 0; niov <= 3; niov++) {
        if (niov == 0 && type->type != SOCK_STREAM && !sends_no_buffer(pair)) {
            tap_skip("%s: no message without any buffer: an emulator", type->name);
            continue;
        }
        struct parts none = parts("", "", "");
        none.message.msg_iov = niov ? none.iov : NULL;
        none.message.msg_iovlen = (size_t)niov;
        if (type->type == SOCK_STREAM) {
            fails(sendfds_msghdr(pair[0], files, 2, &none.message, 0), EINVAL,
                  "%s: descriptors with %d empty buffers", type->name, niov);
        } else {
            is(sendfds_msghdr(pair[0], files, 2, &none.message, 0), 0,
               "%s: descriptors with %d empty buffers", type->name, niov);
            ok(comes(pair[1], "", 2), "%s: come", type->name);
        }
    }
    ok(is_empty(pair[1]), "%s: nothing else is sent", type->name);
    close_pair(pair);
}

/* A socket that is not connected, and the address in the message. */
static void address(const char *directory)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct parts one = parts("abc", "", "");
    int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), pair[2];
    need(sender >= 0 && receiver >= 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s/socket", directory);
    one.message.msg_iov = one.iov;
    fails(sendfds_msghdr(sender, files, 1, &one.message, 0), ENOTCONN,
          "no address, not connected");
    one.message.msg_name = &name;
    one.message.msg_namelen = sizeof name;
    fails(sendfds_msghdr(sender, files, 1, &one.message, 0), ENOENT,
          "an address that nobody has");
    need(bind(receiver, (const void *)&name, sizeof name) == 0);
    is(sendfds_msghdr(sender, files, 2, &one.message, 0), 3, "an address");
    ok(comes(receiver, "abc", 2), "it comes there");
    is(sendfds_msghdr(sender, NULL, 0, &one.message, 0), 3, "without descriptors");
    ok(comes(receiver, "abc", 0), "it comes, too");
    socket_pair(SOCK_DGRAM, pair);
    is(sendfds_msghdr(pair[0], files, 2, &one.message, 0), 3,
       "an address and a connected datagram socket");
    ok(comes(receiver, "abc", 2) && is_empty(pair[1]), "it goes to the address");
    close_pair(pair);
    socket_pair(SOCK_STREAM, pair);
    fails(sendfds_msghdr(pair[0], files, 1, &one.message, 0), EISCONN,
          "an address and a connected stream");
    ok(is_empty(pair[1]), "nothing is sent");
    close_pair(pair);
    close(receiver);
    fails(sendfds_msghdr(sender, files, 1, &one.message, 0), ECONNREFUSED,
          "an address that nobody has any more");
    close(sender);
}

/* A stream that has room for a part: that goes with all of the descriptors, and the
 * rest without, from the middle of whichever buffer. */
static void partial_write(void)
{
    enum { SIZE = 300000, BUFFERS = 7 };
    static char data[BUFFERS][SIZE], received[BUFFERS * SIZE];
    struct iovec iov[BUFFERS];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = BUFFERS};
    int pair[2], fds[3], nfds = 3, given = 0, parts = 0;
    size_t sent = 0, came = 0;
    socket_pair(SOCK_STREAM, pair);
    set_nonblocking(pair[0]);
    need(set_option(pair[0], SO_SNDBUF, 100000));
    for (int i = 0; i < BUFFERS; i++) {
        for (int j = 0; j < SIZE; j++)
            data[i][j] = (char)(i * 31 + j * 7 + j / 256);
        iov[i] = (struct iovec){.iov_base = data[i], .iov_len = SIZE};
    }
    while (came < sizeof received) {
        ssize_t bytes = sendfds_msghdr(pair[0], files, parts ? 0 : 3, &message, 0);
        if (bytes > 0) {
            parts++;
            sent += (size_t)bytes;
            while (bytes > 0 && message.msg_iovlen > 0) {
                size_t step = message.msg_iov->iov_len;
                step = step < (size_t)bytes ? step : (size_t)bytes;
                message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + step;
                message.msg_iov->iov_len -= step;
                bytes -= (ssize_t)step;
                if (message.msg_iov->iov_len == 0)
                    message.msg_iov++, message.msg_iovlen--;
            }
        } else {
            need(bytes == 0 || errno == EAGAIN);
        }
        while (came < sent) {
            nfds = 3;
            bytes = recvfds_msg(pair[1], fds, &nfds, received + came,
                                sizeof received - came, 0);
            need(bytes > 0);
            came += (size_t)bytes;
            given += nfds;
            close_fds(fds, nfds);
        }
    }
    ok(parts > 1, "SOCK_STREAM: %d buffers went in %d parts", BUFFERS, parts);
    is(given, 3, "SOCK_STREAM: the descriptors went once");
    ok(memcmp(data, received, sizeof received) == 0, "SOCK_STREAM: the bytes are right");
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    char *directory = make_directory();
    open_files(files, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        several_buffers(type, 0);
        several_buffers(type, 1);
        several_buffers(type, SENDFD_MAX_FDS);
        most_buffers(type);
        for (int padded = 0; padded < 2; padded++) {
            credentials(type, 0, padded);
            credentials(type, 1, padded);
            credentials(type, SENDFD_MAX_FDS, padded);
        }
        credentials_of_another(type);
        most_control(type);
        wrong_control(type);
        wrong_arguments(type);
        flags(type);
        without_data(type);
    }
    address(directory);
    partial_write();
    remove_directory(directory);
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

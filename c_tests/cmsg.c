/* sendfds_cmsg and recvfds_cmsg, for a program that makes the system call itself: the
 * first writes a control message and nothing else, the second takes the descriptors out
 * of those that came and leaves the rest to the caller. Neither makes a system call if
 * nothing is wrong. */
#include "simulation.h"

#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define UNTOUCHED 0xa5

/* Usable where a constant is needed. */
static _Alignas(
    struct cmsghdr) unsigned char buffer[SENDFDS_CMSG_SPACE(SENDFD_MAX_FDS) + 64];
_Static_assert(SENDFDS_CMSG_SPACE(1) == CMSG_SPACE(sizeof(int)), "SENDFDS_CMSG_SPACE");
_Static_assert(SENDFDS_CMSG_SPACE(2 + 1) == CMSG_SPACE(3 * sizeof(int)),
               "as an argument");
_Static_assert(RECVFDS_CMSG_SPACE(2 + 1) == CMSG_SPACE(3 * sizeof(int)) + 512,
               "RECVFDS_CMSG_SPACE");
_Static_assert(2 * RECVFDS_CMSG_SPACE(0) == 2 * (CMSG_SPACE(0) + 512), "multiplies");

static int files[SENDFD_MAX_FDS];

static bool untouched(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != UNTOUCHED)
            return false;
    return true;
}

/* --- writing ----------------------------------------------------------------- */

static void writes(int nfds)
{
    size_t space = SENDFDS_CMSG_SPACE((size_t)nfds);
    struct msghdr message = {.msg_control = buffer, .msg_controllen = space};
    memset(buffer, UNTOUCHED, sizeof buffer);
    reset_kernel();
    is(sendfds_cmsg(files, nfds, buffer, space), (long)space,
       "%d descriptors need SENDFDS_CMSG_SPACE(%d)", nfds, nfds);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    ok(header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
           header->cmsg_len == CMSG_LEN(sizeof(int) * (size_t)nfds),
       "the header is right");
    ok(memcmp(CMSG_DATA(header), files, sizeof(int) * (size_t)nfds) == 0,
       "the descriptors are");
    int padding = 0;
    for (size_t i = header->cmsg_len; i < space; i++)
        padding += buffer[i];
    is(padding, 0, "the padding is zero");
    ok(untouched(buffer + space, sizeof buffer - space), "nothing else is written");
    is(sendfds_cmsg(files, nfds, buffer, sizeof buffer), (long)space,
       "more room is not used");
    memset(buffer, UNTOUCHED, sizeof buffer);
    fails(sendfds_cmsg(files, nfds, buffer, space - 1), EINVAL, "one byte less");
    ok(untouched(buffer, sizeof buffer), "and nothing is written");
    is(calls_made(), 0, "no system call");
}

static void wrong_writes(void)
{
    static const int counts[] = {0, -1, INT_MIN, SENDFD_MAX_FDS + 1, INT_MAX};
    memset(buffer, UNTOUCHED, sizeof buffer);
    reset_kernel();
    for (size_t i = 0; i < LENGTH(counts); i++) {
        volatile int nfds = counts[i];
        fails(sendfds_cmsg(files, nfds, buffer, sizeof buffer), EINVAL,
              "sendfds_cmsg of %d", counts[i]);
        fails(sendfds_cmsg(null_fds, nfds, null_data, 64), EINVAL, "of NULL, too");
    }
    for (size_t off = 1; off < _Alignof(struct cmsghdr); off++) {
        fails(sendfds_cmsg(files, 1, buffer + off, 64), EINVAL,
              "a buffer that is off by %zu", off);
        fails(sendfds_cmsg(null_fds, 1, buffer + off, 64), EINVAL, "and fds NULL");
    }
    volatile size_t room = 0;
    fails(sendfds_cmsg(files, 1, buffer, room), EINVAL, "no room");
    fails(sendfds_cmsg(null_fds, 1, buffer, sizeof buffer), EFAULT, "fds is NULL");
    fails(sendfds_cmsg(files, 1, null_data, sizeof buffer), EFAULT, "control is NULL");
    ok(untouched(buffer, sizeof buffer), "nothing is written");
    is(calls_made(), 0, "no system call");
}

/* --- both ways ----------------------------------------------------------------- */

/* A message as recvmsg(2) leaves it. */
struct received {
    char data[16];
    struct iovec iov;
    _Alignas(struct cmsghdr) unsigned char control[RECVFDS_CMSG_SPACE(SENDFD_MAX_FDS)];
    struct msghdr message;
    int fds[SENDFD_MAX_FDS], nfds;
};

static void prepare(struct received *received, size_t room)
{
    memset(received, UNTOUCHED, sizeof *received);
    received->iov =
        (struct iovec){.iov_base = received->data, .iov_len = sizeof received->data};
    received->message = (struct msghdr){
        .msg_iov = &received->iov,
        .msg_iovlen = 1,
        .msg_control = received->control,
        .msg_controllen = room,
    };
    received->nfds = SENDFD_MAX_FDS;
}

static int take(int socket, struct received *received)
{
    return recvfds_cmsg(socket, received->fds, &received->nfds, &received->message, 0);
}

/* After a call that has taken what there was. MSG_CTRUNC, where it is the reason of a
 * failure, stays one. */
static void finds_none(struct received *received)
{
    received->nfds = SENDFD_MAX_FDS;
    is(recvfds_cmsg(-1, received->fds, &received->nfds, &received->message,
                    received->message.msg_flags & MSG_CTRUNC ? RECVFD_PARTIAL : 0),
       0, "a second call");
    is(received->nfds, 0, "finds none");
}

/* With credentials behind the descriptors, and credentials and a pidfd back. */
static void round_trip(const struct socket_type *type, int nfds)
{
    struct ucred ids = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    struct received received;
    struct iovec iov = {.iov_base = "message", .iov_len = 7};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = buffer};
    int pair[2], pidfd = -1;
    socket_pair(type->type, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    bool has_pidfd = set_option(pair[1], 76 /* SO_PASSPIDFD, Linux 6.5 */, 1);
    ssize_t used = sendfds_cmsg(files, nfds, buffer, sizeof buffer);
    need(used > 0);
    message.msg_controllen =
        put_control(buffer, (size_t)used, SOL_SOCKET, SCM_CREDENTIALS, &ids, sizeof ids);
    need(sendmsg(pair[0], &message, 0) == 7);
    prepare(&received, sizeof received.control);
    int before = count_fds();
    need(recvmsg(pair[1], &received.message, MSG_CMSG_CLOEXEC) == 7);
    reset_kernel();
    is(take(pair[1], &received), 0, "%s: recvfds_cmsg of %d", type->name, nfds);
    is(calls_made(), 0, "no system call");
    is(received.nfds, nfds, "%s: so many", type->name);
    ok(same_files(received.fds, files, nfds), "%s: the right ones", type->name);
    ok(nfds == SENDFD_MAX_FDS || received.fds[nfds] == (int)0xa5a5a5a5,
       "%s: no place behind them is written", type->name);
    is(count_control(&received.message), 1 + has_pidfd, "%s: what else came", type->name);
    is((long)received.message.msg_controllen,
       (long)(CMSG_SPACE(sizeof ids) + (has_pidfd ? CMSG_SPACE(sizeof(int)) : 0)),
       "%s: is moved together", type->name);
    ok(received.message.msg_control == received.control, "%s: in the same buffer",
       type->name);
    struct cmsghdr *header = find_control(&received.message, SOL_SOCKET, SCM_CREDENTIALS);
    ok(header && memcmp(CMSG_DATA(header), &ids, sizeof ids) == 0, "%s: credentials",
       type->name);
    ok(!(received.message.msg_flags & MSG_CTRUNC), "%s: no MSG_CTRUNC", type->name);
    header = find_control(&received.message, SOL_SOCKET, PIDFD);
    if (has_pidfd && ok(header != NULL, "%s: and the pidfd, which is open", type->name)) {
        memcpy(&pidfd, CMSG_DATA(header), sizeof pidfd);
        ok(is_close_on_exec(pidfd), "%s: close-on-exec", type->name);
    }
    finds_none(&received);
    is(count_control(&received.message), 1 + has_pidfd, "%s: and leaves the others",
       type->name);
    for (int i = 0; i < nfds; i++)
        close(received.fds[i] == (int)0xa5a5a5a5 ? -1 : received.fds[i]);
    if (pidfd >= 0)
        close(pidfd);
    is(count_fds(), before, "%s: that was all", type->name);
    close_pair(pair);
}

/* A failure because of the message closes all its descriptors, the caller's pidfd too,
 * and takes them out. */
static void failures(const struct socket_type *type)
{
    struct received received;
    int pair[2];
    socket_pair(type->type, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    set_option(pair[1], 76, 1);
    int before = count_fds();
    for (int room = 0; room < 3; room++) {
        need(raw_send(pair[0], "abc", 3, files, 3) == 3);
        prepare(&received, sizeof received.control);
        need(recvmsg(pair[1], &received.message, MSG_CMSG_CLOEXEC) == 3);
        received.nfds = room;
        fails(take(pair[1], &received), EMSGSIZE, "%s: 3 descriptors, room for %d",
              type->name, room);
        is(received.nfds, room, "%s: *nfds is as it was", type->name);
        is(received.fds[0], (int)0xa5a5a5a5, "%s: nor is the array written", type->name);
        is(count_fds(), before, "%s: everything is closed", type->name);
        ok(!find_control(&received.message, SOL_SOCKET, SCM_RIGHTS) &&
               !find_control(&received.message, SOL_SOCKET, PIDFD),
           "%s: and no longer in the message", type->name);
        ok(find_control(&received.message, SOL_SOCKET, SCM_CREDENTIALS),
           "%s: the credentials are", type->name);
        finds_none(&received);
    }

    need(raw_send(pair[0], "abc", 3, files, 3) == 3);
    prepare(&received, sizeof received.control);
    leave_room_for(1);
    need(recvmsg(pair[1], &received.message, MSG_CMSG_CLOEXEC) == 3);
    fails(take(pair[1], &received), EMFILE, "%s: a full table", type->name);
    restore_limit();
    is(count_fds(), before, "%s: everything is closed", type->name);
    finds_none(&received);
    close_pair(pair);
}

/* Descriptors that an emulator has left open: it loses MSG_CTRUNC, and what it has
 * no room for. */
static int lost_by_an_emulator;

/* Less room than RECVFDS_CMSG_SPACE: what did not fit fails as missing descriptors. */
static void too_little_room(const struct socket_type *type)
{
    struct received received;
    int pair[2];
    socket_pair(type->type, pair);
    need(set_option(pair[1], SO_PASSCRED, 1));
    int before = count_fds();
    need(raw_send(pair[0], "abc", 3, files, 3) == 3);
    prepare(&received, CMSG_SPACE(3 * sizeof(int)));
    need(recvmsg(pair[1], &received.message, MSG_CMSG_CLOEXEC) == 3);
    if (!(received.message.msg_flags & MSG_CTRUNC)) {
        tap_skip("%s: no credentials push descriptors out: an emulator", type->name);
        need(take(pair[1], &received) == 0);
        close_fds(received.fds, received.nfds);
        lost_by_an_emulator += count_fds() - before;
        close_pair(pair);
        return;
    }
    fails(take(pair[1], &received), EACCES, "%s: credentials push descriptors out",
          type->name);
    is(count_fds(), before, "%s: everything is closed", type->name);
    finds_none(&received);
    close_pair(pair);
}

/* Wrong arguments touch nothing: the right ones then find everything. */
static void wrong_takes(const struct socket_type *type)
{
    struct received received, copy;
    int pair[2];
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "abc", 3, files, 3) == 3);
    prepare(&received, sizeof received.control);
    need(recvmsg(pair[1], &received.message, MSG_CMSG_CLOEXEC) == 3);
    copy = received;
    reset_kernel();
    static const int counts[] = {-1, INT_MIN}, flags[] = {1, MSG_PEEK, MSG_DONTWAIT};
    for (size_t i = 0; i < LENGTH(counts); i++) {
        received.nfds = counts[i];
        fails(take(pair[1], &received), EINVAL, "%s: room for %d", type->name, counts[i]);
        fails(recvfds_cmsg(pair[1], null_fds, &received.nfds, &received.message, 0),
              EINVAL, "%s: at NULL, too", type->name);
        is(received.nfds, counts[i], "%s: *nfds is as it was", type->name);
    }
    received.nfds = SENDFD_MAX_FDS;
    for (size_t i = 0; i < LENGTH(flags); i++)
        fails(recvfds_cmsg(pair[1], received.fds, &received.nfds, &received.message,
                           flags[i]),
              EINVAL, "%s: flags %#x", type->name, (unsigned)flags[i]);
    fails(recvfds_cmsg(pair[1], null_fds, null_fds, null_data, 1), EINVAL,
          "%s: a flag, and all is NULL", type->name);
    for (size_t off = 1; off < _Alignof(struct cmsghdr); off++) {
        struct msghdr message = received.message;
        message.msg_control = received.control + off;
        fails(recvfds_cmsg(pair[1], received.fds, &received.nfds, &message, 0), EINVAL,
              "%s: a buffer that is off by %zu", type->name, off);
        fails(recvfds_cmsg(pair[1], received.fds, null_fds, &message, 0), EINVAL,
              "%s: and nfds is NULL", type->name);
    }
    fails(recvfds_cmsg(pair[1], null_fds, &received.nfds, &received.message, 0), EFAULT,
          "%s: fds is NULL", type->name);
    fails(recvfds_cmsg(pair[1], received.fds, null_fds, &received.message, 0), EFAULT,
          "%s: nfds is NULL", type->name);
    fails(recvfds_cmsg(pair[1], received.fds, &received.nfds, null_data, 0), EFAULT,
          "%s: the message is NULL", type->name);
    is(calls_made(), 0, "%s: no system call", type->name);
    ok(memcmp(&received, &copy, sizeof copy) == 0, "%s: nothing is touched", type->name);
    is(take(pair[1], &received), 0, "%s: then the right arguments", type->name);
    ok(received.nfds == 3 && same_files(received.fds, files, 3),
       "%s: find the descriptors", type->name);
    close_fds(received.fds, 3);

    need(raw_send(pair[0], "abc", 3, files, 2) == 3);
    prepare(&received, sizeof received.control);
    need(recvmsg(pair[1], &received.message, MSG_CMSG_CLOEXEC) == 3);
    received.nfds = INT_MAX;
    is(take(pair[1], &received), 0, "%s: room for INT_MAX", type->name);
    is(received.nfds, 2, "%s: of which two are needed", type->name);
    close_fds(received.fds, 2);
    close_pair(pair);
}

/* No descriptor is none: the end of file is the caller's to see. */
static void nothing_came(void)
{
    struct received received;
    int nfds = 0;
    reset_kernel();
    prepare(&received, 0);
    is(take(-1, &received), 0, "no control message");
    is(received.nfds, 0, "no descriptor");
    received.message.msg_control = NULL;
    received.nfds = 5;
    is(take(-1, &received), 0, "nor a buffer for any");
    is(received.nfds, 0, "no descriptor");
    is(recvfds_cmsg(-1, NULL, &nfds, &received.message, 0), 0, "nor an array");
    is(nfds, 0, "no descriptor");
    is(calls_made(), 0, "no system call");
}

/* --- messages that no kernel at hand brings ------------------------------------ */

/* MSG_CTRUNC asks the socket, which may be no longer open, or of another domain. */
static void truncated(void)
{
    struct received received;
    int fd, pair[2], udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ucred ids = {0};
    need(udp >= 0);
    socket_pair(SOCK_STREAM, pair);
    int before = count_fds();
    const struct {
        const char *name;
        int socket, dup_error, error;
    } cases[] = {
        {"a socket that is not open", -1, 0, EBADF},
        {"a file for a socket", files[0], 0, ENOTSOCK},
        {"a table with room", pair[0], 0, EACCES},
        {"a full table", pair[0], EMFILE, EMFILE},
        {"a limit of 0", pair[0], EINVAL, EMFILE},
        {"another domain", udp, 0, 0},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        prepare(&received, 0);
        fd = open_file();
        size_t used =
            put_control(received.control, 0, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
        received.message.msg_controllen = put_control(received.control, used, SOL_SOCKET,
                                                      SCM_CREDENTIALS, &ids, sizeof ids);
        received.message.msg_flags = MSG_CTRUNC;
        reset_kernel();
        kernel.dup_error = cases[i].dup_error;
        if (cases[i].error) {
            fails(take(cases[i].socket, &received), cases[i].error, "MSG_CTRUNC, %s",
                  cases[i].name);
            is(received.nfds, SENDFD_MAX_FDS, "*nfds is as it was");
        } else {
            is(take(cases[i].socket, &received), 0, "MSG_CTRUNC, %s", cases[i].name);
            ok(received.nfds == 1 && received.fds[0] == fd, "the descriptor comes");
            ok(received.message.msg_flags & MSG_CTRUNC, "MSG_CTRUNC stays");
            close(fd);
        }
        reset_kernel();
        is(count_fds(), before, "what came is closed");
        is(count_control(&received.message), 1, "and taken out");
        finds_none(&received);
    }
    close_pair(pair);
    close(udp);
}

/* The messages that stay are moved together with their padding, in their order. */
static void what_stays(void)
{
    static const char label[255] = "a label of a security module";
    struct ucred ids = {.pid = 7};
    struct received received;
    long stamp[2] = {1, 2};
    int fds[3], pidfd = -EMFILE, at = 0;
    prepare(&received, 0);
    open_files(fds, 3);
    unsigned char *control = received.control;
    size_t used = put_control(control, 0, SOL_SOCKET, SCM_RIGHTS, fds, 3 * sizeof(int));
    used = put_control(control, used, SOL_SOCKET, SCM_CREDENTIALS, &ids, sizeof ids);
    used = put_control(control, used, SOL_SOCKET, 3 /* SCM_SECURITY */, label, 255);
    used = put_control(control, used, IPPROTO_IP, SCM_RIGHTS, stamp, sizeof stamp);
    used = put_control(control, used, SOL_SOCKET, PIDFD, &pidfd, sizeof pidfd);
    received.message.msg_controllen = used;
    reset_kernel();
    is(take(-1, &received), 0, "descriptors before four other messages");
    ok(received.nfds == 3 && memcmp(received.fds, fds, sizeof fds) == 0,
       "the descriptors");
    is(calls_made(), 0, "no system call");
    is((long)received.message.msg_controllen, (long)(used - CMSG_SPACE(3 * sizeof(int))),
       "msg_controllen is less by what they took");
    const struct {
        int level, type;
        size_t size;
        const void *data;
    } stay[] = {
        {SOL_SOCKET, SCM_CREDENTIALS, sizeof ids, &ids},
        {SOL_SOCKET, 3, 255, label},
        {IPPROTO_IP, SCM_RIGHTS, sizeof stamp, stamp},
        {SOL_SOCKET, PIDFD, sizeof pidfd, &pidfd},
    };
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&received.message); header;
         header = CMSG_NXTHDR(&received.message, header), at++)
        ok(at < 4 && header->cmsg_level == stay[at].level &&
               header->cmsg_type == stay[at].type &&
               header->cmsg_len == CMSG_LEN(stay[at].size) &&
               memcmp(CMSG_DATA(header), stay[at].data, stay[at].size) == 0,
           "message %d stays", at);
    is(at, 4, "all four");
    finds_none(&received);
    close_fds(fds, 3);
}

/* Where the buffer ends with the data of the last message there may be no padding. */
static void no_padding(void)
{
    struct ucred ids = {.pid = 7};
    for (int nfds = 0; nfds < 2; nfds++) {
        struct received received;
        size_t used = 0;
        prepare(&received, 0);
        if (nfds)
            used = put_control(received.control, used, SOL_SOCKET, SCM_RIGHTS, files,
                               sizeof(int));
        put_control(received.control, used, SOL_SOCKET, SCM_CREDENTIALS, &ids,
                    sizeof ids);
        received.message.msg_controllen = used + CMSG_LEN(sizeof ids);
        is(take(-1, &received), 0, "a last message without its padding");
        is(received.nfds, nfds, "%d descriptors before it", nfds);
        is((long)received.message.msg_controllen,
           (long)(nfds ? CMSG_SPACE(sizeof ids) : CMSG_LEN(sizeof ids)),
           "it has some where there is room for it");
        struct cmsghdr *header = (void *)received.control;
        ok(header->cmsg_len == CMSG_LEN(sizeof ids) &&
               memcmp(CMSG_DATA(header), &ids, sizeof ids) == 0,
           "and is whole");
    }
}

/* Lengths that no kernel should report: one beyond the buffer is cut to it, and says so;
 * one below that of a header ends the walk. */
static void wrong_lengths(void)
{
    static const size_t beyond[] = {CMSG_LEN(13), 4096, INT_MAX, SIZE_MAX - 7, SIZE_MAX};
    struct received received;
    struct cmsghdr *header;
    int fd = open_file();
    for (size_t i = 0; i < LENGTH(beyond); i++) {
        prepare(&received, 0);
        size_t used =
            put_control(received.control, 0, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
        header = (void *)(received.control + used);
        used = put_control(received.control, used, SOL_SOCKET, 3, "label567", 8);
        header->cmsg_len = beyond[i];
        received.message.msg_controllen = used;
        is(take(-1, &received), 0, "cmsg_len of %zu", beyond[i]);
        ok(received.nfds == 1 && received.fds[0] == fd, "the descriptor before it");
        is((long)received.message.msg_controllen, (long)CMSG_SPACE(8), "msg_controllen");
        header = (void *)received.control;
        ok(header->cmsg_len == CMSG_LEN(8) && header->cmsg_type == 3,
           "cmsg_len is what there is");
        ok(memcmp(CMSG_DATA(header), "label567", 8) == 0, "and so is the data");

        /* The descriptors themselves. */
        prepare(&received, 0);
        used = put_control(received.control, 0, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
        ((struct cmsghdr *)(void *)received.control)->cmsg_len = beyond[i];
        received.message.msg_controllen = CMSG_LEN(sizeof fd);
        is(take(-1, &received), 0, "SCM_RIGHTS with a cmsg_len of %zu", beyond[i]);
        ok(received.nfds == 1 && received.fds[0] == fd, "has as many as there are");
        is((long)received.message.msg_controllen, 0, "and no other message is there");
    }
    for (size_t length = 0; length < CMSG_LEN(0); length++) {
        prepare(&received, 0);
        size_t used =
            put_control(received.control, 0, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
        header = (void *)(received.control + used);
        used =
            put_control(received.control, used, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
        header->cmsg_len = length;
        received.message.msg_controllen = used;
        if (take(-1, &received) != 0 || received.nfds != 1)
            ok(false, "cmsg_len of %zu: %d descriptors", length, received.nfds);
    }
    /* Less than a header is none. */
    for (size_t length = 0; length < sizeof(struct cmsghdr); length++) {
        prepare(&received, 0);
        put_control(received.control, 0, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
        received.message.msg_controllen = length;
        if (take(-1, &received) != 0 || received.nfds != 0)
            ok(false, "msg_controllen of %zu: %d descriptors", length, received.nfds);
    }
    close(fd);
}

int main(void)
{
    static const int counts[] = {1, 2, 3, 4, 252, SENDFD_MAX_FDS};
    int before = count_fds();
    open_files(files, SENDFD_MAX_FDS);
    for (size_t i = 0; i < LENGTH(counts); i++)
        writes(counts[i]);
    wrong_writes();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        round_trip(&socket_types[i], 1);
        round_trip(&socket_types[i], 2);
        round_trip(&socket_types[i], SENDFD_MAX_FDS);
        failures(&socket_types[i]);
        too_little_room(&socket_types[i]);
        wrong_takes(&socket_types[i]);
    }
    nothing_came();
    truncated();
    what_stays();
    no_padding();
    wrong_lengths();
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before + lost_by_an_emulator, "no descriptor is left open");
    return tap_done();
}

/* Each flag of sendfds_msg and recvfds_msg does what its page says and is passed to the
 * system call unchanged: this program defines its own sendmsg and recvmsg, which record
 * the flags that the library passes to them. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int send_flags, receive_flags;

/* The names for the linker are given because a libc may redirect those in C. */
ssize_t noting_sendmsg(int, const struct msghdr *, int) __asm__("sendmsg");
ssize_t noting_recvmsg(int, struct msghdr *, int) __asm__("recvmsg");

ssize_t noting_sendmsg(int socket, const struct msghdr *message, int flags)
{
    send_flags = flags;
    return syscall(SYS_sendmsg, socket, message, flags);
}

ssize_t noting_recvmsg(int socket, struct msghdr *message, int flags)
{
    receive_flags = flags;
    return syscall(SYS_recvmsg, socket, message, flags);
}

static int files[3];

/* Receives three descriptors with bytes, which it compares, with these flags. */
static bool receives(int socket, const char *text, int flags, int fds[3])
{
    int nfds = 3;
    char data[16];
    ssize_t bytes = recvfds_msg(socket, fds, &nfds, data, sizeof data, flags);
    return bytes == (ssize_t)strlen(text) && memcmp(data, text, strlen(text)) == 0 &&
           nfds == 3 && same_files(files, fds, 3);
}

struct flag {
    const char *name;
    int given, passed_on;
};

static const struct flag flags_of_a_send[] = {
    {"none", 0, MSG_NOSIGNAL},
    {"MSG_DONTWAIT", MSG_DONTWAIT, MSG_DONTWAIT | MSG_NOSIGNAL},
    {"MSG_EOR", MSG_EOR, MSG_EOR | MSG_NOSIGNAL},
    {"MSG_NOSIGNAL", MSG_NOSIGNAL, MSG_NOSIGNAL},
    {"MSG_DONTWAIT and MSG_EOR", MSG_DONTWAIT | MSG_EOR,
     MSG_DONTWAIT | MSG_EOR | MSG_NOSIGNAL},
};

static const struct flag flags_of_a_receive[] = {
    {"none", 0, MSG_CMSG_CLOEXEC},
    {"MSG_DONTWAIT", MSG_DONTWAIT, MSG_DONTWAIT | MSG_CMSG_CLOEXEC},
    {"MSG_PEEK", MSG_PEEK, MSG_PEEK | MSG_CMSG_CLOEXEC},
    {"MSG_CMSG_CLOEXEC", MSG_CMSG_CLOEXEC, MSG_CMSG_CLOEXEC},
    {"MSG_PEEK and MSG_DONTWAIT", MSG_PEEK | MSG_DONTWAIT,
     MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC},
};

static void passed_on(const struct socket_type *type)
{
    int pair[2], fds[3];
    socket_pair(type->type, pair);
    for (size_t i = 0; i < sizeof flags_of_a_send / sizeof *flags_of_a_send; i++) {
        const struct flag *flag = &flags_of_a_send[i];
        is(sendfds_msg(pair[0], files, 3, "abc", 3, flag->given), 3,
           "%s: a send with flags %s", type->name, flag->name);
        is(send_flags, flag->passed_on, "%s: reaches sendmsg so, with MSG_NOSIGNAL",
           type->name);
        ok(receives(pair[1], "abc", 0, fds), "%s: and arrives", type->name);
        close_fds(fds, 3);
    }
    need(sendfds_msg(pair[0], files, 3, "abc", 3, MSG_CMSG_CLOEXEC) == 3);
    is(send_flags & ~MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, "%s: MSG_CMSG_CLOEXEC adds nothing",
       type->name);
    ok(receives(pair[1], "abc", MSG_NOSIGNAL, fds), "%s: nor does MSG_NOSIGNAL",
       type->name);
    is(receive_flags & ~MSG_NOSIGNAL, MSG_CMSG_CLOEXEC, "%s: in a receive", type->name);
    close_fds(fds, 3);
    for (size_t i = 0; i < sizeof flags_of_a_receive / sizeof *flags_of_a_receive; i++) {
        const struct flag *flag = &flags_of_a_receive[i];
        int nfds;
        need(raw_send(pair[0], "abc", 3, files, 3) == 3);
        ok(receives(pair[1], "abc", flag->given, fds), "%s: a receive with flags %s",
           type->name, flag->name);
        is(receive_flags, flag->passed_on, "%s: reaches recvmsg so, with close-on-exec",
           type->name);
        for (int k = 0; k < 3; k++)
            ok(is_close_on_exec(fds[k]), "%s: which number %d is", type->name, k);
        close_fds(fds, 3);
        drain_queue(pair[1], &nfds);
    }
    close_pair(pair);
}

/* MSG_DONTWAIT holds for the one call, on a socket that is and stays blocking. */
static void dont_wait(const struct socket_type *type)
{
    int pair[2], fds[3], nfds = 3, queued;
    char data[4];
    socket_pair(type->type, pair);
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_DONTWAIT), EAGAIN,
          "%s: MSG_DONTWAIT on an empty queue", type->name);
    nfds = 3;
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_DONTWAIT | MSG_PEEK),
          EAGAIN, "%s: with MSG_PEEK too", type->name);
    queued = fill_queue(pair[0]);
    need(queued > 0);
    fails(sendfds_msg(pair[0], files, 3, "abc", 3, MSG_DONTWAIT), EAGAIN,
          "%s: MSG_DONTWAIT on a full queue", type->name);
    fails(sendfds_msg(pair[0], NULL, 0, "abc", 3, MSG_DONTWAIT), EAGAIN,
          "%s: without descriptors too", type->name);
    for (int i = 0; i < 2; i++)
        ok(!(fcntl(pair[i], F_GETFL) & O_NONBLOCK), "%s: end %d is still blocking",
           type->name, i);
    is(drain_queue(pair[1], &nfds), queued, "%s: the queue is as it was", type->name);
    is(nfds, 0, "%s: no descriptor was sent", type->name);
    is(sendfds_msg(pair[0], files, 3, "abc", 3, MSG_DONTWAIT), 3,
       "%s: with room it is sent", type->name);
    ok(receives(pair[1], "abc", MSG_DONTWAIT, fds), "%s: and received", type->name);
    close_fds(fds, 3);
    close_pair(pair);
}

/* Descriptors that are peeked at are the caller's, and each peek brings new ones. */
static void peek(const struct socket_type *type)
{
    int pair[2], first[3], second[3], third[3];
    socket_pair(type->type, pair);
    int before = count_fds();
    need(raw_send(pair[0], "first", 5, files, 3) == 5);
    need(raw_send(pair[0], "second", 6, files, 3) == 6);
    ok(receives(pair[1], "first", MSG_PEEK, first), "%s: a peek", type->name);
    is(count_fds(), before + 3, "%s: opens the descriptors", type->name);
    ok(receives(pair[1], "first", MSG_PEEK, second), "%s: another peek at the same",
       type->name);
    is(count_fds(), before + 6, "%s: opens new ones", type->name);
    ok(receives(pair[1], "first", 0, third), "%s: the message is still queued",
       type->name);
    is(count_fds(), before + 9, "%s: and opens its own", type->name);
    close_fds(first, 3);
    ok(same_files(files, second, 3) && same_files(files, third, 3),
       "%s: closing those of one leaves the others", type->name);
    close_fds(second, 3);
    close_fds(third, 3);
    ok(receives(pair[1], "second", 0, first), "%s: then the next message comes",
       type->name);
    close_fds(first, 3);
    ok(is_empty(pair[1]), "%s: nothing is left", type->name);
    is(count_fds(), before, "%s: and nothing is open", type->name);
    close_pair(pair);
}

/* A peek that fails closes what came and leaves the message in the queue. */
static void failed_peek(const struct socket_type *type)
{
    int pair[2], fds[3] = {-7, -7, -7}, nfds = 2;
    char data[16];
    socket_pair(type->type, pair);
    int before = count_fds();
    need(raw_send(pair[0], "0123456789", 10, files, 3) == 10);
    for (int i = 0; i < 2; i++) {
        nfds = i;
        fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_PEEK), EMSGSIZE,
              "%s: a peek at 3 descriptors with room for %d", type->name, i);
        is(nfds, i, "%s: *nfds is as it was", type->name);
        is(count_fds(), before, "%s: all are closed", type->name);
    }
    if (type->type != SOCK_STREAM) {
        nfds = 3;
        fails(recvfds_msg(pair[1], fds, &nfds, data, 9, MSG_PEEK), EMSGSIZE,
              "%s: a peek at 10 bytes with room for 9", type->name);
        is(count_fds(), before, "%s: all are closed", type->name);
    }
    leave_room_for(2);
    nfds = 3;
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_PEEK), EMFILE,
          "%s: a peek at 3 descriptors with a full table", type->name);
    restore_limit();
    is(nfds, 3, "%s: *nfds is as it was", type->name);
    is(count_fds(), before, "%s: all are closed", type->name);
    ok(fds[0] == -7 && fds[1] == -7 && fds[2] == -7, "%s: the array is not written",
       type->name);
    ok(receives(pair[1], "0123456789", 0, fds), "%s: the message is still queued",
       type->name);
    ok(is_empty(pair[1]), "%s: once", type->name);
    close_fds(fds, 3);
    close_pair(pair);
}

/* The end of file can be peeked at as often as one likes. */
static void peek_at_the_end(const struct socket_type *type)
{
    int pair[2], fds[3], nfds = 3;
    char data[4];
    if (type->type == SOCK_DGRAM)
        return;
    socket_pair(type->type, pair);
    close(pair[0]);
    for (int i = 0; i < 2; i++) {
        is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_PEEK), RECVFD_EOF,
           "%s: a peek at the end of file", type->name);
        is(nfds, 3, "%s: *nfds is as it was", type->name);
    }
    close(pair[1]);
}

int main(void)
{
    int before = count_fds();
    open_files(files, 3);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        passed_on(&socket_types[i]);
        dont_wait(&socket_types[i]);
        peek(&socket_types[i]);
        failed_peek(&socket_types[i]);
        peek_at_the_end(&socket_types[i]);
    }
    close_fds(files, 3);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

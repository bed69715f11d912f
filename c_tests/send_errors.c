/* Every error of the kernel for a send: the caller gets the kernel's errno, nothing
 * arrives at the peer, the caller's descriptors stay open, and no SIGPIPE is raised. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PASSRIGHTS 83      /* SO_PASSRIGHTS, Linux 6.16 */
#define IO_URING_SETUP 425 /* its number on every machine; Linux 5.1 */

static volatile sig_atomic_t broken_pipes;

static void count_broken_pipe(int signal_number)
{
    (void)signal_number;
    broken_pipes++;
}

static bool are_open(const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        if (fcntl(fds[i], F_GETFD) < 0)
            return false;
    return true;
}

/* Three bytes in two buffers. */
static ssize_t send_msghdr(int socket, const int *fds, int nfds)
{
    struct iovec iov[2] = {{.iov_base = "ab", .iov_len = 2},
                           {.iov_base = "c", .iov_len = 1}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    return sendfds_msghdr(socket, fds, nfds, &message, 0);
}

/* sendfd of the first fails with error, and so do those that send them all. */
static void all_fail(const char *name, int socket, const int *fds, int nfds, int error)
{
    fails(sendfd(socket, fds[0]), error, "%s: sendfd", name);
    fails(sendfds(socket, fds, nfds), error, "%s: sendfds of %d", name, nfds);
    fails(sendfds_all(socket, fds, nfds), error, "%s: sendfds_all", name);
    fails(sendfds_msg(socket, fds, nfds, "abc", 3, 0), error, "%s: sendfds_msg", name);
    fails(send_msghdr(socket, fds, nfds), error, "%s: sendfds_msghdr", name);
    ok(are_open(fds, nfds), "%s: the caller's descriptors are open", name);
}

static void bad_descriptors(const struct socket_type *type)
{
    int pair[2], fds[5], closed[2];
    socket_pair(type->type, pair);
    open_files(fds, 5);
    socket_pair(type->type, closed);
    close_pair(closed);
    fails(sendfd(pair[0], -1), EBADF, "%s: sendfd of -1", type->name);
    fails(sendfd(pair[0], -100), EBADF, "%s: sendfd of AT_FDCWD", type->name);
    fails(sendfd(pair[0], closed[0]), EBADF, "%s: sendfd of a closed one", type->name);
    for (int i = 0; i < 5; i++) {
        int array[5];
        memcpy(array, fds, sizeof array);
        array[i] = i % 2 ? closed[0] : -1;
        fails(sendfds(pair[0], array, 5), EBADF, "%s: sendfds with a bad one at %d",
              type->name, i);
        fails(sendfds_all(pair[0], array, 5), EBADF, "%s: sendfds_all", type->name);
        fails(sendfds_msg(pair[0], array, 5, "abc", 3, 0), EBADF, "%s: sendfds_msg",
              type->name);
        fails(send_msghdr(pair[0], array, 5), EBADF, "%s: sendfds_msghdr", type->name);
        is(array[i], i % 2 ? closed[0] : -1, "%s: the array is not written", type->name);
    }
    ok(are_open(fds, 5), "%s: the good ones are open", type->name);
    ok(is_empty(pair[1]), "%s: nothing arrived", type->name);
    ok(passes_a_file(pair), "%s: the next message comes", type->name);
    close_fds(fds, 5);
    close_pair(pair);
}

static void not_connected(const struct socket_type *type, const int *fds)
{
    int alone = socket(AF_UNIX, type->type | SOCK_CLOEXEC, 0);
    need(alone >= 0);
    tap_note("%s: not connected", type->name);
    all_fail(type->name, alone, fds, 3, ENOTCONN);
    close(alone);
}

/* One end of a pair whose other end has closed. */
static int one_left(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    close(pair[0]);
    return pair[1];
}

static void peer_closed(const struct socket_type *type, const int *fds)
{
    int left[5];
    for (int i = 0; i < 5; i++)
        left[i] = one_left(type);
    tap_note("%s: the peer has closed", type->name);
    if (type->type == SOCK_DGRAM) {
        fails(sendfd(left[0], fds[0]), ECONNREFUSED, "%s: sendfd", type->name);
        fails(sendfd(left[0], fds[0]), ENOTCONN, "%s: which disconnects", type->name);
        fails(sendfds(left[1], fds, 3), ECONNREFUSED, "%s: sendfds", type->name);
        fails(sendfds_all(left[2], fds, 3), ECONNREFUSED, "%s: sendfds_all", type->name);
        fails(sendfds_msg(left[3], fds, 3, "abc", 3, 0), ECONNREFUSED, "%s: sendfds_msg",
              type->name);
        fails(send_msghdr(left[4], fds, 3), ECONNREFUSED, "%s: sendfds_msghdr",
              type->name);
    } else {
        all_fail(type->name, left[0], fds, 3, EPIPE);
    }
    is(broken_pipes, 0, "%s: no SIGPIPE", type->name);
    close_fds(left, 5);
}

/* The sender may not send any more: its peer sees the end of file and no byte. */
static void sender_shut_down(const struct socket_type *type, const int *fds)
{
    int pair[2];
    socket_pair(type->type, pair);
    need(shutdown(pair[0], SHUT_WR) == 0);
    tap_note("%s: the sender has called shutdown(SHUT_WR)", type->name);
    all_fail(type->name, pair[0], fds, 3, EPIPE);
    is(broken_pipes, 0, "%s: no SIGPIPE", type->name);
    set_nonblocking(pair[1]);
    char byte;
    is(recv(pair[1], &byte, 1, 0), type->type == SOCK_DGRAM ? -1 : 0,
       "%s: nothing arrived", type->name);
    close_pair(pair);
}

static void receiver_shut_down(const struct socket_type *type, const int *fds)
{
    int pair[2];
    socket_pair(type->type, pair);
    need(shutdown(pair[1], SHUT_RD) == 0);
    tap_note("%s: the receiver has called shutdown(SHUT_RD)", type->name);
    all_fail(type->name, pair[0], fds, 3, EPIPE);
    is(broken_pipes, 0, "%s: no SIGPIPE", type->name);
    close_pair(pair);
}

/* The peer closed without reading: SOCK_SEQPACKET reports that once. */
static void reset(const struct socket_type *type, const int *fds)
{
    int pair[2];
    socket_pair(type->type, pair);
    need(sendfd(pair[1], fds[0]) == 1);
    close(pair[0]);
    if (type->type == SOCK_SEQPACKET)
        fails(sendfd(pair[1], fds[0]), ECONNRESET, "%s: a reset", type->name);
    fails(sendfd(pair[1], fds[0]), EPIPE, "%s: a closed peer", type->name);
    is(broken_pipes, 0, "%s: no SIGPIPE", type->name);
    close(pair[1]);
}

/* Fills the queue until a send fails, then takes out as many as went in. */
static void until_full(const char *name, const int pair[2], const int *fds)
{
    int sent = 0, came = 0, received[1], returned;
    while (errno = 0, (returned = sendfds(pair[0], fds, 1)) == 1)
        sent++;
    int error = errno;
    ok(sent > 0, "%s: some messages fit", name);
    ok(returned == -1 && error == EAGAIN, "%s: EAGAIN for one more", name);
    fails(sendfds(pair[0], fds, 3), EAGAIN, "%s: and for one of three", name);
    fails(sendfd(pair[0], fds[0]), EAGAIN, "%s: and for one of sendfd", name);
    fails(sendfds_all(pair[0], fds, 3), EAGAIN, "%s: and for those of sendfds_all", name);
    fails(sendfds_msg(pair[0], fds, 3, "abc", 3, 0), EAGAIN,
          "%s: and for one of sendfds_msg", name);
    fails(sendfds_msg(pair[0], NULL, 0, "abc", 3, 0), EAGAIN, "%s: and for bytes alone",
          name);
    ok(are_open(fds, 3), "%s: the caller's descriptors are open", name);
    while (recvfds(pair[1], received, 1) == 1) {
        close_fds(received, 1);
        came++;
    }
    is(came, sent, "%s: what came is what was sent", name);
    ok(passes_a_file(pair), "%s: there is room again", name);
}

static void full_queue(const struct socket_type *type, const int *fds)
{
    int pair[2];
    socket_pair(type->type, pair);
    set_nonblocking(pair[0]);
    set_nonblocking(pair[1]);
    tap_note("%s: non-blocking", type->name);
    until_full(type->name, pair, fds);
    close_pair(pair);

    socket_pair(type->type, pair);
    set_timeout(pair[0], SO_SNDTIMEO, 10);
    set_nonblocking(pair[1]);
    tap_note("%s: with SO_SNDTIMEO", type->name);
    until_full(type->name, pair, fds);
    close_pair(pair);
}

/* An io_uring holds what is registered with it, so the kernel passes none on. */
static void io_uring(const int *fds)
{
    uint64_t parameters[15] = {0}; /* struct io_uring_params is 120 bytes */
    int ring = (int)syscall(IO_URING_SETUP, 1, parameters);
    if (ring < 0) {
        tap_skip("no io_uring here: %s", strerror(errno));
        return;
    }
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const char *name = socket_types[i].name;
        int pair[2];
        socket_pair(socket_types[i].type, pair);
        fails(sendfd(pair[0], ring), EINVAL, "%s: sendfd of an io_uring", name);
        int amid[] = {fds[0], ring, fds[1]};
        fails(sendfds(pair[0], amid, 3), EINVAL, "%s: sendfds of one amid others", name);
        fails(sendfds_all(pair[0], amid, 3), EINVAL, "%s: sendfds_all", name);
        fails(sendfds_msg(pair[0], amid, 3, "abc", 3, 0), EINVAL, "%s: sendfds_msg",
              name);
        ok(are_open(&ring, 1) && are_open(fds, 2), "%s: they are open", name);
        ok(is_empty(pair[1]), "%s: nothing arrived", name);
        ok(passes_a_file(pair), "%s: the next message comes", name);
        close_pair(pair);
    }
    close(ring);
}

static void receiver_takes_none(const struct socket_type *type, const int *fds)
{
    int pair[2];
    socket_pair(type->type, pair);
    if (!set_option(pair[1], PASSRIGHTS, 0)) {
        tap_skip("this kernel has no SO_PASSRIGHTS");
        close_pair(pair);
        return;
    }
    tap_note("%s: SO_PASSRIGHTS is 0", type->name);
    all_fail(type->name, pair[0], fds, 3, EPERM);
    ok(is_empty(pair[1]), "%s: nothing arrived", type->name);
    need(set_option(pair[1], PASSRIGHTS, 1));
    ok(passes_a_file(pair), "%s: it takes them again", type->name);
    close_pair(pair);
}

/* How a child that runs into ETOOMANYREFS ends. */
enum outcome {
    AS_EXPECTED,
    STILL_PRIVILEGED = 10,
    NEVER_TOO_MANY,
    OTHER_ERRNO,
    DESCRIPTOR_CLOSED,
    NOT_CLEARED,
    OTHER_NUMBER_CAME,
};

#define PER_MESSAGE 10

/* A limit that whole messages add up to, with room to receive one below it. */
static void lower_the_limit(int lowest_free)
{
    rlim_t descriptors = ((rlim_t)lowest_free + 2 * PER_MESSAGE) / PER_MESSAGE + 1;
    struct rlimit low = {descriptors * PER_MESSAGE, descriptors * PER_MESSAGE};
    need(setrlimit(RLIMIT_NOFILE, &low) == 0);
}

static enum outcome run_into_the_limit(int type, bool alone)
{
    int pair[2], fds[PER_MESSAGE], received[PER_MESSAGE], sent = 0, came = 0;
    int file = open_file();
    for (int i = 0; i < PER_MESSAGE; i++)
        fds[i] = file;
    socket_pair(type, pair);
    set_nonblocking(pair[0]);
    set_nonblocking(pair[1]);
    int lowest_free = dup(file);
    close(lowest_free);
    lower_the_limit(lowest_free);

    errno = 0;
    while (sent < 1000 && sendfds(pair[0], fds, PER_MESSAGE) == PER_MESSAGE)
        sent++;
    if (sent == 1000)
        return NEVER_TOO_MANY;
    if (errno != ETOOMANYREFS)
        return OTHER_ERRNO;
    if (alone && (sendfd(pair[0], file) != -1 || errno != ETOOMANYREFS))
        return OTHER_ERRNO;
    if (alone && (sendfds_msg(pair[0], fds, 1, "a", 1, 0) != -1 || errno != ETOOMANYREFS))
        return OTHER_ERRNO;
    if (alone && (sendfds_all(pair[0], fds, 1) != -1 || errno != ETOOMANYREFS))
        return OTHER_ERRNO;
    if (!are_open(&file, 1))
        return DESCRIPTOR_CLOSED;
    bool cleared = false;
    while (!cleared) {
        if (recvfds(pair[1], received, PER_MESSAGE) == PER_MESSAGE) {
            close_fds(received, PER_MESSAGE);
            came++;
        }
        cleared = sendfds(pair[0], fds, PER_MESSAGE) == PER_MESSAGE;
        if (!cleared && (alone || errno != ETOOMANYREFS))
            return NOT_CLEARED;
        if (!cleared)
            sched_yield(); /* other processes of this user have some in flight */
    }
    sent++;
    while (recvfds(pair[1], received, PER_MESSAGE) == PER_MESSAGE) {
        close_fds(received, PER_MESSAGE);
        came++;
    }
    return came == sent ? AS_EXPECTED : OTHER_NUMBER_CAME;
}

static int too_many_in_flight(void *type)
{
    bool privileged = geteuid() == 0;
    if (privileged && !become_a_user_of_its_own())
        return STILL_PRIVILEGED;
    return (int)run_into_the_limit(*(const int *)type, privileged);
}

static void too_many_references(const struct socket_type *type)
{
    int kind = type->type;
    int outcome = wait_for_child(run_in_child(too_many_in_flight, &kind));
    if (outcome == STILL_PRIVILEGED)
        tap_skip("cannot become another user here, and root is exempt");
    else
        is(outcome, AS_EXPECTED, "%s: ETOOMANYREFS, gone after one receive", type->name);
}

int main(void)
{
    int before = count_fds(), fds[3];
    struct sigaction action = {.sa_handler = count_broken_pipe};
    need(sigaction(SIGPIPE, &action, NULL) == 0);
    open_files(fds, 3);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        bad_descriptors(type);
        not_connected(type, fds);
        peer_closed(type, fds);
        sender_shut_down(type, fds);
        receiver_shut_down(type, fds);
        if (type->type != SOCK_DGRAM)
            reset(type, fds);
        full_queue(type, fds);
        receiver_takes_none(type, fds);
        too_many_references(type);
    }
    io_uring(fds);
    close_fds(fds, 3);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

/* Too many descriptors in flight (ETOOMANYREFS), for an unprivileged user with a low
 * RLIMIT_NOFILE: on a blocking socket sendfds_all waits until there are fewer, a signal
 * comes, the timeout expires or the receiver closes; on a non-blocking one it fails at
 * once. The other sends always fail at once. Exactly the descriptors that are reported as
 * sent arrive. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LIMIT 80 /* the sender's RLIMIT_NOFILE: one message of 253 is above it */
#define FILES 31 /* shares no factor with 253 */
#define MESSAGES 12
#define MANY (MESSAGES * SENDFD_MAX_FDS + 100)

static int files[FILES], to_send[MANY];

/* The task and the result of the sender, which is a process of its own. */
struct sender {
    int type;
    void (*body)(struct sender *sender);
    int pair[2];
    int done[2]; /* a pipe: the sender stays until the other end is closed */
    bool exempt; /* it could not become a user who is not */
    bool alone;  /* its user has no other process */
    int tick_flags;
    atomic_int calls; /* that have ended before all went */
    int returned, error, then_returned, then_error;
    int other_errors[3]; /* of sendfd, sendfds and sendfds_msg */
    long milliseconds;
};

static struct sender *sender; /* in shared memory */

static int run_sender(void *unused)
{
    (void)unused;
    char byte;
    close(sender->pair[1]);
    close(sender->done[1]);
    sender->alone = geteuid() == 0;
    sender->exempt = sender->alone && !become_a_user_of_its_own();
    if (sender->exempt)
        return 0;
    set_limit(LIMIT);
    sender->body(sender);
    while (read(sender->done[0], &byte, 1) < 0)
        ;
    return 0;
}

static pid_t start_sender(int type, void (*body)(struct sender *sender), int tick_flags)
{
    memset(sender, 0, sizeof *sender);
    sender->type = type;
    sender->body = body;
    sender->tick_flags = tick_flags;
    socket_pair(type, sender->pair);
    need(pipe(sender->done) == 0);
    pid_t child = run_in_child(run_sender, NULL);
    close(sender->pair[0]);
    close(sender->done[0]);
    return child;
}

/* Lets the sender end. */
static void end_sender(pid_t child)
{
    close(sender->done[1]);
    need(wait_for_child(child) == 0);
}

/* Waits until a message has come, and the sender for room for another. */
static void wait_for_message(pid_t child)
{
    struct pollfd poll_for = {.fd = sender->pair[1], .events = POLLIN};
    need(poll(&poll_for, 1, 1000 * TAP_TIMEOUT / 2) == 1);
    wait_until_asleep(child);
}

static bool are_right(const int *fds, int nfds, int first)
{
    return nfds >= 0 && same_files(fds, to_send + first, nfds);
}

/* Takes one message; whether it has those descriptors that follow the first ones. */
static bool take_message(int *came)
{
    int fds[SENDFD_MAX_FDS];
    int nfds = recvfds(sender->pair[1], fds, SENDFD_MAX_FDS);
    if (nfds < 1)
        return false;
    bool right = are_right(fds, nfds, *came);
    close_fds(fds, nfds);
    *came += nfds;
    return right;
}

/* Whether what is queued, from a sender that is gone, is so many descriptors. */
static bool exactly_so_many_arrived(int came, int nfds)
{
    int fd;
    while (came < nfds)
        if (!take_message(&came))
            return false;
    return came == nfds &&
           (sender->type == SOCK_DGRAM ? is_empty(sender->pair[1])
                                       : recvfds(sender->pair[1], &fd, 1) == RECVFD_EOF);
}

/* Sends what it takes to be at the limit. Other processes of the same user may be
 * there already: theirs pass. */
static int send_with_patience(int socket, int (*send)(int, const int *, int), int nfds,
                              int error)
{
    int returned;
    do {
        errno = 0;
        returned = send(socket, to_send, nfds);
    } while (returned == -1 && errno == error && !sender->alone && sched_yield() == 0);
    return returned;
}

/* --- a receiver that takes its time ------------------------------------------ */

static int errno_of(long returned)
{
    return returned == -1 ? errno : 0;
}

/* The other functions do not wait, whatever the socket. */
static void try_all_then_send(struct sender *self)
{
    int socket = self->pair[0];
    send_with_patience(socket, sendfds, SENDFD_MAX_FDS, ETOOMANYREFS);
    self->other_errors[0] = errno_of(sendfd(socket, to_send[0]));
    self->other_errors[1] = errno_of(sendfds(socket, to_send, 1));
    self->other_errors[2] = errno_of(sendfds_msg(socket, to_send, 1, "abc", 3, 0));
    self->then_returned = (int)sendfds_msg(socket, NULL, 0, "abc", 3, 0);
    errno = 0;
    self->returned = sendfds_all(socket, to_send + SENDFD_MAX_FDS, MANY - SENDFD_MAX_FDS);
    self->error = errno;
}

static void slow_receiver(const struct socket_type *type)
{
    static const char *const names[] = {"sendfd", "sendfds", "sendfds_msg"};
    pid_t child = start_sender(type->type, try_all_then_send, 0);
    int came = 0;
    bool right = true;
    char text[4] = "";
    while (came < MANY && right) {
        wait_for_message(child);
        if (came == SENDFD_MAX_FDS && !text[0]) {
            int none = 0;
            need(recvfds_msg(sender->pair[1], NULL, &none, text, 3, 0) == 3);
            continue;
        }
        right = take_message(&came);
    }
    end_sender(child);
    for (int i = 0; i < 3; i++)
        is(sender->other_errors[i], ETOOMANYREFS, "%s: %s fails at once", type->name,
           names[i]);
    is(sender->then_returned, 3, "%s: bytes alone can be sent", type->name);
    ok(strcmp(text, "abc") == 0, "%s: and come", type->name);
    is(sender->returned, MANY - SENDFD_MAX_FDS, "%s: sendfds_all has waited and sent all",
       type->name);
    is(came, MANY, "%s: and all came, one message at a time", type->name);
    ok(right, "%s: the right files in the right order", type->name);
    ok(exactly_so_many_arrived(came, MANY), "%s: and no more", type->name);
    close(sender->pair[1]);
}

/* --- what ends the wait ------------------------------------------------------ */

/* Two calls: the first has sent a message when it ends, the second none. */
static void send_twice(struct sender *self, int error)
{
    struct timespec start, end;
    need(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
    self->returned = send_with_patience(self->pair[0], sendfds_all, MANY, error);
    self->error = errno;
    need(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
    self->milliseconds =
        (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
    errno = 0;
    self->then_returned = sendfds_all(self->pair[0], to_send, 1);
    self->then_error = errno;
}

static void send_nonblocking(struct sender *self)
{
    set_nonblocking(self->pair[0]);
    send_twice(self, ETOOMANYREFS);
}

static void send_with_timeout(struct sender *self)
{
    set_timeout(self->pair[0], SO_SNDTIMEO, 30);
    send_twice(self, EAGAIN);
}

static void do_nothing(int signal)
{
    (void)signal;
}

static void send_interrupted(struct sender *self)
{
    start_ticks(do_nothing, self->tick_flags);
    send_twice(self, EINTR);
    stop_ticks();
}

static void ends(const struct socket_type *type, const char *how,
                 void (*body)(struct sender *), int tick_flags, int error)
{
    pid_t child = start_sender(type->type, body, tick_flags);
    end_sender(child);
    is(sender->returned, SENDFD_MAX_FDS, "%s: %s: one message went", type->name, how);
    is(sender->error, error, "%s: %s: errno", type->name, how);
    is(sender->then_returned, -1, "%s: %s: then none", type->name, how);
    is(sender->then_error, error, "%s: %s: errno", type->name, how);
    ok(exactly_so_many_arrived(0, SENDFD_MAX_FDS), "%s: %s: exactly so many arrive",
       type->name, how);
    close(sender->pair[1]);
}

static void send_until_gone(struct sender *self)
{
    errno = 0;
    self->returned = sendfds_all(self->pair[0], to_send, MANY);
    self->error = errno;
}

/* It takes two messages, and closes when a third is queued: which SOCK_SEQPACKET
 * reports to the sender. */
static void receiver_dies(const struct socket_type *type)
{
    int error = type->type == SOCK_STREAM      ? EPIPE
                : type->type == SOCK_SEQPACKET ? ECONNRESET
                                               : ECONNREFUSED;
    pid_t child = start_sender(type->type, send_until_gone, 0);
    int came = 0;
    bool right = true;
    for (int i = 0; i < 2; i++) {
        wait_for_message(child);
        right = right && take_message(&came);
    }
    wait_for_message(child);
    close(sender->pair[1]);
    end_sender(child);
    ok(right && came == 2 * SENDFD_MAX_FDS, "%s: the receiver takes two messages",
       type->name);
    is(sender->returned, 3 * SENDFD_MAX_FDS, "%s: and dies with a third in the queue",
       type->name);
    is(sender->error, error, "%s: which ends the wait", type->name);
}

/* The peer is gone, and others have so many in flight that nothing can be sent. */
static void send_to_the_gone(struct sender *self)
{
    int gone[2], others[2];
    socket_pair(self->type, gone);
    socket_pair(SOCK_STREAM, others);
    close(gone[1]);
    send_with_patience(others[0], sendfds, SENDFD_MAX_FDS, ETOOMANYREFS);
    set_timeout(gone[0], SO_SNDTIMEO, 30);
    self->returned = sendfds_all(gone[0], to_send, 1);
    self->error = errno;
    close_pair(others);
    do
        self->then_returned = sendfds_all(gone[0], to_send, 1);
    while (self->then_returned == -1 && errno == EAGAIN && !self->alone);
    self->then_error = errno;
    close(gone[0]);
}

/* On a datagram socket the kernel counts the descriptors in flight before it looks for
 * the peer. */
static void gone_while_others_send(const struct socket_type *type)
{
    bool looks_later = type->type == SOCK_DGRAM;
    pid_t child = start_sender(type->type, send_to_the_gone, 0);
    end_sender(child);
    close(sender->pair[1]);
    is(sender->returned, -1, "%s: the peer is gone, others have too many in flight",
       type->name);
    is(sender->error, looks_later ? EAGAIN : EPIPE, "%s: which is reported %s",
       type->name, looks_later ? "later: the timeout is" : "at once");
    is(sender->then_returned, -1, "%s: when theirs have come", type->name);
    is(sender->then_error, looks_later ? ECONNREFUSED : EPIPE, "%s: it is reported",
       type->name);
}

/* Non-blocking, each time from where the last one ended. */
static void send_in_parts(struct sender *self)
{
    int sent = 0;
    set_nonblocking(self->pair[0]);
    while (sent < MANY) {
        errno = 0;
        int returned = sendfds_all(self->pair[0], to_send + sent, MANY - sent);
        self->calls += returned < MANY - sent;
        if (returned < MANY - sent && errno != ETOOMANYREFS)
            break;
        sent += returned > 0 ? returned : 0;
        sched_yield();
    }
    self->returned = sent;
}

/* Begins to take when a call has ended: a receiver that keeps up with the sender would
 * let all go in one. */
static void in_parts(const struct socket_type *type)
{
    pid_t child = start_sender(type->type, send_in_parts, 0);
    int came = 0;
    bool right = true;
    while (sender->calls == 0)
        sched_yield();
    while (right && came < MANY)
        right = take_message(&came);
    end_sender(child);
    is(sender->returned, MANY, "%s: non-blocking, from where it ended: all goes",
       type->name);
    ok(sender->calls > 0, "%s: in more than one call", type->name);
    ok(right && exactly_so_many_arrived(came, MANY), "%s: and each comes once, in order",
       type->name);
    close(sender->pair[1]);
}

static void do_not_send(struct sender *self)
{
    (void)self;
}

static bool can_be_unprivileged(void)
{
    end_sender(start_sender(SOCK_STREAM, do_not_send, 0));
    close(sender->pair[1]);
    return !sender->exempt;
}

int main(void)
{
    int before = count_fds();
    sender = mmap(NULL, sizeof *sender, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(sender != MAP_FAILED);
    open_files(files, FILES);
    for (int i = 0; i < MANY; i++)
        to_send[i] = files[i % FILES];
    if (!can_be_unprivileged()) {
        tap_skip("cannot become another user here, and root is exempt");
        return tap_done();
    }
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        slow_receiver(type);
        in_parts(type);
        receiver_dies(type);
        gone_while_others_send(type);
        ends(type, "non-blocking", send_nonblocking, 0, ETOOMANYREFS);
        ends(type, "a signal", send_interrupted, 0, EINTR);
        ends(type, "a signal with SA_RESTART", send_interrupted, SA_RESTART, EINTR);
        ends(type, "SO_SNDTIMEO", send_with_timeout, 0, EAGAIN);
        ok(sender->milliseconds >= 30, "%s: SO_SNDTIMEO: no earlier", type->name);
    }
    close_fds(files, FILES);
    need(munmap(sender, sizeof *sender) == 0);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

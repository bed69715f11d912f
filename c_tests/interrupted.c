/* A signal handler that runs while a call is blocked ends the call with EINTR, with
 * nothing received and nothing sent. With SA_RESTART the call continues, unless the
 * socket has a timeout. The library does not retry. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* After how many runs of the handler a call that is to be restarted gets what it
 * waits for, and one that is to be interrupted but was not. */
#define ENOUGH 5
#define TOO_MANY 100

static int pair[2], file;

static volatile sig_atomic_t ticks, act_at;
static void (*act)(void);

static void tick(int signal)
{
    int error = errno;
    (void)signal;
    if (++ticks == act_at)
        act();
    errno = error;
}

/* The events that end a blocked receive, and a blocked send. */
static void give_message(void)
{
    (void)!raw_send(pair[0], "", 1, &file, 1);
}

static void make_room(void)
{
    char byte;
    while (recv(pair[1], &byte, 1, MSG_DONTWAIT) == 1)
        ;
}

static int receive_one(void)
{
    return recvfd(pair[1]);
}

static int received_file;

static int receive_some(void)
{
    return recvfds(pair[1], &received_file, 1);
}

static int receive_message(void)
{
    int nfds = 1;
    char data[4];
    return (int)recvfds_msg(pair[1], &received_file, &nfds, data, sizeof data, 0);
}

static int receive_all(void)
{
    return recvfds_all(pair[1], &received_file, 1);
}

static int send_one(void)
{
    return sendfd(pair[0], file);
}

static int send_some(void)
{
    int fds[] = {file, file};
    return sendfds(pair[0], fds, 2);
}

static int send_all(void)
{
    int fds[] = {file, file};
    return sendfds_all(pair[0], fds, 2);
}

/* A byte, with one descriptor. */
static int send_message(void)
{
    return (int)sendfds_msg(pair[0], &file, 1, "m", 1, 0);
}

static int receive_msghdr(void)
{
    int nfds = 1;
    char data[4];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    return (int)recvfds_msghdr(pair[1], &received_file, &nfds, &message, 0);
}

static int send_msghdr(void)
{
    struct iovec iov = {.iov_base = "m", .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    return (int)sendfds_msghdr(pair[0], &file, 1, &message, 0);
}

struct call {
    const char *name;
    int (*make)(void);
    int nfds; /* that it sends, which is what it returns */
};

#define CALLS 5
static const struct call receives[CALLS] = {{"recvfd", receive_one, 0},
                                            {"recvfds", receive_some, 0},
                                            {"recvfds_msg", receive_message, 0},
                                            {"recvfds_all", receive_all, 0},
                                            {"recvfds_msghdr", receive_msghdr, 0}};
static const struct call sends[CALLS] = {{"sendfd", send_one, 1},
                                         {"sendfds", send_some, 2},
                                         {"sendfds_msg", send_message, 1},
                                         {"sendfds_all", send_all, 2},
                                         {"sendfds_msghdr", send_msghdr, 1}};

/* Returns the result of a call while handlers run. Runs when_over after the given number
 * of them. */
static int with_ticks(const struct call *call, int flags, int at, void (*when_over)(void))
{
    ticks = 0;
    act_at = at;
    act = when_over;
    start_ticks(tick, flags);
    errno = 0;
    int returned = call->make();
    int error = errno;
    stop_ticks();
    errno = error;
    return returned;
}

static void receive_fails(const char *name, const struct call *call, int flags,
                          const char *how)
{
    fails(with_ticks(call, flags, TOO_MANY, give_message), EINTR,
          "%s: %s on an empty queue, %s: EINTR", name, call->name, how);
    need(raw_send(pair[0], "", 1, &file, 1) == 1);
    int received = recvfd(pair[1]);
    ok(same_file(received, file), "%s: what comes then is received", name);
    close(received);
}

static void receive_restarts(const char *name, const struct call *call)
{
    int returned = with_ticks(call, SA_RESTART, ENOUGH, give_message);
    int received = call->make == receive_one ? returned : received_file;
    ok(same_file(received, file), "%s: %s with SA_RESTART: the descriptor that came last",
       name, call->name);
    ok(ticks >= ENOUGH, "%s: after %d runs of the handler", name, ENOUGH);
    ok(is_empty(pair[1]), "%s: nothing is left", name);
    close(received);
}

static void send_fails(const char *name, const struct call *call, int flags,
                       const char *how)
{
    int nfds, queued = fill_queue(pair[0]);
    need(queued > 0);
    fails(with_ticks(call, flags, TOO_MANY, make_room), EINTR,
          "%s: %s on a full queue, %s: EINTR", name, call->name, how);
    is(drain_queue(pair[1], &nfds), queued, "%s: the queue is as it was", name);
    is(nfds, 0, "%s: no descriptor was sent", name);
    is(call->make(), call->nfds, "%s: with room it is sent", name);
    is(drain_queue(pair[1], &nfds), 1, "%s: as one message", name);
    is(nfds, call->nfds, "%s: with all its descriptors", name);
}

static void send_restarts(const char *name, const struct call *call)
{
    int nfds;
    need(fill_queue(pair[0]) > 0);
    is(with_ticks(call, SA_RESTART, ENOUGH, make_room), call->nfds,
       "%s: %s with SA_RESTART goes on when there is room", name, call->name);
    ok(ticks >= ENOUGH, "%s: after %d runs of the handler", name, ENOUGH);
    is(drain_queue(pair[1], &nfds), 1, "%s: it has sent one message", name);
    is(nfds, call->nfds, "%s: with all its descriptors", name);
}

static void interrupt_calls(const struct socket_type *type)
{
    file = open_file();
    socket_pair(type->type, pair);
    for (int i = 0; i < CALLS; i++) {
        receive_fails(type->name, &receives[i], 0, "without SA_RESTART");
        receive_restarts(type->name, &receives[i]);
        send_fails(type->name, &sends[i], 0, "without SA_RESTART");
        send_restarts(type->name, &sends[i]);
    }
    /* Far longer than the test takes, so that it is the handler that ends it. */
    set_timeout(pair[1], SO_RCVTIMEO, 50000);
    set_timeout(pair[0], SO_SNDTIMEO, 50000);
    for (int i = 0; i < CALLS; i++) {
        receive_fails(type->name, &receives[i], SA_RESTART, "SA_RESTART and SO_RCVTIMEO");
        send_fails(type->name, &sends[i], SA_RESTART, "SA_RESTART and SO_SNDTIMEO");
    }
    close(file);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++)
        interrupt_calls(&socket_types[i]);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

/* sendfds_all and recvfds_all end early: they return exactly how many descriptors were
 * sent or received, errno says why, nothing is lost or left open, and the caller can
 * continue from there. If nothing was done they return -1, or -2 at the end of file. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES 97 /* shares no factor with 253 */
#define SOME (3 * SENDFD_MAX_FDS + 10)
#define MANY (40 * SENDFD_MAX_FDS + 10)
#define IN_FLIGHT 4000 /* at most, with those of the other tests of a user */
#define NO_ERROR 4242  /* an errno that nothing sets */

static int files[FILES], to_send[MANY], received[MANY];

static void open_the_files(void)
{
    open_files(files, FILES);
    for (int i = 0; i < MANY; i++)
        to_send[i] = files[i % FILES];
}

/* Whether these are the descriptors that were sent, beginning with number first. */
static bool are_right(const int *fds, int nfds, int first)
{
    return nfds >= 0 && same_files(fds, to_send + first, nfds);
}

/* Empties the queue. Returns whether it held exactly the first so many descriptors. */
static bool exactly_so_many_arrived(int socket, int nfds)
{
    struct raw_message message;
    int came = 0;
    bool right = true;
    while (raw_receive(socket, 1, MSG_DONTWAIT, &message) == 1) {
        right = right && are_right(message.fds, message.nfds, came);
        came += message.nfds;
        close_fds(message.fds, message.nfds);
    }
    if (came != nfds)
        tap_note("%d arrived", came);
    return right && came == nfds;
}

/* --- sends ------------------------------------------------------------------ */

/* The bad one is at that place: the messages before its own go. */
static void bad_descriptor(const struct socket_type *type, int place, int expected)
{
    int pair[2], good = to_send[place];
    socket_pair(type->type, pair);
    to_send[place] = -1;
    errno = 0;
    int returned = sendfds_all(pair[0], to_send, SOME);
    int error = errno;
    to_send[place] = good;
    is(returned, expected, "%s: number %d is bad: what sendfds_all returns", type->name,
       place);
    is(error, EBADF, "%s: and errno", type->name);
    ok(exactly_so_many_arrived(pair[1], expected < 0 ? 0 : expected),
       "%s: exactly so many arrive", type->name);
    is(sendfds_all(pair[0], to_send, 3), 3, "%s: with good ones it goes on", type->name);
    ok(exactly_so_many_arrived(pair[1], 3), "%s: and they arrive", type->name);
    close_pair(pair);
}

static void bad_descriptors(const struct socket_type *type)
{
    bad_descriptor(type, 0, -1);
    bad_descriptor(type, SENDFD_MAX_FDS - 1, -1);
    bad_descriptor(type, SENDFD_MAX_FDS, SENDFD_MAX_FDS);
    bad_descriptor(type, 2 * SENDFD_MAX_FDS - 1, SENDFD_MAX_FDS);
    bad_descriptor(type, 3 * SENDFD_MAX_FDS, 3 * SENDFD_MAX_FDS);
    bad_descriptor(type, SOME - 1, 3 * SENDFD_MAX_FDS);
}

/* A queue that holds few messages, so that a send of MANY fills it. */
static void short_queue(int type, int pair[2])
{
    socket_pair(type, pair);
    need(set_option(pair[0], SO_SNDBUF, 1));
}

/* A count of whole messages, and not all of them. */
static bool is_short(int count)
{
    return count > 0 && count < MANY && count % SENDFD_MAX_FDS == 0;
}

static void full_queue(const struct socket_type *type, bool nonblocking)
{
    const char *how = nonblocking ? "non-blocking" : "with SO_SNDTIMEO";
    int pair[2];
    short_queue(type->type, pair);
    if (nonblocking)
        set_nonblocking(pair[0]);
    else
        set_timeout(pair[0], SO_SNDTIMEO, 10);
    errno = 0;
    int sent = sendfds_all(pair[0], to_send, MANY);
    int error = errno;
    ok(is_short(sent), "%s, %s: a full queue ends it after %d", type->name, how, sent);
    is(error, EAGAIN, "%s, %s: and errno", type->name, how);
    fails(sendfds_all(pair[0], to_send, 3), EAGAIN, "%s, %s: the next has no room",
          type->name, how);
    ok(exactly_so_many_arrived(pair[1], sent), "%s, %s: exactly so many arrive",
       type->name, how);
    close_pair(pair);
}

/* Both ends non-blocking: each goes on where it ended, until all are through. */
static void in_turn(const struct socket_type *type)
{
    if (can_hold(MANY + 2 * FILES) < MANY + 2 * FILES) {
        tap_skip("RLIMIT_NOFILE is too low to receive %d descriptors", MANY);
        return;
    }
    int pair[2], sent = 0, came = 0, wrong = 0, ends_of_sends = 0, ends_of_receives = 0;
    short_queue(type->type, pair);
    set_nonblocking(pair[0]);
    set_nonblocking(pair[1]);
    while (came < MANY && wrong == 0) {
        if (sent < MANY) {
            errno = 0;
            int returned = sendfds_all(pair[0], to_send + sent, MANY - sent);
            if (returned < MANY - sent) {
                wrong += errno != EAGAIN || returned == 0 || returned < -1;
                ends_of_sends++;
            }
            sent += returned > 0 ? returned : 0;
        }
        errno = 0;
        int returned = recvfds_all(pair[1], received + came, MANY - came);
        if (returned < MANY - came) {
            wrong += errno != EAGAIN || returned == 0 || returned < -1;
            ends_of_receives++;
        }
        came += returned > 0 ? returned : 0;
        wrong += came != sent;
    }
    is(wrong, 0, "%s: both ends non-blocking: all that was sent comes", type->name);
    is(came, MANY, "%s: until all are through", type->name);
    ok(ends_of_sends > 1 && ends_of_receives > 1,
       "%s: after %d short sends and %d short receives", type->name, ends_of_sends,
       ends_of_receives);
    ok(are_right(received, came, 0), "%s: the right files in the right order",
       type->name);
    close_fds(received, came);
    close_pair(pair);
}

/* A blocked send in a process of its own, and what it returned. */
struct outcome {
    int pair[2], returned, error;
};

static int send_many(void *argument)
{
    struct outcome *outcome = argument;
    close(outcome->pair[1]);
    errno = 0;
    outcome->returned = sendfds_all(outcome->pair[0], to_send, MANY);
    outcome->error = errno;
    return 0;
}

/* The receiver takes no more, and the queue holds exactly what was reported. */
static void receiver_stops(const struct socket_type *type)
{
    struct outcome *outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(outcome != MAP_FAILED);
    short_queue(type->type, outcome->pair);
    pid_t child = run_in_child(send_many, outcome);
    close(outcome->pair[0]);
    wait_until_asleep(child);
    need(shutdown(outcome->pair[1], SHUT_RD) == 0);
    /* A datagram socket reports that when there is room again, no earlier. */
    struct raw_message message;
    int came = 0;
    bool right = true;
    while (raw_receive(outcome->pair[1], 1, MSG_DONTWAIT, &message) == 1) {
        right = right && are_right(message.fds, message.nfds, came);
        came += message.nfds;
        close_fds(message.fds, message.nfds);
    }
    need(wait_for_child(child) == 0);
    ok(is_short(outcome->returned), "%s: the receiver stops: a short count", type->name);
    is(outcome->error, EPIPE, "%s: and errno", type->name);
    is(came, outcome->returned, "%s: exactly so many arrived", type->name);
    ok(right, "%s: the right ones", type->name);
    close(outcome->pair[1]);
    need(munmap(outcome, sizeof *outcome) == 0);
}

static void do_nothing(int signal)
{
    (void)signal;
}

static void interrupted_send(const struct socket_type *type)
{
    int pair[2];
    short_queue(type->type, pair);
    start_ticks(do_nothing, 0);
    errno = 0;
    int sent = sendfds_all(pair[0], to_send, MANY);
    int error = errno;
    stop_ticks();
    ok(is_short(sent), "%s: a signal ends a blocked send after %d", type->name, sent);
    is(error, EINTR, "%s: and errno", type->name);
    start_ticks(do_nothing, 0);
    fails(sendfds_all(pair[0], to_send, 3), EINTR, "%s: with nothing sent it is -1",
          type->name);
    stop_ticks();
    ok(exactly_so_many_arrived(pair[1], sent), "%s: exactly so many arrive", type->name);
    close_pair(pair);
}

/* --- receives --------------------------------------------------------------- */

static void send_files(const int pair[2], int nfds, int first)
{
    need(raw_send(pair[0], "x", 1, to_send + first, nfds) == 1);
}

/* Receives eight: three come, and then something else, which is reported, the three are
 * right, and nothing else is open. */
static void ends_after_three(const char *name, int socket, int error, int before)
{
    for (int i = 0; i < 8; i++)
        received[i] = -7;
    errno = NO_ERROR;
    int returned = recvfds_all(socket, received, 8);
    int got = errno;
    is(returned, 3, "%s: what recvfds_all of 8 returns", name);
    is(got, error, "%s: and errno", name);
    ok(returned == 3 && are_right(received, 3, 0), "%s: the three are right", name);
    is(count_fds(), before + 3, "%s: and open, but nothing else", name);
    bool untouched = true;
    for (int i = 3; i < 8; i++)
        untouched = untouched && received[i] == -7;
    ok(untouched, "%s: no place beyond them is written", name);
    close_fds(received, returned);
}

/* The same at the beginning. */
static void fails_at_once(const char *name, int socket, int error, int before)
{
    received[0] = -7;
    fails(recvfds_all(socket, received, 8), error, "%s first", name);
    is(received[0], -7, "%s first: nothing is written", name);
    is(count_fds(), before, "%s first: nothing is open", name);
}

static void no_descriptor(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    int before = count_fds();
    send_files(pair, 3, 0);
    send_files(pair, 0, 0);
    send_files(pair, 0, 0);
    send_files(pair, 5, 3);
    ends_after_three("no descriptor", pair[1], ENOMSG, before);
    fails_at_once("no descriptor", pair[1], ENOMSG, before);
    is(recvfds_all(pair[1], received, 5), 5, "%s: the others come afterwards",
       type->name);
    ok(are_right(received, 5, 3), "%s: and are right", type->name);
    close_fds(received, 5);
    close_pair(pair);
}

/* The kernel installs some of a surplus, or all of it. */
static void surplus(const struct socket_type *type, int nfds)
{
    int pair[2];
    socket_pair(type->type, pair);
    int before = count_fds();
    send_files(pair, 3, 0);
    send_files(pair, nfds, 0);
    send_files(pair, 5, 3);
    ends_after_three("too many", pair[1], EMSGSIZE, before);
    is(recvfds_all(pair[1], received, 5), 5, "%s: after %d for 5 the next message comes",
       type->name, nfds);
    ok(are_right(received, 5, 3), "%s: whole", type->name);
    close_fds(received, 5);
    send_files(pair, nfds > 8 ? nfds : 9, 0);
    fails_at_once("too many", pair[1], EMSGSIZE, before);
    ok(is_empty(pair[1]), "%s: and is consumed", type->name);
    close_pair(pair);
}

static void full_table(const struct socket_type *type)
{
    int pair[2], returned;
    socket_pair(type->type, pair);
    int before = count_fds();
    send_files(pair, 3, 0);
    send_files(pair, 3, 3);
    send_files(pair, 2, 6);
    for (int i = 0; i < 8; i++)
        received[i] = -7;
    leave_room_for(5);
    errno = 0;
    returned = recvfds_all(pair[1], received, 8);
    int error = errno;
    restore_limit();
    is(returned, 3, "%s: a table with room for 5: what came before is the caller's",
       type->name);
    is(error, EMFILE, "%s: and errno", type->name);
    ok(are_right(received, 3, 0) && received[3] == -7, "%s: nothing else", type->name);
    is(count_fds(), before + 3, "%s: and nothing else is open", type->name);
    close_fds(received, 3);
    is(recvfds_all(pair[1], received, 2), 2, "%s: the message behind comes", type->name);
    ok(are_right(received, 2, 6), "%s: and is right", type->name);
    close_fds(received, 2);
    send_files(pair, 3, 0);
    leave_room_for(2);
    fails(recvfds_all(pair[1], received, 8), EMFILE, "%s: a full table first",
          type->name);
    restore_limit();
    is(count_fds(), before, "%s: nothing is open", type->name);
    close_pair(pair);
}

/* errno is unchanged: that distinguishes the end from an error. */
static void end_of_file(const struct socket_type *type)
{
    int pair[2];
    if (type->type == SOCK_DGRAM)
        return;
    socket_pair(type->type, pair);
    int before = count_fds();
    send_files(pair, 3, 0);
    close(pair[0]);
    ends_after_three("end of file", pair[1], NO_ERROR, before - 1);
    is(recvfds_all(pair[1], received, 8), RECVFD_EOF, "%s: with nothing before it",
       type->name);
    close(pair[1]);
}

static void empty_queue(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    int before = count_fds();
    set_nonblocking(pair[1]);
    send_files(pair, 3, 0);
    ends_after_three("non-blocking", pair[1], EAGAIN, before);
    fails_at_once("non-blocking", pair[1], EAGAIN, before);
    close_pair(pair);

    socket_pair(type->type, pair);
    set_timeout(pair[1], SO_RCVTIMEO, 10);
    send_files(pair, 3, 0);
    ends_after_three("SO_RCVTIMEO", pair[1], EAGAIN, before);
    fails_at_once("SO_RCVTIMEO", pair[1], EAGAIN, before);
    close_pair(pair);

    socket_pair(type->type, pair);
    send_files(pair, 3, 0);
    start_ticks(do_nothing, 0);
    ends_after_three("a signal", pair[1], EINTR, before);
    fails_at_once("a signal", pair[1], EINTR, before);
    stop_ticks();
    ok(passes_a_file(pair), "%s: afterwards it goes on", type->name);
    close_pair(pair);
}

/* --- arguments, and what is no such socket ----------------------------------- */

static void wrong_arguments(const struct socket_type *type)
{
    static const int bad_counts[] = {0, -1, -253, INT_MIN};
    volatile int most = INT_MAX; /* more than any array of a 32-bit machine */
    int pair[2];
    socket_pair(type->type, pair);
    send_files(pair, 3, 0);
    for (size_t i = 0; i < sizeof bad_counts / sizeof bad_counts[0]; i++) {
        int nfds = bad_counts[i];
        fails(sendfds_all(pair[1], to_send, nfds), EINVAL, "%s: sendfds_all of %d",
              type->name, nfds);
        fails(sendfds_all(-1, null_fds, nfds), EINVAL, "%s: from NULL to -1 too",
              type->name);
        fails(recvfds_all(pair[1], received, nfds), EINVAL, "%s: recvfds_all of %d",
              type->name, nfds);
        fails(recvfds_all(-1, null_fds, nfds), EINVAL, "%s: to NULL from -1 too",
              type->name);
    }
    fails(sendfds_all(pair[1], null_fds, 1), EFAULT, "%s: sendfds_all from NULL",
          type->name);
    fails(sendfds_all(pair[1], null_fds, most), EFAULT, "%s: of INT_MAX too", type->name);
    fails(recvfds_all(pair[1], null_fds, 1), EFAULT, "%s: recvfds_all to NULL",
          type->name);
    fails(recvfds_all(pair[1], null_fds, most), EFAULT, "%s: of INT_MAX too", type->name);
    fails(recvfds_all(-1, null_fds, 1), EFAULT, "%s: from descriptor -1 too", type->name);
    ok(is_empty(pair[0]), "%s: nothing was sent", type->name);
    is(recvfds_all(pair[1], received, 3), 3, "%s: nothing was consumed", type->name);
    close_fds(received, 3);
    fails(sendfds_all(-1, to_send, SOME), EBADF, "%s: sendfds_all to descriptor -1",
          type->name);
    fails(recvfds_all(-1, received, SOME), EBADF, "%s: recvfds_all from descriptor -1",
          type->name);
    fails(sendfds_all(files[0], to_send, SOME), ENOTSOCK, "%s: sendfds_all to a file",
          type->name);
    fails(recvfds_all(files[0], received, SOME), ENOTSOCK, "%s: recvfds_all from a file",
          type->name);
    close_pair(pair);
}

int main(void)
{
    if (can_hold(IN_FLIGHT) < IN_FLIGHT) {
        tap_skip("RLIMIT_NOFILE is too low to send %d descriptors", IN_FLIGHT);
        return tap_done();
    }
    int before = count_fds();
    open_the_files();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        tap_note("%s", type->name);
        bad_descriptors(type);
        full_queue(type, true);
        full_queue(type, false);
        in_turn(type);
        receiver_stops(type);
        interrupted_send(type);
        no_descriptor(type);
        surplus(type, 6);
        surplus(type, SENDFD_MAX_FDS);
        full_table(type);
        end_of_file(type);
        empty_queue(type);
        wrong_arguments(type);
    }
    close_fds(files, FILES);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

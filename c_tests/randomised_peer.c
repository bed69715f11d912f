/* Tens of thousands of random messages, from the library, from a bare peer and
 * from the classic snippet, to all receiving functions, on all socket types, with
 * socket options and full tables: each call returns what a simple model of the
 * queue says, with those very files and bytes, and nothing is ever left open. The
 * same SEED in the environment makes the same calls. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */

#define FILES 64
#define MOST_BYTES 600
#define MOST_QUEUED 12
#define MESSAGES 12000 /* sent on each type of socket */
#define PER_PAIR 150
#define NO_LIMIT 1000000
#define IN_FLIGHT (MOST_QUEUED * SENDFD_MAX_FDS + 900) /* other tests have some, too */

/* --- random numbers ----------------------------------------------------------- */

static uint32_t state;

/* xorshift: the same numbers everywhere. */
static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int below(int end)
{
    return (int)(next_random() % (uint32_t)end);
}

static bool one_in(int n)
{
    return below(n) == 0;
}

static void choose_seed(void)
{
    const char *given = getenv("SEED");
    struct timespec now;
    need(clock_gettime(CLOCK_REALTIME, &now) == 0);
    state = given ? (uint32_t)strtoul(given, NULL, 0)
                  : (uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 16;
    tap_note("SEED=%u", state);
    if (state == 0)
        state = 1;
}

/* --- the model ---------------------------------------------------------------- */

static int files[FILES];
static ino_t inodes[FILES];

/* A message as it was sent, and what of it is still in the queue. */
struct message {
    int bytes, taken; /* of a stream, already received */
    int nfds;
    unsigned char data[MOST_BYTES];
    int numbers[SENDFD_MAX_FDS]; /* of the files */
};

static struct {
    const struct socket_type *type;
    int pair[2];
    bool closed; /* by the sender */
    struct message queue[MOST_QUEUED];
    int queued;
} model;

/* What one recvmsg(2) is to bring. */
struct portion {
    int bytes, nfds;
    unsigned char data[MOST_QUEUED * MOST_BYTES];
    int numbers[SENDFD_MAX_FDS];
    bool cut_off;
};

static void enqueue(const unsigned char *data, int bytes, const int *numbers, int nfds)
{
    struct message *message = &model.queue[model.queued++];
    message->bytes = bytes;
    message->taken = 0;
    message->nfds = nfds;
    memcpy(message->data, data, (size_t)bytes);
    memcpy(message->numbers, numbers, sizeof *numbers * (size_t)nfds);
}

static void forget(int messages)
{
    model.queued -= messages;
    memmove(model.queue, model.queue + messages,
            sizeof *model.queue * (size_t)model.queued);
}

static void add(struct portion *portion, const struct message *message, int room)
{
    int left = message->bytes - message->taken;
    int bytes = left < room ? left : room;
    memcpy(portion->data + portion->bytes, message->data + message->taken, (size_t)bytes);
    portion->bytes += bytes;
    if (message->nfds > 0) {
        portion->nfds = message->nfds;
        memcpy(portion->numbers, message->numbers,
               sizeof *message->numbers * (size_t)message->nfds);
    }
}

/* A stream goes on until there is no room or until there were descriptors. */
static void take_from_stream(struct portion *portion, int room, bool peek)
{
    int i = 0;
    while (i < model.queued && portion->bytes < room && portion->nfds == 0) {
        struct message *message = &model.queue[i];
        int before = portion->bytes;
        add(portion, message, room - portion->bytes);
        if (!peek) {
            message->taken += portion->bytes - before;
            message->nfds = 0;
        }
        i++;
    }
    if (!peek && i > 0)
        forget(model.queue[i - 1].taken < model.queue[i - 1].bytes ? i - 1 : i);
}

static void take_one_message(struct portion *portion, int room, bool peek)
{
    add(portion, &model.queue[0], room);
    portion->cut_off = model.queue[0].bytes > room;
    if (!peek)
        forget(1);
}

static void take(struct portion *portion, int room, bool peek)
{
    portion->bytes = portion->nfds = 0;
    portion->cut_off = false;
    if (model.queued == 0)
        return;
    if (model.type->type == SOCK_STREAM)
        take_from_stream(portion, room, peek);
    else
        take_one_message(portion, room, peek);
}

/* --- what is wrong ------------------------------------------------------------ */

static int wrong;

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...)
{
    va_list args;
    if (++wrong > 5)
        return;
    printf("# %s: ", model.type->name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static int lowest_free(void)
{
    int fd = dup(files[0]);
    need(fd >= 0);
    close(fd);
    return fd;
}

static bool is_file(int fd, int number)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_ino == inodes[number] &&
           is_close_on_exec(fd);
}

static void check_and_close(const char *name, const int *fds, const int *numbers,
                            int nfds)
{
    for (int i = 0; i < nfds; i++)
        if (!is_file(fds[i], numbers[i])) {
            report("%s: descriptor %d of %d is not file %d", name, i, nfds, numbers[i]);
            break;
        }
    close_fds(fds, nfds);
}

/* Of a call that was made right before. */
static void check(const char *name, long returned, long expected, int expected_error)
{
    int error = errno;
    if (returned != expected || (expected == -1 && error != expected_error))
        report("%s: returned %ld, errno %d, not %ld, errno %d", name, returned, error,
               expected, expected_error);
}

/* --- sends -------------------------------------------------------------------- */

static int to_send[1000], numbers[1000];
static unsigned char bytes_to_send[MOST_BYTES];

static void choose_files(int nfds)
{
    for (int i = 0; i < nfds; i++) {
        numbers[i] = below(FILES);
        to_send[i] = files[numbers[i]];
    }
}

/* Mostly few, and all that are special. */
static int choose_nfds(void)
{
    switch (below(8)) {
    case 0:
        return SENDFD_MAX_FDS - below(2);
    case 1:
        return below(SENDFD_MAX_FDS + 1);
    default:
        return below(6);
    }
}

static int choose_bytes(int least)
{
    int bytes = one_in(3) ? below(MOST_BYTES + 1) : below(9);
    bytes = bytes < least ? least : bytes;
    for (int i = 0; i < bytes; i++)
        bytes_to_send[i] = (unsigned char)next_random();
    return bytes;
}

static void send_one_file(void)
{
    choose_files(1);
    bool classic = one_in(3);
    long returned = classic ? classic_sendfd(model.pair[0], to_send[0])
                            : sendfd(model.pair[0], to_send[0]);
    check(classic ? "classic_sendfd" : "sendfd", returned, 1, 0);
    enqueue((const unsigned char *)"", 1, numbers, 1);
}

static void send_files(void)
{
    int nfds = choose_nfds();
    unsigned char count = (unsigned char)(nfds > 0 ? nfds : 1);
    choose_files(count);
    check("sendfds", sendfds(model.pair[0], to_send, count), count, 0);
    enqueue(&count, 1, numbers, count);
}

static void send_all_files(void)
{
    int room = MOST_QUEUED - model.queued, nfds = 1 + below(3 * SENDFD_MAX_FDS);
    if (nfds > room * SENDFD_MAX_FDS)
        nfds = room * SENDFD_MAX_FDS;
    choose_files(nfds);
    check("sendfds_all", sendfds_all(model.pair[0], to_send, nfds), nfds, 0);
    for (int i = 0; i < nfds; i += SENDFD_MAX_FDS) {
        int part = nfds - i < SENDFD_MAX_FDS ? nfds - i : SENDFD_MAX_FDS;
        enqueue(&(unsigned char){(unsigned char)part}, 1, numbers + i, part);
    }
}

static void send_message(void)
{
    int nfds = choose_nfds(), bytes = choose_bytes(nfds > 0);
    int flags = one_in(2) ? 0 : MSG_DONTWAIT | MSG_EOR;
    choose_files(nfds);
    check("sendfds_msg",
          sendfds_msg(model.pair[0], to_send, nfds, bytes_to_send, (size_t)bytes, flags),
          bytes, 0);
    if (bytes > 0 || model.type->type != SOCK_STREAM)
        enqueue(bytes_to_send, bytes, numbers, nfds);
}

/* What is sent without the library. */
static void send_anything(void)
{
    int nfds = choose_nfds(), bytes = choose_bytes(0);
    choose_files(nfds);
    check("sendmsg", raw_send(model.pair[0], bytes_to_send, (size_t)bytes, to_send, nfds),
          bytes, 0);
    if (bytes > 0 || model.type->type != SOCK_STREAM)
        enqueue(bytes_to_send, bytes, numbers, nfds);
}

/* Fails, and sends nothing; but descriptors without data are a message where the socket
 * has any. */
static void send_in_vain(void)
{
    int nfds = 1 + below(5), socket = model.pair[0], bad = below(nfds);
    bool stream = model.type->type == SOCK_STREAM;
    choose_files(nfds);
    switch (below(5)) {
    case 0:
        check("sendfd of -1", sendfd(socket, -1), -1, EBADF);
        break;
    case 1:
        to_send[bad] = -1;
        check("sendfds of a bad one", sendfds(socket, to_send, nfds), -1, EBADF);
        break;
    case 2:
        to_send[bad] = -1;
        check("sendfds_msg of a bad one", sendfds_msg(socket, to_send, nfds, "a", 1, 0),
              -1, EBADF);
        break;
    case 3:
        check("sendfds_msg without data", sendfds_msg(socket, to_send, nfds, "", 0, 0),
              stream ? -1 : 0, stream ? EINVAL : 0);
        if (!stream)
            enqueue((const unsigned char *)"", 0, numbers, nfds);
        break;
    default:
        check("sendfds of 254", sendfds(socket, to_send, SENDFD_MAX_FDS + 1), -1, EINVAL);
    }
}

static void send_something(void)
{
    static void (*const ways[])(void) = {send_one_file, send_files,   send_all_files,
                                         send_message,  send_message, send_anything,
                                         send_anything, send_in_vain};
    ways[below(8)]();
}

/* --- receives ----------------------------------------------------------------- */

static int received[1000];
static unsigned char bytes_received[MOST_QUEUED * MOST_BYTES];

/* How many descriptors can be opened from now on. */
static int table_room = NO_LIMIT;

/* What the library makes of a portion with room for so many descriptors: 0 if it
 * hands them over, or the errno. */
static int error_of(const struct portion *portion, int room, bool cut_off_matters)
{
    int installed = portion->nfds < table_room ? portion->nfds : table_room;
    if (installed > room || (portion->cut_off && cut_off_matters))
        return EMSGSIZE;
    return installed < portion->nfds ? EMFILE : 0;
}

static bool is_at_the_end(void)
{
    return model.queued == 0 && model.closed && model.type->type != SOCK_DGRAM;
}

/* What recvfd, recvfds and each step of recvfds_all make of what is queued: -1 and
 * *error, -2, or how many descriptors. */
static int expect_descriptors(struct portion *portion, int room, int *error)
{
    bool nothing = model.queued == 0;
    *error = nothing ? EAGAIN : ENOMSG;
    take(portion, 1, false);
    if (is_at_the_end() && nothing)
        return RECVFD_EOF;
    if (nothing)
        return -1;
    if (portion->nfds == 0)
        return portion->bytes == 0 && model.type->type != SOCK_DGRAM ? RECVFD_EOF : -1;
    *error = error_of(portion, room, false);
    return *error ? -1 : portion->nfds;
}

static void receive_one_file(void)
{
    struct portion portion;
    int error, expected = expect_descriptors(&portion, 1, &error);
    errno = 0;
    int fd = recvfd(model.pair[1]);
    check("recvfd", fd < 0 ? fd : 1, expected, error);
    if (fd >= 0)
        check_and_close("recvfd", &fd, portion.numbers, 1);
}

static void receive_files(void)
{
    struct portion portion;
    int room = one_in(2) ? SENDFD_MAX_FDS + below(2) : 1 + choose_nfds();
    int error, expected = expect_descriptors(&portion, room, &error);
    errno = 0;
    int nfds = recvfds(model.pair[1], received, room);
    check("recvfds", nfds, expected, error);
    if (nfds == expected)
        check_and_close("recvfds", received, portion.numbers, nfds);
    else
        close_fds(received, nfds);
}

static void receive_all_files(void)
{
    static struct portion portion;
    static int wanted_numbers[1000];
    int wanted = 1 + below(one_in(3) ? 3 * SENDFD_MAX_FDS : 20), came = 0, error = 0;
    int expected, limit = table_room;
    do {
        expected = expect_descriptors(&portion, wanted - came, &error);
        if (expected > 0) {
            memcpy(wanted_numbers + came, portion.numbers,
                   sizeof *wanted_numbers * (size_t)expected);
            came += expected;
            table_room -= expected;
        }
    } while (expected > 0 && came < wanted);
    table_room = limit;
    if (expected == RECVFD_EOF)
        error = 0;
    errno = 0;
    int nfds = recvfds_all(model.pair[1], received, wanted);
    int got = errno;
    check("recvfds_all", nfds, came > 0 ? came : expected, error);
    if (came > 0 && came < wanted && got != error)
        report("recvfds_all: %d of %d, errno %d, not %d", came, wanted, got, error);
    if (nfds == came)
        check_and_close("recvfds_all", received, wanted_numbers, nfds);
    else
        close_fds(received, nfds);
}

static void receive_message(void)
{
    static struct portion portion;
    int flags = one_in(3) ? MSG_PEEK : 0;
    int room = one_in(2) ? SENDFD_MAX_FDS + below(2) : choose_nfds(), nfds = room;
    int len = one_in(2) ? MOST_BYTES + below(MOST_BYTES) : 1 + below(12);
    /* A peek at a stream that ends before a message with descriptors brings them all
     * the same: not modelled, as it is a whim of the kernel's. */
    if (flags && model.type->type == SOCK_STREAM)
        len = MOST_QUEUED * MOST_BYTES;
    bool nothing = model.queued == 0, at_the_end = is_at_the_end();
    const char *name = flags ? "recvfds_msg, MSG_PEEK" : "recvfds_msg";
    take(&portion, len, flags);
    int error = nothing ? EAGAIN : error_of(&portion, room, true);
    long expected = error ? -1 : portion.bytes;
    if (at_the_end || (!nothing && !error && portion.bytes + portion.nfds == 0 &&
                       model.type->type != SOCK_DGRAM))
        expected = RECVFD_EOF;
    errno = 0;
    ssize_t bytes = recvfds_msg(model.pair[1], room ? received : NULL, &nfds,
                                bytes_received, (size_t)len, flags);
    check(name, bytes, expected, error);
    int expected_nfds = expected >= 0 ? portion.nfds : room;
    if (nfds != expected_nfds)
        report("%s: %d descriptors, not %d", name, nfds, expected_nfds);
    if (bytes == expected && bytes > 0 &&
        memcmp(bytes_received, portion.data, (size_t)bytes) != 0)
        report("%s: other bytes came", name);
    if (bytes < 0)
        return;
    if (bytes == expected && nfds == expected_nfds)
        check_and_close(name, received, portion.numbers, nfds);
    else
        close_fds(received, nfds);
}

static void receive_something(void)
{
    static void (*const ways[])(void) = {receive_one_file, receive_files,
                                         receive_all_files, receive_message,
                                         receive_message};
    int free_before = lowest_free();
    if (one_in(20)) {
        table_room = below(12);
        leave_room_for(table_room);
    }
    ways[below(5)]();
    if (table_room != NO_LIMIT) {
        table_room = NO_LIMIT;
        restore_limit();
    }
    if (lowest_free() != free_before)
        report("a receive has left a descriptor open");
}

/* --- one pair after the other --------------------------------------------------- */

static void start(const struct socket_type *type)
{
    model.type = type;
    model.queued = 0;
    model.closed = false;
    socket_pair(type->type, model.pair);
    set_nonblocking(model.pair[0]);
    set_nonblocking(model.pair[1]);
    if (one_in(3))
        need(set_option(model.pair[1], SO_PASSCRED, 1));
    if (one_in(3))
        set_option(model.pair[1], PASSPIDFD, 1);
    if (one_in(3))
        need(set_option(model.pair[1], SO_TIMESTAMP, 1));
}

/* The sender closes; all that is queued comes, and the end of file, if there is. */
static void finish(void)
{
    bool resets = model.type->type != SOCK_DGRAM;
    close(model.pair[0]);
    model.closed = true;
    for (int i = 0; model.queued > 0 && i < 100000; i++)
        receive_something();
    for (int i = 0; resets && i < 3; i++)
        receive_something();
    close(model.pair[1]);
}

static int with_a_pair(const struct socket_type *type)
{
    int sent = 0;
    start(type);
    while (sent < PER_PAIR && wrong == 0) {
        /* Now the queue grows, now it shrinks; what an array can hold is enough. */
        if (model.queued < MOST_QUEUED - 4 && !one_in(3)) {
            send_something();
            sent++;
        } else {
            receive_something();
        }
    }
    finish();
    return sent;
}

int main(void)
{
    if (can_hold(IN_FLIGHT) < IN_FLIGHT) {
        tap_skip("RLIMIT_NOFILE is too low to send %d descriptors", IN_FLIGHT);
        return tap_done();
    }
    choose_seed();
    for (int i = 0; i < FILES; i++) {
        struct stat status;
        files[i] = open_numbered_file(i);
        need(fstat(files[i], &status) == 0);
        inodes[i] = status.st_ino;
    }
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        int sent = 0;
        wrong = 0;
        while (sent < MESSAGES && wrong == 0)
            sent += with_a_pair(&socket_types[i]);
        is(wrong, 0, "%s: %d random messages", socket_types[i].name, sent);
        is(count_fds(), before, "%s: and no descriptor is left open",
           socket_types[i].name);
    }
    bool right = true;
    for (int i = 0; i < FILES; i++)
        right = right && number_in(files[i]) == i;
    ok(right, "every file is as it was");
    close_fds(files, FILES);
    return tap_done();
}

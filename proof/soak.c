/* Many processes and threads pass descriptors of every kind through each other,
 * while some are killed, their limits change and signals arrive. Would catch a
 * descriptor that is lost or left open where calls meet (threads that share one
 * table, a full table, a signal, a peer that dies), a message that is counted as
 * sent and never comes or comes twice, a wrong count from sendfds_all() or
 * recvfds_all() that failed halfway, a call that hangs, and memory that grows.
 *
 * The workers are processes, each with a thread that sends and one that receives
 * on sockets of each type to every other worker. They live on from round to round
 * unless they are killed. In each round the coordinator hands them new sockets
 * (with the library, too), kills some, and afterwards settles the accounts:
 *
 *     tried = sent + reported as not sent
 *     sent  = delivered + reported as lost by the receiver + lost by the kill
 *
 * Each message carries its number in the channel (a direction of a socket), in its
 * first descriptor, and a channel has one sender and one receiver. So the numbers
 * must come without a gap, and of a killed receiver the coordinator finds in the
 * queue, which it keeps open, exactly those that were not taken: what lies between
 * them and the last that was counted had been taken by the call that was killed,
 * and must not be more than that call had asked for. Every other killed receiver's
 * sockets are just closed, as the kernel would: then only the sum is known. Of a
 * killed sender the last call may have sent or not: the receiver tells.
 *
 * soak [SECONDS [SEED]]: 20 seconds, and a seed from the clock, which is printed.
 * It decides what each thread does, but not how they meet. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */

#define WORKERS 5
#define ENDS ((WORKERS - 1) * SOCKET_TYPES) /* of sockets that a worker has */
#define CHANNELS (WORKERS * WORKERS * SOCKET_TYPES)
#define ROUND_MS 800
#define STOP_SECONDS 30  /* until every worker has finished a round */
#define CLEAN_SECONDS 30 /* until the kernel has collected all that is in flight */
#define MOST_MESSAGES 3  /* in one call of sendfds_all() */
#define MOST_FDS (MOST_MESSAGES * SENDFD_MAX_FDS)
#define RSS_GROWTH_KB 1024
#define MOST_INODES (1 << 22)

/* --- what all processes share ------------------------------------------------------ */

/* One direction of a socket. The sender writes the first three, the receiver the
 * others. finished: the sender sends no more. dropped: the receiver has sent to a
 * datagram socket that was closed, and so the kernel has emptied its queue. */
struct channel {
    atomic_uint tried, sent, not_sent;
    atomic_uint delivered, lost, claim; /* claim: what the call now may take */
    atomic_int finished, dropped;
};

struct worker_state {
    atomic_int round; /* the last that it has finished */
    atomic_long rounds, first_rss, last_rss;
};

static struct shared {
    struct channel channels[CHANNELS];
    struct worker_state workers[WORKERS];
    atomic_int round, stopping, wrong;
    atomic_ulong told[256]; /* how often which errno was reported */
    atomic_ulong inodes_seen;
    uint32_t inodes[MOST_INODES]; /* of the sockets that were made last */
} * shared;

static struct channel *channel_of(int from, int to, int type)
{
    return &shared->channels[(from * WORKERS + to) * SOCKET_TYPES + type];
}

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...)
{
    char text[200];
    va_list args;
    if (atomic_fetch_add(&shared->wrong, 1) >= 10)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("# round %d: %s\n", shared->round, text);
}

static void count_error(int error)
{
    if (error >= 0 && error < 256)
        shared->told[error]++;
}

/* --- random numbers ---------------------------------------------------------------- */

static uint32_t seed;

/* xorshift, one state a thread. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int below(uint32_t *state, int end)
{
    return (int)(next_random(state) % (uint32_t)end);
}

static bool one_in(uint32_t *state, int n)
{
    return below(state, n) == 0;
}

static uint32_t state_for(int a, int b, int c)
{
    uint32_t state = (seed ^ (uint32_t)a * 2654435761u) + (uint32_t)b * 40503u +
                     (uint32_t)c * 2246822519u;
    state = state ? state : 1;
    for (int i = 0; i < 8; i++)
        next_random(&state);
    return state;
}

/* --- labels ------------------------------------------------------------------------ */

/* What the first descriptor of a message tells of it. */
struct label {
    unsigned number, nfds, channel, round;
};

static uint64_t pack(struct label label)
{
    return (uint64_t)label.number << 32 | (uint64_t)(label.round & 0xffff) << 16 |
           (uint64_t)label.nfds << 8 | label.channel;
}

static struct label unpack(uint64_t bits)
{
    return (struct label){
        .number = (unsigned)(bits >> 32),
        .round = (unsigned)(bits >> 16) & 0xffff,
        .nfds = (unsigned)(bits >> 8) & 0xff,
        .channel = (unsigned)bits & 0xff,
    };
}

static bool make_sockets(int type, int pair[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    for (int i = 0; i < 2; i++) {
        struct stat status;
        unsigned long place = shared->inodes_seen++;
        if (fstat(pair[i], &status) == 0)
            shared->inodes[place % MOST_INODES] = (uint32_t)status.st_ino;
    }
    return true;
}

static int in_pipe(const uint64_t *bits)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    bool written = write(ends[1], bits, sizeof *bits) == sizeof *bits;
    close(ends[1]);
    if (written)
        return ends[0];
    close(ends[0]);
    return -1;
}

static int written_to(int fd, const uint64_t *bits)
{
    if (fd >= 0 && write(fd, bits, sizeof *bits) == sizeof *bits)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int in_file(const uint64_t *bits)
{
    char path[] = "/tmp/soak.XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return written_to(fd, bits);
}

/* A socket in whose queue is the label, and with it another such socket, and so on;
 * and the other end of itself. */
static int in_socket(uint32_t *state, const uint64_t *bits, int depth)
{
    int pair[2], fds[2], nfds = 0;
    if (!make_sockets(socket_types[below(state, SOCKET_TYPES)].type, pair))
        return -1;
    int inner = depth > 0 ? in_socket(state, bits, depth - 1) : -1;
    if (inner >= 0)
        fds[nfds++] = inner;
    if (one_in(state, 3))
        fds[nfds++] = pair[0];
    bool sent =
        sendfds_msg(pair[0], fds, nfds, bits, sizeof *bits, MSG_DONTWAIT) == sizeof *bits;
    if (inner >= 0)
        close(inner);
    close(pair[0]);
    if (sent)
        return pair[1];
    close(pair[1]);
    return -1;
}

/* A descriptor that holds the label, or -1 if there is no room for one now. */
static int open_label(uint32_t *state, struct label label)
{
    uint64_t bits = pack(label);
    switch (below(state, 12)) {
    case 0:
        return in_file(&bits);
    case 1:
    case 2:
        return written_to(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), &bits);
    case 3:
    case 4:
    case 5:
        return in_pipe(&bits);
    case 6:
    case 7:
    case 8:
        return in_socket(state, &bits, below(state, 4));
    default:
        return written_to(memfd_create("soak", MFD_CLOEXEC), &bits);
    }
}

static bool read_label(int fd, struct label *label)
{
    struct stat status;
    uint64_t bits;
    ssize_t bytes;
    if (fstat(fd, &status) < 0)
        return false;
    if (S_ISREG(status.st_mode))
        bytes = pread(fd, &bits, sizeof bits, 0);
    else if (S_ISSOCK(status.st_mode))
        bytes = recv(fd, &bits, sizeof bits, MSG_PEEK | MSG_DONTWAIT);
    else
        bytes = read(fd, &bits, sizeof bits);
    *label = unpack(bits);
    return bytes == sizeof bits;
}

/* Takes out of a socket of in_socket() what is in it, down to the last one. */
static void unpack_socket(int socket)
{
    int fds[4], nfds = 4;
    uint64_t bits;
    if (recvfds_msg(socket, fds, &nfds, &bits, sizeof bits, MSG_DONTWAIT) != sizeof bits)
        return;
    if (nfds > 0)
        unpack_socket(fds[0]);
    close_fds(fds, nfds);
}

/* Two sockets that hold each other, and that nobody else holds: only the kernel's
 * collector can free them. */
static void leave_a_cycle(void)
{
    int pair[2];
    if (!make_sockets(SOCK_STREAM, pair))
        return;
    for (int i = 0; i < 2; i++)
        if (sendfds_msg(pair[i], pair, 2, "", 1, MSG_DONTWAIT) < 0)
            break;
    close_pair(pair);
}

/* --- what else is passed ----------------------------------------------------------- */

/* What the link in /proc/self/fd tells of each kind. */
static const char *const kinds[] = {
    "eventpoll", "pidfd",   "eventfd", "timerfd", "signalfd",
    "/dev/null", "socket:", "pipe:",   "memfd:",  "/"};
#define KINDS ((int)(sizeof kinds / sizeof kinds[0]))

static void open_kinds(int fds[KINDS])
{
    int ends[2], inner[2];
    sigset_t set;
    sigemptyset(&set);
    need(pipe2(ends, O_CLOEXEC) == 0);
    need(make_sockets(SOCK_STREAM, inner));
    struct epoll_event event = {.events = EPOLLIN};
    fds[0] = epoll_create1(EPOLL_CLOEXEC);
    need(fds[0] >= 0 && epoll_ctl(fds[0], EPOLL_CTL_ADD, ends[0], &event) == 0);
    fds[1] = (int)syscall(SYS_pidfd_open, getpid(), 0);
    fds[2] = eventfd(1, EFD_CLOEXEC);
    fds[3] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    fds[4] = signalfd(-1, &set, SFD_CLOEXEC);
    fds[5] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[6] = inner[0];
    fds[7] = ends[0];
    fds[8] = memfd_create("other", MFD_CLOEXEC);
    fds[9] = open("/", O_PATH | O_CLOEXEC);
    close(inner[1]);
    close(ends[1]);
    for (int i = 0; i < KINDS; i++)
        need(fds[i] >= 0);
}

/* Descriptor number place of a message is of this kind. */
static int kind_at(const struct label *label, int place)
{
    return ((int)(label->number % (unsigned)KINDS) + place) % KINDS;
}

static bool is_of_kind(int fd, int kind)
{
    char path[40], target[80];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(path, target, sizeof target - 1);
    if (bytes < 0)
        return false;
    target[bytes] = '\0';
    return strstr(target, kinds[kind]) != NULL;
}

/* --- a worker's threads ------------------------------------------------------------ */

struct thread {
    pthread_t id;
    int worker, type;
    int ends[WORKERS]; /* to each other worker; -1 when it is done with */
    int fds[KINDS];
    uint32_t state;
    atomic_int done;
};

/* --- the one that sends ------------------------------------------------------------ */

static int choose_nfds(uint32_t *state)
{
    if (one_in(state, 16))
        return SENDFD_MAX_FDS - below(state, 3);
    return one_in(state, 2) ? 1 : 1 + below(state, 24);
}

/* Fills fds with the descriptors of the next messages of a channel; false if there
 * is no room to open the labels. */
static bool prepare(struct thread *self, int to, int *fds, int nfds)
{
    struct channel *channel = channel_of(self->worker, to, self->type);
    for (int start = 0; start < nfds; start += SENDFD_MAX_FDS) {
        int part = nfds - start < SENDFD_MAX_FDS ? nfds - start : SENDFD_MAX_FDS;
        struct label label = {
            .number = channel->sent + (unsigned)(start / SENDFD_MAX_FDS),
            .nfds = (unsigned)part,
            .channel = (unsigned)(channel - shared->channels),
            .round = (unsigned)shared->round,
        };
        fds[start] = open_label(&self->state, label);
        if (fds[start] < 0) {
            for (int i = 0; i < start; i += SENDFD_MAX_FDS)
                close(fds[i]);
            return false;
        }
        for (int i = 1; i < part; i++)
            fds[start + i] = self->fds[kind_at(&label, i)];
    }
    return true;
}

static int send_by(struct thread *self, int socket, int way, const int *fds, int nfds)
{
    char data[64] = "";
    size_t len = 1;
    switch (way) {
    case 0:
        return sendfd(socket, fds[0]);
    case 1:
        return sendfds(socket, fds, nfds);
    case 2:
        return sendfds_all(socket, fds, nfds);
    default:
        /* A stream whose messages are of one byte each needs no framing. */
        if (socket_types[self->type].type != SOCK_STREAM)
            len += (size_t)below(&self->state, (int)sizeof data);
        int flags = one_in(&self->state, 2) ? MSG_DONTWAIT : 0;
        ssize_t bytes = sendfds_msg(socket, fds, nfds, data, len, flags);
        if (bytes >= 0 && (size_t)bytes != len)
            report("sendfds_msg: %zd bytes of %zu", bytes, len);
        return bytes < 0 ? -1 : nfds;
    }
}

static bool is_gone(int error)
{
    return error == EPIPE || error == ECONNREFUSED || error == ENOTCONN;
}

/* Sends something to one worker; false if nothing can be sent to it any more. */
static bool send_to(struct thread *self, int to)
{
    struct channel *channel = channel_of(self->worker, to, self->type);
    int fds[MOST_FDS], way = below(&self->state, 4), nfds = 1;
    if (way == 2)
        nfds = 1 + below(&self->state, one_in(&self->state, 4) ? MOST_FDS : 40);
    else if (way > 0)
        nfds = choose_nfds(&self->state);
    int messages = (nfds + SENDFD_MAX_FDS - 1) / SENDFD_MAX_FDS;
    if (!prepare(self, to, fds, nfds)) {
        sched_yield();
        return true;
    }
    channel->tried += (unsigned)messages;
    errno = 0;
    int went = send_by(self, self->ends[to], way, fds, nfds), error = errno;
    int sent = went < 0 ? 0 : (went + SENDFD_MAX_FDS - 1) / SENDFD_MAX_FDS;
    channel->sent += (unsigned)sent;
    channel->not_sent += (unsigned)(messages - sent);
    for (int i = 0; i < nfds; i += SENDFD_MAX_FDS)
        close(fds[i]);
    if (went == nfds)
        return true;
    count_error(error);
    sched_yield();
    if (went == 0 || (went > 0 && (way != 2 || went % SENDFD_MAX_FDS != 0)))
        report("send %d of %d descriptors returned %d", way, nfds, went);
    if (error == ECONNREFUSED)
        channel_of(to, self->worker, self->type)->dropped = 1;
    if (is_gone(error))
        return false;
    if (error != EAGAIN && error != EINTR && error != ETOOMANYREFS &&
        error != ECONNRESET && error != ENOBUFS && error != ENOMEM)
        report("send %d of %d descriptors: %s", way, nfds, strerror(error));
    return true;
}

/* Some channels have long queues, and their sender blocks. */
static bool has_enough_in_the_queue(const struct thread *self, int to)
{
    const struct channel *channel = channel_of(self->worker, to, self->type);
    unsigned taken = channel->delivered + channel->lost;
    return (self->worker + to) % 3 > 0 && channel->sent > taken + 20;
}

static void *send_always(void *argument)
{
    struct thread *self = argument;
    while (!shared->stopping) {
        int to = below(&self->state, WORKERS);
        if (self->ends[to] < 0 || has_enough_in_the_queue(self, to))
            sched_yield();
        else if (!send_to(self, to))
            self->ends[to] = -1;
        if (one_in(&self->state, 200))
            leave_a_cycle();
    }
    for (int to = 0; to < WORKERS; to++) {
        if (self->ends[to] >= 0 && socket_types[self->type].type != SOCK_DGRAM)
            shutdown(self->ends[to], SHUT_WR);
        channel_of(self->worker, to, self->type)->finished = 1;
    }
    self->done = 1;
    return NULL;
}

/* --- the one that receives --------------------------------------------------------- */

/* Checks one message, of which this is the first descriptor and up to most more
 * follow; returns how many it has, or 0 if that cannot be told. */
static int check_message(struct thread *self, int from, unsigned number, const int *fds,
                         int most)
{
    struct channel *channel = channel_of(from, self->worker, self->type);
    struct label label;
    if (!read_label(fds[0], &label)) {
        report("%d to %d: no label in message %u", from, self->worker, number);
        return 0;
    }
    if (label.channel != (unsigned)(channel - shared->channels) ||
        label.round != (unsigned)shared->round || label.number != number) {
        report("%d to %d: message %u of channel %u of round %u came, not %u of %u", from,
               self->worker, label.number, label.channel, label.round, number,
               (unsigned)(channel - shared->channels));
        return 0;
    }
    if (label.nfds == 0 || (int)label.nfds > most) {
        report("%d to %d: %u descriptors, not %d", from, self->worker, label.nfds, most);
        return 0;
    }
    int place = below(&self->state, (int)label.nfds);
    if (place > 0 && !is_of_kind(fds[place], kind_at(&label, place)))
        report("%d to %d: descriptor %d is no %s", from, self->worker, place,
               kinds[kind_at(&label, place)]);
    if (!is_close_on_exec(fds[place]))
        report("%d to %d: descriptor %d is not close-on-exec", from, self->worker, place);
    return (int)label.nfds;
}

/* What came is delivered: checks it, message by message, and closes it. Returns how
 * many messages it was. */
static int accept_all(struct thread *self, int from, const int *fds, int nfds, bool one)
{
    struct channel *channel = channel_of(from, self->worker, self->type);
    unsigned number = channel->delivered + channel->lost;
    int messages = 0;
    for (int i = 0; i < nfds; messages++) {
        int part =
            check_message(self, from, number + (unsigned)messages, fds + i, nfds - i);
        if (part == 0 || (one && part != nfds))
            break;
        i += part;
    }
    if (one && messages != 1)
        report("%d to %d: message %u has not %d descriptors", from, self->worker, number,
               nfds);
    struct stat status;
    if (fstat(fds[0], &status) == 0 && S_ISSOCK(status.st_mode) &&
        !one_in(&self->state, 4))
        unpack_socket(fds[0]);
    close_fds(fds, nfds);
    return messages;
}

/* Makes one receive, which may take up to claim messages. Returns as recvfds() does. */
static int receive_by(struct thread *self, int socket, int way, int *fds, bool *peeked)
{
    unsigned char data[128];
    int nfds = one_in(&self->state, 8) ? choose_nfds(&self->state) : SENDFD_MAX_FDS;
    switch (way) {
    case 0:
        fds[0] = recvfd(socket);
        return fds[0] >= 0 ? 1 : fds[0];
    case 1:
        return recvfds(socket, fds, nfds);
    default:
        *peeked = one_in(&self->state, 4);
        int flags = *peeked ? MSG_PEEK | MSG_DONTWAIT : MSG_DONTWAIT;
        size_t len = one_in(&self->state, 8) ? 8 : sizeof data;
        ssize_t bytes = recvfds_msg(socket, fds, &nfds, data, len, flags);
        if (bytes >= 0 && nfds == 0)
            report("recvfds_msg: %zd bytes without a descriptor", bytes);
        return bytes < 0 ? (int)bytes : nfds;
    }
}

/* Whether a receive that failed so has taken a message. EACCES stands for EMFILE where
 * another thread has made room before the library could ask why. */
static bool takes_a_message(int error)
{
    return error == EMSGSIZE || error == EMFILE || error == ENFILE || error == EACCES;
}

static void note_failure(struct thread *self, struct channel *channel, int way, int error,
                         bool peeked)
{
    count_error(error);
    if (takes_a_message(error) && !peeked)
        channel->lost++;
    else if (!takes_a_message(error) && error != EAGAIN && error != EINTR &&
             error != ECONNRESET)
        report("receive %d of worker %d: %s", way, self->worker, strerror(error));
}

/* recvfds_all: so many descriptors, whatever messages they come in. */
static int receive_many(struct thread *self, int from)
{
    struct channel *channel = channel_of(from, self->worker, self->type);
    int fds[MOST_FDS],
        wanted = 1 + below(&self->state, one_in(&self->state, 4) ? MOST_FDS : 30);
    channel->claim = (unsigned)wanted;
    errno = 0;
    int came = recvfds_all(self->ends[from], fds, wanted), error = errno;
    if (came > 0)
        channel->delivered += (unsigned)accept_all(self, from, fds, came, false);
    if (came == 0 || came > wanted)
        report("recvfds_all of %d returned %d", wanted, came);
    if (came != RECVFD_EOF && came < wanted && error != 0)
        note_failure(self, channel, 3, error, false);
    channel->claim = 0;
    return came;
}

/* Receives something from one worker; false at the end of file. */
static bool receive_from(struct thread *self, int from)
{
    struct channel *channel = channel_of(from, self->worker, self->type);
    int fds[SENDFD_MAX_FDS], way = below(&self->state, 4);
    bool peeked = false;
    if (way == 3)
        return receive_many(self, from) != RECVFD_EOF;
    channel->claim = 1;
    errno = 0;
    int came = receive_by(self, self->ends[from], way, fds, &peeked), error = errno;
    if (came > 0 && peeked)
        close_fds(fds, came);
    else if (came > 0)
        channel->delivered += (unsigned)accept_all(self, from, fds, came, true);
    else if (came == -1)
        note_failure(self, channel, way, error, peeked);
    channel->claim = 0;
    return came != RECVFD_EOF;
}

static bool is_datagram(const struct thread *self)
{
    return socket_types[self->type].type == SOCK_DGRAM;
}

/* Receives from all workers that have something to receive, once; returns how many
 * may still have some. */
static int receive_round(struct thread *self)
{
    struct pollfd polls[WORKERS];
    bool finished[WORKERS];
    int left = 0;
    for (int i = 0; i < WORKERS; i++) {
        polls[i] = (struct pollfd){.fd = self->ends[i], .events = POLLIN};
        finished[i] = channel_of(i, self->worker, self->type)->finished;
        left += self->ends[i] >= 0;
    }
    /* Signals come more often than that: then look again. */
    if (poll(polls, WORKERS, 10) < 0 && poll(polls, WORKERS, 0) < 0)
        return left;
    for (int i = 0; i < WORKERS; i++) {
        if (self->ends[i] < 0)
            continue;
        /* A datagram socket has no end of file. */
        bool over = is_datagram(self) && finished[i] && !(polls[i].revents & POLLIN);
        if (over || (polls[i].revents && !receive_from(self, i)))
            self->ends[i] = -1;
    }
    return left;
}

static void *receive_always(void *argument)
{
    struct thread *self = argument;
    while (receive_round(self) > 0)
        ;
    self->done = 1;
    return NULL;
}

/* --- a worker ---------------------------------------------------------------------- */

static void ignore(int signal)
{
    (void)signal;
}

/* SIGUSR1 interrupts what blocks, SIGUSR2 does not; both come all the time. */
static void start_signals(timer_t timers[2])
{
    static const int signals[] = {SIGUSR1, SIGUSR2};
    for (int i = 0; i < 2; i++) {
        struct sigaction action = {.sa_handler = ignore,
                                   .sa_flags = i == 0 ? 0 : SA_RESTART};
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signals[i]};
        long interval = i == 0 ? 3100000 : 1700000;
        struct itimerspec every = {.it_value = {.tv_nsec = interval},
                                   .it_interval = {.tv_nsec = interval}};
        need(sigaction(signals[i], &action, NULL) == 0);
        need(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
        need(timer_settime(timers[i], 0, &every, NULL) == 0);
    }
}

static void sleep_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

static void start_thread(struct thread *thread, void *(*body)(void *))
{
    need(pthread_create(&thread->id, NULL, body, thread) == 0);
}

static bool are_done(struct thread *threads, int nthreads)
{
    for (int i = 0; i < nthreads; i++)
        if (!threads[i].done)
            return false;
    return true;
}

/* Changes the limit again and again, mostly to what leaves enough room; and wakes,
 * when it is time to stop, those that are blocked. */
static void trouble(uint32_t *state, int open, struct thread *threads, int nthreads)
{
    while (!are_done(threads, nthreads)) {
        if (shared->stopping || !one_in(state, 3))
            restore_limit();
        else
            set_limit((unsigned long)(open + below(state, one_in(state, 2) ? 30 : 400)));
        sleep_ms(2);
        for (int i = 0; shared->stopping && i < nthreads; i++)
            if (!threads[i].done)
                pthread_kill(threads[i].id, SIGUSR1);
    }
    restore_limit();
}

/* One round with these ends of sockets, those of each other worker in turn. */
static void work(int worker, const int *ends)
{
    struct thread threads[2 * SOCKET_TYPES] = {0};
    timer_t timers[2];
    uint32_t state = state_for(shared->round, worker, 99);
    for (int i = 0; i < 2 * SOCKET_TYPES; i++) {
        threads[i].worker = worker;
        threads[i].type = i / 2;
        threads[i].state = state_for(shared->round, worker, i);
        for (int other = 0; other < WORKERS; other++) {
            int place = (other - (other > worker)) * SOCKET_TYPES + i / 2;
            threads[i].ends[other] = other == worker ? -1 : ends[place];
        }
        if (i % 2 == 0)
            open_kinds(threads[i].fds);
    }
    start_signals(timers);
    for (int i = 0; i < 2 * SOCKET_TYPES; i++)
        start_thread(&threads[i], i % 2 ? receive_always : send_always);
    trouble(&state, count_fds(), threads, 2 * SOCKET_TYPES);
    for (int i = 0; i < 2 * SOCKET_TYPES; i++) {
        need(pthread_join(threads[i].id, NULL) == 0);
        if (i % 2 == 0)
            close_fds(threads[i].fds, KINDS);
    }
    for (int i = 0; i < 2; i++)
        timer_delete(timers[i]);
}

/* Of the memory that is resident, what is neither a file's nor shared: the heap and
 * the stacks. */
static long resident_kb(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];
    long kb = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    if (file)
        fclose(file);
    return kb;
}

/* The user that all workers are: one without privileges if this is root, so that
 * what is in flight is limited, and nobody else's is counted. */
static uid_t workers_uid;

static bool become(uid_t uid)
{
    if (getuid() != 0 || uid == 0)
        return true;
    if (setgroups(0, NULL) < 0 && errno != EPERM)
        return false;
    return setresuid(uid, uid, uid) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}

/* A worker's life: rounds, until the coordinator closes its end of control. */
static int live(int worker, int control)
{
    struct worker_state *own = &shared->workers[worker];
    int ends[ENDS], got, before = count_fds();
    while ((got = recvfds_all(control, ends, ENDS)) == ENDS) {
        work(worker, ends);
        close_fds(ends, ENDS);
        int open = count_fds();
        if (open != before)
            report("worker %d: %d descriptors are open, not %d", worker, open, before);
        own->last_rss = resident_kb();
        if (own->rounds++ == 0)
            own->first_rss = own->last_rss;
        own->round = shared->round;
    }
    return got == RECVFD_EOF ? 0 : 1;
}

/* --- the coordinator --------------------------------------------------------------- */

static struct {
    pid_t pid; /* 0 if it was killed */
    int control;
} workers[WORKERS];

/* What was found of the channels of which the receiver was killed. */
static struct {
    bool searched;
    unsigned first, found; /* in the queue */
} queues[CHANNELS];

static int ends[WORKERS][WORKERS][SOCKET_TYPES]; /* [of][to] */
static bool killed[WORKERS];

static struct {
    unsigned long tried, sent, not_sent, delivered, lost, in_queue, in_hand, unseen;
    unsigned long kills, rounds, undecided;
} total;

static void kill_everyone(void)
{
    for (int i = 0; i < WORKERS; i++)
        if (workers[i].pid > 0)
            kill(workers[i].pid, SIGKILL);
}

static void give_up(int signal)
{
    static const char text[] = "not ok - the watchdog ended it\n1..1\n";
    (void)signal;
    kill_everyone();
    if (write(1, text, sizeof text - 1) < 0)
        _exit(3);
    _exit(2);
}

static void start_worker(int worker)
{
    int pair[2];
    pid_t coordinator = getpid();
    socket_pair(SOCK_SEQPACKET, pair);
    fflush(stdout);
    pid_t pid = fork();
    need(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < WORKERS; i++)
            if (workers[i].pid > 0)
                close(workers[i].control);
        close(pair[0]);
        signal(SIGALRM, SIG_DFL);
        need(become(workers_uid));
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        exit(getppid() == coordinator ? live(worker, pair[1]) : 1);
    }
    close(pair[1]);
    workers[worker].pid = pid;
    workers[worker].control = pair[0];
    shared->workers[worker].rounds = 0;
}

static void make_mesh(uint32_t *state)
{
    for (int a = 0; a < WORKERS; a++)
        for (int b = a + 1; b < WORKERS; b++)
            for (int type = 0; type < SOCKET_TYPES; type++) {
                int pair[2];
                need(make_sockets(socket_types[type].type, pair));
                for (int i = 0; i < 2; i++) {
                    if (one_in(state, 3))
                        set_nonblocking(pair[i]);
                    if (one_in(state, 3))
                        need(set_option(pair[i], SO_PASSCRED, 1));
                    if (one_in(state, 3))
                        set_option(pair[i], PASSPIDFD, 1);
                }
                ends[a][b][type] = pair[0];
                ends[b][a][type] = pair[1];
            }
}

static void hand_out_mesh(void)
{
    for (int worker = 0; worker < WORKERS; worker++) {
        int fds[ENDS], nfds = 0;
        for (int other = 0; other < WORKERS; other++)
            for (int type = 0; other != worker && type < SOCKET_TYPES; type++)
                fds[nfds++] = ends[worker][other][type];
        need(sendfds_all(workers[worker].control, fds, nfds) == nfds);
    }
}

/* Takes all that is left in the queue of a killed receiver. */
static void search_queue(int from, int to, int type)
{
    int i = (int)(channel_of(from, to, type) - shared->channels);
    struct raw_message message;
    struct label label;
    queues[i].searched = true;
    while (raw_receive(ends[to][from][type], 1, MSG_DONTWAIT, &message) > 0) {
        if (message.nfds == 0 || !read_label(message.fds[0], &label)) {
            report("%d to %d: no label in what is left", from, to);
        } else {
            if (queues[i].found == 0)
                queues[i].first = label.number;
            if (label.number != queues[i].first + queues[i].found ||
                (int)label.nfds != message.nfds || label.channel != (unsigned)i)
                report("%d to %d: message %u is left with %d descriptors, not %u with %u",
                       from, to, label.number, message.nfds,
                       queues[i].first + queues[i].found, label.nfds);
            queues[i].found++;
        }
        close_fds(message.fds, message.nfds);
    }
}

/* After SIGKILL. With SHUT_RD no message comes any more, and those that came can
 * still be received. */
static void bury(int worker, bool search)
{
    int status = wait_for_child(workers[worker].pid);
    if (status != 128 + SIGKILL)
        report("worker %d ended with status %d", worker, status);
    workers[worker].pid = 0;
    close(workers[worker].control);
    killed[worker] = true;
    for (int other = 0; other < WORKERS; other++)
        for (int type = 0; other != worker && type < SOCKET_TYPES; type++) {
            set_option(ends[worker][other][type], PASSPIDFD, 0);
            shutdown(ends[worker][other][type], SHUT_RD);
            if (search)
                search_queue(other, worker, type);
            channel_of(worker, other, type)->finished = 1;
            close(ends[worker][other][type]);
            ends[worker][other][type] = -1;
        }
}

/* Whether all that live have finished this round; a worker that ends by itself is
 * buried, and that is wrong. */
static bool is_over(void)
{
    bool over = true;
    for (int i = 0; i < WORKERS; i++) {
        siginfo_t info = {0};
        if (killed[i])
            continue;
        if (waitid(P_PID, (id_t)workers[i].pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
                0 &&
            info.si_pid != 0)
            bury(i, false);
        else
            over = over && shared->workers[i].round == shared->round;
    }
    return over;
}

static long now_ms(void)
{
    struct timespec now;
    need(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run_round(uint32_t *state)
{
    long end = now_ms() + ROUND_MS;
    while (now_ms() < end && shared->wrong == 0) {
        sleep_ms(20);
        /* Worker 0 lives from the first round to the last. */
        int worker = 1 + below(state, WORKERS - 1);
        if (one_in(state, 25) && !killed[worker]) {
            kill(workers[worker].pid, SIGKILL);
            bury(worker, one_in(state, 2));
            total.kills++;
        }
        is_over();
    }
    shared->stopping = 1;
    end = now_ms() + STOP_SECONDS * 1000L;
    while (!is_over()) {
        if (now_ms() > end) {
            report("a worker hangs");
            kill_everyone();
            return;
        }
        sleep_ms(2);
    }
}

/* --- the accounts ------------------------------------------------------------------ */

/* What became of the messages in the queue of a killed receiver, which had counted
 * so many: of least to most that had been sent. It may have met with the end of a
 * killed sender and so have dropped a queue of datagrams before its own. */
static void settle_killed(int i, unsigned counted, unsigned least, unsigned most)
{
    const struct channel *channel = &shared->channels[i];
    int from = i / SOCKET_TYPES / WORKERS;
    unsigned sent = least > counted ? least : counted, taken = sent;
    bool dropped = killed[from] && socket_types[i % SOCKET_TYPES].type == SOCK_DGRAM;
    if (!queues[i].searched || (queues[i].found == 0 && dropped)) {
        total.unseen += sent - counted;
        total.sent += sent;
        total.undecided += most - sent;
        return;
    }
    if (queues[i].found > 0) {
        taken = queues[i].first;
        sent = taken + queues[i].found;
    } else {
        total.undecided += most - sent;
    }
    if (taken < counted || taken - counted > channel->claim || sent < least ||
        sent > most)
        report(
            "channel %d: %u counted, %u asked for, %u in the queue from %u on, %u to %u "
            "sent",
            i, counted, channel->claim, queues[i].found, queues[i].first, least, most);
    total.in_hand += taken - counted;
    total.in_queue += queues[i].found;
    total.sent += sent;
}

static void settle(int from, int to, int type)
{
    const struct channel *channel = channel_of(from, to, type);
    unsigned counted = channel->delivered + channel->lost, least = channel->sent;
    unsigned most = killed[from] ? channel->tried - channel->not_sent : least;
    total.tried += channel->tried;
    total.not_sent += channel->not_sent;
    total.delivered += channel->delivered;
    total.lost += channel->lost;
    if (!killed[from] && channel->tried != channel->sent + channel->not_sent)
        report("%d to %d: tried %u, sent %u, not sent %u", from, to, channel->tried,
               channel->sent, channel->not_sent);
    if (killed[to]) {
        settle_killed((int)(channel - shared->channels), counted, least, most);
        return;
    }
    if (channel->dropped && counted < least) {
        total.unseen += least - counted;
        counted = least;
    }
    total.sent += counted;
    if (counted < least || counted > most)
        report("%s from %d%s to %d: sent %u (at most %u), delivered %u, reported lost %u",
               socket_types[type].name, from, killed[from] ? " (killed)" : "", to, least,
               most, channel->delivered, channel->lost);
}

static void settle_all(void)
{
    for (int from = 0; from < WORKERS; from++)
        for (int to = 0; to < WORKERS; to++)
            for (int type = 0; from != to && type < SOCKET_TYPES; type++)
                settle(from, to, type);
}

static void play_round(uint32_t *state)
{
    memset(shared->channels, 0, sizeof shared->channels);
    memset(queues, 0, sizeof queues);
    memset(killed, 0, sizeof killed);
    shared->stopping = 0;
    shared->round++;
    for (int i = 0; i < WORKERS; i++)
        if (workers[i].pid == 0)
            start_worker(i);
    make_mesh(state);
    hand_out_mesh();
    run_round(state);
    settle_all();
    for (int a = 0; a < WORKERS; a++)
        for (int b = 0; b < WORKERS; b++)
            for (int type = 0; a != b && type < SOCKET_TYPES; type++)
                if (ends[a][b][type] >= 0)
                    close(ends[a][b][type]);
    total.rounds++;
}

static void stop_workers(void)
{
    for (int i = 0; i < WORKERS; i++) {
        if (workers[i].pid == 0)
            continue;
        close(workers[i].control);
        int status = wait_for_child(workers[i].pid);
        if (status != 0)
            report("worker %d ended with status %d", i, status);
        workers[i].pid = 0;
    }
}

/* --- what is left
 * ------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* How many of the sockets that were made are in /proc/net/unix. */
static int sockets_left(void)
{
    FILE *file = fopen("/proc/net/unix", "re");
    char line[512];
    int left = 0;
    size_t seen = shared->inodes_seen < MOST_INODES ? shared->inodes_seen : MOST_INODES;
    need(file != NULL);
    while (fgets(line, sizeof line, file)) {
        uint32_t inode;
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %u", &inode) == 1 && inode != 0 &&
            bsearch(&inode, shared->inodes, seen, sizeof inode, ascending))
            left++;
    }
    fclose(file);
    return left;
}

/* Closing a socket makes the kernel look for those in flight that nobody holds. */
static void poke_collector(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    close_pair(pair);
}

/* Whether the workers' user can send with this limit: not if more is in flight. The
 * send needs no descriptor of its own. */
static int try_to_send(void *argument)
{
    int pair[2];
    struct rlimit limit = {*(rlim_t *)argument, *(rlim_t *)argument};
    if (!become(workers_uid))
        return 2;
    socket_pair(SOCK_STREAM, pair);
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 2;
    return sendfd(pair[0], 0) == 1 ? 0 : errno == ETOOMANYREFS ? 1 : 2;
}

static int can_send(rlim_t limit)
{
    return wait_for_child(run_in_child(try_to_send, &limit));
}

/* The lowest limit with which it can: what others of this user have in flight. */
static rlim_t lowest_limit(void)
{
    rlim_t limit = 0;
    while (limit < 100000 && can_send(limit) == 1)
        limit = limit * 2 + 1;
    return limit;
}

static void nothing_is_left(int before, rlim_t limit)
{
    long end = now_ms() + CLEAN_SECONDS * 1000L;
    size_t seen = shared->inodes_seen < MOST_INODES ? shared->inodes_seen : MOST_INODES;
    qsort(shared->inodes, seen, sizeof *shared->inodes, ascending);
    int left = 0, sent = 0;
    do {
        poke_collector();
        left = sockets_left();
        sent = can_send(limit);
    } while ((left > 0 || sent != 0) && now_ms() < end && (sleep_ms(50), true));
    is(left, 0, "no socket of the %lu that were made is left", shared->inodes_seen);
    is(sent, 0, "nothing is in flight: this user can send with RLIMIT_NOFILE %lu",
       (unsigned long)limit);
    is(count_fds(), before, "no descriptor is left open");
    ok(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "no process is left");
}

static void tell(double seconds)
{
    tap_note("%lu rounds, %lu kills, %.0f messages a second", total.rounds, total.kills,
             (double)total.delivered / seconds);
    tap_note("tried %lu: sent %lu, reported as not sent %lu, killed in the call %lu (of "
             "these %lu may have been sent, and lost by a kill too)",
             total.tried, total.sent, total.not_sent,
             total.tried - total.sent - total.not_sent, total.undecided);
    tap_note("sent %lu: delivered %lu, reported as lost %lu, lost by a kill %lu (in the "
             "queue %lu, in the call %lu, one or the other %lu)",
             total.sent, total.delivered, total.lost,
             total.in_queue + total.in_hand + total.unseen, total.in_queue, total.in_hand,
             total.unseen);
    for (int error = 1; error < 256; error++)
        if (shared->told[error] > 0)
            tap_note("reported: %s, %lu times", strerror(error), shared->told[error]);
}

static void choose_seed(const char *given)
{
    struct timespec now;
    need(clock_gettime(CLOCK_REALTIME, &now) == 0);
    seed = given ? (uint32_t)strtoul(given, NULL, 0)
                 : (uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 16;
    tap_note("seed %u", seed);
}

static void prepare_all(int seconds)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(shared != MAP_FAILED);
    workers_uid = getuid() == 0 ? 0x60000000 + (uid_t)getpid() : getuid();
    need(signal(SIGALRM, give_up) != SIG_ERR);
    alarm((unsigned)(seconds + 2 * STOP_SECONDS + CLEAN_SECONDS));
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 20;
    choose_seed(argc > 2 ? argv[2] : getenv("SEED"));
    prepare_all(seconds);
    uint32_t state = state_for(1, 2, 3);
    int before = count_fds();
    rlim_t limit = lowest_limit();
    long start = now_ms();
    while (now_ms() - start < seconds * 1000L && shared->wrong == 0)
        play_round(&state);
    tell((double)(now_ms() - start) / 1000);
    stop_workers();
    is(shared->wrong, 0,
       "every message is delivered, reported as lost, or lost by a kill");
    ok(total.delivered > 0 &&
           total.delivered + total.lost + total.in_queue + total.in_hand + total.unseen ==
               total.sent,
       "and the sums are equal");
    nothing_is_left(before, limit);
    long first = shared->workers[0].first_rss, last = shared->workers[0].last_rss;
    ok(last > 0 && last - first <= RSS_GROWTH_KB,
       "the worker that lived on has %ld KiB of its own, %ld KiB after its first round",
       last, first);
    return tap_done();
}

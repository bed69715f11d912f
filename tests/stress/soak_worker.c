/* A worker of the soak: its threads send and receive, and check what they get. */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_MESSAGES 3 /* in one call of sendfds_all() */
#define MOST_FDS (MOST_MESSAGES * SENDFD_MAX_FDS)

/* --- what else is passed ----------------------------------------------------------- */

/* The link in /proc/self/fd for each kind. */
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

static bool is_datagram(const struct thread *self)
{
    return socket_types[self->type].type == SOCK_DGRAM;
}

/* --- the one that sends ------------------------------------------------------------ */

static int choose_nfds(uint32_t *state)
{
    if (one_in(state, 16))
        return SENDFD_MAX_FDS - random_below(state, 3);
    return one_in(state, 2) ? 1 : 1 + random_below(state, 24);
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
            len += (size_t)random_below(&self->state, (int)sizeof data);
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
    int fds[MOST_FDS], way = random_below(&self->state, 4), nfds = 1;
    if (way == 2)
        nfds = 1 + random_below(&self->state, one_in(&self->state, 4) ? MOST_FDS : 40);
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

/* The number of the message that is next to come. */
static unsigned next_number(const struct channel *channel)
{
    return channel->delivered + channel->lost + channel->purged;
}

/* Some channels have long queues, and their sender blocks. */
static bool has_enough_in_the_queue(const struct thread *self, int to)
{
    const struct channel *channel = channel_of(self->worker, to, self->type);
    return (self->worker + to) % 3 > 0 && channel->sent > next_number(channel) + 20;
}

static void *send_always(void *argument)
{
    struct thread *self = argument;
    while (!shared->stopping) {
        int to = random_below(&self->state, WORKERS);
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

/* Checks one message, which comes after some others that are not counted yet, and of
 * which this is the first descriptor and up to most more follow; returns how many it has,
 * or 0 if that is unknown. */
static int check_message(struct thread *self, int from, int others, const int *fds,
                         int most)
{
    struct channel *channel = channel_of(from, self->worker, self->type);
    unsigned number = next_number(channel) + (unsigned)others;
    struct label label;
    if (!read_label(fds[0], &label)) {
        report("%d to %d: no label in message %u", from, self->worker, number);
        return 0;
    }
    bool is_here = label.channel == (unsigned)(channel - shared->channels) &&
                   label.round == (unsigned)shared->round;
    /* The coordinator checks whether the sender had been killed. */
    if (is_here && label.number > number && is_datagram(self)) {
        channel->purged += label.number - number;
        number = label.number;
    }
    if (!is_here || label.number != number) {
        report("%d to %d: message %u of channel %u of round %u came, not %u of %u", from,
               self->worker, label.number, label.channel, label.round, number,
               (unsigned)(channel - shared->channels));
        return 0;
    }
    if (label.nfds == 0 || (int)label.nfds > most) {
        report("%d to %d: %u descriptors, not %d", from, self->worker, label.nfds, most);
        return 0;
    }
    int place = random_below(&self->state, (int)label.nfds);
    if (place > 0 && !is_of_kind(fds[place], kind_at(&label, place)))
        report("%d to %d: descriptor %d is no %s", from, self->worker, place,
               kinds[kind_at(&label, place)]);
    if (!is_close_on_exec(fds[place]))
        report("%d to %d: descriptor %d is not close-on-exec", from, self->worker, place);
    return (int)label.nfds;
}

/* Checks what came, message by message, counts it as delivered, and closes it. Returns
 * the number of messages. */
static int accept_all(struct thread *self, int from, const int *fds, int nfds, bool one)
{
    struct channel *channel = channel_of(from, self->worker, self->type);
    int messages = 0;
    for (int i = 0; i < nfds; messages++) {
        int part = check_message(self, from, messages, fds + i, nfds - i);
        if (part == 0 || (one && part != nfds))
            break;
        i += part;
    }
    if (one && messages != 1)
        report("%d to %d: message %u has not %d descriptors", from, self->worker,
               next_number(channel), nfds);
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
        wanted = 1 + random_below(&self->state, one_in(&self->state, 4) ? MOST_FDS : 30);
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
    int fds[SENDFD_MAX_FDS], way = random_below(&self->state, 4);
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
            set_limit(
                (unsigned long)(open + random_below(state, one_in(state, 2) ? 30 : 400)));
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

int live(int worker, int control)
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

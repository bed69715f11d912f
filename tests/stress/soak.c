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
 * killed sender the last call may have sent or not: the receiver knows.
 *
 * soak [SECONDS [SEED]]: 20 seconds, and a seed from the clock, which is printed.
 * It decides what each thread does, but not how they meet. */
#include "soak.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUND_MS 800
#define STOP_SECONDS 30  /* until every worker has finished a round */
#define CLEAN_SECONDS 30 /* until the kernel has collected all that is in flight */
#define GROWTH_KB 1024   /* of a worker's memory */

/* --- the coordinator --------------------------------------------------------------- */

static struct {
    pid_t pid; /* 0 if it was killed */
    int control;
} workers[WORKERS];

/* The findings on the channels whose receiver was killed. */
static struct {
    bool searched;
    unsigned first, found; /* in the queue */
} queues[CHANNELS];

static int ends[WORKERS][WORKERS][SOCKET_TYPES]; /* [of][to] */
static bool killed[WORKERS];
static char *directory;

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
        need(become_worker());
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* one huge page is more than may grow */
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

/* As raw_receive(). If the other end was closed before all it had been sent was taken,
 * SOCK_SEQPACKET reports that first, once, and then gives what is in the queue. */
static ssize_t receive_left(int socket, struct raw_message *message)
{
    ssize_t bytes = raw_receive(socket, 1, MSG_DONTWAIT, message);
    if (bytes < 0 && errno == ECONNRESET)
        bytes = raw_receive(socket, 1, MSG_DONTWAIT, message);
    return bytes;
}

/* Takes all that is left in the queue of a killed receiver. */
static void search_queue(int from, int to, int type)
{
    int i = (int)(channel_of(from, to, type) - shared->channels);
    struct raw_message message;
    struct label label;
    queues[i].searched = true;
    while (receive_left(ends[to][from][type], &message) > 0) {
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

/* Kills one, and sometimes a second at once, while what the first one's end did to the
 * other's sockets is still unread. Worker 0 lives from the first round to the last. */
static void kill_some(uint32_t *state)
{
    int worker = 1 + random_below(state, WORKERS - 1);
    for (int n = 1 + random_below(state, 2); n > 0; n--) {
        if (!killed[worker]) {
            kill(workers[worker].pid, SIGKILL);
            bury(worker, one_in(state, 2));
            total.kills++;
        }
        worker = 1 + worker % (WORKERS - 1);
    }
}

static void run_round(uint32_t *state)
{
    long end = now_ms() + ROUND_MS;
    while (now_ms() < end && shared->wrong == 0) {
        sleep_ms(20);
        if (one_in(state, 25))
            kill_some(state);
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

/* Accounts for the messages in the queue of a killed receiver, which had counted so many,
 * of least to most that had been sent. It may have met with the end of a killed sender
 * and so have dropped a queue of datagrams before its own. */
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
    unsigned counted = channel->delivered + channel->lost + channel->purged;
    unsigned least = channel->sent;
    unsigned most = killed[from] ? channel->tried - channel->not_sent : least;
    total.tried += channel->tried;
    total.not_sent += channel->not_sent;
    total.delivered += channel->delivered;
    total.lost += channel->lost;
    total.unseen += channel->purged;
    if (channel->purged > 0 && !killed[from])
        report("%d to %d: %u messages are missing", from, to, channel->purged);
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
    if (!become_worker())
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
    directory = make_directory();
    need(strlen(directory) < sizeof shared->directory && chmod(directory, 0777) == 0);
    strcpy(shared->directory, directory);
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
    for (long told = 0, now = 0; now < seconds * 1000L && shared->wrong == 0;
         now = now_ms() - start) {
        play_round(&state);
        if (now - told >= 10000) {
            told = now;
            tap_note("%ld of %d s: %lu messages, %lu kills", now / 1000, seconds,
                     total.delivered, total.kills);
        }
    }
    tell((double)(now_ms() - start) / 1000);
    stop_workers();
    remove_directory(directory);
    is(shared->wrong, 0,
       "every message is delivered, reported as lost, or lost by a kill");
    ok(total.delivered > 0 &&
           total.delivered + total.lost + total.in_queue + total.in_hand + total.unseen ==
               total.sent,
       "and the sums are equal");
    nothing_is_left(before, limit);
    long first = shared->workers[0].first_rss, last = shared->workers[0].last_rss;
    ok(last > 0 && last - first <= GROWTH_KB,
       "the worker that lived on has %ld KiB of its own, %ld KiB after its first round",
       last, first);
    return tap_done();
}

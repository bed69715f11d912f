/* A storm of signals, each handler of which calls all functions: in several threads
 * at once, at random moments, one handler within the other, while the threads pass
 * numbered descriptors to each other, blocking and not, and allocate. Would catch
 * state or a lock that calls share, an errno of a call that another one sees, an
 * EINTR after which something was sent or taken all the same, or that is not reported,
 * and a descriptor that is lost, passed twice, or left open in between.
 *
 * The argument says how many times slower this machine is than a usual one, so that it
 * does not spend all its time in handlers; it then does everything once, not twice. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#    define sigev_notify_thread_id _sigev_un._tid
#endif

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */
#define PIDFD 4      /* SCM_PIDFD */
#define DEPTH 4      /* handlers within each other that make calls */
#define SIGNALS 2    /* and timers, in each thread */
#define FILES 16     /* distinguished by their number */
#define MESSAGES 200 /* in a round */
#define MANY 300     /* descriptors to sendfds_all: two messages */
#define ROUNDS 60    /* at most */

static int slowness = 1;
static const int signals[SIGNALS] = {SIGUSR1, SIGUSR2};
static int files[FILES], fds[FILES + MANY]; /* the files, over and over */

/* The conditions that make it a storm. */
static atomic_long runs, nested, in_allocator, in_call, would_block;
static atomic_long interrupted[2]; /* sends, receives */
static atomic_int wrong_in_handler, wrong, allocations;

enum doing { OTHERWISE, ALLOCATING, CALLING };

static _Thread_local struct {
    int pairs[DEPTH][2]; /* the handler's own, for each depth */
    volatile sig_atomic_t depth, doing;
    timer_t timers[SIGNALS];
    uint32_t random;
} self;

/* --- the allocator ------------------------------------------------------------- */

#ifdef __GLIBC__
#    define WATCHES_ALLOCATOR 1
void *__libc_malloc(size_t size);
void __libc_free(void *block);

/* That of libc, which is interrupted; nobody may call it in a handler or a call. */
static void watch(void)
{
    if (self.depth > 0 || self.doing == CALLING)
        atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t size)
{
    watch();
    return __libc_malloc(size);
}

void free(void *block)
{
    watch();
    __libc_free(block);
}
#else
#    define WATCHES_ALLOCATOR 0
#endif

/* --- the handler ------------------------------------------------------------- */

static void ask_for_signal(int which)
{
    long pause = slowness * (20000L + random_below(&self.random, 1000000));
    struct itimerspec soon = {.it_value.tv_nsec = pause};
    if (timer_settime(self.timers[which], 0, &soon, NULL) != 0)
        atomic_fetch_add(&wrong_in_handler, 1);
}

static bool are(const int *received, const int *sent, int nfds)
{
    bool right = same_files(received, sent, nfds);
    for (int i = 0; i < nfds; i++)
        right = right && fcntl(received[i], F_GETFD) == FD_CLOEXEC;
    close_fds(received, nfds);
    return right;
}

/* By sendfds_msghdr() and recvfds_msghdr(), and by sendmsg(2) and recvmsg(2) with the
 * control messages of the library. */
static bool passes_messages(const int pair[2], const int *sent)
{
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(3)];
    int received[3], nfds = 3;
    char byte = 'a';
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (sendfds_msghdr(pair[0], sent, 3, &message, 0) != 1 ||
        recvfds_msghdr(pair[1], received, &nfds, &message, 0) != 1 || nfds != 3 ||
        !are(received, sent, 3))
        return false;
    message.msg_control = control;
    message.msg_controllen = (size_t)sendfds_cmsg(sent, 3, control, sizeof control);
    if (sendmsg(pair[0], &message, MSG_NOSIGNAL) != 1)
        return false;
    message.msg_controllen = sizeof control;
    if (recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) != 1 ||
        recvfds_cmsg(pair[1], received, &nfds, &message, 0) != 0)
        return false;
    const struct cmsghdr *pidfd = find_control(&message, SOL_SOCKET, PIDFD);
    if (pidfd != NULL) /* which is the caller's */
        close(*(const int *)CMSG_DATA(pidfd));
    return nfds == 3 && are(received, sent, 3);
}

static bool passes_each_way(const int pair[2], const int *sent)
{
    int received[3], nfds = 3;
    char data[4];
    if (sendfd(pair[0], sent[0]) != 1 || (received[0] = recvfd(pair[1])) < 0 ||
        !are(received, sent, 1))
        return false;
    if (sendfds(pair[0], sent, 3) != 3 || recvfds(pair[1], received, 3) != 3 ||
        !are(received, sent, 3))
        return false;
    if (sendfds_all(pair[0], sent, 3) != 3 || recvfds_all(pair[1], received, 3) != 3 ||
        !are(received, sent, 3))
        return false;
    return sendfds_msg(pair[0], sent, 3, "abc", 4, 0) == 4 &&
           recvfds_msg(pair[1], received, &nfds, data, 4, 0) == 4 && nfds == 3 &&
           strcmp(data, "abc") == 0 && are(received, sent, 3) &&
           passes_messages(pair, sent);
}

static bool failed_with(ssize_t returned, int error)
{
    return returned == -1 && errno == error;
}

static bool fails_each_way(const int pair[2], const int *sent)
{
    int received[2], nfds = 2;
    char byte;
    if (!failed_with(sendfd(-1, sent[0]), EBADF) ||
        !failed_with(sendfds(pair[0], sent, 254), EINVAL) ||
        !failed_with(sendfds_all(pair[0], null_fds, 1), EFAULT) ||
        !failed_with(sendfds_msg(sent[0], sent, 1, "", 1, 0), ENOTSOCK))
        return false;
    if (!failed_with(recvfds_msg(pair[1], received, &nfds, &byte, 1, MSG_DONTWAIT),
                     EAGAIN))
        return false;
    /* Each of these fails after it has closed the descriptors that came. */
    return sendfds(pair[0], sent, 3) == 3 && failed_with(recvfd(pair[1]), EMSGSIZE) &&
           sendfds(pair[0], sent, 3) == 3 &&
           failed_with(recvfds(pair[1], received, 2), EMSGSIZE) &&
           sendfds(pair[0], sent, 3) == 3 &&
           failed_with(recvfds_all(pair[1], received, 2), EMSGSIZE) &&
           sendfds_msg(pair[0], NULL, 0, "a", 1, 0) == 1 &&
           failed_with(recvfd(pair[1]), ENOMSG);
}

static void handler(int signal)
{
    int error = errno, which = signal == signals[0] ? 0 : 1, depth = self.depth;
    int doing = self.doing;
    bool at_once = depth < DEPTH && random_below(&self.random, 2) == 0;
    self.depth = depth + 1;
    self.doing = OTHERWISE;
    if (at_once)
        ask_for_signal(which);
    if (depth < DEPTH) {
        const int *sent = fds + random_below(&self.random, FILES);
        if (!passes_each_way(self.pairs[depth], sent) ||
            !fails_each_way(self.pairs[depth], sent) ||
            strcmp(sendfd_version(), SENDFD_VERSION) != 0)
            atomic_fetch_add(&wrong_in_handler, 1);
        atomic_fetch_add(&runs, 1);
        atomic_fetch_add(&nested, depth > 0);
        atomic_fetch_add(&in_allocator, doing == ALLOCATING);
        atomic_fetch_add(&in_call, doing == CALLING);
    }
    if (!at_once)
        ask_for_signal(which);
    self.doing = doing;
    self.depth = depth;
    errno = error;
}

/* --- the threads -------------------------------------------------------------- */

static void mask_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&set, signals[i]);
    need(pthread_sigmask(how, &set, NULL) == 0);
}

/* Threads are started with the signals blocked. */
static void start_storm(int type)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID};
    event.sigev_notify_thread_id = gettid();
    self.random = 88172645u ^ (uint32_t)gettid();
    for (int i = 0; i < DEPTH; i++) {
        socket_pair(type, self.pairs[i]);
        if (i == 0) /* where the kernel has it: one more to close, each time */
            set_option(self.pairs[i][1], PASSPIDFD, 1);
        if (i % 2 == 1) {
            set_nonblocking(self.pairs[i][0]);
            set_nonblocking(self.pairs[i][1]);
        }
    }
    for (int i = 0; i < SIGNALS; i++) {
        event.sigev_signo = signals[i];
        need(timer_create(CLOCK_MONOTONIC, &event, &self.timers[i]) == 0);
        ask_for_signal(i);
    }
    mask_signals(SIG_UNBLOCK);
}

static void stop_storm(void)
{
    mask_signals(SIG_BLOCK);
    for (int i = 0; i < SIGNALS; i++)
        need(timer_delete(self.timers[i]) == 0);
    for (int i = 0; i < DEPTH; i++) {
        if (!is_empty(self.pairs[i][1]))
            atomic_fetch_add(&wrong_in_handler, 1);
        close_pair(self.pairs[i]);
    }
}

/* The task of a thread. */
struct work {
    int type, pair[2];
    bool nonblocking;
    atomic_bool *ended;
};

/* Whether a call that has returned -1 or a short count is to be made again. */
static bool is_to_repeat(int error, bool receives)
{
    atomic_fetch_add(&interrupted[receives], error == EINTR);
    atomic_fetch_add(&would_block, error == EAGAIN);
    if (error == EAGAIN)
        sched_yield();
    return error == EINTR || error == EAGAIN;
}

/* The first of the files that message n carries, how many, and by which function. */
struct message {
    const int *sent;
    int nfds, function;
};

static struct message message_of(int n)
{
    static const int counts[] = {1, 5, MANY, 2};
    return (struct message){fds + n % FILES, counts[n % 4], n % 4};
}

static ssize_t send_part(int socket, const struct message *message, int done, int n)
{
    const int *rest = message->sent + done;
    switch (message->function) {
    case 0:
        return sendfd(socket, rest[0]);
    case 1:
        return sendfds(socket, rest, message->nfds);
    case 2:
        return sendfds_all(socket, rest, message->nfds - done);
    default: /* the number in the bytes, too; the descriptors are what counts here */
        return sendfds_msg(socket, rest, message->nfds, &n, sizeof n, 0) == sizeof n
                   ? message->nfds
                   : -1;
    }
}

static ssize_t receive_part(int socket, const struct message *message, int *received,
                            int done, int n)
{
    int *rest = received + done, number = -1, nfds = message->nfds;
    switch (message->function) {
    case 0:
        rest[0] = recvfd(socket);
        return rest[0] >= 0 ? 1 : rest[0];
    case 1:
        return recvfds(socket, rest, message->nfds);
    case 2:
        return recvfds_all(socket, rest, message->nfds - done);
    default:
        if (recvfds_msg(socket, rest, &nfds, &number, sizeof number, 0) < 0)
            return nfds == message->nfds ? -1 : -3;
        return number == n ? nfds : -3;
    }
}

static bool send_message(int socket, int n)
{
    struct message message = message_of(n);
    for (int done = 0; done < message.nfds;) {
        self.doing = CALLING;
        ssize_t sent = send_part(socket, &message, done, n);
        int error = errno;
        self.doing = OTHERWISE;
        if (sent == 0 || sent < -1 || sent > message.nfds - done ||
            (sent < message.nfds - done && !is_to_repeat(error, false)))
            return false;
        done += sent > 0 ? (int)sent : 0;
    }
    return true;
}

static bool receive_message(int socket, int n)
{
    struct message message = message_of(n);
    int received[MANY], done = 0;
    while (done < message.nfds) {
        self.doing = CALLING;
        ssize_t came = receive_part(socket, &message, received, done, n);
        int error = errno;
        self.doing = OTHERWISE;
        if (came == 0 || came < -1 || came > message.nfds - done ||
            (came < message.nfds - done && !is_to_repeat(error, true)))
            return false;
        done += came > 0 ? (int)came : 0;
    }
    return done == message.nfds && are(received, message.sent, done);
}

static bool allocate(void)
{
    unsigned char *blocks[16];
    bool right = true;
    self.doing = ALLOCATING;
    for (int i = 0; i < 16; i++) {
        blocks[i] = malloc(16 + (size_t)random_below(&self.random, 1 << (i % 14)));
        need(blocks[i] != NULL);
        memset(blocks[i], i, 16);
    }
    for (int i = 0; i < 16; i++) {
        right = right && blocks[i][0] == i && blocks[i][15] == i;
        free(blocks[i]);
    }
    self.doing = OTHERWISE;
    return right;
}

/* A slow machine does less in the same rounds. */
static long enough(long count)
{
    return (count + slowness - 1) / slowness;
}

/* Whether the thread that sends, or receives, has had to wait often enough. */
static bool has_waited(const struct work *work, bool receives)
{
    return (work->nonblocking ? would_block : interrupted[receives]) >= enough(20);
}

/* One side is the slower for some messages, then the other: so that both have to wait.
 * On a slow machine the other needs longer to come to that. */
static void dawdle(const struct work *work, int n, bool receives)
{
    if (n / 16 % 2 != receives)
        return;
    for (int i = 0; i < 40 || (i < 4000 && !has_waited(work, !receives)); i++)
        if (!allocate())
            atomic_fetch_add(&wrong, 1);
}

/* After a wrong one the other thread would wait forever. */
static void pass_messages(struct work *work, bool receives)
{
    int socket = work->pair[receives];
    bool right = true;
    start_storm(work->type);
    for (int n = 0; n < MESSAGES && right; n++) {
        dawdle(work, n, receives);
        right = receives ? receive_message(socket, n) : send_message(socket, n);
    }
    if (!right) {
        atomic_fetch_add(&wrong, 1);
        shutdown(socket, SHUT_RDWR);
    }
    stop_storm();
}

static void *send_messages(void *argument)
{
    pass_messages(argument, false);
    return NULL;
}

static void *receive_messages(void *argument)
{
    pass_messages(argument, true);
    return NULL;
}

static void *allocate_till_the_end(void *argument)
{
    struct work *work = argument;
    start_storm(work->type);
    while (!atomic_load(work->ended)) {
        bool right = allocate();
        self.doing = CALLING;
        right =
            right && passes_each_way(work->pair, fds) && fails_each_way(work->pair, fds);
        self.doing = OTHERWISE;
        if (!right)
            atomic_fetch_add(&wrong, 1);
    }
    stop_storm();
    return NULL;
}

/* --- rounds --------------------------------------------------------------------- */

/* Two threads that pass and two that allocate. */
static void run_round(int type, bool nonblocking)
{
    atomic_bool ended = false;
    struct work passing = {.type = type, .nonblocking = nonblocking}, allocating[2];
    pthread_t threads[4];
    socket_pair(type, passing.pair);
    need(set_option(passing.pair[0], SO_SNDBUF, 1)); /* as small as it may be */
    if (nonblocking) {
        set_nonblocking(passing.pair[0]);
        set_nonblocking(passing.pair[1]);
    }
    for (int i = 0; i < 2; i++) {
        allocating[i] = (struct work){.type = type, .ended = &ended};
        socket_pair(type, allocating[i].pair);
        need(pthread_create(&threads[i], NULL, allocate_till_the_end, &allocating[i]) ==
             0);
    }
    need(pthread_create(&threads[2], NULL, send_messages, &passing) == 0);
    need(pthread_create(&threads[3], NULL, receive_messages, &passing) == 0);
    need(pthread_join(threads[2], NULL) == 0 && pthread_join(threads[3], NULL) == 0);
    atomic_store(&ended, true);
    need(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    if (!is_empty(passing.pair[1]))
        atomic_fetch_add(&wrong, 1);
    close_pair(passing.pair);
    close_pair(allocating[0].pair);
    close_pair(allocating[1].pair);
}

static bool was_a_storm(void)
{
    return runs >= enough(3000) && nested >= enough(100) && in_allocator >= enough(100) &&
           in_call >= enough(100) && interrupted[0] >= enough(20) &&
           interrupted[1] >= enough(20) && would_block >= enough(20);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        slowness = atoi(argv[1]);
    need(slowness >= 1 && slowness <= 900);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    int before = count_fds(), rounds = 0;
    for (int i = 0; i < FILES; i++)
        files[i] = open_numbered_file(i);
    for (int i = 0; i < FILES + MANY; i++)
        fds[i] = files[i % FILES];
    for (int i = 0; i < SIGNALS; i++)
        need(sigaction(signals[i], &action, NULL) == 0);
    mask_signals(SIG_BLOCK);

    /* Each type of socket, blocking and not, twice; then on till it was a storm. */
    int least = slowness == 1 ? 4 * SOCKET_TYPES : 2 * SOCKET_TYPES;
    for (; rounds < least || (rounds < ROUNDS && !was_a_storm()); rounds++)
        run_round(socket_types[rounds / 2 % SOCKET_TYPES].type, rounds % 2 == 1);

    is(wrong_in_handler, 0, "every call in a handler is right, in %ld runs", (long)runs);
    is(wrong, 0, "each of %d descriptors came once, in its order",
       rounds * MESSAGES / 4 * (1 + 5 + MANY + 2));
    ok(nested >= enough(100), "handlers interrupted handlers, %ld times", (long)nested);
    ok(in_allocator >= enough(100), "and the allocator, %ld times", (long)in_allocator);
    ok(in_call >= enough(100), "and calls of the library, %ld times", (long)in_call);
    ok(interrupted[0] >= enough(20), "of which %ld sends returned EINTR",
       (long)interrupted[0]);
    ok(interrupted[1] >= enough(20), "and %ld receives", (long)interrupted[1]);
    ok(would_block >= enough(20), "and where nothing blocks, %ld EAGAIN",
       (long)would_block);
    if (WATCHES_ALLOCATOR)
        is(allocations, 0, "and no call called the allocator");
    else
        tap_skip("whether a call allocates: only a glibc lets that be watched");
    close_fds(files, FILES);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

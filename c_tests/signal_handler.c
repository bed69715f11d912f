/* All functions may be called from a signal handler: one that interrupts the
 * allocator, stdio and the library's own calls, again and again, passes
 * descriptors of its own and disturbs nothing. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PART 40000000 /* nanoseconds that each part goes on */

/* The handler's own: nothing that the interrupted code uses. */
static int handlers_pair[2], handlers_file;
static atomic_int runs, wrong;

static bool passes_one(const int pair[2], int file)
{
    if (sendfd(pair[0], file) != 1)
        return false;
    int received = recvfd(pair[1]);
    bool right = received >= 0 && same_file(received, file);
    close(received);
    return right;
}

static bool passes_some(const int pair[2], int file)
{
    int fds[3] = {file, file, file}, received[3];
    if (sendfds(pair[0], fds, 3) != 3 || recvfds(pair[1], received, 3) != 3)
        return false;
    bool right = same_files(fds, received, 3);
    close_fds(received, 3);
    return right;
}

static bool passes_all(const int pair[2], int file)
{
    int fds[3] = {file, file, file}, received[3];
    if (sendfds_all(pair[0], fds, 3) != 3 || recvfds_all(pair[1], received, 3) != 3)
        return false;
    bool right = same_files(fds, received, 3);
    close_fds(received, 3);
    return right;
}

static bool passes_message(const int pair[2], int file)
{
    int fds[3] = {file, file, file}, received[3], nfds = 3;
    char data[4] = "";
    if (sendfds_msg(pair[0], fds, 3, "abc", 3, 0) != 3 ||
        recvfds_msg(pair[1], received, &nfds, data, sizeof data, 0) != 3 || nfds != 3)
        return false;
    bool right = same_files(fds, received, 3) && memcmp(data, "abc", 3) == 0;
    close_fds(received, 3);
    return right;
}

static bool passes_each_way(const int pair[2], int file)
{
    return passes_one(pair, file) && passes_some(pair, file) && passes_all(pair, file) &&
           passes_message(pair, file);
}

static bool fails_right(int socket)
{
    int nfds = 1;
    errno = 0;
    return recvfd(-1) == -1 && errno == EBADF && sendfd(socket, -1) == -1 &&
           errno == EBADF && sendfds(socket, null_fds, 1) == -1 && errno == EFAULT &&
           sendfds_all(socket, NULL, 0) == -1 && errno == EINVAL &&
           recvfds_msg(socket, NULL, &nfds, &nfds, 1, 0) == -1 && errno == EFAULT;
}

static long long now(void)
{
    struct timespec time;
    need(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* The next signal comes soon, but not before what this one interrupts has gone on,
 * however slow the machine, and with no need of another thread to be run. */
static timer_t timer;
static atomic_bool over;

static void ask_for_signal(long long nanoseconds)
{
    struct itimerspec soon = {.it_value = {.tv_sec = (time_t)(nanoseconds / 1000000000),
                                           .tv_nsec = (long)(nanoseconds % 1000000000)}};
    if (timer_settime(timer, 0, &soon, NULL) != 0)
        wrong++;
}

static void handler(int signal)
{
    int error = errno;
    long long start = now();
    (void)signal;
    if (!passes_each_way(handlers_pair, handlers_file) ||
        !fails_right(handlers_pair[0]) || sendfd_version()[0] != SENDFD_VERSION[0])
        wrong++;
    runs++;
    if (!over)
        ask_for_signal(50000 + (now() - start));
    errno = error;
}

static void start_signals(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    over = false;
    need(sigaction(SIGUSR1, &action, NULL) == 0);
    need(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    ask_for_signal(50000);
}

static void stop_signals(void)
{
    over = true;
    need(timer_delete(timer) == 0);
    need(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
}

/* Does nothing but be there, so that the allocator and stdio take their locks. */
static void *wait_for_the_end(void *argument)
{
    char byte;
    need(read(*(int *)argument, &byte, 1) == 0);
    return NULL;
}

static pthread_t start_thread(int end[2])
{
    pthread_t thread;
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    need(pipe2(end, O_CLOEXEC) == 0);
    need(pthread_sigmask(SIG_BLOCK, &set, &before) == 0);
    need(pthread_create(&thread, NULL, wait_for_the_end, &end[0]) == 0);
    need(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return thread;
}

static bool allocate(void)
{
    char *blocks[8];
    for (size_t i = 0; i < 8; i++) {
        blocks[i] = malloc(16 << (2 * i));
        need(blocks[i] != NULL);
        memset(blocks[i], 1, 16);
    }
    bool right = true;
    for (int i = 0; i < 8; i++) {
        right = right && blocks[i][15] == 1;
        free(blocks[i]);
    }
    return right;
}

static FILE *nowhere;

static bool print(void)
{
    return fprintf(nowhere, "%d %s %f\n", runs, "text", 1.5) > 0 && fflush(nowhere) == 0;
}

static int own_pair[2], own_file;

static bool pass(void)
{
    return passes_each_way(own_pair, own_file);
}

static bool fail(void)
{
    return fails_right(own_pair[0]);
}

static void interrupt(const char *type, const char *name, bool (*work)(void))
{
    int spoiled = 0;
    runs = wrong = 0;
    long long end = now() + PART;
    start_signals();
    while (runs == 0 || now() < end)
        spoiled += !work();
    stop_signals();
    tap_note("%d runs of the handler", runs);
    is(wrong, 0, "%s: a handler that interrupts %s: every call is right", type, name);
    is(spoiled, 0, "%s: and so is what it interrupts", type);
}

static void all_functions(const struct socket_type *type)
{
    socket_pair(type->type, handlers_pair);
    socket_pair(type->type, own_pair);
    handlers_file = open_file();
    own_file = open_file();
    interrupt(type->name, "malloc and free", allocate);
    interrupt(type->name, "fprintf", print);
    interrupt(type->name, "the same functions", pass);
    interrupt(type->name, "failing calls", fail);
    ok(is_empty(handlers_pair[1]) && is_empty(own_pair[1]), "%s: nothing is left",
       type->name);
    close(handlers_file);
    close(own_file);
    close_pair(handlers_pair);
    close_pair(own_pair);
}

int main(void)
{
    int before = count_fds(), end[2];
    nowhere = fopen("/dev/null", "we");
    need(nowhere != NULL);
    pthread_t thread = start_thread(end);
    for (int i = 0; i < SOCKET_TYPES; i++)
        all_functions(&socket_types[i]);
    close(end[1]);
    need(pthread_join(thread, NULL) == 0);
    close(end[0]);
    fclose(nowhere);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

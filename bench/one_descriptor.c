/* The cost of one descriptor: sendfd() and recvfd() apart, a round trip in one process,
 * and a descriptor that goes to another process and comes back, against what a C
 * programmer writes instead. The ratios would show a copy, a check or a system call too
 * many. Prints CSV, see bench.h. */
#include "bench.h"
#include "contenders.h"
#include "sendfd.h"

#include <fcntl.h>
#include <stddef.h>

/* Messages in a slice: a queue holds 278, and short slices make many rounds. */
#define MESSAGES 64

static int sendfds_of_one(int socket, int fd)
{
    return sendfds(socket, &fd, 1);
}

static int recvfds_of_one(int socket)
{
    int fd;
    return recvfds(socket, &fd, 1) == 1 ? fd : -1;
}

static const struct way with_arrays = {sendfds_of_one, recvfds_of_one, true};

static int pair[2]; /* in one process: what is sent to the first comes from the second */
static int file;

/* --- in one process ------------------------------------------------------------------
 */

static void measure_send(const void *argument, double *figures)
{
    const struct way *way = argument;
    uint64_t start = now_ns();
    for (int i = 0; i < MESSAGES; i++)
        need(way->send(pair[0], file) == 1);
    figures[0] = (double)(now_ns() - start) / MESSAGES;
    for (int i = 0; i < MESSAGES; i++)
        close_received(way, way->receive(pair[1]));
}

/* All are sent in the same way, that of the receive's kind, so that nothing but the
 * receive differs. */
static void measure_receive(const void *argument, double *figures)
{
    const struct way *way = argument;
    int fds[MESSAGES];
    for (int i = 0; i < MESSAGES; i++)
        need((way->passes ? hand_written_send : byte_send)(pair[0], file) == 1);
    uint64_t start = now_ns();
    for (int i = 0; i < MESSAGES; i++)
        need((fds[i] = way->receive(pair[1])) >= 0);
    figures[0] = (double)(now_ns() - start) / MESSAGES;
    for (int i = 0; i < MESSAGES; i++)
        close_received(way, fds[i]);
}

static void measure_dup(const void *argument, double *figures)
{
    (void)argument;
    int fds[MESSAGES];
    uint64_t start = now_ns();
    for (int i = 0; i < MESSAGES; i++)
        need((fds[i] = fcntl(file, F_DUPFD_CLOEXEC, 0)) >= 0);
    figures[0] = (double)(now_ns() - start) / MESSAGES;
    close_fds(fds, MESSAGES);
}

static void measure_both(const void *argument, double *figures)
{
    const struct way *way = argument;
    uint64_t start = now_ns();
    for (int i = 0; i < MESSAGES; i++) {
        need(way->send(pair[0], file) == 1);
        int fd = way->receive(pair[1]);
        need(fd >= 0);
        close_received(way, fd);
    }
    figures[0] = (double)(now_ns() - start) / MESSAGES;
}

static const struct bench_case send_case = {
    .figures = {{"send", "ns"}},
    .ncontenders = 5,
    .contenders = {{"hand-written", measure_send, &by_hand},
                   {"hand-written after getsockname", measure_send, &with_check},
                   {"sendfd", measure_send, &with_library},
                   {"sendfds of one", measure_send, &with_arrays},
                   {"a byte without descriptor", measure_send, &no_descriptor}},
};

/* The difference if both make the same system calls. */
static const struct bench_case same_calls_case = {
    .figures = {{"send by the same system calls", "ns"}},
    .ncontenders = 2,
    .contenders = {{"hand-written after getsockname", measure_send, &with_check},
                   {"sendfd", measure_send, &with_library}},
};

static const struct bench_case receive_case = {
    .figures = {{"receive", "ns"}},
    .ncontenders = 5,
    .contenders = {{"hand-written", measure_receive, &by_hand},
                   {"recvfd", measure_receive, &with_library},
                   {"recvfds of one", measure_receive, &with_arrays},
                   {"a byte without descriptor", measure_receive, &no_descriptor},
                   {"dup", measure_dup, NULL}},
};

static const struct bench_case both_case = {
    .figures = {{"round trip in one process", "ns"}},
    .ncontenders = 4,
    .contenders = {{"hand-written", measure_both, &by_hand},
                   {"hand-written after getsockname", measure_both, &with_check},
                   {"libsendfd", measure_both, &with_library},
                   {"a byte without descriptor", measure_both, &no_descriptor}},
};

/* --- between two processes -----------------------------------------------------------
 */

/* In a slice. So few, because how long a CPU takes to wake up depends on what the
 * machine did in the last milliseconds, and all contenders of a round are to meet the
 * same. */
#define ROUND_TRIPS 8

struct ping_pong {
    int cpu; /* of the other process */
    int socket;
};

static struct process other;

/* The other process: sends back what comes, in the way that it is asked. One process
 * for all contenders, as two would never lie alike in memory. */
static void send_back(const void *argument, int orders)
{
    const struct ping_pong *ping_pong = argument;
    pin_to(ping_pong->cpu);
    for (;;) {
        const struct way *way;
        read_order(orders, &way, sizeof way); /* this process was forked: it holds */
        for (int i = 0; i <= ROUND_TRIPS; i++) {
            int fd = way->receive(ping_pong->socket);
            need(fd >= 0);
            need(way->send(ping_pong->socket, fd) == 1);
            close_received(way, fd);
        }
    }
}

static void go_and_come_back(const struct way *way)
{
    need(way->send(pair[0], file) == 1);
    int fd = way->receive(pair[0]);
    need(fd >= 0);
    close_received(way, fd);
}

static void measure_ping_pong(const void *argument, double *figures)
{
    const struct way *way = argument;
    send_order(other, &way, sizeof way);
    go_and_come_back(way); /* then the other has read its order */
    uint64_t start = now_ns();
    for (int i = 0; i < ROUND_TRIPS; i++)
        go_and_come_back(way);
    figures[0] = (double)(now_ns() - start) / ROUND_TRIPS;
}

static void run_ping_pong(const char *name, int cpu, double seconds)
{
    struct bench_case bench_case = {
        .figures = {{name, "ns"}},
        .seconds = seconds,
        .ncontenders = 4,
        .contenders = {{"hand-written", measure_ping_pong, &by_hand},
                       {"hand-written after getsockname", measure_ping_pong, &with_check},
                       {"libsendfd", measure_ping_pong, &with_library},
                       {"a byte without descriptor", measure_ping_pong, &no_descriptor}},
    };
    struct ping_pong ping_pong = {.cpu = cpu, .socket = pair[1]};
    other = start_process(send_back, &ping_pong);
    run_case(&bench_case);
    stop_processes();
}

static void run_for(struct bench_case bench_case, double seconds)
{
    bench_case.seconds = seconds;
    run_case(&bench_case);
}

int main(void)
{
    start_bench("one_descriptor");
    make_pair(pair);
    open_files(&file, 1);
    pin_to(0);
    double seconds = full_or_quick(12, 0.6);
    run_for(send_case, seconds);
    run_for(same_calls_case, seconds);
    run_for(receive_case, seconds);
    run_for(both_case, seconds);
    run_ping_pong("ping-pong on one CPU", 0, seconds);
    if (count_cpus() > 1)
        run_ping_pong("ping-pong on two CPUs", 1, seconds);
    else
        skip("there is one CPU, so no ping-pong on two");
    return 0;
}

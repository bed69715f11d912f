/* The rounds, the statistics and the processes of the benchmarks: see bench.h. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FEWEST_ROUNDS 3
#define MOST_ROUNDS 20000
#define MOST_SECONDS 300 /* then it hangs, and is killed by SIGALRM */
#define MOST_PROCESSES 256

static const char *part;
static cpu_set_t all_cpus;

void bench_need(bool holds, const char *condition, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s: failed: %s at %s:%d: %s\n", part, condition, file, line,
            strerror(errno));
    exit(1); /* and the kernel kills what was started, see start_process() */
}

void skip(const char *why)
{
    fprintf(stderr, "# skipped: %s: %s\n", part, why);
}

double full_or_quick(double full, double quick)
{
    const char *asked = getenv("BENCH_QUICK");
    return asked != NULL && strcmp(asked, "1") == 0 ? quick : full;
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void start_bench(const char *name)
{
    part = name;
    struct rlimit limit;
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    need(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    need(sched_getaffinity(0, sizeof all_cpus, &all_cpus) == 0);
    atexit(stop_processes);
    alarm(MOST_SECONDS);
    puts("case,contender,unit,value,ratio,low,high");
}

/* --- CPUs, sockets, files, memory ----------------------------------------------------
 */

int count_cpus(void)
{
    return CPU_COUNT(&all_cpus);
}

void pin_to(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all_cpus) && cpu-- == 0)
            CPU_SET(i, &one);
    need(sched_setaffinity(0, sizeof one, &one) == 0);
}

void make_pair(int pair[2])
{
    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
}

void open_files(int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        need((fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
}

void close_fds(const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        need(close(fds[i]) == 0);
}

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    need(memory != MAP_FAILED);
    return memory;
}

/* --- processes -----------------------------------------------------------------------
 */

static struct process processes[MOST_PROCESSES];
static int nprocesses;

/* A process has ended by itself, so what is measured now is wrong, or hangs. */
static void end_with_it(int signal)
{
    static const char text[] = "a process of the benchmark has ended\n";
    (void)signal;
    if (write(2, text, sizeof text - 1) < 0)
        _exit(2);
    _exit(1);
}

struct process start_process(void (*body)(const void *, int), const void *argument)
{
    int pair[2];
    pid_t parent = getpid();
    need(nprocesses < MOST_PROCESSES);
    need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    signal(SIGCHLD, end_with_it);
    fflush(stdout); /* or both would write what it holds */
    pid_t pid = fork();
    need(pid >= 0);
    if (pid == 0) {
        nprocesses = 0;
        signal(SIGCHLD, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        need(getppid() == parent); /* it may have died before the line above */
        close(pair[0]);
        body(argument, pair[1]);
        exit(1);
    }
    close(pair[1]);
    return processes[nprocesses++] = (struct process){.pid = pid, .orders = pair[0]};
}

void stop_processes(void)
{
    signal(SIGCHLD, SIG_DFL);
    for (int i = 0; i < nprocesses; i++)
        kill(processes[i].pid, SIGKILL);
    for (int i = 0; i < nprocesses; i++) {
        waitpid(processes[i].pid, NULL, 0);
        close(processes[i].orders);
    }
    nprocesses = 0;
}

void send_order(struct process process, const void *order, size_t size)
{
    need(send(process.orders, order, size, MSG_NOSIGNAL) == (ssize_t)size);
}

void read_order(int orders, void *order, size_t size)
{
    need(recv(orders, order, size, 0) == (ssize_t)size);
}

void answer(int orders)
{
    need(send(orders, "", 1, MSG_NOSIGNAL) == 1);
}

void await_answer(struct process process)
{
    char byte;
    need(recv(process.orders, &byte, 1, 0) == 1);
}

/* --- statistics ----------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sort_values(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
}

double quantile(const double *sorted, size_t n, double share)
{
    double place = share * (double)(n - 1);
    size_t below = (size_t)place;
    size_t above = below + 1 < n ? below + 1 : below;
    double part_above = place - (double)below;
    return sorted[below] * (1 - part_above) + sorted[above] * part_above;
}

/* --- cases ---------------------------------------------------------------------------
 */

/* The measured values: [figure][contender][round]. */
static double results[MOST_FIGURES][MOST_CONTENDERS][MOST_ROUNDS];

/* In random order: in a fixed one each would always run in the traces that the same
 * other one leaves in the caches. */
static void run_round(const struct bench_case *bench_case, int round)
{
    static unsigned state = 1; /* the same orders in each run */
    int order[MOST_CONTENDERS];
    for (int i = 0; i < bench_case->ncontenders; i++) {
        int place = rand_r(&state) % (i + 1);
        order[i] = order[place];
        order[place] = i;
    }
    for (int i = 0; i < bench_case->ncontenders; i++) {
        const struct contender *contender = &bench_case->contenders[order[i]];
        double figures[MOST_FIGURES] = {0};
        contender->measure(contender->argument, figures);
        for (int figure = 0; figure < MOST_FIGURES; figure++)
            results[figure][order[i]][round] = figures[figure];
    }
}

static void print_line(const struct figure *figure, const char *contender, double *values,
                       double *ratios, int rounds)
{
    size_t n = (size_t)rounds;
    sort_values(values, n);
    sort_values(ratios, n);
    printf("%s,%s,%s,%.6g,%.4f,%.4f,%.4f\n", figure->name, contender, figure->unit,
           quantile(values, n, 0.5), quantile(ratios, n, 0.5), quantile(ratios, n, 0.25),
           quantile(ratios, n, 0.75));
}

static void print_case(const struct bench_case *bench_case, int rounds)
{
    static double values[MOST_ROUNDS], ratios[MOST_ROUNDS];
    for (int f = 0; f < MOST_FIGURES && bench_case->figures[f].name != NULL; f++)
        for (int c = 0; c < bench_case->ncontenders; c++) {
            for (int round = 0; round < rounds; round++) {
                values[round] = results[f][c][round];
                need(values[round] > 0);
                ratios[round] = values[round] / results[f][0][round];
            }
            print_line(&bench_case->figures[f], bench_case->contenders[c].name, values,
                       ratios, rounds);
        }
    fflush(stdout);
}

void run_case(const struct bench_case *bench_case)
{
    fprintf(stderr, "%s: %s: %.3g s\n", part, bench_case->figures[0].name,
            bench_case->seconds);
    run_round(bench_case, 0); /* to warm up: it is overwritten */
    uint64_t end = now_ns() + (uint64_t)(bench_case->seconds * 1e9);
    int rounds = 0;
    while (rounds < FEWEST_ROUNDS || (rounds < MOST_ROUNDS && now_ns() < end))
        run_round(bench_case, rounds++);
    print_case(bench_case, rounds);
}

/* The measuring that the parts of the benchmark share: contenders of one case take
 * turns in many short slices, in another order each round, and what is reported of each
 * is the median, and the ratio to the baseline within the round. So a machine that
 * becomes slower for a while slows them all, and the ratios stay.
 *
 * No time makes a benchmark fail, but whatever a contender does wrong ends it. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Ends the benchmark if the condition does not hold: what fails is not measured. */
#define need(condition) bench_need((condition), #condition, __FILE__, __LINE__)
void bench_need(bool holds, const char *condition, const char *file, int line);

#define MOST_CONTENDERS 6
#define MOST_FIGURES 4

/* Runs for one slice, about a millisecond or less where it can be, and stores what
 * the slice says of each of the case's figures, such as ns per operation. */
typedef void measure_fn(const void *argument, double *figures);

struct contender {
    const char *name;
    measure_fn *measure;
    const void *argument;
};

struct figure {
    const char *name; /* of the case, in the table; without a comma, as is unit */
    const char *unit;
};

/* contenders[0] is the baseline. Rounds are run until the seconds are over. */
struct bench_case {
    struct figure figures[MOST_FIGURES]; /* up to the first without a name */
    double seconds;
    int ncontenders;
    struct contender contenders[MOST_CONTENDERS];
};

/* Measures a case and prints its lines of CSV. */
void run_case(const struct bench_case *bench_case);

/* To be called first: the head of the CSV, and a limit to the time of it all. */
void start_bench(const char *part);

/* Reports what is not measured, and why: a failure with REQUIRE_ALL=1, see bench/run. */
void skip(const char *why);

/* One of two values: that of the whole benchmark, or of the short mode in which it
 * is only seen to work (BENCH_QUICK=1). */
double full_or_quick(double full, double quick);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/* The CPUs that this process may use when it starts, and one of them for all that
 * the calling process does from now on. */
int count_cpus(void);
void pin_to(int cpu);

/* A connected pair of stream sockets, and files that are not the same. */
void make_pair(int pair[2]);
void open_files(int *fds, int nfds);
void close_fds(const int *fds, int nfds);

/* Memory that processes started from now on share, all zero. */
void *shared_memory(size_t size);

/* A process that runs body until it is stopped; if it ends before, so does the
 * benchmark. Orders are what its body reads from the socket that it is given. */
struct process {
    pid_t pid;
    int orders;
};
struct process start_process(void (*body)(const void *argument, int orders),
                             const void *argument);
void stop_processes(void);

/* One order to a process, and its answer: a byte. An order is read whole. */
void send_order(struct process process, const void *order, size_t size);
void await_answer(struct process process);
void read_order(int orders, void *order, size_t size);
void answer(int orders);

/* Sorts the values; the value below which that share of them lies. */
void sort_values(double *values, size_t n);
double quantile(const double *sorted, size_t n, double share);

#endif

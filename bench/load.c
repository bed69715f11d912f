/* The cost of a hand-over on a machine that is busy with them: 64 pairs of processes at
 * once, each of which sends a descriptor back and forth as fast as it can; how many go
 * over in a second, and how long one takes, in the middle and at the worst. Would show a
 * lock or a wait that only a crowd meets. Prints CSV, see bench.h. */
#include "bench.h"
#include "contenders.h"

#include <stdatomic.h>
#include <time.h>

#define PAIRS 64
#define MOST_SAMPLES (1 << 14) /* of one process in a slice */

/* One direction of a pair. The time at which a descriptor is sent is next to the
 * socket, as the message has no place for it. */
struct direction {
    atomic_ullong sent_at;
    atomic_bool last;     /* the sender sends no more after this one */
    uint64_t finished_at; /* by the receiver */
    int nsamples;
    uint32_t samples[MOST_SAMPLES]; /* ns from before the send to after the receive */
};

/* Shared by all processes: [pair][0] from the one that begins. */
static struct direction (*directions)[2];

struct end {
    int pair, side;
    int socket;
};

struct order {
    const struct way *way;
    uint64_t start_at, end_at;
};

static struct process processes[PAIRS][2];
static double slice_seconds;

static int file;

static void hand_over(const struct way *way, struct direction *direction, int socket,
                      int fd)
{
    atomic_store_explicit(&direction->sent_at, now_ns(), memory_order_relaxed);
    need(way->send(socket, fd) == 1);
}

static int take_over(const struct way *way, struct direction *direction, int socket)
{
    int fd = way->receive(socket);
    need(fd >= 0);
    direction->finished_at = now_ns();
    uint64_t sent_at = atomic_load_explicit(&direction->sent_at, memory_order_relaxed);
    direction->samples[direction->nsamples++] =
        (uint32_t)(direction->finished_at - sent_at);
    return fd;
}

/* Begins when all do, so that the first ones do not have the machine for themselves. */
static void begin(const struct order *order, struct direction *pair, int socket)
{
    struct timespec start = {.tv_sec = (time_t)(order->start_at / 1000000000),
                             .tv_nsec = (long)(order->start_at % 1000000000)};
    need(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL) == 0);
    for (bool last = false; !last;) {
        last = now_ns() >= order->end_at || pair[1].nsamples == MOST_SAMPLES - 1;
        atomic_store_explicit(&pair[0].last, last, memory_order_relaxed);
        hand_over(order->way, &pair[0], socket, file);
        close_received(order->way, take_over(order->way, &pair[1], socket));
    }
}

static void send_back(const struct order *order, struct direction *pair, int socket)
{
    for (bool last = false; !last;) {
        int fd = take_over(order->way, &pair[0], socket);
        last = atomic_load_explicit(&pair[0].last, memory_order_relaxed);
        hand_over(order->way, &pair[1], socket, fd);
        close_received(order->way, fd);
    }
}

static void obey(const void *argument, int orders)
{
    const struct end *end = argument;
    for (;;) {
        struct order order;
        read_order(orders, &order, sizeof order);
        (end->side == 0 ? begin : send_back)(&order, directions[end->pair], end->socket);
        answer(orders);
    }
}

static void start_pairs(void)
{
    directions = shared_memory(PAIRS * sizeof *directions);
    for (int pair = 0; pair < PAIRS; pair++) {
        int sockets[2];
        make_pair(sockets);
        for (int side = 0; side < 2; side++) {
            struct end end = {pair, side, sockets[side]};
            processes[pair][side] = start_process(obey, &end);
        }
        close_fds(sockets, 2);
    }
}

/* The figures of a slice: what all have done in its time, and of all samples the
 * percentiles. */
static void settle(uint64_t start_at, double *figures)
{
    static double samples[2 * PAIRS * MOST_SAMPLES];
    size_t nsamples = 0;
    uint64_t finished_at = start_at;
    for (int i = 0; i < 2 * PAIRS; i++) {
        const struct direction *direction = &directions[i / 2][i % 2];
        for (int sample = 0; sample < direction->nsamples; sample++)
            samples[nsamples++] = direction->samples[sample];
        if (direction->finished_at > finished_at)
            finished_at = direction->finished_at;
    }
    sort_values(samples, nsamples);
    figures[0] = (double)nsamples / ((double)(finished_at - start_at) / 1e9);
    figures[1] = quantile(samples, nsamples, 0.5) / 1e3;
    figures[2] = quantile(samples, nsamples, 0.99) / 1e3;
    figures[3] = quantile(samples, nsamples, 0.999) / 1e3;
}

static void measure(const void *argument, double *figures)
{
    struct order order = {.way = argument};
    order.start_at = now_ns() + 5000000; /* when all have read their orders */
    order.end_at = order.start_at + (uint64_t)(slice_seconds * 1e9);
    for (int i = 0; i < 2 * PAIRS; i++)
        directions[i / 2][i % 2].nsamples = 0;
    for (int i = 0; i < 2 * PAIRS; i++)
        send_order(processes[i / 2][i % 2], &order, sizeof order);
    for (int i = 0; i < 2 * PAIRS; i++)
        await_answer(processes[i / 2][i % 2]);
    settle(order.start_at, figures);
}

int main(void)
{
    struct bench_case bench_case = {
        .figures = {{"hand-overs in a second", "a second"},
                    {"50th percentile", "us"},
                    {"99th percentile", "us"},
                    {"99.9th percentile", "us"}},
        .seconds = full_or_quick(50, 2),
        .ncontenders = 3,
        .contenders = {{"hand-written", measure, &by_hand},
                       {"libsendfd", measure, &with_library},
                       {"a byte without descriptor", measure, &no_descriptor}},
    };
    start_bench("load");
    slice_seconds = full_or_quick(0.1, 0.05);
    open_files(&file, 1);
    start_pairs();
    run_case(&bench_case);
    return 0;
}

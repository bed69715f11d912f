/* The cost of a descriptor as their number grows: up to 253 in one message, in one
 * process, and up to 100,000 to another process with sendfds_all() and recvfds_all(),
 * against one in a message, batches by hand, and sendmmsg(2). Would show a cost that
 * grows faster than the number. Prints CSV, see bench.h. */
#include "bench.h"
#include "contenders.h"
#include "sendfd.h"

#include <stdio.h>

/* One way to pass many descriptors. */
struct array_way {
    int (*send)(int socket, const int *fds, int nfds);
    int (*receive)(int socket, int *fds, int nfds);
};

static const struct array_way batch_by_hand = {hand_written_send_batch,
                                               hand_written_receive_batch};
static const struct array_way with_arrays = {sendfds, recvfds};
static const struct array_way one_by_one = {one_by_one_send, one_by_one_receive};
static const struct array_way all_by_hand = {hand_written_send_all,
                                             hand_written_receive_all};
static const struct array_way all_with_library = {sendfds_all, recvfds_all};
static const struct array_way all_with_mmsg = {mmsg_send_all, mmsg_receive_all};

static int pair[2]; /* what is sent to the first comes from the second */

#define FILES 1000 /* that differ; with more descriptors they come again and again */
#define MOST_DESCRIPTORS 100000
static int files[MOST_DESCRIPTORS];

static void prepare_files(void)
{
    open_files(files, FILES);
    for (int i = FILES; i < MOST_DESCRIPTORS; i++)
        files[i] = files[i % FILES];
}

/* --- in one process ------------------------------------------------------------------
 */

/* A slice passes no more descriptors than this, nor so many messages that it is long. */
#define SLICE 256
#define MESSAGES 64

struct in_messages {
    const struct array_way *way;
    int nfds; /* in a message, or one after the other */
};

/* The descriptors are closed outside the time that counts. */
static void measure_in_one_process(const void *argument, double *figures)
{
    const struct in_messages *test = argument;
    int fds[SLICE];
    int messages = SLICE / test->nfds < MESSAGES ? SLICE / test->nfds : MESSAGES;
    uint64_t start = now_ns();
    for (int i = 0; i < messages; i++)
        need(test->way->send(pair[0], files, test->nfds) == test->nfds);
    for (int i = 0; i < messages; i++) {
        int *place = fds + i * test->nfds;
        need(test->way->receive(pair[1], place, test->nfds) == test->nfds);
    }
    figures[0] = (double)(now_ns() - start) / (messages * test->nfds);
    close_fds(fds, messages * test->nfds);
}

static void run_in_one_process(int nfds, double seconds)
{
    char name[64];
    struct in_messages hand = {&batch_by_hand, nfds}, library = {&with_arrays, nfds},
                       single = {&one_by_one, nfds};
    struct bench_case bench_case = {
        .figures = {{name, "ns each"}},
        .seconds = seconds,
        .ncontenders = 3,
        .contenders = {{"hand-written batch", measure_in_one_process, &hand},
                       {"sendfds and recvfds", measure_in_one_process, &library},
                       {"sendfd and recvfd", measure_in_one_process, &single}},
    };
    snprintf(name, sizeof name, "%d a message", nfds);
    run_case(&bench_case);
}

/* How much is won by all in one message. */
static void run_gain(double seconds)
{
    struct in_messages library = {&with_arrays, SENDFD_MAX_FDS},
                       single = {&one_by_one, SENDFD_MAX_FDS};
    struct bench_case bench_case = {
        .figures = {{"253 at once or one at a time", "ns each"}},
        .seconds = seconds,
        .ncontenders = 2,
        .contenders = {{"sendfds and recvfds", measure_in_one_process, &library},
                       {"sendfd and recvfd", measure_in_one_process, &single}},
    };
    run_case(&bench_case);
}

/* --- to another process --------------------------------------------------------------
 */

/* The receiver closes what it has after so many, for no process may have 100,000 open.
 * Whole messages, so that each way may take them as it likes. */
#define TAKEN (8 * SENDFD_MAX_FDS)

struct order {
    const struct array_way *way;
    int nfds;
};

static struct process receiver;

static void receive_orders(const void *argument, int orders)
{
    (void)argument;
    close_fds(files, FILES); /* or it would hold more than it may */
    pin_to(count_cpus() > 1);
    for (;;) {
        static int fds[TAKEN];
        struct order order;
        read_order(orders, &order, sizeof order);
        for (int left = order.nfds, nfds; left > 0; left -= nfds) {
            nfds = left < TAKEN ? left : TAKEN;
            need(order.way->receive(pair[1], fds, nfds) == nfds);
            close_fds(fds, nfds);
        }
        answer(orders);
    }
}

static void measure_to_another(const void *argument, double *figures)
{
    const struct order *order = argument;
    uint64_t start = now_ns();
    send_order(receiver, order, sizeof *order);
    need(order->way->send(pair[0], files, order->nfds) == order->nfds);
    await_answer(receiver);
    figures[0] = (double)(now_ns() - start) / order->nfds;
}

static void run_to_another(const char *name, int nfds, double seconds)
{
    struct order hand = {&all_by_hand, nfds}, library = {&all_with_library, nfds},
                 mmsg = {&all_with_mmsg, nfds}, single = {&one_by_one, nfds};
    struct bench_case bench_case = {
        .figures = {{name, "ns each"}},
        .seconds = seconds,
        .ncontenders = 4,
        .contenders = {{"hand-written batches", measure_to_another, &hand},
                       {"sendfds_all and recvfds_all", measure_to_another, &library},
                       {"sendmmsg and recvmmsg", measure_to_another, &mmsg},
                       {"sendfd and recvfd", measure_to_another, &single}},
    };
    run_case(&bench_case);
}

int main(void)
{
    static const int in_a_message[] = {1, 2, 4, 16, 64, SENDFD_MAX_FDS};
    start_bench("arrays");
    make_pair(pair);
    prepare_files();
    pin_to(0);
    for (unsigned i = 0; i < sizeof in_a_message / sizeof *in_a_message; i++)
        run_in_one_process(in_a_message[i], full_or_quick(6, 0.2));
    run_gain(full_or_quick(6, 0.2));
    receiver = start_process(receive_orders, NULL);
    run_to_another("1000 to another process", 1000, full_or_quick(12, 0.3));
    run_to_another("10000 to another process", 10000, full_or_quick(16, 0.3));
    run_to_another("100000 to another process", 100000, full_or_quick(24, 0.3));
    return 0;
}

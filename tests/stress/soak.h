/* Shared by the coordinator of the soak (soak.c) and its workers (soak_worker.c): the
 * accounts, random numbers, and the descriptors that carry a label. */
#ifndef SOAK_H
#define SOAK_H

#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <stdatomic.h>
#include <stdint.h>

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5 */

#define WORKERS 5
#define ENDS ((WORKERS - 1) * SOCKET_TYPES) /* of sockets that a worker has */
#define CHANNELS (WORKERS * WORKERS * SOCKET_TYPES)
#define MOST_INODES (1 << 22)

/* One direction of a socket. The sender writes the first three, the receiver the
 * others. finished: the sender sends no more. dropped: the receiver has sent to a
 * datagram socket that was closed, and so the kernel has emptied its queue. purged: the
 * messages that it took out meanwhile, before one that was still received. */
struct channel {
    atomic_uint tried, sent, not_sent;
    atomic_uint delivered, lost, purged, claim; /* claim: what the call now may take */
    atomic_int finished, dropped;
};

struct worker_state {
    atomic_int round; /* the last that it has finished */
    atomic_long rounds, first_rss, last_rss;
};

struct shared {
    struct channel channels[CHANNELS];
    struct worker_state workers[WORKERS];
    atomic_int round, stopping, wrong;
    atomic_ulong told[256]; /* how often which errno was reported */
    char directory[256];    /* for files: one that is killed cannot remove its own */
    atomic_ulong inodes_seen;
    uint32_t inodes[MOST_INODES]; /* of the sockets that were made last */
};

extern struct shared *shared;

struct channel *channel_of(int from, int to, int type);

/* Reports a failure, and records that there is one. */
__attribute__((format(printf, 1, 2))) void report(const char *format, ...);

/* Counts an errno that the library has reported. */
void count_error(int error);

void sleep_ms(long ms);

/* Random numbers: from 0 to end - 1, and true once in n times. Each thread has a
 * state of its own, which is made of the seed and of what it is. */
extern uint32_t seed;
uint32_t state_for(int a, int b, int c);
bool one_in(uint32_t *state, int n);

/* The user that all workers are: one without privileges if this is root, so that
 * what is in flight is limited, and nobody else's is counted. */
extern uid_t workers_uid;
bool become_worker(void);

/* A pair of which no trace may be left in the end. */
bool make_sockets(int type, int pair[2]);

/* Two sockets that hold each other, and that nobody else holds: only the kernel's
 * collector can free them. */
void leave_a_cycle(void);

/* The label of a message, in its first descriptor. */
struct label {
    unsigned number, nfds, channel, round;
};

/* A descriptor that holds the label, or -1 if there is no room for one now. */
int open_label(uint32_t *state, struct label label);
bool read_label(int fd, struct label *label);

/* Takes out of a socket that holds a label what is in it, down to the last one. */
void unpack_socket(int socket);

/* A worker's life: rounds, until the coordinator closes its end of control. */
int live(int worker, int control);

#endif

/* The functions, succeeding and failing, as a list of steps: each has its return value
 * and the system calls that it makes. fault_scenario.c makes those calls fail,
 * seccomp_scenario.c forbids all others, stack_use.c measures. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum function {
    SENDFD,
    RECVFD,
    SENDFDS,
    RECVFDS,
    SENDFDS_ALL,
    RECVFDS_ALL,
    SENDFDS_MSG,
    RECVFDS_MSG,
    SENDFDS_MSGHDR,
    RECVFDS_MSGHDR,
    SENDFDS_CMSG,
    RECVFDS_CMSG,
    VERSION_OF_LIBRARY,
    FUNCTIONS
};
extern const char *const function_names[FUNCTIONS];

/* Simulates what this kernel cannot be made to do. */
enum simulated {
    NOTHING,
    TOO_MANY_TWICE,   /* the first two sendmsg fail with ETOOMANYREFS */
    TOO_MANY_FOREVER, /* each does */
    REFUSED,          /* recvmsg says MSG_CTRUNC, as if a security module had refused */
};

/* On which types of socket: bits by their place in socket_types; 0 is all. */
enum { STREAM = 1, SEQPACKET = 2, DATAGRAM = 4 };

struct step {
    enum function function;
    const char *name;
    void (*prepare)(void); /* unless it is NULL */
    int nfds;              /* to send, or what there is room for */
    size_t len;            /* of data: the functions of messages */
    int flags;             /* of those */
    enum { PAIR, CLOSED, FILE_INSTEAD, INTERNET } socket;
    enum { RIGHT, NULL_FDS, BAD_FD } fds;
    /* The system calls that it makes, in order; two or more close are "close+". */
    const char *calls;
    ssize_t returns;
    int error; /* of -1 and of a short count; KEPT: as it was before the call */
    int each;  /* descriptors in a message: the functions of several messages */
    unsigned types;
    enum simulated simulated;
};
enum { KEPT = -1 };
extern const struct step steps[];
extern const size_t nsteps;

/* The result of a call. */
struct result {
    ssize_t returned;
    int error;
    int given;   /* descriptors that the caller has got, */
    bool right;  /* those that were sent, close-on-exec, and no place else written */
    int queued;  /* descriptors that are still in the queue, -1 if there is none */
    int leaked;  /* descriptors that are nobody's */
    bool usable; /* a file can still be passed, or the peer is still seen to be gone */
};

/* Once, before all else; and at the end. */
void open_scenario(void);
void close_scenario(void);

/* Whether a step is made on a type of socket, and this machine can do it. */
bool is_made(const struct step *step, int type);

/* Whether the sending socket of a step is non-blocking. */
bool sends_without_waiting(const struct step *step);

/* A call in three parts: set_stage, make_call, examine; play does all. */
void set_stage(const struct step *step, int type);
ssize_t make_call(const struct step *step);
struct result examine(const struct step *step, int type, ssize_t returned, int error);
struct result play(const struct step *step, int type);

/* Called by play right before and after the call. */
extern void (*before_call)(const struct step *step, int type);
extern void (*after_call)(void);

/* How many descriptors a queue must still have, after so many messages were taken
 * from it and the call has returned that. */
int expected_queue(const struct step *step, int taken, ssize_t returned);

/* Whether a step without a fault did as it should; notes what it did if not. */
bool is_as_listed(const struct step *step, int type, const struct result *result);

#endif

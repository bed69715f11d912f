/* Makes each system call of each step of the scenario fail, at each occurrence, with
 * each errno that its man page lists. Would catch an error that is swallowed, or
 * replaced by that of a cleanup, a call that is made again after EINTR, and a
 * descriptor that is not closed, or a message that is lost, duplicated or left in
 * pieces, because something failed half-way.
 *
 * The calls are put before those of libc, which the library then calls. Compiled
 * with -DWITHOUT_SHIM they are not: then fault.t has strace make them fail, and
 * compares. `fault_scenario one TYPE STEP [CALL OCCURRENCE ERRNO [unclosed]]` does
 * one and prints a line; `trace` does all that need no simulation, and `list` prints
 * what system calls it is to make, for syscalls.t. */
#include "peer.h"
#include "scenario.h"
#include "simulation.h"
#include "tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_CALLS 512 /* in one step */
#define MOST_ERRORS 32

/* Debian's manpages-dev 6.03, the sections ERRORS of the pages named. */
static const struct {
    const char *name;
    int errors[MOST_ERRORS];
} calls[CALLS] = {
    {"sendmsg", /* send(2); unix(7): those from ECONNREFUSED on */
     {EACCES, EAGAIN,   EALREADY, EBADF,      ECONNRESET, EDESTADDRREQ,
      EFAULT, EINTR,    EINVAL,   EISCONN,    EMSGSIZE,   ENOBUFS,
      ENOMEM, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE,      ECONNREFUSED,
      ENFILE, ENOENT,   EPERM,    EPROTOTYPE, ESRCH,      ETOOMANYREFS}},
    {"recvmsg", /* recv(2); unix(7): those from ECONNRESET on */
     {EAGAIN, EBADF, ECONNREFUSED, EFAULT, EINTR, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK,
      ECONNRESET, ENFILE, EOPNOTSUPP, EPERM}},
    {"getsockname", /* getsockname(2) */
     {EBADF, EFAULT, EINVAL, ENOBUFS, ENOTSOCK}},
    {"getsockopt", /* getsockopt(2) */
     {EBADF, EFAULT, EINVAL, ENOPROTOOPT, ENOTSOCK}},
    {"fcntl", /* fcntl(2) */
     {EACCES, EAGAIN, EBADF, EBUSY, EDEADLK, EFAULT, EINTR, EINVAL, EMFILE, ENOLCK,
      ENOTDIR, EPERM}},
    {"close", /* close(2) */
     {EBADF, EINTR, EIO, ENOSPC, EDQUOT}},
    {"nanosleep", /* nanosleep(2), clock_nanosleep(2) */
     {EFAULT, EINTR, EINVAL, ENOTSUP}},
};

/* --- the shim ---------------------------------------------------------------- */

/* The fault: this call, this occurrence of it, fails with this errno. */
struct fault {
    enum call call;
    int occurrence, error;
    /* Linux closes whatever close(2) returns; strace, which skips the call, does not. */
    bool unclosed;
};

static struct {
    const struct fault *fault;
    enum call made[MOST_CALLS];
    int nmade, counts[CALLS];
} shim;

/* Counts the call, and says whether it is to fail, and how. */
static int fault_in_call(enum call call)
{
    need(shim.nmade < MOST_CALLS);
    shim.made[shim.nmade++] = call;
    shim.counts[call]++;
    const struct fault *fault = shim.fault;
    bool fails = fault && fault->call == call && fault->occurrence == shim.counts[call];
    return fails ? fault->error : 0;
}

static void arm(const struct step *step, int type)
{
    (void)type;
    shim.nmade = 0;
    memset(shim.counts, 0, sizeof shim.counts);
    reset_kernel();
    kernel.fault = fault_in_call;
    kernel.unclosed = shim.fault && shim.fault->unclosed;
    if (step->simulated == TOO_MANY_TWICE || step->simulated == TOO_MANY_FOREVER)
        kernel.sendmsg_error = ETOOMANYREFS;
    kernel.sendmsg_errors = step->simulated == TOO_MANY_TWICE ? 2 : 0;
    kernel.more_flags = step->simulated == REFUSED ? MSG_CTRUNC : 0;
}

static void disarm(void)
{
    reset_kernel();
}

/* The system calls made, as a step lists them. */
static const char *made(void)
{
    static char text[MOST_CALLS * 16];
    text[0] = '\0';
    for (int i = 0; i < shim.nmade; i++) {
        bool again = i > 0 && shim.made[i] == CLOSE && shim.made[i - 1] == CLOSE;
        if (again && text[strlen(text) - 1] != '+')
            strcat(text, "+");
        if (!again)
            strcat(strcat(text, i > 0 ? " " : ""), calls[shim.made[i]].name);
    }
    return text;
}

/* --- what a fault is to do ------------------------------------------------- */

/* The result of a step without a fault. */
struct record {
    enum call made[MOST_CALLS];
    int nmade;
    struct result result;
};

static int count(const struct record *record, enum call call, int before)
{
    int counted = 0;
    for (int i = 0; i < before; i++)
        counted += record->made[i] == call;
    return counted;
}

static int place_of(const struct record *record, enum call call, int occurrence)
{
    int place = 0;
    while (record->made[place] != call || --occurrence > 0)
        place++;
    return place;
}

/* Too many in flight: sendfds_all asks whether to wait, and on a blocking socket does. */
static bool asks_whether_to_wait(const struct step *step, const struct fault *fault)
{
    return fault->call == SENDMSG && fault->error == ETOOMANYREFS &&
           step->function == SENDFDS_ALL;
}

static bool is_waited_out(const struct step *step, const struct fault *fault)
{
    return asks_whether_to_wait(step, fault) && !sends_without_waiting(step);
}

/* How many sendmsg succeed before a place: those that are simulated to fail do not. */
static int messages_sent(const struct step *step, const struct record *record, int place)
{
    int sent = count(record, SENDMSG, place);
    if (step->simulated == TOO_MANY_TWICE)
        return sent > 2 ? sent - 2 : 0;
    return step->simulated == TOO_MANY_FOREVER ? 0 : sent;
}

/* The expected return value and errno; an errno of 0 means any. */
static void expect(const struct step *step, const struct record *record,
                   const struct fault *fault, ssize_t *returns, int *error, int *taken)
{
    int place = place_of(record, fault->call, fault->occurrence);
    *taken = count(record, RECVMSG, record->nmade);
    *returns = record->result.returned;
    *error = step->error;
    /* Where getsockname fails, getsockopt is asked for the domain. */
    if (fault->call == CLOSE || fault->call == GETSOCKNAME || is_waited_out(step, fault))
        return;

    int received = count(record, RECVMSG, place), done = 0;
    *taken = received;
    if (step->function == SENDFDS_ALL)
        done = step->each * messages_sent(step, record, place);
    else if (step->function == RECVFDS_ALL)
        done = step->each * (fault->call == RECVMSG ? received : received - 1);
    *returns = done > 0 ? done : -1;
    *error = fault->error;
    /* A receive duplicates, to see whether the table is full: a limit of 0 is EINVAL. */
    bool receives = received > 0 || step->function == RECVFDS_CMSG;
    if (fault->call == FCNTL && fault->error == EINVAL && receives)
        *error = EMFILE;
}

/* After the fault nothing is done but to clean up. */
static bool only_cleans_up(const struct step *step, const struct record *record,
                           const struct fault *fault)
{
    if (fault->call == CLOSE)
        return shim.nmade == record->nmade;
    if (fault->call == GETSOCKNAME) /* another getsockopt, unless that was asked anyway */
        return shim.nmade == record->nmade || shim.nmade == record->nmade + 1;
    if (asks_whether_to_wait(step, fault))
        return true;
    for (int i = place_of(record, fault->call, fault->occurrence) + 1; i < shim.nmade;
         i++)
        if (shim.made[i] != CLOSE)
            return false;
    return true;
}

static void explain(const struct step *step, const struct fault *fault,
                    const struct result *result, ssize_t returns, int error, int queued)
{
    tap_note("%s: %s %d fails with %s:", step->name, calls[fault->call].name,
             fault->occurrence, strerrorname_np(fault->error));
    tap_note("  returned %zd, expected %zd; errno %s, expected %s", result->returned,
             returns, result->error == KEPT ? "kept" : strerror(result->error),
             error == KEPT ? "kept" : strerror(error));
    tap_note("  %d given, %s; %d queued, expected %d; %d leaked; %s; made %s",
             result->given, result->right ? "right" : "wrong", result->queued, queued,
             result->leaked, result->usable ? "usable" : "unusable", made());
}

/* One fault: whether all is as it is to be. */
static bool withstands(const struct step *step, int type, const struct record *record,
                       const struct fault *fault, bool explains)
{
    ssize_t returns;
    int error, taken;
    expect(step, record, fault, &returns, &error, &taken);
    shim.fault = fault;
    struct result result = play(step, type);
    shim.fault = NULL;
    int queued = expected_queue(step, taken, returns);
    bool right = result.returned == returns && (error == 0 || result.error == error) &&
                 result.right && result.queued == queued && result.leaked == 0 &&
                 result.usable && only_cleans_up(step, record, fault);
    if (!right && explains)
        explain(step, fault, &result, returns, error, queued);
    return right;
}

static int faults_made;

static void make_fail(const struct step *step, int type, const struct record *record,
                      enum call call)
{
    int occurrences = count(record, call, record->nmade), wrong = 0, errors = 0;
    struct fault fault = {.call = call};
    if (occurrences == 0)
        return;
    for (; calls[call].errors[errors]; errors++)
        for (fault.occurrence = 1; fault.occurrence <= occurrences; fault.occurrence++) {
            fault.error = calls[call].errors[errors];
            wrong += !withstands(step, type, record, &fault, wrong < 3);
            faults_made++;
        }
    is(wrong, 0, "%s: %s: %s fails, at %d place%s, with %d errnos",
       socket_types[type].name, step->name, calls[call].name, occurrences,
       occurrences > 1 ? "s" : "", errors);
}

static void check_step(const struct step *step, int type)
{
    struct record record = {.result = play(step, type)};
    record.nmade = shim.nmade;
    memcpy(record.made, shim.made, sizeof record.made);
    bool as_listed = is_as_listed(step, type, &record.result);
    ok(as_listed, "%s: %s", socket_types[type].name, step->name);
    bool calls_right = strcmp(made(), step->calls) == 0;
    ok(calls_right, "and its system calls: %s", step->calls[0] ? step->calls : "none");
    if (!calls_right)
        tap_note("made: %s", made());
    for (int call = 0; call < CALLS; call++)
        make_fail(step, type, &record, (enum call)call);
}

static int check_all(void)
{
    int before = count_fds();
    for (size_t i = 0; i < nsteps; i++)
        for (int type = 0; type < SOCKET_TYPES; type++)
            if (is_made(&steps[i], type))
                check_step(&steps[i], type);
            else if (is_made(&steps[i], -1))
                tap_skip("%s: this machine cannot do it", steps[i].name);
    is(count_fds(), before, "no descriptor is left open");
    tap_note("%d faults", faults_made);
    return tap_done();
}

/* --- one at a time, and for strace ----------------------------------------- */

/* Where the call begins and ends, for strace to see. */
static void mark(const char *text)
{
    ssize_t returned = write(-1, text, strlen(text));
    need(returned == -1);
}

static void mark_begin(const struct step *step, int type)
{
    char text[128];
    snprintf(text, sizeof text, "begin %s: %s", socket_types[type].name, step->name);
    arm(step, type);
    mark(text);
}

static void mark_end(void)
{
    disarm();
    mark("end");
}

static bool is_for_real(const struct step *step, int type)
{
    return step->simulated == NOTHING && is_made(step, type);
}

static int list_or_trace(bool traces)
{
    for (size_t i = 0; i < nsteps; i++)
        for (int type = 0; type < SOCKET_TYPES; type++) {
            if (!is_for_real(&steps[i], type))
                continue;
            if (!traces) {
                printf("%s: %s:", socket_types[type].name, steps[i].name);
                printf("%s%s\n", steps[i].calls[0] ? " " : "", steps[i].calls);
                continue;
            }
            struct result result = play(&steps[i], type);
            if (!is_as_listed(&steps[i], type, &result))
                return 1;
        }
    return 0;
}

static int errno_named(const char *name)
{
    for (int error = 1; error < 200; error++)
        if (strerrorname_np(error) && strcmp(strerrorname_np(error), name) == 0)
            return error;
    need(!"an errno of that name");
    return 0;
}

static struct fault fault_named(char **words)
{
    struct fault fault = {.occurrence = atoi(words[1]), .error = errno_named(words[2])};
    fault.unclosed = words[3] != NULL;
    while (strcmp(calls[fault.call].name, words[0]) != 0)
        need(++fault.call < CALLS);
    return fault;
}

static int play_one(int nwords, char **words)
{
    size_t i = 0;
    int type = 0;
    struct fault fault;
    while (type < SOCKET_TYPES - 1 && strcmp(socket_types[type].name, words[0]) != 0)
        type++;
    while (strcmp(steps[i].name, words[1]) != 0)
        need(++i < nsteps);
    need(is_made(&steps[i], type));
    if (nwords > 2) {
        fault = fault_named(words + 2);
        shim.fault = &fault;
    }
    struct result result = play(&steps[i], type);
    printf("returned %zd, errno %s, %d given, %s, %d queued, %d leaked, %s\n",
           result.returned, result.error == KEPT ? "kept" : strerrorname_np(result.error),
           result.given, result.right ? "right" : "wrong", result.queued, result.leaked,
           result.usable ? "usable" : "unusable");
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int status;
    open_scenario();
    before_call = mode[0] ? mark_begin : arm;
    after_call = mode[0] ? mark_end : disarm;
    if (strcmp(mode, "one") == 0 && argc > 3)
        status = play_one(argc - 2, argv + 2);
    else if (strcmp(mode, "list") == 0 || strcmp(mode, "trace") == 0)
        status = list_or_trace(mode[0] == 't');
    else
        status = check_all();
    close_scenario();
    return status;
}

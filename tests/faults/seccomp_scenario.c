/* Makes each call of the scenario under a seccomp filter that lets exactly the
 * system calls through which the step lists, and kills the process at any other.
 * Would catch a system call that nobody has documented, on any path: one that is
 * made on success, too, and one that replaces another, as poll would. A program
 * that sandboxes itself by the documentation would die of it.
 *
 * Too many in flight is simulated by the filter. What else must be is left out. */
#include "peer.h"
#include "scenario.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define KILLED (128 + 31) /* by SIGSYS */

static int report[2];

struct outcome {
    ssize_t returned;
    int error;
};

static const char *const documented[] = {
    "getsockname", "getsockopt", "sendmsg", "recvmsg", "fcntl", "close", "nanosleep"};
#define DOCUMENTED (sizeof documented / sizeof *documented)

static void allow(scmp_filter_ctx filter, unsigned action, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    need(number != __NR_SCMP_ERROR);
    need(seccomp_rule_add(filter, action, number, 0) == 0);
}

/* fcntl to read the flags and to duplicate, not to change anything. */
static void allow_fcntl(scmp_filter_ctx filter)
{
    int number = seccomp_syscall_resolve_name(sizeof(long) == 4 ? "fcntl64" : "fcntl");
    static const int commands[] = {F_GETFL, F_DUPFD_CLOEXEC};
    for (int i = 0; i < 2; i++)
        need(seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
                              SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i])) == 0);
}

static void allow_documented(scmp_filter_ctx filter, const struct step *step,
                             const char *name)
{
    if (strcmp(name, "fcntl") == 0) {
        allow_fcntl(filter);
    } else if (strcmp(name, "nanosleep") == 0) {
        allow(filter, SCMP_ACT_ALLOW, "nanosleep");
        allow(filter, SCMP_ACT_ALLOW, "clock_nanosleep"); /* as which glibc makes it */
    } else if (strcmp(name, "sendmsg") == 0 && step->simulated == TOO_MANY_FOREVER) {
        allow(filter, SCMP_ACT_ERRNO(ETOOMANYREFS), name);
    } else {
        allow(filter, SCMP_ACT_ALLOW, name);
    }
}

/* The calls of the step, and what it takes to report and to end. */
static void install_filter(const struct step *step)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    need(filter != NULL);
    allow(filter, SCMP_ACT_ALLOW, "write");
    allow(filter, SCMP_ACT_ALLOW, "exit_group");
    for (size_t i = 0; i < DOCUMENTED; i++)
        if (strstr(step->calls, documented[i]))
            allow_documented(filter, step, documented[i]);
    need(seccomp_load(filter) == 0);
    seccomp_release(filter);
}

struct play {
    const struct step *step;
    int type;
    bool misbehaves;
};

static int play_filtered(void *argument)
{
    const struct play *play = argument;
    struct outcome outcome;
    need(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) == 0); /* SIGSYS makes one */
    set_stage(play->step, play->type);
    install_filter(play->step);
    errno = E2BIG;
    outcome.returned = make_call(play->step);
    outcome.error = errno;
    if (play->misbehaves)
        getppid();
    _exit(write(report[1], &outcome, sizeof outcome) != sizeof outcome);
}

/* The report of the child, or how it ended. */
static int run(const struct play *play, struct outcome *outcome)
{
    int status = wait_for_child(run_in_child(play_filtered, (void *)play));
    if (status == 0)
        need(read(report[0], outcome, sizeof *outcome) == sizeof *outcome);
    return status;
}

static bool is_right(const struct step *step, const struct outcome *outcome)
{
    ssize_t returned = outcome->returned;
    if (step->function == RECVFD && returned >= 0)
        returned = 1;
    int error = step->error == KEPT ? E2BIG : step->error;
    return returned == step->returns && (error == 0 || outcome->error == error);
}

static void check_step(const struct step *step, int type)
{
    struct play play = {.step = step, .type = type};
    struct outcome outcome = {0, 0};
    int status = run(&play, &outcome);
    if (!ok(status == 0 && is_right(step, &outcome), "%s: %s: with %s only",
            socket_types[type].name, step->name,
            step->calls[0] ? step->calls : "nothing"))
        tap_note("%s, returned %zd, errno %s",
                 status == KILLED ? "killed by the filter" : "ended by itself",
                 outcome.returned, strerror(outcome.error));
}

/* The filter cannot simulate the end of too many, nor what recvmsg says. */
static bool can_be_made(const struct step *step, int type)
{
    return is_made(step, type) && step->simulated != TOO_MANY_TWICE &&
           step->simulated != REFUSED;
}

/* That the filter kills, and which steps it takes to see each system call. */
static void check_the_check(void)
{
    struct play play = {.step = &steps[0], .type = 0, .misbehaves = true};
    struct outcome outcome;
    is(run(&play, &outcome), KILLED, "a system call that is not listed is killed");
    for (size_t i = 0; i < DOCUMENTED; i++) {
        bool seen = false;
        for (size_t j = 0; j < nsteps; j++)
            seen = seen || strstr(steps[j].calls, documented[i]);
        ok(seen, "there is a step that makes %s", documented[i]);
    }
}

int main(void)
{
    need(pipe2(report, O_CLOEXEC) == 0);
    open_scenario();
    check_the_check();
    for (size_t i = 0; i < nsteps; i++)
        for (int type = 0; type < SOCKET_TYPES; type++)
            if (can_be_made(&steps[i], type))
                check_step(&steps[i], type);
    close_scenario();
    return tap_done();
}

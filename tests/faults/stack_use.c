/* How much stack each function uses, on every path of the scenario: each call is
 * made on a stack that was painted before. Would catch a buffer that has grown or
 * is there twice, and anything that makes a call unfit for a signal handler on a
 * small stack of its own. Prints the most for each function. */
#include "peer.h"
#include "scenario.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define LIMIT 4096
#define PAINTED ((size_t)32 * 1024)
#define PAINT 0xa5

/* On a stack where nobody else writes, and no signal handler runs. */
static _Alignas(4096) unsigned char stack[256 * 1024];
static long most[FUNCTIONS];
static const char *most_in[FUNCTIONS];
static int as_listed, made, sanity;

/* Paints the stack below the frame of the caller. */
__attribute__((noinline)) static void paint(void)
{
    unsigned char area[PAINTED];
    memset(area, PAINT, sizeof area);
    __asm__ volatile("" : : "r"(area) : "memory");
}

/* A call that uses 4 KiB, to see that it would be seen. */
static ssize_t use_the_limit(void)
{
    unsigned char area[LIMIT];
    memset(area, 1, sizeof area);
    __asm__ volatile("" : : "r"(area) : "memory");
    return 0;
}

/* The bytes of stack that a call uses, those of this frame and of make_call among
 * them; a call of no step uses the limit. */
__attribute__((noinline)) static long measure(const struct step *step, ssize_t *returned,
                                              int *error)
{
    const unsigned char *frame = __builtin_frame_address(0), *lowest = frame - PAINTED;
    paint();
    errno = E2BIG; /* as play sets it */
    *returned = step ? make_call(step) : use_the_limit();
    *error = errno;
    /* The painted part starts below this frame, and so ends below the part that this
     * inspects. */
    while (*lowest == PAINT)
        lowest++;
    return (long)(frame - lowest);
}

static void measure_step(const struct step *step, int type)
{
    ssize_t returned;
    int error;
    set_stage(step, type);
    long used = measure(step, &returned, &error);
    struct result result = examine(step, type, returned, error);
    as_listed += is_as_listed(step, type, &result);
    made++;
    if (used > most[step->function]) {
        most[step->function] = used;
        most_in[step->function] = step->name;
    }
}

static void *measure_all(void *unused)
{
    ssize_t returned;
    int error;
    (void)unused;
    sanity = measure(NULL, &returned, &error) > LIMIT;
    for (size_t i = 0; i < nsteps; i++)
        for (int type = 0; type < SOCKET_TYPES; type++)
            if (is_made(&steps[i], type) && steps[i].simulated == NOTHING)
                measure_step(&steps[i], type);
    return NULL;
}

static void run_on_own_stack(void *(*work)(void *))
{
    pthread_t thread;
    pthread_attr_t attributes;
    need(pthread_attr_init(&attributes) == 0);
    need(pthread_attr_setstack(&attributes, stack, sizeof stack) == 0);
    need(pthread_create(&thread, &attributes, work, NULL) == 0);
    need(pthread_join(thread, NULL) == 0);
    need(pthread_attr_destroy(&attributes) == 0);
}

int main(void)
{
    open_scenario();
    /* The first time the dynamic linker may have to find the functions. */
    run_on_own_stack(measure_all);
    memset(most, 0, sizeof most);
    made = as_listed = 0;
    run_on_own_stack(measure_all);
    ok(sanity, "a call that uses 4 KiB of stack would be seen");
    is(as_listed, made, "all calls do as they should");
    for (int i = 0; i < FUNCTIONS; i++)
        ok(most[i] > 0 && most[i] < LIMIT, "%s: at most %ld bytes of stack: %s",
           function_names[i], most[i], most_in[i] ? most_in[i] : "");
    close_scenario();
    return tap_done();
}

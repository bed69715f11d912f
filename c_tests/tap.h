/* The Test Anything Protocol, as much of it as the tests here say.
 *
 * A test calls ok() and the like as often as it wants and returns tap_done()
 * from main. It is killed after TAP_TIMEOUT seconds, whatever it waits for. */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

#define TAP_TIMEOUT 60

#ifdef __cplusplus
extern "C" {
#endif

/* Reports one test, named as by printf, with the place and errno if it failed. */
#define ok(condition, ...) tap_report((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Tests that two integers are equal. */
#define is(value, expected, ...)                                                         \
    tap_is((value), (expected), __FILE__, __LINE__, __VA_ARGS__)

/* Tests that a call returns -1 and sets errno to error. */
#define fails(call, error, ...)                                                          \
    (tap_clear_errno(), tap_fails((call), (error), __FILE__, __LINE__, __VA_ARGS__))

/* Ends the whole test when what it is built upon does not work; for set-up only. */
#define need(condition) tap_need((condition), #condition, __FILE__, __LINE__)

__attribute__((format(printf, 4, 5))) bool tap_report(bool passed, const char *file,
                                                      int line, const char *name, ...);
__attribute__((format(printf, 5, 6))) bool
tap_is(long value, long expected, const char *file, int line, const char *name, ...);
__attribute__((format(printf, 5, 6))) bool
tap_fails(long returned, int error, const char *file, int line, const char *name, ...);
void tap_need(bool holds, const char *condition, const char *file, int line);
void tap_clear_errno(void);

/* Reports that something is not tested, and why: a failure with REQUIRE_ALL=1. */
__attribute__((format(printf, 1, 2))) void tap_skip(const char *reason, ...);

/* A line of comment. */
__attribute__((format(printf, 1, 2))) void tap_note(const char *text, ...);

/* Prints the plan and returns the exit status. */
int tap_done(void);

#ifdef __cplusplus
}
#endif

#endif

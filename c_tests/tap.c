#include "tap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tests, failures;

__attribute__((constructor)) static void start(void)
{
    /* A run that is slowed down, as by valgrind, may be given more seconds. */
    const char *timeout = getenv("TAP_TIMEOUT");
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(timeout ? (unsigned)atoi(timeout) : TAP_TIMEOUT);
}

static bool report(bool passed, const char *file, int line, const char *name,
                   va_list args)
{
    int error = errno;
    printf("%sok %d - ", passed ? "" : "not ", ++tests);
    vprintf(name, args);
    printf("\n");
    if (!passed) {
        failures++;
        printf("# failed at %s:%d, errno %d (%s)\n", file, line, error, strerror(error));
    }
    errno = error;
    return passed;
}

bool tap_report(bool passed, const char *file, int line, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    report(passed, file, line, name, args);
    va_end(args);
    return passed;
}

bool tap_is(long value, long expected, const char *file, int line, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    bool passed = report(value == expected, file, line, name, args);
    va_end(args);
    if (!passed)
        printf("# got %ld, expected %ld\n", value, expected);
    return passed;
}

void tap_clear_errno(void)
{
    errno = 0;
}

bool tap_fails(long returned, int error, const char *file, int line, const char *name,
               ...)
{
    int got = errno;
    va_list args;
    va_start(args, name);
    bool passed = report(returned == -1 && got == error, file, line, name, args);
    va_end(args);
    if (!passed)
        printf("# returned %ld, expected -1 and errno %d (%s)\n", returned, error,
               strerror(error));
    return passed;
}

void tap_need(bool holds, const char *condition, const char *file, int line)
{
    if (holds)
        return;
    tap_report(false, file, line, "set-up: %s", condition);
    exit(tap_done());
}

void tap_skip(const char *reason, ...)
{
    const char *require_all = getenv("REQUIRE_ALL");
    bool required = require_all && strcmp(require_all, "1") == 0;
    printf("%sok %d # SKIP ", required ? "not " : "", ++tests);
    failures += required;
    va_list args;
    va_start(args, reason);
    vprintf(reason, args);
    va_end(args);
    printf("\n");
}

void tap_note(const char *text, ...)
{
    printf("# ");
    va_list args;
    va_start(args, text);
    vprintf(text, args);
    va_end(args);
    printf("\n");
}

int tap_done(void)
{
    printf("1..%d\n", tests);
    return failures ? 1 : 0;
}

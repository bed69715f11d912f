/* The version that the library tells is that of the header, as a string and as
 * three numbers, and the constants have the values that programs rely on. */
#include "sendfd.h"
#include "tap.h"

#include <stdio.h>
#include <string.h>

#if SENDFD_VERSION_MAJOR < 1 || SENDFD_MAX_FDS < 1 || RECVFD_EOF >= 0
#    error "the constants are of no use to the preprocessor"
#endif

int main(void)
{
    char joined[64];
    snprintf(joined, sizeof joined, "%d.%d.%d", SENDFD_VERSION_MAJOR,
             SENDFD_VERSION_MINOR, SENDFD_VERSION_PATCH);
    const char *version = sendfd_version();

    ok(strcmp(version, SENDFD_VERSION) == 0, "sendfd_version() is SENDFD_VERSION, %s",
       SENDFD_VERSION);
    ok(strcmp(joined, SENDFD_VERSION) == 0, "and so are the three numbers, %s", joined);
    ok(sendfd_version() == version, "it is one and the same string at every call");
    is(SENDFD_MAX_FDS, 253, "SENDFD_MAX_FDS is the kernel's SCM_MAX_FD");
    is(RECVFD_EOF, -2, "RECVFD_EOF is -2");
    is(4 * SENDFD_MAX_FDS, 1012, "SENDFD_MAX_FDS multiplies as a number");
    is(1 - RECVFD_EOF, 3, "RECVFD_EOF subtracts as a number");
    return tap_done();
}

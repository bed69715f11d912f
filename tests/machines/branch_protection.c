/* The kernel has the code of the library under BTI: a jump to anything but a landing pad
 * ends the process. Run where HARDENING=full has built it for aarch64. */
#include "sendfd.h"
#include "tap.h"

#include <stdio.h>
#include <string.h>

/* The flags of the library's code in /proc/self/smaps. */
static const char *flags_of_code(void)
{
    static char line[512];
    FILE *maps = fopen("/proc/self/smaps", "r");
    bool found = false;
    need(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "libsendfd.so") != NULL)
            found = strstr(line, " r-xp ") != NULL;
        else if (found && strncmp(line, "VmFlags:", 8) == 0)
            break;
    }
    fclose(maps);
    return line;
}

int main(void)
{
    ok(strcmp(sendfd_version(), SENDFD_VERSION) == 0, "the library is called");
    ok(strstr(flags_of_code(), " bt") != NULL, "its code has BTI: %s", flags_of_code());
    return tap_done();
}

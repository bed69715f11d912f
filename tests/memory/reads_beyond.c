/* Lets the library read one place beyond an array: not to pass where the memory
 * accesses of the library are checked. */
#include "sendfd.h"

#include <stdlib.h>
#include <sys/socket.h>

int main(void)
{
    int pair[2], *fds = calloc(3, sizeof *fds);
    if (!fds || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 1;
    int sent = sendfds(pair[0], fds, 4);
    free(fds);
    return sent < 0;
}

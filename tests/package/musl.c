/* The archive in a static program with musl's C library, for musl.t. Exits with 0 if 1 to
 * 252 descriptors come, and if 253 do or are ENOMEM. */
#include <errno.h>
#include <sendfd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];

/* Whether that many descriptors are sent and come, or which errno it is. */
static int pass(int nfds)
{
    int sent[SENDFD_MAX_FDS] = {0}, received[SENDFD_MAX_FDS];
    errno = 0;
    if (sendfds(pair[0], sent, nfds) != nfds)
        return errno;
    int came = recvfds(pair[1], received, SENDFD_MAX_FDS);
    for (int i = 0; i < came; i++)
        close(received[i]);
    return came == nfds ? 0 : -1;
}

int main(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 1;
    for (int nfds = 1; nfds < SENDFD_MAX_FDS; nfds++)
        if (pass(nfds) != 0)
            return printf("%d: errno %d\n", nfds, errno), 1;
    int most = pass(SENDFD_MAX_FDS);
    printf("%d: %s\n", SENDFD_MAX_FDS, most == 0 ? "they come" : "ENOMEM");
    return most != 0 && most != ENOMEM;
}

/* The snippet that programs paste, one descriptor per message. */
#include "command.h"
#include "peer.h"

#include <err.h>

static bool send_descriptors(const char *function, const int *fds, int count)
{
    (void)function;
    for (int i = 0; i < count; i++) {
        if (classic_sendfd(SOCKET, fds[i]) != 1) {
            warn("sendfd of the snippet");
            return false;
        }
    }
    return true;
}

static int receive_descriptors(const char *function, int *fds, int count)
{
    (void)function;
    for (int i = 0; i < count; i++) {
        fds[i] = classic_recvfd(SOCKET);
        if (fds[i] == -2)
            warnx("recvfd of the snippet: end of file");
        else if (fds[i] < 0)
            warn("recvfd of the snippet");
        if (fds[i] < 0)
            return i;
    }
    return count;
}

int main(int argc, char **argv)
{
    const struct peer peer = {"classic", send_descriptors, receive_descriptors};
    return run_peer(&peer, argc, argv);
}

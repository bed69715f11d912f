/* libsendfd from C. Besides the functions that the bindings have: sendfd, recvfd and
 * recvfds_msg pass several descriptors one per message, and recvfds_all takes as many
 * messages as it needs. */
#include "command.h"

#include <err.h>
#include <errno.h>
#include <sendfd.h>
#include <string.h>

static bool send_descriptors(const char *function, const int *fds, int count)
{
    if (strcmp(function, "sendfds") == 0) {
        int sent = sendfds(SOCKET, fds, count);
        if (sent < 0)
            warn("sendfds");
        else if (sent != count)
            warnx("sendfds returned %d for %d descriptors", sent, count);
        return sent == count;
    }
    if (strcmp(function, "sendfd") == 0) {
        for (int i = 0; i < count; i++) {
            int sent = sendfd(SOCKET, fds[i]);
            if (sent < 0)
                warn("sendfd");
            else if (sent != 1)
                warnx("sendfd returned %d", sent);
            if (sent != 1)
                return false;
        }
        return true;
    }
    warnx("%s is none of sendfd, sendfds", function);
    return false;
}

/* How many came; says why none or not all did. */
static int explained(const char *function, int returned)
{
    if (returned == RECVFD_EOF)
        warnx("%s: end of file", function);
    else if (returned < 0)
        warn("%s", function);
    return returned < 0 ? 0 : returned;
}

static int receive_one_by_one(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        fds[i] = recvfd(SOCKET);
        if (fds[i] < 0) {
            explained("recvfd", fds[i]);
            return i;
        }
    }
    return count;
}

/* Whatever up to four bytes come with each. */
static int receive_with_data(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        char data[4];
        int nfds = 1;
        ssize_t got = recvfds_msg(SOCKET, fds + i, &nfds, data, sizeof data, 0);
        if (got < 0) {
            explained("recvfds_msg", (int)got);
            return i;
        }
        if (nfds == 0) {
            warnx("recvfds_msg: %zd bytes, no descriptor", got);
            return i;
        }
    }
    return count;
}

static int receive_all(int *fds, int count)
{
    errno = 0;
    int came = recvfds_all(SOCKET, fds, count);
    if (came > 0 && came < count)
        warn("recvfds_all");
    return explained("recvfds_all", came);
}

static int receive_descriptors(const char *function, int *fds, int count)
{
    if (strcmp(function, "recvfd") == 0)
        return receive_one_by_one(fds, count);
    if (strcmp(function, "recvfds") == 0)
        return explained(function, recvfds(SOCKET, fds, count));
    if (strcmp(function, "recvfds_all") == 0)
        return receive_all(fds, count);
    if (strcmp(function, "recvfds_msg") == 0)
        return receive_with_data(fds, count);
    warnx("%s is none of recvfd, recvfds, recvfds_all, recvfds_msg", function);
    return 0;
}

int main(int argc, char **argv)
{
    const struct peer peer = {"c", send_descriptors, receive_descriptors};
    return run_peer(&peer, argc, argv);
}

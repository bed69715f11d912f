/* How the two servers talk: whole messages over a blocking stream socket, with the
 * descriptors that belong to them. Copy this if you need the same. Each function
 * returns false with errno set; ECONNRESET is the end of file, too. */
#include "handover.h"

#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* The peer of a connection is the process that called connect or listen. */
bool check_peer(int socket, const char *what)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        warn("SO_PEERCRED");
        return false;
    }
    if (peer.uid == geteuid())
        return true;
    printf("server %d: refused: the %s, process %d, is of user %u, this one of user %u\n",
           (int)getpid(), what, (int)peer.pid, (unsigned)peer.uid, (unsigned)geteuid());
    return false;
}

/* No call below waits longer than this. */
bool set_patience(int socket, int seconds)
{
    const struct timeval time = {.tv_sec = seconds};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0 &&
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) == 0)
        return true;
    warn("setsockopt");
    return false;
}

static bool fail_closing(int error, const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
    errno = error;
    return false;
}

/* The descriptors are sent with the first byte; the rest of the bytes is sent without
 * them. */
bool send_message(int socket, const int *fds, int nfds, const void *data, size_t length)
{
    const char *next = data;
    while (length > 0) {
        ssize_t sent = sendfds_msg(socket, fds, nfds, next, length, 0);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        next += sent;
        length -= (size_t)sent;
        nfds = 0;
    }
    return true;
}

/* Receives exactly that many bytes with exactly that many descriptors. */
bool receive_message(int socket, int *fds, int nfds, void *data, size_t length)
{
    char *next = data;
    int received = 0;
    while (length > 0) {
        int came = nfds - received;
        ssize_t got = recvfds_msg(socket, fds + received, &came, next, length, 0);
        if (got == -1 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_closing(got == RECVFD_EOF ? ECONNRESET : errno, fds, received);
        received += came;
        next += got;
        length -= (size_t)got;
    }
    return received == nfds || fail_closing(ENOMSG, fds, received);
}

/* As many messages as are needed. The C library musl cannot send 253 in one. */
bool send_descriptors(int socket, const int *fds, int nfds)
{
    const int most = SENDFD_MAX_FDS - 1;
    int sent = 0;
    while (sent < nfds) {
        int left = nfds - sent;
        int more = sendfds_all(socket, fds + sent, left < most ? left : most);
        if (more > 0)
            sent += more; /* if it is short, the next call meets the reason again */
        else if (errno != EINTR)
            return false;
    }
    return true;
}

/* Receives exactly that many. */
bool receive_descriptors(int socket, int *fds, int nfds)
{
    int received = 0;
    while (received < nfds) {
        errno = ECONNRESET; /* stays if the end of file cuts the count short */
        int more = recvfds_all(socket, fds + received, nfds - received);
        if (more > 0)
            received += more;
        if (received < nfds && errno != EINTR)
            return fail_closing(more == RECVFD_EOF ? ECONNRESET : errno, fds, received);
    }
    return true;
}

bool send_step(int socket, enum step step)
{
    char byte = (char)step;
    return send_message(socket, NULL, 0, &byte, 1);
}

bool receive_step(int socket, enum step step)
{
    char byte;
    return receive_message(socket, NULL, 0, &byte, 1) && byte == (char)step;
}

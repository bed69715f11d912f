/* The end of file is -2, every time, after all that was sent before it, and is
 * distinguished from a message without data, a reset and a socket that was never
 * connected. A datagram socket has no end of file. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <unistd.h>

static void ends_for_ever(const char *name, int socket)
{
    int fds[2] = {-7, -7};
    for (int i = 0; i < 2; i++) {
        is(recvfd(socket), -2, "%s: recvfd returns -2", name);
        is(recvfds(socket, fds, 2), RECVFD_EOF, "%s: recvfds too", name);
    }
    ok(fds[0] == -7 && fds[1] == -7, "%s: and writes no descriptor", name);
}

static void peer_closed(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    close(pair[0]);
    tap_note("%s: the peer has closed", type->name);
    ends_for_ever(type->name, pair[1]);
    set_nonblocking(pair[1]);
    is(recvfd(pair[1]), -2, "%s: on a non-blocking socket too", type->name);
    close(pair[1]);
}

static void shut_down(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    need(shutdown(pair[0], SHUT_WR) == 0);
    tap_note("%s: the peer has called shutdown(SHUT_WR)", type->name);
    ends_for_ever(type->name, pair[1]);
    int other_way[2] = {pair[1], pair[0]};
    ok(passes_a_file(other_way), "%s: the other direction is open", type->name);
    close_pair(pair);
}

static void queued_come_first(const struct socket_type *type, bool closes)
{
    int pair[2], fds[5], received[5] = {-1, -1, -1, -1, -1};
    socket_pair(type->type, pair);
    open_files(fds, 5);
    need(sendfd(pair[0], fds[0]) == 1);
    need(sendfds(pair[0], fds + 1, 3) == 3);
    need(sendfd(pair[0], fds[4]) == 1);
    if (closes)
        close(pair[0]);
    else
        need(shutdown(pair[0], SHUT_WR) == 0);
    tap_note("%s: three messages and %s", type->name, closes ? "close" : "shutdown");

    received[0] = recvfd(pair[1]);
    ok(same_file(fds[0], received[0]), "%s: the first comes", type->name);
    is(recvfds(pair[1], received + 1, 4), 3, "%s: the second comes", type->name);
    ok(same_files(fds + 1, received + 1, 3), "%s: with its files", type->name);
    received[4] = recvfd(pair[1]);
    ok(same_file(fds[4], received[4]), "%s: the last comes", type->name);
    ends_for_ever(type->name, pair[1]);

    close_fds(received, 5);
    close_fds(fds, 5);
    close(pair[1]);
    if (!closes)
        close(pair[0]);
}

/* A message without data is one where messages have bounds: its descriptor
 * distinguishes it from the end of file. */
static void empty_with_descriptor(const struct socket_type *type)
{
    int pair[2], fds[2], received[2] = {-1, -1};
    socket_pair(type->type, pair);
    open_files(fds, 2);
    need(raw_send(pair[0], "", 0, fds, 1) == 0);
    need(raw_send(pair[0], "", 0, fds, 2) == 0);
    int fd = recvfd(pair[1]);
    ok(same_file(fds[0], fd), "%s: recvfd takes a descriptor without data", type->name);
    is(recvfds(pair[1], received, 2), 2, "%s: recvfds takes two", type->name);
    ok(same_files(fds, received, 2), "%s: the right ones", type->name);
    if (type->type == SOCK_SEQPACKET) {
        close(pair[0]);
        is(recvfd(pair[1]), -2, "%s: the end of file is after them", type->name);
        close(pair[1]);
    } else {
        close_pair(pair);
    }
    close(fd);
    close_fds(received, 2);
    close_fds(fds, 2);
}

static void datagrams_never_end(void)
{
    int pair[2], fds[2] = {-7, -7};
    socket_pair(SOCK_DGRAM, pair);
    set_nonblocking(pair[1]);
    fails(recvfd(pair[1]), EAGAIN, "SOCK_DGRAM: EAGAIN when nothing has come");
    need(send(pair[0], "", 0, 0) == 0);
    need(send(pair[0], "", 0, 0) == 0);
    fails(recvfd(pair[1]), ENOMSG, "SOCK_DGRAM: ENOMSG for an empty datagram");
    fails(recvfds(pair[1], fds, 2), ENOMSG, "SOCK_DGRAM: for recvfds too");
    ok(fds[0] == -7 && fds[1] == -7, "SOCK_DGRAM: which writes no descriptor");
    ok(passes_a_file(pair), "SOCK_DGRAM: the next one comes right");
    close(pair[0]);
    fails(recvfd(pair[1]), EAGAIN, "SOCK_DGRAM: EAGAIN when the peer has closed");
    fails(recvfds(pair[1], fds, 2), EAGAIN, "SOCK_DGRAM: for recvfds too");
    close(pair[1]);
}

/* The peer closes with our message unread and one of its own still queued. A
 * stream brings that first; SOCK_SEQPACKET reports the reset first. */
static void reset(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(sendfd(pair[0], fd) == 1);
    need(sendfd(pair[1], fd) == 1);
    close(pair[0]);
    if (type->type == SOCK_SEQPACKET)
        fails(recvfd(pair[1]), ECONNRESET, "%s: ECONNRESET at once", type->name);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: what was queued comes", type->name);
    if (received >= 0)
        close(received);
    if (type->type == SOCK_STREAM)
        fails(recvfd(pair[1]), ECONNRESET, "%s: ECONNRESET after it", type->name);
    ends_for_ever(type->name, pair[1]);
    close(fd);
    close(pair[1]);
}

/* A socket that was never connected has no end of file either. */
static void never_connected(const struct socket_type *type)
{
    int alone = socket(AF_UNIX, type->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    need(alone >= 0);
    int error = type->type == SOCK_STREAM      ? EINVAL
                : type->type == SOCK_SEQPACKET ? ENOTCONN
                                               : EAGAIN;
    int fd = -7;
    fails(recvfd(alone), error, "%s: recvfd not connected", type->name);
    fails(recvfds(alone, &fd, 1), error, "%s: recvfds not connected", type->name);
    close(alone);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        never_connected(type);
        if (type->type != SOCK_STREAM)
            empty_with_descriptor(type);
        if (type->type == SOCK_DGRAM)
            continue;
        peer_closed(type);
        shut_down(type);
        queued_come_first(type, true);
        queued_come_first(type, false);
        reset(type);
    }
    datagrams_never_end();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

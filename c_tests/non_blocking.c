/* A call that would block and must not fails with EAGAIN: because of O_NONBLOCK or a
 * timeout. Everything that was sent before arrives, and the blocking mode of the socket
 * is never changed. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define SOME 3

static void empty_queue(const struct socket_type *type)
{
    int pair[2], fds[SOME], fd = open_file();
    socket_pair(type->type, pair);
    set_nonblocking(pair[1]);
    int flags = fcntl(pair[1], F_GETFL), senders_flags = fcntl(pair[0], F_GETFL);
    fails(recvfd(pair[1]), EAGAIN, "%s: recvfd on an empty queue: EAGAIN", type->name);
    fails(recvfds(pair[1], fds, SOME), EAGAIN, "%s: recvfds on an empty queue: EAGAIN",
          type->name);
    is(sendfd(pair[0], fd), 1, "%s: then something is sent", type->name);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: and received", type->name);
    fails(recvfd(pair[1]), EAGAIN, "%s: the queue is empty again", type->name);
    is(fcntl(pair[1], F_GETFL), flags, "%s: the socket is non-blocking as before",
       type->name);
    is(fcntl(pair[0], F_GETFL), senders_flags, "%s: and the other blocking", type->name);
    close(received);
    close(fd);
    close_pair(pair);
}

/* How many descriptors the message of a number has: one, or some. */
static int size_of(int number)
{
    return number % 3 == 1 ? SOME : 1;
}

static int send_number(int socket, int number)
{
    int fd = open_numbered_file(number), fds[SOME] = {fd, fd, fd}, error;
    int sent = size_of(number) == 1 ? sendfd(socket, fd) : sendfds(socket, fds, SOME);
    error = errno;
    close(fd);
    errno = error;
    return sent;
}

static bool receive_number(int socket, int number)
{
    int fds[SOME], nfds = recvfds(socket, fds, SOME);
    bool right = nfds == size_of(number);
    for (int i = 0; i < nfds; i++) {
        right = right && number_in(fds[i]) == number;
        close(fds[i]);
    }
    return right;
}

/* Sends until it fails; returns how many messages were reported sent. */
static int send_until_full(int socket)
{
    int number = 0;
    need(set_option(socket, SO_SNDBUF, 1));
    while (send_number(socket, number) == size_of(number))
        number++;
    need(number > 2);
    return number;
}

static void all_there(const struct socket_type *type, int pair[2], int sent)
{
    int arrived = 0;
    while (arrived < sent && receive_number(pair[1], arrived))
        arrived++;
    is(arrived, sent, "%s: each message reported sent arrives", type->name);
    ok(is_empty(pair[1]), "%s: and no other", type->name);
    is(send_number(pair[0], 0), 1, "%s: then there is room again", type->name);
    ok(receive_number(pair[1], 0), "%s: and it arrives", type->name);
}

static void full_queue(const struct socket_type *type)
{
    int pair[2], fd = open_file(), fds[SOME] = {fd, fd, fd};
    socket_pair(type->type, pair);
    set_nonblocking(pair[0]);
    int flags = fcntl(pair[0], F_GETFL);
    int sent = send_until_full(pair[0]);
    is(errno, EAGAIN, "%s: a send on a full queue fails with EAGAIN", type->name);
    fails(sendfd(pair[0], fd), EAGAIN, "%s: sendfd does", type->name);
    fails(sendfds(pair[0], fds, SOME), EAGAIN, "%s: sendfds does", type->name);
    is(fcntl(pair[0], F_GETFL), flags, "%s: the socket is non-blocking as before",
       type->name);
    all_there(type, pair, sent);
    close(fd);
    close_pair(pair);
}

static void timeouts(const struct socket_type *type)
{
    int pair[2], fds[SOME], flags[2];
    socket_pair(type->type, pair);
    set_timeout(pair[0], SO_SNDTIMEO, 3);
    set_timeout(pair[1], SO_RCVTIMEO, 3);
    for (int i = 0; i < 2; i++)
        flags[i] = fcntl(pair[i], F_GETFL);
    fails(recvfd(pair[1]), EAGAIN, "%s: SO_RCVTIMEO: recvfd fails with EAGAIN",
          type->name);
    fails(recvfds(pair[1], fds, SOME), EAGAIN, "%s: SO_RCVTIMEO: and recvfds",
          type->name);
    int sent = send_until_full(pair[0]);
    is(errno, EAGAIN, "%s: SO_SNDTIMEO: a send fails with EAGAIN", type->name);
    all_there(type, pair, sent);
    for (int i = 0; i < 2; i++)
        ok(fcntl(pair[i], F_GETFL) == flags[i] && !(flags[i] & O_NONBLOCK),
           "%s: end %d is blocking as before", type->name, i);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        empty_queue(&socket_types[i]);
        full_queue(&socket_types[i]);
        timeouts(&socket_types[i]);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

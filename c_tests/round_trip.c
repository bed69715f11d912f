/* A descriptor that is sent arrives as a new one for the same open file
 * description, on every type of socket, and each call returns what it says. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <fcntl.h>
#include <unistd.h>

static void one_descriptor(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);

    is(sendfd(pair[0], fd), 1, "%s: sendfd returns 1", type->name);
    int received = recvfd(pair[1]);
    ok(received >= 0 && received != fd, "%s: recvfd returns a new descriptor",
       type->name);
    ok(same_file(fd, received), "%s: of the same file", type->name);
    need(write(fd, "abc", 3) == 3);
    is(lseek(received, 0, SEEK_CUR), 3, "%s: the offset is shared", type->name);
    ok(is_close_on_exec(received), "%s: it is close-on-exec", type->name);
    ok(is_empty(pair[1]), "%s: nothing is left in the queue", type->name);

    close(received);
    close(fd);
    close_pair(pair);
}

static void some_descriptors(const struct socket_type *type, int nfds, int max_fds)
{
    int pair[2], fds[SENDFD_MAX_FDS], received[SENDFD_MAX_FDS + 3];
    socket_pair(type->type, pair);
    open_files(fds, nfds);
    for (int i = 0; i < max_fds; i++)
        received[i] = -7;

    is(sendfds(pair[0], fds, nfds), nfds, "%s: sendfds of %d returns %d", type->name,
       nfds, nfds);
    is(recvfds(pair[1], received, max_fds), nfds, "%s: recvfds with room for %d too",
       type->name, max_fds);
    ok(same_files(fds, received, nfds), "%s: the same files in the same order",
       type->name);
    bool untouched = true;
    for (int i = nfds; i < max_fds; i++)
        untouched = untouched && received[i] == -7;
    ok(untouched, "%s: no place beyond them is written", type->name);

    close_fds(received, nfds);
    close_fds(fds, nfds);
    close_pair(pair);
}

/* The sender may close its descriptor before the receiver has taken it. */
static void closed_in_flight(const struct socket_type *type)
{
    int pair[2], fd = open_file(), kept = dup(fd);
    socket_pair(type->type, pair);
    is(sendfd(pair[0], fd), 1, "%s: sent, then closed by its sender", type->name);
    close(fd);
    int received = recvfd(pair[1]);
    ok(same_file(kept, received), "%s: arrives all the same", type->name);
    close(received);
    close(kept);
    close_pair(pair);
}

/* Descriptor 0 is like any other. */
static void descriptor_zero(const struct socket_type *type)
{
    int pair[2], fd = open_file(), standard_input = dup(0);
    need(standard_input > 0);
    socket_pair(type->type, pair);
    need(sendfd(pair[0], fd) == 1);
    close(0);
    is(recvfd(pair[1]), 0, "%s: descriptor 0 is received", type->name);
    ok(same_file(fd, 0), "%s: and is the file", type->name);
    need(sendfd(pair[0], 0) == 1);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: descriptor 0 is sent", type->name);
    close(received);
    need(dup2(standard_input, 0) == 0);
    close(standard_input);
    close(fd);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        one_descriptor(&socket_types[i]);
        some_descriptors(&socket_types[i], 1, 1);
        some_descriptors(&socket_types[i], 1, 10);
        some_descriptors(&socket_types[i], 3, 3);
        some_descriptors(&socket_types[i], 3, 4);
        some_descriptors(&socket_types[i], 252, SENDFD_MAX_FDS);
        some_descriptors(&socket_types[i], SENDFD_MAX_FDS, SENDFD_MAX_FDS);
        some_descriptors(&socket_types[i], SENDFD_MAX_FDS, SENDFD_MAX_FDS + 3);
        closed_in_flight(&socket_types[i]);
        descriptor_zero(&socket_types[i]);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

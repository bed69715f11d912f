/* The messages on the wire, as recvmsg(2) sees them: sendfd sends one zero byte with one
 * descriptor, sendfds one byte that is the number of descriptors. A receive accepts any
 * byte from a sender without the library. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <stdio.h>
#include <unistd.h>

/* One message of one byte and nfds descriptors, and nothing else. */
static void one_message(const char *name, int pair[2], int byte, const int *fds, int nfds)
{
    struct raw_message message;
    is(raw_receive(pair[1], sizeof message.data, 0, &message), 1, "%s: one byte", name);
    is(message.data[0], byte, "%s: of value %d", name, byte);
    is(message.control_messages, 1, "%s: one control message", name);
    is((long)message.cmsg_len, (long)CMSG_LEN(sizeof(int) * (size_t)nfds),
       "%s: cmsg_len is that of %d descriptors", name, nfds);
    is(message.nfds, nfds, "%s: so many came", name);
    ok(message.nfds == nfds && same_files(fds, message.fds, nfds), "%s: of these files",
       name);
    ok(!(message.flags & (MSG_TRUNC | MSG_CTRUNC)), "%s: nothing is cut off", name);
    close_fds(message.fds, message.nfds);
}

static void sent_by_sendfd(const struct socket_type *type)
{
    int pair[2], fds[2];
    char name[64];
    socket_pair(type->type, pair);
    open_files(fds, 2);
    need(sendfd(pair[0], fds[0]) == 1);
    need(sendfd(pair[0], fds[1]) == 1);
    snprintf(name, sizeof name, "%s: sendfd", type->name);
    one_message(name, pair, 0, &fds[0], 1);
    snprintf(name, sizeof name, "%s: the next sendfd", type->name);
    one_message(name, pair, 0, &fds[1], 1);
    ok(is_empty(pair[1]), "%s: nothing after it", type->name);
    close_fds(fds, 2);
    close_pair(pair);
}

static void sent_by_sendfds(const struct socket_type *type, const int *fds, int nfds)
{
    int pair[2];
    char name[64];
    socket_pair(type->type, pair);
    need(sendfds(pair[0], fds, nfds) == nfds);
    snprintf(name, sizeof name, "%s: sendfds of %d", type->name, nfds);
    one_message(name, pair, nfds, fds, nfds);
    ok(is_empty(pair[1]), "%s: nothing after it", name);
    close_pair(pair);
}

/* Whether byte, sent with nfds descriptors, is accepted like any other. */
static bool is_taken(const int pair[2], unsigned char byte, const int *fds, int nfds)
{
    int received[SENDFD_MAX_FDS];
    need(raw_send(pair[0], &byte, 1, fds, nfds) == 1);
    int came = recvfds(pair[1], received, SENDFD_MAX_FDS);
    bool taken = came == nfds && same_files(fds, received, nfds);
    close_fds(received, came);

    need(raw_send(pair[0], &byte, 1, fds, 1) == 1);
    int fd = recvfd(pair[1]);
    taken = taken && same_file(fds[0], fd);
    if (fd >= 0)
        close(fd);
    return taken;
}

static void any_byte(const struct socket_type *type)
{
    int pair[2], fds[3], refused = -1;
    socket_pair(type->type, pair);
    open_files(fds, 3);
    for (int byte = 0; byte <= 255 && refused < 0; byte++)
        if (!is_taken(pair, (unsigned char)byte, fds, 1) ||
            !is_taken(pair, (unsigned char)byte, fds, 3))
            refused = byte;
    is(refused, -1, "%s: no byte from 0 to 255 is refused", type->name);
    close_fds(fds, 3);
    close_pair(pair);
}

/* Of a longer message one byte is read. The rest stays in a stream, and goes
 * where messages have bounds. */
static void more_than_one_byte(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "abc", 3, &fd, 1) == 3);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: a descriptor with three bytes", type->name);
    if (received >= 0)
        close(received);
    char rest[3];
    ssize_t left = recv(pair[1], rest, sizeof rest, MSG_DONTWAIT);
    if (type->type == SOCK_STREAM)
        ok(left == 2 && rest[0] == 'b' && rest[1] == 'c',
           "%s: the other two are still there", type->name);
    else
        is(left, -1, "%s: the other two went with it", type->name);
    ok(passes_a_file(pair), "%s: the next message comes right", type->name);
    close(fd);
    close_pair(pair);
}

static void with_the_snippet(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(classic_sendfd(pair[0], fd) == 1);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: the classic sendfd to recvfd", type->name);
    if (received >= 0)
        close(received);
    need(sendfd(pair[0], fd) == 1);
    received = classic_recvfd(pair[1]);
    ok(same_file(fd, received), "%s: sendfd to the classic recvfd", type->name);
    if (received >= 0)
        close(received);
    close(fd);
    close_pair(pair);
}

int main(void)
{
    static const int counts[] = {1, 2, 3, 252, 253};
    int before = count_fds(), fds[SENDFD_MAX_FDS];
    open_files(fds, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        sent_by_sendfd(&socket_types[i]);
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++)
            sent_by_sendfds(&socket_types[i], fds, counts[j]);
        any_byte(&socket_types[i]);
        more_than_one_byte(&socket_types[i]);
        with_the_snippet(&socket_types[i]);
    }
    close_fds(fds, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

/* The library replaces the snippet that programs paste, with nothing but the snippet's
 * two declarations: it returns the same values and passes the same bytes, and a peer that
 * still has the snippet notices nothing. */
#include "peer.h"
#include "tap.h"

#include <errno.h>
#include <unistd.h>

/* As the programs have them: no header of the library is included here. */
int sendfd(int unix_domain_socket_fd, int fd);
int recvfd(int unix_domain_socket_fd);

#define MESSAGES 200

static void library_to_snippet(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    is(sendfd(pair[0], fd), 1, "%s: sendfd to the snippet returns 1", type->name);
    int received = classic_recvfd(pair[1]);
    ok(same_file(fd, received), "%s: the snippet receives the file", type->name);
    ok(is_empty(pair[1]), "%s: and leaves nothing", type->name);
    close(received);
    close(fd);
    close_pair(pair);
}

static void snippet_to_library(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(classic_sendfd(pair[0], fd) == 1);
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "%s: recvfd receives the file from the snippet",
       type->name);
    ok(is_empty(pair[1]), "%s: and leaves nothing of the snippet's message", type->name);
    close(received);
    close(fd);
    close_pair(pair);
}

/* On the wire the two are the same. */
static void same_message(const struct socket_type *type)
{
    struct raw_message ours, theirs;
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    need(classic_sendfd(pair[0], fd) == 1);
    need(raw_receive(pair[1], 100, 0, &theirs) == 1 && theirs.nfds == 1);
    need(sendfd(pair[0], fd) == 1);
    is(raw_receive(pair[1], 100, 0, &ours), 1, "%s: one byte is sent", type->name);
    is(ours.data[0], theirs.data[0], "%s: of the value that the snippet sends",
       type->name);
    is(ours.control_messages, 1, "%s: with one control message", type->name);
    is((long)ours.cmsg_len, (long)theirs.cmsg_len, "%s: of the same length", type->name);
    is(ours.nfds, 1, "%s: and one descriptor", type->name);
    is(ours.flags, theirs.flags, "%s: and arrives with the same flags", type->name);
    close_fds(ours.fds, ours.nfds);
    close_fds(theirs.fds, theirs.nfds);
    close(fd);
    close_pair(pair);
}

static void same_failures(const struct socket_type *type)
{
    int pair[2], fd = open_file();
    socket_pair(type->type, pair);
    set_nonblocking(pair[1]);

    fails(classic_sendfd(pair[0], -1), EBADF, "%s: the snippet refuses descriptor -1",
          type->name);
    fails(sendfd(pair[0], -1), EBADF, "%s: so does sendfd", type->name);
    fails(classic_sendfd(-1, fd), EBADF, "%s: the snippet fails on socket -1",
          type->name);
    fails(sendfd(-1, fd), EBADF, "%s: so does sendfd", type->name);
    fails(classic_recvfd(-1), EBADF, "%s: and receives nothing from it", type->name);
    fails(recvfd(-1), EBADF, "%s: nor does recvfd", type->name);
    fails(classic_recvfd(pair[1]), EAGAIN, "%s: the snippet fails on an empty queue",
          type->name);
    fails(recvfd(pair[1]), EAGAIN, "%s: so does recvfd", type->name);

    close(pair[0]);
    if (type->type != SOCK_DGRAM) {
        is(classic_recvfd(pair[1]), -2, "%s: the snippet returns -2 at the end of file",
           type->name);
        is(recvfd(pair[1]), -2, "%s: so does recvfd", type->name);
    }
    close(pair[1]);
    close(fd);
}

static int receive_by_turns(void *argument)
{
    int socket = *(int *)argument, before = count_fds();
    for (int i = 0; i < MESSAGES; i++) {
        int fd = i % 2 ? classic_recvfd(socket) : recvfd(socket);
        if (number_in(fd) != i) {
            tap_note("message %d: received %d, which holds %d", i, fd, number_in(fd));
            return 1;
        }
        close(fd);
    }
    return count_fds() == before ? 0 : 2;
}

/* Each of the two senders with each of the two receivers, many times in a row. */
static void parent_to_child(const struct socket_type *type)
{
    int pair[2], sent = 0;
    socket_pair(type->type, pair);
    pid_t child = run_in_child(receive_by_turns, &pair[1]);
    close(pair[1]);
    for (int i = 0; i < MESSAGES; i++) {
        int fd = open_numbered_file(i);
        sent += i / 2 % 2 ? classic_sendfd(pair[0], fd) : sendfd(pair[0], fd);
        close(fd);
    }
    is(sent, MESSAGES, "%s: the parent sends %d descriptors, each of which counts 1",
       type->name, MESSAGES);
    is(wait_for_child(child), 0, "%s: the child receives each, in order", type->name);
    close(pair[0]);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        library_to_snippet(&socket_types[i]);
        snippet_to_library(&socket_types[i]);
        same_message(&socket_types[i]);
        same_failures(&socket_types[i]);
        parent_to_child(&socket_types[i]);
    }
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

/* A message without a descriptor is ENOMSG, not the end of file and not a stale value.
 * Exactly its byte is consumed, so the following messages arrive intact. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <string.h>

static void told_by_both(const struct socket_type *type)
{
    int pair[2], fds[2] = {-7, -7};
    socket_pair(type->type, pair);
    need(send(pair[0], "a", 1, 0) == 1);
    fails(recvfd(pair[1]), ENOMSG, "%s: recvfd of one byte", type->name);
    ok(is_empty(pair[1]), "%s: which is consumed", type->name);
    need(send(pair[0], "a", 1, 0) == 1);
    fails(recvfds(pair[1], fds, 2), ENOMSG, "%s: recvfds of one byte", type->name);
    ok(is_empty(pair[1]), "%s: which is consumed too", type->name);
    ok(fds[0] == -7 && fds[1] == -7, "%s: no descriptor is written", type->name);
    ok(passes_a_file(pair), "%s: the next message comes right", type->name);
    close_pair(pair);
}

/* A byte of value 0 is a message, and the end of file is no byte. */
static void zero_byte(const struct socket_type *type)
{
    int pair[2];
    socket_pair(type->type, pair);
    need(send(pair[0], "", 1, 0) == 1);
    fails(recvfd(pair[1]), ENOMSG, "%s: recvfd of a byte of value 0", type->name);
    close_pair(pair);
}

static void exactly_one_byte(void)
{
    int pair[2], fds[2];
    char rest[4];
    socket_pair(SOCK_STREAM, pair);
    need(send(pair[0], "abcd", 4, 0) == 4);
    fails(recvfd(pair[1]), ENOMSG, "SOCK_STREAM: recvfd of four bytes");
    fails(recvfds(pair[1], fds, 2), ENOMSG, "SOCK_STREAM: recvfds of what is left");
    is(recv(pair[1], rest, sizeof rest, MSG_DONTWAIT), 2, "SOCK_STREAM: two stay");
    ok(memcmp(rest, "cd", 2) == 0, "SOCK_STREAM: the last two");
    close_pair(pair);
}

/* Where messages have bounds the whole of one goes. */
static void exactly_one_message(const struct socket_type *type)
{
    int pair[2];
    char next[4];
    socket_pair(type->type, pair);
    need(send(pair[0], "abcd", 4, 0) == 4);
    need(send(pair[0], "ef", 2, 0) == 2);
    fails(recvfd(pair[1]), ENOMSG, "%s: recvfd of four bytes", type->name);
    is(recv(pair[1], next, sizeof next, MSG_DONTWAIT), 2, "%s: one message stays",
       type->name);
    ok(memcmp(next, "ef", 2) == 0, "%s: the second", type->name);
    close_pair(pair);
}

/* Bytes before a message, which a longer read would glue to it. */
static void bytes_before_a_message(void)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    need(send(pair[0], "xy", 2, 0) == 2);
    int fd = open_file();
    need(sendfd(pair[0], fd) == 1);
    need(send(pair[0], "z", 1, 0) == 1);
    fails(recvfd(pair[1]), ENOMSG, "SOCK_STREAM: the first byte before a descriptor");
    fails(recvfd(pair[1]), ENOMSG, "SOCK_STREAM: the second");
    int received = recvfd(pair[1]);
    ok(same_file(fd, received), "SOCK_STREAM: the descriptor");
    fails(recvfd(pair[1]), ENOMSG, "SOCK_STREAM: the byte after it");
    ok(is_empty(pair[1]), "SOCK_STREAM: and no more");
    close_fds((int[]){fd, received}, received >= 0 ? 2 : 1);
    close_pair(pair);
}

/* A control message of descriptors that holds none is accepted by the kernel. */
static void rights_of_none(const struct socket_type *type)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(0)] = {0};
    struct iovec iov = {.iov_base = "a", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(0);
    int pair[2];
    socket_pair(type->type, pair);
    need(sendmsg(pair[0], &message, 0) == 1);
    fails(recvfd(pair[1]), ENOMSG, "%s: an array of no descriptors", type->name);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    for (int i = 0; i < SOCKET_TYPES; i++) {
        told_by_both(&socket_types[i]);
        zero_byte(&socket_types[i]);
        rights_of_none(&socket_types[i]);
        if (socket_types[i].type != SOCK_STREAM)
            exactly_one_message(&socket_types[i]);
    }
    exactly_one_byte();
    bytes_before_a_message();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

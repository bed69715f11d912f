/* Sockets of other domains, and descriptors that are no sockets. TCP and UDP drop the
 * descriptors and report success, so a send with descriptors must fail before anything is
 * sent, and a receive that wants descriptors must not report a message without one, or
 * the end of file. Calls without descriptors work there too. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

struct protocol {
    const char *name;
    int family, type;
};

static const struct protocol protocols[] = {
    {"TCP", AF_INET, SOCK_STREAM},
    {"UDP", AF_INET, SOCK_DGRAM},
    {"TCP over IPv6", AF_INET6, SOCK_STREAM},
    {"UDP over IPv6", AF_INET6, SOCK_DGRAM},
};

union address {
    struct sockaddr any;
    struct sockaddr_in inet;
    struct sockaddr_in6 inet6;
};

/* A socket on a loopback port that the kernel chooses, or -1. */
static int bound_socket(const struct protocol *protocol, union address *address)
{
    socklen_t length = sizeof *address;
    memset(address, 0, sizeof *address);
    address->any.sa_family = (sa_family_t)protocol->family;
    if (protocol->family == AF_INET)
        address->inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address->inet6.sin6_addr = in6addr_loopback;
    int fd = socket(protocol->family, protocol->type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, &address->any, length) < 0) {
        close(fd);
        return -1;
    }
    need(getsockname(fd, &address->any, &length) == 0);
    return fd;
}

/* Two connected sockets; false if this machine has no such protocol. */
static bool connected_pair(const struct protocol *protocol, int pair[2])
{
    union address addresses[2];
    if (!has_loopback())
        return false;
    pair[0] = bound_socket(protocol, &addresses[0]);
    if (pair[0] < 0)
        return false;
    int other = bound_socket(protocol, &addresses[1]);
    need(other >= 0);
    if (protocol->type == SOCK_STREAM)
        need(listen(other, 1) == 0);
    need(connect(pair[0], &addresses[1].any, sizeof addresses[1]) == 0);
    if (protocol->type == SOCK_DGRAM) {
        need(connect(other, &addresses[0].any, sizeof addresses[0]) == 0);
        pair[1] = other;
        return true;
    }
    pair[1] = accept4(other, NULL, NULL, SOCK_CLOEXEC);
    need(pair[1] >= 0);
    close(other);
    return true;
}

/* A byte sent the plain way afterwards is the first that comes. */
static void sends_are_refused(const char *name, int pair[2])
{
    int fds[3];
    char byte = 0;
    struct iovec iov = {.iov_base = "abc", .iov_len = 3};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    open_files(fds, 3);
    fails(sendfd(pair[0], fds[0]), EAFNOSUPPORT, "%s: sendfd", name);
    fails(sendfds(pair[0], fds, 1), EAFNOSUPPORT, "%s: sendfds of 1", name);
    fails(sendfds(pair[0], fds, 3), EAFNOSUPPORT, "%s: sendfds of 3", name);
    fails(sendfds_all(pair[0], fds, 3), EAFNOSUPPORT, "%s: sendfds_all", name);
    fails(sendfds_msg(pair[0], fds, 3, "abc", 3, 0), EAFNOSUPPORT, "%s: sendfds_msg",
          name);
    fails(sendfds_msg(pair[0], fds, 3, NULL, 0, 0), EAFNOSUPPORT,
          "%s: sendfds_msg of descriptors alone", name);
    fails(sendfds_msghdr(pair[0], fds, 3, &message, 0), EAFNOSUPPORT,
          "%s: sendfds_msghdr", name);
    message.msg_iovlen = 0;
    fails(sendfds_msghdr(pair[0], fds, 3, &message, 0), EAFNOSUPPORT,
          "%s: of descriptors alone", name);
    need(send(pair[0], "M", 1, 0) == 1);
    need(recv(pair[1], &byte, 1, 0) == 1);
    is(byte, 'M', "%s: nothing was sent", name);
    close_fds(fds, 3);
}

static void receives_are_refused(const char *name, int pair[2])
{
    int fds[2] = {-7, -7};
    need(send(pair[0], "a", 1, 0) == 1);
    fails(recvfd(pair[1]), EAFNOSUPPORT, "%s: recvfd of a byte", name);
    need(send(pair[0], "b", 1, 0) == 1);
    fails(recvfds(pair[1], fds, 2), EAFNOSUPPORT, "%s: recvfds of a byte", name);
    need(send(pair[0], "c", 1, 0) == 1);
    fails(recvfds_all(pair[1], fds, 2), EAFNOSUPPORT, "%s: recvfds_all of a byte", name);
    ok(fds[0] == -7 && fds[1] == -7, "%s: which writes no descriptor", name);
    set_nonblocking(pair[1]);
    fails(recvfd(pair[1]), EAGAIN, "%s: recvfd of nothing", name);
    need(fcntl(pair[1], F_SETFL, 0) == 0);
}

/* Where there is no descriptor a program has one path for TCP, UDP and Unix. */
static void bytes_alone(const char *name, int pair[2])
{
    for (int with_array = 0; with_array < 2; with_array++) {
        int fds[2] = {-7, -7}, nfds = 2 * with_array;
        char data[4] = "";
        struct iovec iov = {.iov_base = "abc", .iov_len = 3};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        is(sendfds_msg(pair[0], NULL, 0, "abc", 3, 0), 3,
           "%s: sendfds_msg of bytes alone", name);
        is(recvfds_msg(pair[1], with_array ? fds : NULL, &nfds, data, sizeof data, 0), 3,
           "%s: recvfds_msg receives them", name);
        ok(nfds == 0 && strcmp(data, "abc") == 0, "%s: without descriptors", name);

        is(sendfds_msghdr(pair[0], NULL, 0, &message, 0), 3,
           "%s: sendfds_msghdr of bytes alone", name);
        nfds = 2 * with_array;
        memset(data, 0, sizeof data);
        iov = (struct iovec){.iov_base = data, .iov_len = sizeof data};
        is(recvfds_msghdr(pair[1], with_array ? fds : NULL, &nfds, &message, 0), 3,
           "%s: recvfds_msghdr receives them", name);
        ok(nfds == 0 && strcmp(data, "abc") == 0, "%s: without descriptors", name);
        ok(fds[0] == -7 && fds[1] == -7, "%s: and no descriptor is written", name);
    }
}

/* The end of file of a connection, or an empty datagram. */
static void no_bytes(const char *name, int socket, int returns)
{
    int fds[2], nfds = 2;
    char data[4];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    is(recvfds_msg(socket, fds, &nfds, data, sizeof data, MSG_PEEK), returns,
       "%s: recvfds_msg of nothing", name);
    is(nfds, returns < 0 ? 2 : 0, "%s: *nfds", name);
    nfds = 2;
    is(recvfds_msghdr(socket, fds, &nfds, &message, 0), returns,
       "%s: recvfds_msghdr of nothing", name);
    is(nfds, returns < 0 ? 2 : 0, "%s: *nfds", name);
}

/* A datagram that is longer than the buffer: an error of the one, a flag of the other. */
static void long_datagram(const char *name, int pair[2])
{
    int fds[2], nfds = 2;
    char data[4];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    need(send(pair[0], "abcde", 5, 0) == 5 && send(pair[0], "abcde", 5, 0) == 5);
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), EMSGSIZE,
          "%s: recvfds_msg of a longer datagram", name);
    is(recvfds_msghdr(pair[1], fds, &nfds, &message, 0), 4,
       "%s: recvfds_msghdr of a longer datagram", name);
    ok(nfds == 0 && message.msg_flags & MSG_TRUNC, "%s: is cut and marked", name);
}

static void with_protocol(const struct protocol *protocol)
{
    int pair[2], fd;
    if (!connected_pair(protocol, pair)) {
        tap_skip("no %s here", protocol->name);
        return;
    }
    sends_are_refused(protocol->name, pair);
    receives_are_refused(protocol->name, pair);
    bytes_alone(protocol->name, pair);
    if (protocol->type == SOCK_DGRAM) {
        need(send(pair[0], "", 0, 0) == 0);
        fails(recvfd(pair[1]), EAFNOSUPPORT, "%s: recvfd of an empty datagram",
              protocol->name);
        need(send(pair[0], "", 0, 0) == 0);
        no_bytes(protocol->name, pair[1], 0);
        long_datagram(protocol->name, pair);
        close_pair(pair);
        return;
    }
    close(pair[0]);
    fails(recvfd(pair[1]), EAFNOSUPPORT, "%s: recvfd at the end of file", protocol->name);
    fails(recvfds(pair[1], &fd, 1), EAFNOSUPPORT, "%s: recvfds at the end of file",
          protocol->name);
    fails(recvfds_all(pair[1], &fd, 1), EAFNOSUPPORT,
          "%s: recvfds_all at the end of file", protocol->name);
    no_bytes(protocol->name, pair[1], RECVFD_EOF);
    close(pair[1]);
}

/* More control messages than any buffer of the library holds: 1 KiB of destination
 * options (RFC 8200), padding all of them. The datagram comes as recv(2) gives it. */
static void truncated_control_messages(void)
{
    unsigned char options[1024] = {0, sizeof options / 8 - 1};
    int pair[2], fds[2] = {-7, -7}, nfds = 2, on = 1;
    char data[8] = "";
    for (size_t i = 2, size; i < sizeof options; i += size) {
        size = sizeof options - i < 257 ? sizeof options - i : 257;
        if (sizeof options - i - size == 1) /* one that is left has no room for PadN */
            size--;
        options[i] = 0x1e; /* an option for experiments (RFC 4727), to be skipped */
        options[i + 1] = (unsigned char)(size - 2);
    }
    if (!connected_pair(&protocols[3], pair)) {
        tap_skip("no %s here", protocols[3].name);
        return;
    }
    if (setsockopt(pair[1], IPPROTO_IPV6, IPV6_RECVDSTOPTS, &on, sizeof on) < 0 ||
        setsockopt(pair[0], IPPROTO_IPV6, IPV6_DSTOPTS, options, sizeof options) < 0) {
        tap_skip("no destination options for IPv6 here: errno %d", errno);
        close_pair(pair);
        return;
    }
    struct raw_message message;
    for (int i = 0; i < 4; i++)
        need(send(pair[0], "hello", 5, 0) == 5);
    need(raw_receive(pair[1], sizeof data, MSG_DONTWAIT, &message) == 5);
    is((long)message.cmsg_len, (long)CMSG_LEN(sizeof options), "options of %zu bytes",
       sizeof options);
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_DONTWAIT), 5,
       "recvfds_msg receives the bytes");
    ok(nfds == 0 && strcmp(data, "hello") == 0, "those that were sent, no descriptor");
    fails(recvfd(pair[1]), EAFNOSUPPORT, "recvfd finds no descriptor in such a datagram");
    fails(recvfds(pair[1], fds, 2), EAFNOSUPPORT, "nor does recvfds");
    close_pair(pair);
}

/* A netlink socket is one of those that take SCM_CREDENTIALS, but no descriptor. */
static void netlink(void)
{
    int socket_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (socket_fd < 0) {
        tap_skip("no netlink here");
        return;
    }
    set_nonblocking(socket_fd);
    fails(sendfd(socket_fd, 0), EAFNOSUPPORT, "netlink: sendfd");
    fails(sendfds(socket_fd, (int[]){0, 1}, 2), EAFNOSUPPORT, "netlink: sendfds");
    fails(recvfd(socket_fd), EAGAIN, "netlink: recvfd, and no answer was caused");
    close(socket_fd);
}

static void all_fail(int socket, int error, const char *name)
{
    int fds[2] = {0, 1};
    fails(sendfd(socket, 0), error, "%s: sendfd", name);
    fails(sendfds(socket, fds, 2), error, "%s: sendfds", name);
    fails(recvfd(socket), error, "%s: recvfd", name);
    fails(recvfds(socket, fds, 2), error, "%s: recvfds", name);
    ok(fds[0] == 0 && fds[1] == 1, "%s: no descriptor is written", name);
}

static void not_even_sockets(void)
{
    int pipe_fds[2], pair[2], file = open_file();
    need(pipe2(pipe_fds, O_CLOEXEC) == 0);
    need(write(pipe_fds[1], "a", 1) == 1);
    all_fail(pipe_fds[0], ENOTSOCK, "a pipe's reading end");
    all_fail(pipe_fds[1], ENOTSOCK, "a pipe's writing end");
    char byte;
    is(read(pipe_fds[0], &byte, 1), 1, "the byte in the pipe is still there");
    all_fail(file, ENOTSOCK, "a regular file");
    close_pair(pipe_fds);

    socket_pair(SOCK_STREAM, pair);
    close_pair(pair);
    all_fail(pair[0], EBADF, "a closed socket");
    all_fail(-1, EBADF, "descriptor -1");
    all_fail(-2, EBADF, "descriptor -2");
    all_fail(0x7fffffff, EBADF, "descriptor INT_MAX");
    close(file);
}

int main(void)
{
    int before = count_fds();
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        with_protocol(&protocols[i]);
    truncated_control_messages();
    netlink();
    not_even_sockets();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

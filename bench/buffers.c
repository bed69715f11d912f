/* A header and a body in one message with a descriptor, as D-Bus has them: two buffers in
 * one sendmsg(2), against what libsendfd's functions for it cost, and what a program
 * without them does instead: a copy into one buffer, or two calls. Prints CSV, see
 * bench.h. */
#include "bench.h"
#include "rights.h"
#include "sendfd.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

/* Messages in a slice: a queue holds 278, and two calls make two of them. */
#define MESSAGES 64
#define HEADER 64
#define MOST_BODY 4096

static int pair[2], file;
static char header[HEADER], body[MOST_BODY], received[HEADER + MOST_BODY];

/* The size of the body in a slice, and how it is sent and received. */
struct exchange {
    size_t len;
    void (*send)(size_t len);
    int (*receive)(size_t len); /* the descriptor */
};

static struct msghdr message_of(struct iovec *buffers, char *first, char *second,
                                size_t len)
{
    buffers[0] = (struct iovec){first, HEADER};
    buffers[1] = (struct iovec){second, len};
    return (struct msghdr){.msg_iov = buffers, .msg_iovlen = 2};
}

static void need_all(ssize_t bytes, size_t len)
{
    need(bytes == (ssize_t)(HEADER + len));
}

/* --- sending -------------------------------------------------------------------------
 */

static void send_by_hand(size_t len)
{
    struct iovec buffers[2];
    union control_of_one control;
    struct msghdr message = message_of(buffers, header, body, len);
    sa_family_t domain;
    socklen_t size = sizeof domain;
    need(getsockname(pair[0], (struct sockaddr *)&domain, &size) == 0 &&
         domain == AF_UNIX);
    message.msg_control = &control;
    message.msg_controllen = write_rights(&control, &file, 1);
    need_all(sendmsg(pair[0], &message, MSG_NOSIGNAL), len);
}

static void send_with_msghdr(size_t len)
{
    struct iovec buffers[2];
    struct msghdr message = message_of(buffers, header, body, len);
    need_all(sendfds_msghdr(pair[0], &file, 1, &message, 0), len);
}

static void send_with_a_copy(size_t len)
{
    char copy[HEADER + MOST_BODY];
    memcpy(copy, header, HEADER);
    memcpy(copy + HEADER, body, len);
    need_all(sendfds_msg(pair[0], &file, 1, copy, HEADER + len, 0), len);
}

static void send_twice(size_t len)
{
    need(sendfds_msg(pair[0], &file, 1, header, HEADER, 0) == HEADER);
    need(sendfds_msg(pair[0], NULL, 0, body, len, 0) == (ssize_t)len);
}

/* --- receiving -----------------------------------------------------------------------
 */

static int receive_by_hand(size_t len)
{
    struct iovec buffers[2];
    union control_of_one control;
    int fd;
    struct msghdr message = message_of(buffers, received, received + HEADER, len);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    need_all(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC), len);
    need(read_rights(&message, &fd, 1) == 1);
    return fd;
}

static int receive_with_msghdr(size_t len)
{
    struct iovec buffers[2];
    int fd, nfds = 1;
    struct msghdr message = message_of(buffers, received, received + HEADER, len);
    need_all(recvfds_msghdr(pair[1], &fd, &nfds, &message, 0), len);
    need(nfds == 1);
    return fd;
}

/* Takes header and body apart again. */
static int receive_with_a_copy(size_t len)
{
    char copy[HEADER + MOST_BODY];
    int fd, nfds = 1;
    need_all(recvfds_msg(pair[1], &fd, &nfds, copy, HEADER + len, 0), len);
    need(nfds == 1);
    memcpy(received, copy, HEADER);
    memcpy(received + HEADER, copy + HEADER, len);
    return fd;
}

static int receive_twice(size_t len)
{
    int fd, nfds = 1, none = 0;
    need(recvfds_msg(pair[1], &fd, &nfds, received, HEADER, 0) == HEADER && nfds == 1);
    need(recvfds_msg(pair[1], NULL, &none, received + HEADER, len, 0) == (ssize_t)len);
    return fd;
}

/* --- the cases -----------------------------------------------------------------------
 */

static void measure(const void *argument, double *figures)
{
    const struct exchange *exchange = argument;
    int fds[MESSAGES];
    uint64_t start = now_ns();
    for (int i = 0; i < MESSAGES; i++)
        exchange->send(exchange->len);
    uint64_t sent = now_ns();
    for (int i = 0; i < MESSAGES; i++)
        need((fds[i] = exchange->receive(exchange->len)) >= 0);
    uint64_t end = now_ns();
    figures[0] = (double)(sent - start) / MESSAGES;
    figures[1] = (double)(end - sent) / MESSAGES;
    close_fds(fds, MESSAGES);
}

static void run_with(const char *send, const char *receive, size_t len, double seconds)
{
    const struct exchange by_hand = {len, send_by_hand, receive_by_hand},
                          with_msghdr = {len, send_with_msghdr, receive_with_msghdr},
                          with_a_copy = {len, send_with_a_copy, receive_with_a_copy},
                          twice = {len, send_twice, receive_twice};
    const struct bench_case bench_case = {
        .figures = {{send, "ns"}, {receive, "ns"}},
        .seconds = seconds,
        .ncontenders = 4,
        .contenders = {{"hand-written after getsockname", measure, &by_hand},
                       {"sendfds_msghdr and recvfds_msghdr", measure, &with_msghdr},
                       {"a copy and sendfds_msg", measure, &with_a_copy},
                       {"two calls", measure, &twice}},
    };
    run_case(&bench_case);
}

int main(void)
{
    double seconds = full_or_quick(8, 0.3);
    int size = 1 << 20;
    start_bench("buffers");
    pin_to(0);
    make_pair(pair);
    open_files(&file, 1);
    /* The queue is not to be full of large bodies. */
    need(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    run_with("send a header and 200 bytes", "receive a header and 200 bytes", 200,
             seconds);
    run_with("send a header and 4096 bytes", "receive a header and 4096 bytes", MOST_BODY,
             seconds);
    return 0;
}

/* Prints the tables of libsendfd(7) as they are measured, in the words of the page: the
 * return values, then what each sending function puts on the wire. A cell reads "?" where
 * none of the words fits. */
#include "peer.h"
#include "tap.h"

#include <sendfd.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NFDS 3
#define ROOM 5
#define MANY (SENDFD_MAX_FDS + 1)

static int right[MANY], bad[MANY], received[MANY];
static char data[] = "seven b"; /* other lengths than NFDS and ROOM */
#define LEN 7

static ssize_t send_msg(int socket, const int *fds, int nfds)
{
    return sendfds_msg(socket, fds, nfds, data, LEN, 0);
}

static ssize_t receive_msg(int socket)
{
    int nfds = ROOM;
    char bytes[64];
    return recvfds_msg(socket, received, &nfds, bytes, sizeof bytes, 0);
}

static struct msghdr header(struct iovec *part, char *bytes, size_t len)
{
    *part = (struct iovec){.iov_base = bytes, .iov_len = len};
    return (struct msghdr){.msg_iov = part, .msg_iovlen = 1};
}

static ssize_t send_msghdr(int socket, const int *fds, int nfds)
{
    struct iovec part;
    struct msghdr message = header(&part, data, LEN);
    return sendfds_msghdr(socket, fds, nfds, &message, 0);
}

static ssize_t receive_msghdr(int socket)
{
    char bytes[64];
    int nfds = ROOM;
    struct iovec part;
    struct msghdr message = header(&part, bytes, sizeof bytes);
    return recvfds_msghdr(socket, received, &nfds, &message, 0);
}

static ssize_t send_one(int socket, const int *fds, int nfds)
{
    (void)nfds;
    return sendfd(socket, fds[0]);
}

static ssize_t send_array(int socket, const int *fds, int nfds)
{
    return sendfds(socket, fds, nfds);
}

static ssize_t send_all(int socket, const int *fds, int nfds)
{
    return sendfds_all(socket, fds, nfds);
}

static ssize_t receive_one(int socket)
{
    int fd = recvfd(socket);
    return fd >= 0 && same_file(fd, right[0]) ? -10 : fd;
}

static ssize_t receive_array(int socket)
{
    return recvfds(socket, received, ROOM);
}

static ssize_t receive_all(int socket)
{
    return recvfds_all(socket, received, NFDS);
}

struct function {
    const char *name;
    ssize_t (*send)(int socket, const int *fds, int nfds);
    ssize_t (*receive)(int socket);
};

static const struct function functions[] = {
    {"sendfd", send_one, NULL},
    {"recvfd", NULL, receive_one},
    {"sendfds", send_array, NULL},
    {"recvfds", NULL, receive_array},
    {"sendfds_all", send_all, NULL},
    {"recvfds_all", NULL, receive_all},
    {"sendfds_msg", send_msg, NULL},
    {"recvfds_msg", NULL, receive_msg},
    {"sendfds_msghdr", send_msghdr, NULL},
    {"recvfds_msghdr", NULL, receive_msghdr},
};
#define FUNCTIONS (sizeof functions / sizeof *functions)

/* --- return values --------------------------------------------------------------- */

static const char *sent_word(ssize_t result)
{
    return result == 1      ? "1"
           : result == NFDS ? "nfds"
           : result == LEN  ? "bytes sent"
                            : "?";
}

static const char *received_word(const struct function *function, ssize_t result)
{
    if (result == -10)
        return "the descriptor";
    if (result == LEN)
        return "bytes received";
    if (result != NFDS)
        return "?";
    return function->receive == receive_all ? "nfds" : "number of descriptors";
}

static const char *error_word(ssize_t at_once, ssize_t part_way)
{
    if (at_once != -1)
        return "?";
    return part_way > 0 ? "-1 or fewer" : "-1";
}

static void sender(const struct function *function)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    ssize_t success = function->send(pair[0], right, NFDS);
    ssize_t at_once = function->send(pair[0], bad, NFDS);
    bad[0] = right[0];
    ssize_t part_way = function->send(pair[0], bad, MANY);
    bad[0] = -1;
    printf("%s|%s|%s|\n", function->name, sent_word(success),
           error_word(at_once, part_way == 1 ? -1 : part_way));
    close_pair(pair);
}

/* One message as the function expects it. */
static void feed(const struct function *function, int socket)
{
    if (function->receive == receive_msg || function->receive == receive_msghdr)
        raw_send(socket, data, LEN, right, NFDS);
    else
        raw_send(socket, data, 1, right, function->receive == receive_one ? 1 : NFDS);
}

/* The result of the function when first a descriptor comes and then the end of file, or a
 * byte without a descriptor. */
static ssize_t after_one(const struct function *function, bool end)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    raw_send(pair[0], data, 1, right, 1);
    if (!end)
        raw_send(pair[0], data, 1, NULL, 0);
    close(pair[0]);
    ssize_t result = function->receive(pair[1]);
    close(pair[1]);
    return function->receive == receive_all ? result : -1;
}

static void receiver(const struct function *function)
{
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    feed(function, pair[0]);
    ssize_t success = function->receive(pair[1]);
    ssize_t at_once = function->receive(-1);
    close(pair[0]);
    ssize_t end = function->receive(pair[1]);
    close(pair[1]);
    const char *end_word = end != RECVFD_EOF                ? "?"
                           : after_one(function, true) == 1 ? "-2 or fewer"
                                                            : "-2";
    printf("%s|%s|%s|%s\n", function->name, received_word(function, success),
           error_word(at_once, after_one(function, false)), end_word);
}

static void control_messages(void)
{
    alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(NFDS)];
    ssize_t written = sendfds_cmsg(right, NFDS, control, sizeof control);
    ssize_t failed = sendfds_cmsg(right, NFDS, control, 1);
    printf("sendfds_cmsg|%s|%s|\n",
           written == (ssize_t)SENDFDS_CMSG_SPACE(NFDS) ? "bytes written" : "?",
           failed == -1 ? "-1" : "?");
    struct msghdr message = {.msg_control = control, .msg_controllen = 0};
    int nfds = NFDS, none = -1;
    int success = recvfds_cmsg(-1, received, &nfds, &message, 0);
    int failure = recvfds_cmsg(-1, received, &none, &message, 0);
    printf("recvfds_cmsg|%s|%s|\n", success == 0 ? "0" : "?", failure == -1 ? "-1" : "?");
}

/* --- the wire -------------------------------------------------------------------- */

struct message {
    ssize_t len;
    unsigned char bytes[64];
    int nfds;
};

/* Takes one message out of the socket, with a recvmsg of our own. */
static struct message take(int socket)
{
    struct message message = {.len = -1};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof received)];
    struct iovec part;
    struct msghdr incoming = header(&part, (char *)message.bytes, sizeof message.bytes);
    incoming.msg_control = control;
    incoming.msg_controllen = sizeof control;
    message.len = recvmsg(socket, &incoming, MSG_DONTWAIT);
    struct cmsghdr *first = message.len < 0 ? NULL : CMSG_FIRSTHDR(&incoming);
    if (first) {
        message.nfds = (int)((first->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(received, CMSG_DATA(first), (size_t)message.nfds * sizeof(int));
        close_fds(received, message.nfds);
    }
    return message;
}

static void wire(const struct function *function)
{
    int pair[2], fewest = -1, most = -1;
    const char *bytes = NULL;
    socket_pair(SOCK_SEQPACKET, pair);
    for (int nfds = 0; nfds <= MANY; nfds++) {
        if (function->send(pair[0], right, nfds) < 0)
            continue;
        struct message first = take(pair[1]), second = take(pair[1]);
        const char *now =
            first.len == LEN && memcmp(first.bytes, data, LEN) == 0 ? "the caller's"
            : first.len != 1                                        ? "?"
            : function->send == send_one && first.bytes[0] == 0     ? "one byte, value 0"
            : first.bytes[0] == first.nfds ? "one byte, value nfds"
                                           : "?";
        bytes = !bytes || bytes == now ? now : "?";
        fewest = fewest < 0 ? first.nfds : fewest;
        most = first.nfds > most ? first.nfds : most;
        if (nfds == MANY && second.len == 1 && second.nfds == 1)
            most = MANY; /* in two messages */
    }
    if (function->send == send_all && strcmp(bytes, "one byte, value nfds") == 0)
        bytes = "as sendfds";
    printf("%s|%s|", function->name, bytes);
    if (most == MANY)
        printf("%d each, the rest last\n", SENDFD_MAX_FDS);
    else if (fewest == most)
        printf("%d\n", most);
    else
        printf("%d to %d\n", fewest, most);
    close_pair(pair);
}

int main(void)
{
    int file = open_file();
    for (int i = 0; i < MANY; i++) {
        right[i] = file;
        bad[i] = i < SENDFD_MAX_FDS && i > 0 ? file : -1;
    }
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (functions[i].send)
            sender(&functions[i]);
        else
            receiver(&functions[i]);
    control_messages();
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (functions[i].send)
            wire(&functions[i]);
    printf("SENDFD_MAX_FDS|%d\n", SENDFD_MAX_FDS);
    printf("RECVFD_EOF|%d\n", RECVFD_EOF);
    printf("RECVFDS_CMSG_SPACE|%d\n",
           (int)(RECVFDS_CMSG_SPACE(1) - SENDFDS_CMSG_SPACE(1)));
    return 0;
}

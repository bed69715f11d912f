#include "scenario.h"
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#define PASSPIDFD 76 /* SO_PASSPIDFD, Linux 6.5, where it is so on every machine here */
#define FILES 8
#define MANY (2 * SENDFD_MAX_FDS + 1) /* three messages */
#define UNTOUCHED (-7)
#define ERROR_BEFORE E2BIG /* errno before each call: nothing here sets it */

const char *const function_names[FUNCTIONS] = {
    "sendfd",       "recvfd",       "sendfds",        "recvfds",        "sendfds_all",
    "recvfds_all",  "sendfds_msg",  "recvfds_msg",    "sendfds_msghdr", "recvfds_msghdr",
    "sendfds_cmsg", "recvfds_cmsg", "sendfd_version",
};

void (*before_call)(const struct step *step, int type);
void (*after_call)(void);

/* Exists during the whole run. */
static int files[FILES], fds[MANY], bad_fds[MANY];
static bool has_internet, has_pidfds;

/* Exists for one call. */
static struct {
    int pair[2], internet;
    int messages[8], nmessages; /* in the queue; descriptors in each */
    int received[MANY], nfds;
    char data[64];
    struct msghdr message; /* of two buffers, both in data, and with control messages */
    struct iovec buffers[2];
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(SENDFD_MAX_FDS)];
    int before; /* open descriptors */
} stage;

/* --- what comes before a call ---------------------------------------------- */

static void queue(int nfds, size_t len)
{
    need(raw_send(stage.pair[0], "abcdefghij", len, fds, nfds) == (ssize_t)len);
    stage.messages[stage.nmessages++] = nfds;
}

static void queue_1(void)
{
    queue(1, 1);
}

static void queue_3(void)
{
    queue(3, 1);
}

static void queue_253(void)
{
    queue(SENDFD_MAX_FDS, 1);
}

static void queue_none(void)
{
    queue(0, 1);
}

static void queue_nothing(void)
{
    queue(0, 0);
}

static void queue_3_and_data(void)
{
    queue(3, 10);
}

static void queue_data(void)
{
    queue(0, 10);
}

static void queue_2_and_2(void)
{
    queue(2, 1);
    queue(2, 1);
}

static void queue_2_2_and_3(void)
{
    queue_2_and_2();
    queue(3, 1);
}

static void queue_2_and_none(void)
{
    queue(2, 1);
    queue(0, 1);
}

static void queue_2_to_nonblocking(void)
{
    queue(2, 1);
    set_nonblocking(stage.pair[1]);
}

static void make_nonblocking(void)
{
    set_nonblocking(stage.pair[0]);
    set_nonblocking(stage.pair[1]);
}

static void limit_the_time(void)
{
    set_timeout(stage.pair[0], SO_SNDTIMEO, 20);
}

static void fill(void)
{
    set_nonblocking(stage.pair[0]);
    need(fill_queue(stage.pair[0]) > 0);
}

static void close_receiver(void)
{
    close(stage.pair[1]);
    stage.pair[1] = -1;
}

static void close_sender(void)
{
    close(stage.pair[0]);
    stage.pair[0] = -1;
}

static void queue_2_and_close_sender(void)
{
    queue(2, 1);
    close_sender();
}

static void queue_3_with_room_for_2(void)
{
    queue_3();
    leave_room_for(2);
}

static void queue_3_and_data_with_room_for_2(void)
{
    queue_3_and_data();
    leave_room_for(2);
}

static void queue_1_with_room_for_none(void)
{
    queue_1();
    leave_room_for(0);
}

static void queue_2_and_2_with_room_for_3(void)
{
    queue_2_and_2();
    leave_room_for(3);
}

/* A message has a pidfd if the option was set when it was sent, too. */
static void ask_for_pidfds(void)
{
    need(set_option(stage.pair[1], PASSPIDFD, 1));
}

static void queue_1_and_pidfd(void)
{
    ask_for_pidfds();
    queue_1();
}

static void queue_none_and_pidfd(void)
{
    ask_for_pidfds();
    queue_none();
}

static void queue_3_and_pidfd(void)
{
    ask_for_pidfds();
    queue_3_and_data();
}

static void queue_2_and_2_and_pidfds(void)
{
    ask_for_pidfds();
    queue_2_and_2();
}

static void queue_2_and_pidfd_and_close_sender(void)
{
    ask_for_pidfds();
    queue_2_and_close_sender();
}

static int open_internet_socket(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&address, length) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
        connect(fd, (struct sockaddr *)&address, length) == 0 && send(fd, "a", 1, 0) == 1)
        return fd; /* with its own byte in its queue */
    close(fd);
    return -1;
}

/* --- the steps --------------------------------------------------------------- */

#define SEND "getsockname sendmsg"
#define AGAIN " sendmsg"
#define WAIT " fcntl getsockopt nanosleep sendmsg"
#define NO_DATA 0, 0
#define TEN_BYTES 10, 0

/* clang-format off */
const struct step steps[] = {
    {SENDFD, "sendfd", NULL, 1, NO_DATA, PAIR, RIGHT, SEND, 1, 0, 0, 0, NOTHING},
    {SENDFD, "sendfd of a closed descriptor", NULL, 1, NO_DATA, PAIR, BAD_FD, SEND, -1, EBADF, 0, 0, NOTHING},
    {SENDFD, "sendfd to no socket", NULL, 1, NO_DATA, CLOSED, RIGHT, "getsockname getsockopt", -1, EBADF, 0, 0, NOTHING},
    {SENDFD, "sendfd to a file", NULL, 1, NO_DATA, FILE_INSTEAD, RIGHT, "getsockname getsockopt", -1, ENOTSOCK, 0, 0, NOTHING},
    {SENDFD, "sendfd to UDP", NULL, 1, NO_DATA, INTERNET, RIGHT, "getsockname getsockopt", -1, EAFNOSUPPORT, 0, 0, NOTHING},
    {SENDFD, "sendfd to a full queue", fill, 1, NO_DATA, PAIR, RIGHT, SEND, -1, EAGAIN, 0, 0, NOTHING},
    {SENDFD, "sendfd to a peer that has closed", close_receiver, 1, NO_DATA, PAIR, RIGHT, SEND, -1, EPIPE, 0, STREAM | SEQPACKET, NOTHING},
    {SENDFD, "sendfd to a peer that is gone", close_receiver, 1, NO_DATA, PAIR, RIGHT, SEND, -1, ECONNREFUSED, 0, DATAGRAM, NOTHING},

    {SENDFDS, "sendfds of 3", NULL, 3, NO_DATA, PAIR, RIGHT, SEND, 3, 0, 0, 0, NOTHING},
    {SENDFDS, "sendfds of 253", NULL, 253, NO_DATA, PAIR, RIGHT, SEND, 253, 0, 0, 0, NOTHING},
    {SENDFDS, "sendfds of 254", NULL, 254, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS, "sendfds of 0", NULL, 0, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS, "sendfds of NULL", NULL, 3, NO_DATA, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {SENDFDS, "sendfds of a closed descriptor", NULL, 3, NO_DATA, PAIR, BAD_FD, SEND, -1, EBADF, 0, 0, NOTHING},
    {SENDFDS, "sendfds to no socket", NULL, 3, NO_DATA, CLOSED, RIGHT, "getsockname getsockopt", -1, EBADF, 0, 0, NOTHING},
    {SENDFDS, "sendfds to UDP", NULL, 3, NO_DATA, INTERNET, RIGHT, "getsockname getsockopt", -1, EAFNOSUPPORT, 0, 0, NOTHING},
    {SENDFDS, "sendfds to a full queue", fill, 3, NO_DATA, PAIR, RIGHT, SEND, -1, EAGAIN, 0, 0, NOTHING},
    {SENDFDS, "sendfds to a peer that has closed", close_receiver, 3, NO_DATA, PAIR, RIGHT, SEND, -1, EPIPE, 0, STREAM | SEQPACKET, NOTHING},
    {SENDFDS, "sendfds to a peer that is gone", close_receiver, 3, NO_DATA, PAIR, RIGHT, SEND, -1, ECONNREFUSED, 0, DATAGRAM, NOTHING},

    {SENDFDS_ALL, "sendfds_all of 3", NULL, 3, NO_DATA, PAIR, RIGHT, SEND, 3, 0, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all of 507", NULL, MANY, NO_DATA, PAIR, RIGHT, SEND AGAIN AGAIN, MANY, 0, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all of 0", NULL, 0, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all of NULL", NULL, 3, NO_DATA, PAIR, NULL_FDS, "", -1, EFAULT, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all of a closed descriptor, the last", NULL, MANY, NO_DATA, PAIR, BAD_FD, SEND AGAIN AGAIN, MANY - 1, EBADF, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all to UDP", NULL, MANY, NO_DATA, INTERNET, RIGHT, "getsockname getsockopt", -1, EAFNOSUPPORT, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all to a full queue", fill, MANY, NO_DATA, PAIR, RIGHT, SEND, -1, EAGAIN, 253, 0, NOTHING},
    {SENDFDS_ALL, "sendfds_all to a peer that has closed", close_receiver, MANY, NO_DATA, PAIR, RIGHT, SEND, -1, EPIPE, 253, STREAM | SEQPACKET, NOTHING},
    {SENDFDS_ALL, "sendfds_all with too many in flight for a while", NULL, MANY, NO_DATA, PAIR, RIGHT, SEND WAIT WAIT AGAIN AGAIN, MANY, 0, 253, 0, TOO_MANY_TWICE},
    {SENDFDS_ALL, "sendfds_all with too many in flight until the send timeout", limit_the_time, 3, NO_DATA, PAIR, RIGHT, SEND WAIT WAIT WAIT WAIT WAIT " fcntl getsockopt", -1, EAGAIN, 253, 0, TOO_MANY_FOREVER},
    {SENDFDS_ALL, "sendfds_all with too many in flight, non-blocking", make_nonblocking, 3, NO_DATA, PAIR, RIGHT, SEND " fcntl", -1, ETOOMANYREFS, 253, 0, TOO_MANY_FOREVER},

    {SENDFDS_MSG, "sendfds_msg of 3 and data", NULL, 3, TEN_BYTES, PAIR, RIGHT, SEND, 10, 0, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg of data", NULL, 0, TEN_BYTES, PAIR, RIGHT, "sendmsg", 10, 0, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg of 253 with all flags", NULL, 253, 10, MSG_DONTWAIT | MSG_EOR | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC, PAIR, RIGHT, SEND, 10, 0, 0, SEQPACKET | DATAGRAM, NOTHING},
    {SENDFDS_MSG, "sendfds_msg of 254", NULL, 254, TEN_BYTES, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg without data on a stream", NULL, 3, NO_DATA, PAIR, RIGHT, "getsockname getsockopt", -1, EINVAL, 0, STREAM, NOTHING},
    {SENDFDS_MSG, "sendfds_msg without data", NULL, 3, NO_DATA, PAIR, RIGHT, "getsockname getsockopt sendmsg", 0, 0, 0, SEQPACKET | DATAGRAM, NOTHING},
    {SENDFDS_MSG, "sendfds_msg with MSG_OOB", NULL, 3, 10, MSG_OOB, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg of NULL", NULL, 3, TEN_BYTES, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg of a closed descriptor", NULL, 3, TEN_BYTES, PAIR, BAD_FD, SEND, -1, EBADF, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg to UDP", NULL, 3, TEN_BYTES, INTERNET, RIGHT, "getsockname getsockopt", -1, EAFNOSUPPORT, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg to a full queue", fill, 3, TEN_BYTES, PAIR, RIGHT, SEND, -1, EAGAIN, 0, 0, NOTHING},
    {SENDFDS_MSG, "sendfds_msg to a peer that has closed", close_receiver, 3, TEN_BYTES, PAIR, RIGHT, SEND, -1, EPIPE, 0, STREAM | SEQPACKET, NOTHING},
    {SENDFDS_MSG, "sendfds_msg to a peer that is gone", close_receiver, 3, TEN_BYTES, PAIR, RIGHT, SEND, -1, ECONNREFUSED, 0, DATAGRAM, NOTHING},

    {RECVFD, "recvfd", queue_1, 1, NO_DATA, PAIR, RIGHT, "recvmsg", 1, 0, 0, 0, NOTHING},
    {RECVFD, "recvfd from no socket", queue_1, 1, NO_DATA, CLOSED, RIGHT, "recvmsg", -1, EBADF, 0, 0, NOTHING},
    {RECVFD, "recvfd from a file", queue_1, 1, NO_DATA, FILE_INSTEAD, RIGHT, "recvmsg", -1, ENOTSOCK, 0, 0, NOTHING},
    {RECVFD, "recvfd from UDP", NULL, 1, NO_DATA, INTERNET, RIGHT, "recvmsg getsockopt", -1, EAFNOSUPPORT, 0, 0, NOTHING},
    {RECVFD, "recvfd from an empty queue", make_nonblocking, 1, NO_DATA, PAIR, RIGHT, "recvmsg", -1, EAGAIN, 0, 0, NOTHING},
    {RECVFD, "recvfd of none", queue_none, 1, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt", -1, ENOMSG, 0, 0, NOTHING},
    {RECVFD, "recvfd of an empty datagram", queue_nothing, 1, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt getsockopt", -1, ENOMSG, 0, DATAGRAM, NOTHING},
    {RECVFD, "recvfd of 3", queue_3, 1, NO_DATA, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFD, "recvfd of 253", queue_253, 1, NO_DATA, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFD, "recvfd with a full table", queue_1_with_room_for_none, 1, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt fcntl", -1, EMFILE, 0, 0, NOTHING},
    {RECVFD, "recvfd of one that was refused", queue_none, 1, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt fcntl close", -1, EACCES, 0, 0, REFUSED},
    {RECVFD, "recvfd of one and a pidfd", queue_1_and_pidfd, 1, NO_DATA, PAIR, RIGHT, "recvmsg close", 1, 0, 0, 0, NOTHING},
    {RECVFD, "recvfd of a pidfd", queue_none_and_pidfd, 1, NO_DATA, PAIR, RIGHT, "recvmsg close getsockopt", -1, ENOMSG, 0, 0, NOTHING},
    {RECVFD, "recvfd of 3 and a pidfd", queue_3_and_pidfd, 1, NO_DATA, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, SEQPACKET | DATAGRAM, NOTHING},
    {RECVFD, "recvfd at the end of file", close_sender, 1, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt getsockopt", RECVFD_EOF, 0, 0, STREAM | SEQPACKET, NOTHING},

    {RECVFDS, "recvfds of 3", queue_3, 5, NO_DATA, PAIR, RIGHT, "recvmsg", 3, 0, 0, 0, NOTHING},
    {RECVFDS, "recvfds of 253", queue_253, 253, NO_DATA, PAIR, RIGHT, "recvmsg", 253, 0, 0, 0, NOTHING},
    {RECVFDS, "recvfds of 0", queue_3, 0, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {RECVFDS, "recvfds to NULL", queue_3, 3, NO_DATA, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {RECVFDS, "recvfds from no socket", queue_3, 3, NO_DATA, CLOSED, RIGHT, "recvmsg", -1, EBADF, 0, 0, NOTHING},
    {RECVFDS, "recvfds from UDP", NULL, 3, NO_DATA, INTERNET, RIGHT, "recvmsg getsockopt", -1, EAFNOSUPPORT, 0, 0, NOTHING},
    {RECVFDS, "recvfds from an empty queue", make_nonblocking, 3, NO_DATA, PAIR, RIGHT, "recvmsg", -1, EAGAIN, 0, 0, NOTHING},
    {RECVFDS, "recvfds of none", queue_none, 3, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt", -1, ENOMSG, 0, 0, NOTHING},
    {RECVFDS, "recvfds of 3 into 2", queue_3, 2, NO_DATA, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFDS, "recvfds with a full table", queue_3_with_room_for_2, 3, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EMFILE, 0, 0, NOTHING},
    {RECVFDS, "recvfds of some that were refused", queue_3, 5, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EACCES, 0, 0, REFUSED},
    {RECVFDS, "recvfds of one and a pidfd", queue_1_and_pidfd, 3, NO_DATA, PAIR, RIGHT, "recvmsg close", 1, 0, 0, 0, NOTHING},
    {RECVFDS, "recvfds at the end of file", close_sender, 3, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt getsockopt", RECVFD_EOF, 0, 0, STREAM | SEQPACKET, NOTHING},

    {RECVFDS_ALL, "recvfds_all of 2 messages", queue_2_and_2, 4, NO_DATA, PAIR, RIGHT, "recvmsg recvmsg", 4, 0, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of 2 messages and pidfds", queue_2_and_2_and_pidfds, 4, NO_DATA, PAIR, RIGHT, "recvmsg close recvmsg close", 4, 0, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of 0", queue_3, 0, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all to NULL", queue_3, 3, NO_DATA, PAIR, NULL_FDS, "", -1, EFAULT, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all from UDP", NULL, 3, NO_DATA, INTERNET, RIGHT, "recvmsg getsockopt", -1, EAFNOSUPPORT, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some, then an empty queue", queue_2_to_nonblocking, 4, NO_DATA, PAIR, RIGHT, "recvmsg recvmsg", 2, EAGAIN, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some, then too many", queue_2_2_and_3, 5, NO_DATA, PAIR, RIGHT, "recvmsg recvmsg recvmsg close+", 4, EMSGSIZE, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some, then none", queue_2_and_none, 4, NO_DATA, PAIR, RIGHT, "recvmsg recvmsg getsockopt", 2, ENOMSG, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some, then a full table", queue_2_and_2_with_room_for_3, 4, NO_DATA, PAIR, RIGHT, "recvmsg recvmsg getsockopt fcntl close", 2, EMFILE, 2, 0, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some, then the end of file", queue_2_and_close_sender, 4, NO_DATA, PAIR, RIGHT, "recvmsg recvmsg getsockopt getsockopt", 2, KEPT, 2, STREAM | SEQPACKET, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some and a pidfd, then the end of file", queue_2_and_pidfd_and_close_sender, 4, NO_DATA, PAIR, RIGHT, "recvmsg close recvmsg getsockopt getsockopt", 2, KEPT, 2, STREAM | SEQPACKET, NOTHING},
    {RECVFDS_ALL, "recvfds_all of some that were refused", queue_2_and_2, 4, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EACCES, 2, 0, REFUSED},
    {RECVFDS_ALL, "recvfds_all at the end of file", close_sender, 3, NO_DATA, PAIR, RIGHT, "recvmsg getsockopt getsockopt", RECVFD_EOF, 0, 2, STREAM | SEQPACKET, NOTHING},

    {RECVFDS_MSG, "recvfds_msg of 3 and data", queue_3_and_data, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of data", queue_data, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg with MSG_PEEK", queue_3_and_data, 5, 10, MSG_PEEK | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg with MSG_OOB", queue_3_and_data, 5, 10, MSG_OOB, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of 0 bytes", queue_3_and_data, 5, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg to NULL", queue_3_and_data, 3, TEN_BYTES, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg from a file", queue_3_and_data, 3, TEN_BYTES, FILE_INSTEAD, RIGHT, "recvmsg", -1, ENOTSOCK, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg from an empty queue", NULL, 3, 10, MSG_DONTWAIT, PAIR, RIGHT, "recvmsg", -1, EAGAIN, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of 3 into 2", queue_3_and_data, 2, TEN_BYTES, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of 3 into 2 with MSG_PEEK", queue_3_and_data, 2, 10, MSG_PEEK, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of more bytes than there is room for", queue_3_and_data, 5, 9, 0, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, SEQPACKET | DATAGRAM, NOTHING},
    {RECVFDS_MSG, "recvfds_msg with a full table", queue_3_and_data_with_room_for_2, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EMFILE, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of some that were refused", queue_3_and_data, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EACCES, 0, 0, REFUSED},
    {RECVFDS_MSG, "recvfds_msg of 3 and a pidfd", queue_3_and_pidfd, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg close", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSG, "recvfds_msg of an empty datagram", queue_nothing, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt", 0, 0, 0, DATAGRAM, NOTHING},
    {RECVFDS_MSG, "recvfds_msg at the end of file", close_sender, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt", RECVFD_EOF, 0, 0, STREAM | SEQPACKET, NOTHING},

    {SENDFDS_MSGHDR, "sendfds_msghdr of 3 and data", NULL, 3, TEN_BYTES, PAIR, RIGHT, SEND, 10, 0, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr of data", NULL, 0, TEN_BYTES, PAIR, RIGHT, "sendmsg", 10, 0, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr of 254", NULL, 254, TEN_BYTES, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr with MSG_OOB", NULL, 3, 10, MSG_OOB, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr of NULL", NULL, 3, TEN_BYTES, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr of a closed descriptor", NULL, 3, TEN_BYTES, PAIR, BAD_FD, SEND, -1, EBADF, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr to UDP", NULL, 3, TEN_BYTES, INTERNET, RIGHT, "getsockname getsockopt", -1, EAFNOSUPPORT, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr to a full queue", fill, 3, TEN_BYTES, PAIR, RIGHT, SEND, -1, EAGAIN, 0, 0, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr without data on a stream", NULL, 3, NO_DATA, PAIR, RIGHT, "getsockname getsockopt", -1, EINVAL, 0, STREAM, NOTHING},
    {SENDFDS_MSGHDR, "sendfds_msghdr without data", NULL, 3, NO_DATA, PAIR, RIGHT, "getsockname getsockopt sendmsg", 0, 0, 0, SEQPACKET | DATAGRAM, NOTHING},

    {RECVFDS_MSGHDR, "recvfds_msghdr of 3 and data", queue_3_and_data, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of data", queue_data, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr with MSG_OOB", queue_3_and_data, 5, 10, MSG_OOB, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of 0 bytes", queue_3_and_data, 5, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr to NULL", queue_3_and_data, 3, TEN_BYTES, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr from an empty queue", NULL, 3, 10, MSG_DONTWAIT, PAIR, RIGHT, "recvmsg", -1, EAGAIN, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of 3 into 2", queue_3_and_data, 2, TEN_BYTES, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of 3 into 2, partial", queue_3_and_data, 2, 10, RECVFD_PARTIAL, PAIR, RIGHT, "recvmsg close", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr with a full table", queue_3_and_data_with_room_for_2, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EMFILE, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr with a full table, partial", queue_3_and_data_with_room_for_2, 5, 10, RECVFD_PARTIAL, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of some that were refused", queue_3_and_data, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt fcntl close+", -1, EACCES, 0, 0, REFUSED},
    {RECVFDS_MSGHDR, "recvfds_msghdr of some that were refused, partial", queue_3_and_data, 5, 10, RECVFD_PARTIAL, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, REFUSED},
    {RECVFDS_MSGHDR, "recvfds_msghdr of 3 and a pidfd", queue_3_and_pidfd, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg", 10, 0, 0, 0, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of 3 and a pidfd into 2", queue_3_and_pidfd, 2, TEN_BYTES, PAIR, RIGHT, "recvmsg close+", -1, EMSGSIZE, 0, SEQPACKET | DATAGRAM, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr of an empty datagram", queue_nothing, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt", 0, 0, 0, DATAGRAM, NOTHING},
    {RECVFDS_MSGHDR, "recvfds_msghdr at the end of file", close_sender, 5, TEN_BYTES, PAIR, RIGHT, "recvmsg getsockopt", RECVFD_EOF, 0, 0, STREAM | SEQPACKET, NOTHING},

    {SENDFDS_CMSG, "sendfds_cmsg of 3", NULL, 3, NO_DATA, PAIR, RIGHT, "", SENDFDS_CMSG_SPACE(3), 0, 0, 0, NOTHING},
    {SENDFDS_CMSG, "sendfds_cmsg of 254", NULL, 254, NO_DATA, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {SENDFDS_CMSG, "sendfds_cmsg of NULL", NULL, 3, NO_DATA, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},

    {RECVFDS_CMSG, "recvfds_cmsg of 3", queue_3_and_data, 5, TEN_BYTES, PAIR, RIGHT, "", 0, 0, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg of none", queue_data, 5, TEN_BYTES, PAIR, RIGHT, "", 0, 0, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg with MSG_DONTWAIT", queue_3_and_data, 5, 10, MSG_DONTWAIT, PAIR, RIGHT, "", -1, EINVAL, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg to NULL", queue_3_and_data, 5, TEN_BYTES, PAIR, NULL_FDS, "", -1, EFAULT, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg of 3 into 2", queue_3_and_data, 2, TEN_BYTES, PAIR, RIGHT, "close+", -1, EMSGSIZE, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg of 3 into 2, partial", queue_3_and_data, 2, 10, RECVFD_PARTIAL, PAIR, RIGHT, "close", 0, 0, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg with a full table", queue_3_and_data_with_room_for_2, 5, TEN_BYTES, PAIR, RIGHT, "getsockopt fcntl close+", -1, EMFILE, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg with a full table, partial", queue_3_and_data_with_room_for_2, 5, 10, RECVFD_PARTIAL, PAIR, RIGHT, "", 0, 0, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg of some that were refused", queue_3_and_data, 5, TEN_BYTES, PAIR, RIGHT, "getsockopt fcntl close+", -1, EACCES, 0, 0, REFUSED},
    {RECVFDS_CMSG, "recvfds_cmsg of 3 and a pidfd", queue_3_and_pidfd, 5, TEN_BYTES, PAIR, RIGHT, "", 0, 0, 0, 0, NOTHING},
    {RECVFDS_CMSG, "recvfds_cmsg of 3 and a pidfd into 2", queue_3_and_pidfd, 2, TEN_BYTES, PAIR, RIGHT, "close+", -1, EMSGSIZE, 0, SEQPACKET | DATAGRAM, NOTHING},

    {VERSION_OF_LIBRARY, "sendfd_version", NULL, 0, NO_DATA, PAIR, RIGHT, "", 0, 0, 0, 0, NOTHING},
};
/* clang-format on */
const size_t nsteps = sizeof steps / sizeof *steps;

static bool is_a_send(const struct step *step)
{
    return step->function == SENDFD || step->function == SENDFDS ||
           step->function == SENDFDS_ALL || step->function == SENDFDS_MSG ||
           step->function == SENDFDS_MSGHDR;
}

static bool wants_pidfds(const struct step *step)
{
    return strstr(step->name, "pidfd") != NULL;
}

bool sends_without_waiting(const struct step *step)
{
    return step->prepare == make_nonblocking || step->prepare == fill;
}

void open_scenario(void)
{
    int pair[2], internet = open_internet_socket();
    open_files(files, FILES);
    for (int i = 0; i < MANY; i++)
        fds[i] = bad_fds[i] = files[i % FILES];
    socket_pair(SOCK_STREAM, pair);
    has_internet = internet >= 0;
    has_pidfds = set_option(pair[1], PASSPIDFD, 1);
    if (has_internet)
        close(internet);
    close_pair(pair);
}

void close_scenario(void)
{
    close_fds(files, FILES);
}

bool is_made(const struct step *step, int type)
{
    return (step->types == 0 || step->types & 1U << type) &&
           (step->socket != INTERNET || has_internet) &&
           (!wants_pidfds(step) || has_pidfds);
}

/* The message of the functions that take one; recvfds_cmsg takes one that came. */
static void set_message(const struct step *step)
{
    size_t first = step->len / 3, room = step->nfds > 0 ? (size_t)step->nfds : 0;
    stage.buffers[0] = (struct iovec){stage.data, first};
    stage.buffers[1] = (struct iovec){stage.data + first, step->len - first};
    stage.message = (struct msghdr){.msg_iov = stage.buffers, .msg_iovlen = 2};
    if (step->function == SENDFDS_MSGHDR)
        memcpy(stage.data, "abcdefghij", step->len);
    if (step->function == RECVFDS_MSGHDR || step->function == RECVFDS_CMSG) {
        stage.message.msg_control = stage.control;
        stage.message.msg_controllen = RECVFDS_CMSG_SPACE(room);
    }
    if (step->function != RECVFDS_CMSG)
        return;
    need(recvmsg(stage.pair[1], &stage.message, MSG_CMSG_CLOEXEC) == (ssize_t)step->len);
    stage.messages[0] = 0;
    if (step->simulated == REFUSED)
        stage.message.msg_flags |= MSG_CTRUNC;
}

/* Pidfds are the caller's, and all that a wrong call has not touched. */
static void close_control(const struct step *step, ssize_t returned, int error)
{
    bool untouched = error == EINVAL || error == EFAULT;
    if ((step->function != RECVFDS_MSGHDR || returned < 0) &&
        (step->function != RECVFDS_CMSG || (returned < 0 && !untouched)))
        return;
    struct cmsghdr *header = CMSG_FIRSTHDR(&stage.message);
    for (; header; header = CMSG_NXTHDR(&stage.message, header))
        close_fds((int *)(void *)CMSG_DATA(header),
                  (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int)));
}

void set_stage(const struct step *step, int type)
{
    stage.before = count_fds();
    stage.nmessages = 0;
    stage.internet = step->socket == INTERNET ? open_internet_socket() : -1;
    need(step->socket != INTERNET || stage.internet >= 0);
    for (int i = 0; i < MANY; i++)
        stage.received[i] = UNTOUCHED;
    if (step->fds == BAD_FD)
        bad_fds[step->nfds - 1] = -1;
    socket_pair(socket_types[type].type, stage.pair);
    if (step->prepare)
        step->prepare();
    stage.nfds = step->nfds;
    set_message(step);
    errno = ERROR_BEFORE;
}

static int socket_of(const struct step *step)
{
    switch (step->socket) {
    case CLOSED:
        return -1;
    case FILE_INSTEAD:
        return files[0];
    case INTERNET:
        return stage.internet;
    default:
        return stage.pair[is_a_send(step) ? 0 : 1];
    }
}

ssize_t make_call(const struct step *step)
{
    int socket = socket_of(step), nfds = step->nfds;
    const int *sent = step->fds == NULL_FDS ? NULL : step->fds == BAD_FD ? bad_fds : fds;
    int *received = step->fds == NULL_FDS ? NULL : stage.received;
    switch (step->function) {
    case SENDFD:
        return sendfd(socket, sent[0]);
    case RECVFD:
        return recvfd(socket);
    case SENDFDS:
        return sendfds(socket, sent, nfds);
    case RECVFDS:
        return recvfds(socket, received, nfds);
    case SENDFDS_ALL:
        return sendfds_all(socket, sent, nfds);
    case RECVFDS_ALL:
        return recvfds_all(socket, received, nfds);
    case SENDFDS_MSG:
        return sendfds_msg(socket, sent, nfds, "abcdefghij", step->len, step->flags);
    case RECVFDS_MSG:
        return recvfds_msg(socket, received, &stage.nfds, stage.data, step->len,
                           step->flags);
    case SENDFDS_MSGHDR:
        return sendfds_msghdr(socket, sent, nfds, &stage.message, step->flags);
    case RECVFDS_MSGHDR:
        return recvfds_msghdr(socket, received, &stage.nfds, &stage.message, step->flags);
    case SENDFDS_CMSG:
        return sendfds_cmsg(sent, nfds, stage.control, sizeof stage.control);
    case RECVFDS_CMSG:
        return recvfds_cmsg(socket, received, &stage.nfds, &stage.message, step->flags);
    default:
        return strcmp(sendfd_version(), SENDFD_VERSION);
    }
}

/* How many descriptors the caller has got. */
static int given(const struct step *step, ssize_t returned)
{
    switch (step->function) {
    case RECVFD:
        if (returned >= 0)
            stage.received[0] = (int)returned;
        return returned >= 0;
    case RECVFDS:
    case RECVFDS_ALL:
        return returned > 0 ? (int)returned : 0;
    case RECVFDS_MSGHDR:
    case RECVFDS_CMSG:
    case RECVFDS_MSG: /* a call that fails leaves *nfds as it was */
        return returned >= 0 ? stage.nfds : step->nfds - stage.nfds;
    default:
        return 0;
    }
}

static bool are_right(const struct step *step, int ngiven)
{
    for (int i = 0; i < MANY; i++) {
        int fd = stage.received[i];
        if (i >= ngiven && fd != UNTOUCHED)
            return false;
        if (i < ngiven &&
            (fd < 0 || !same_file(fd, fds[step->each ? i % step->each : i]) ||
             !is_close_on_exec(fd)))
            return false;
    }
    return true;
}

/* Takes all that is left; on a stream byte by byte. */
static int take_the_rest(int type)
{
    struct raw_message message;
    int taken = 0;
    for (;;) {
        ssize_t bytes = raw_receive(stage.pair[1], 1, MSG_DONTWAIT, &message);
        if (bytes < 0 ||
            (bytes + message.nfds == 0 && socket_types[type].type != SOCK_DGRAM))
            return taken;
        close_fds(message.fds, message.nfds);
        taken += message.nfds;
    }
}

static bool is_usable(void)
{
    if (stage.pair[0] < 0)
        return recvfd(stage.pair[1]) == RECVFD_EOF;
    if (stage.pair[1] < 0)
        return sendfd(stage.pair[0], files[0]) == -1 &&
               (errno == EPIPE || errno == ECONNREFUSED || errno == ENOTCONN);
    if (sendfd(stage.pair[0], files[0]) != 1)
        return false;
    int received = recvfd(stage.pair[1]);
    bool same = received >= 0 && same_file(received, files[0]);
    if (received >= 0)
        close(received);
    return same;
}

struct result examine(const struct step *step, int type, ssize_t returned, int error)
{
    restore_limit();
    struct result result = {.returned = returned, .error = error};
    result.given = given(step, returned);
    result.right = are_right(step, result.given);
    if (step->function == RECVFD && returned >= 0)
        result.returned = 1; /* which one it is does not matter */
    for (int i = 0; i < result.given; i++)
        if (stage.received[i] >= 0)
            close(stage.received[i]);
    close_control(step, returned, error);
    if (wants_pidfds(step)) /* which raw_receive does not close */
        set_option(stage.pair[1], PASSPIDFD, 0);
    result.queued = stage.pair[1] < 0 ? -1 : take_the_rest(type);
    result.usable = is_usable();
    close_pair(stage.pair);
    if (stage.internet >= 0)
        close(stage.internet);
    if (step->fds == BAD_FD)
        bad_fds[step->nfds - 1] = files[(step->nfds - 1) % FILES];
    result.leaked = count_fds() - stage.before;
    if (result.error == ERROR_BEFORE)
        result.error = KEPT;
    return result;
}

struct result play(const struct step *step, int type)
{
    set_stage(step, type);
    if (before_call)
        before_call(step, type);
    errno = ERROR_BEFORE;
    ssize_t returned = make_call(step);
    int error = errno;
    if (after_call)
        after_call();
    return examine(step, type, returned, error);
}

static int sent(const struct step *step, ssize_t returned)
{
    if (!is_a_send(step) || returned < 0)
        return 0;
    return step->function == SENDFDS_MSG || step->function == SENDFDS_MSGHDR
               ? step->nfds
               : (int)returned;
}

int expected_queue(const struct step *step, int taken, ssize_t returned)
{
    int nfds = sent(step, returned);
    if (step->prepare == close_receiver)
        return -1;
    if (step->flags & MSG_PEEK || step->socket != PAIR)
        taken = 0;
    for (int i = taken; i < stage.nmessages; i++)
        nfds += stage.messages[i];
    return nfds;
}

bool is_as_listed(const struct step *step, int type, const struct result *result)
{
    bool fails = step->returns == -1 || step->error != 0;
    bool as_listed = result->returned == step->returns &&
                     (!fails || result->error == step->error) && result->right &&
                     result->leaked == 0 && result->usable;
    if (!as_listed)
        tap_note("%s: %s: returned %zd, errno %s, %d given, %s, %d leaked, %s",
                 socket_types[type].name, step->name, result->returned,
                 result->error == KEPT ? "kept" : strerror(result->error), result->given,
                 result->right ? "right" : "wrong", result->leaked,
                 result->usable ? "usable" : "unusable");
    return as_listed;
}

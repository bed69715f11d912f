/* sendfds_msg and recvfds_msg pass bytes of the caller with 0 to 253 descriptors: the
 * bytes on the wire are exactly the caller's, and *nfds is exactly the number of
 * descriptors that came. It keeps its value if the call does not succeed. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)64 * 1024)

static int files[SENDFD_MAX_FDS];
static unsigned char sent_data[MOST_BYTES], received_data[MOST_BYTES + 1];

/* Reads the rest of a message on a stream, which comes without descriptors. */
static bool read_rest(int socket, size_t from, size_t len)
{
    while (from < len) {
        int nfds = 0;
        ssize_t bytes =
            recvfds_msg(socket, NULL, &nfds, received_data + from, len - from, 0);
        if (bytes <= 0 || nfds != 0)
            return false;
        from += (size_t)bytes;
    }
    return from == len;
}

static bool all_close_on_exec(const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        if (!is_close_on_exec(fds[i]))
            return false;
    return true;
}

/* nfds descriptors with len bytes, received where there is room for more of both. */
static void round_trip(const struct socket_type *type, int nfds, size_t len, int room)
{
    static int fds[SENDFD_MAX_FDS + 4];
    int pair[2], count = room, places = SENDFD_MAX_FDS + 4;
    socket_pair(type->type, pair);
    for (int i = 0; i < places; i++)
        fds[i] = -7;
    memset(received_data, 0xee, sizeof received_data);
    errno = 0;

    is(sendfds_msg(pair[0], files, nfds, sent_data, len, 0), (long)len,
       "%s: %d descriptors and %zu bytes are sent", type->name, nfds, len);
    ssize_t bytes = recvfds_msg(pair[1], fds, &count, received_data, len + 1, 0);
    if (type->type == SOCK_STREAM)
        ok(bytes > 0 && read_rest(pair[1], (size_t)bytes, len),
           "%s: so many bytes come, the first of them with the descriptors", type->name);
    else
        is(bytes, (long)len, "%s: so many bytes come", type->name);
    is(count, nfds, "%s: *nfds, which was %d, is the number of descriptors", type->name,
       room);
    ok(memcmp(sent_data, received_data, len) == 0, "%s: the bytes are right", type->name);
    is(received_data[len], 0xee, "%s: no byte beyond them is written", type->name);
    ok(same_files(files, fds, nfds), "%s: the files are right, and in order", type->name);
    ok(all_close_on_exec(fds, nfds), "%s: they are close-on-exec", type->name);
    bool untouched = true;
    for (int i = nfds; i < places; i++)
        untouched = untouched && fds[i] == -7;
    ok(untouched, "%s: no place beyond them is written", type->name);
    ok(errno == 0, "%s: errno is as it was", type->name);
    ok(is_empty(pair[1]), "%s: nothing is left in the queue", type->name);

    close_fds(fds, nfds);
    close_pair(pair);
}

static void round_trips(const struct socket_type *type)
{
    static const int counts[] = {0, 1, 2, SENDFD_MAX_FDS};
    static const size_t sizes[] = {1, 2, 1000, MOST_BYTES};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            round_trip(type, counts[i], sizes[j], counts[i]);
    round_trip(type, 0, 10, 1);
    round_trip(type, 2, 10, 3);
    round_trip(type, 2, 10, INT_MAX);
    round_trip(type, SENDFD_MAX_FDS, 10, SENDFD_MAX_FDS + 1);
    round_trip(type, SENDFD_MAX_FDS, 10, INT_MAX);
}

/* Bytes alone need no array, on either side. */
static void no_array(const struct socket_type *type)
{
    int pair[2], nfds = 0;
    char data[8];
    socket_pair(type->type, pair);
    is(sendfds_msg(pair[0], NULL, 0, "bytes", 5, 0), 5, "%s: bytes are sent from NULL",
       type->name);
    is(recvfds_msg(pair[1], NULL, &nfds, data, sizeof data, 0), 5,
       "%s: and received to NULL", type->name);
    ok(memcmp(data, "bytes", 5) == 0 && nfds == 0, "%s: those bytes", type->name);
    close_pair(pair);
}

/* A peer without the library sends and receives. */
static void raw_peer(const struct socket_type *type, int nfds, size_t len)
{
    struct raw_message message;
    static int fds[SENDFD_MAX_FDS];
    int pair[2], room = SENDFD_MAX_FDS;
    socket_pair(type->type, pair);

    need(sendfds_msg(pair[0], files, nfds, sent_data, len, 0) == (ssize_t)len);
    is(raw_receive(pair[1], sizeof message.data, 0, &message), (long)len,
       "%s: %zu bytes with %d descriptors on the wire", type->name, len, nfds);
    ok(memcmp(message.data, sent_data, len) == 0, "%s: the caller's", type->name);
    is(message.control_messages, nfds > 0, "%s: control messages", type->name);
    is(message.nfds, nfds, "%s: descriptors", type->name);
    if (nfds > 0)
        is((long)message.cmsg_len, (long)CMSG_LEN(sizeof(int) * (size_t)nfds),
           "%s: cmsg_len is that of the descriptors", type->name);
    ok(same_files(files, message.fds, message.nfds), "%s: the right ones", type->name);
    ok(is_empty(pair[1]), "%s: and no other message", type->name);
    close_fds(message.fds, message.nfds);

    need(raw_send(pair[1], sent_data, len, files, nfds) == (ssize_t)len);
    is(recvfds_msg(pair[0], fds, &room, received_data, MOST_BYTES, 0), (long)len,
       "%s: the raw peer's %zu bytes are received", type->name, len);
    is(room, nfds, "%s: and its %d descriptors", type->name, nfds);
    ok(memcmp(received_data, sent_data, len) == 0 && same_files(files, fds, nfds),
       "%s: the right ones", type->name);
    close_fds(fds, nfds);
    close_pair(pair);
}

/* Nothing at all: no message on a stream; one on the others, which SOCK_SEQPACKET
 * cannot distinguish from the end of file. */
static void empty_message(const struct socket_type *type)
{
    int pair[2], fds[1], nfds = 1;
    char data[8];
    socket_pair(type->type, pair);
    is(sendfds_msg(pair[0], NULL, 0, NULL, 0, 0), 0, "%s: an empty message is sent",
       type->name);
    if (type->type == SOCK_STREAM) {
        ok(is_empty(pair[1]), "%s: which sends nothing", type->name);
    } else {
        ok(!is_empty(pair[1]), "%s: it is in the queue", type->name);
        is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0),
           type->type == SOCK_DGRAM ? 0 : RECVFD_EOF, "%s: what its receiver gets",
           type->name);
        is(nfds, type->type == SOCK_DGRAM ? 0 : 1, "%s: and what *nfds is", type->name);
        ok(is_empty(pair[1]), "%s: it is consumed", type->name);
    }
    ok(passes_a_file(pair), "%s: the next message comes", type->name);
    close_pair(pair);
}

/* Descriptors without data, as systemd's journal wants them, are a message and no end
 * of file; but a stream would drop them, and report success. */
static void descriptors_alone(const struct socket_type *type, int nfds)
{
    static int fds[SENDFD_MAX_FDS];
    int pair[2];
    char data[8];
    socket_pair(type->type, pair);
    for (int i = 0; i < 2; i++) {
        const char *from = i ? NULL : data;
        if (type->type == SOCK_STREAM) {
            fails(sendfds_msg(pair[0], files, nfds, from, 0, 0), EINVAL,
                  "%s: %d descriptors without data", type->name, nfds);
            continue;
        }
        int count = SENDFD_MAX_FDS;
        is(sendfds_msg(pair[0], files, nfds, from, 0, 0), 0,
           "%s: %d descriptors without data", type->name, nfds);
        is(recvfds_msg(pair[1], fds, &count, data, sizeof data, 0), 0,
           "%s: are received without data", type->name);
        is(count, nfds, "%s: all of them", type->name);
        ok(same_files(files, fds, nfds), "%s: the right ones", type->name);
        close_fds(fds, nfds);
    }
    ok(is_empty(pair[1]), "%s: nothing is left in the queue", type->name);
    close_pair(pair);
}

static void end_of_file(const struct socket_type *type)
{
    int pair[2], fds[2], nfds = 2;
    char data[8];
    socket_pair(type->type, pair);
    need(sendfds_msg(pair[0], files, 2, "last", 4, 0) == 4);
    close(pair[0]);
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), 4,
       "%s: the last message comes after its sender has closed", type->name);
    is(nfds, 2, "%s: with its descriptors", type->name);
    close_fds(fds, 2);
    for (int i = 0; i < 2; i++) {
        if (type->type == SOCK_DGRAM)
            fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, MSG_DONTWAIT),
                  EAGAIN, "%s: then nothing, but no end of file", type->name);
        else
            is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), RECVFD_EOF,
               "%s: then the end of file", type->name);
        is(nfds, 2, "%s: and *nfds is as it was", type->name);
    }
    close(pair[1]);
}

/* A receive that fails, and what the message is that waits for it. */
struct failure {
    const char *name;
    int sends;                  /* descriptors, with ten bytes; -1: nothing is sent */
    int nfds, no_array, socket; /* *nfds; whether fds is NULL; 0: the right socket */
    size_t len;
    int flags, error;
};

static const struct failure failures[] = {
    {"nothing has come", -1, 5, 0, 0, 10, MSG_DONTWAIT, EAGAIN},
    {"too many descriptors", 3, 2, 0, 0, 10, 0, EMSGSIZE},
    {"too many descriptors for none", 3, 0, 1, 0, 10, 0, EMSGSIZE},
    {"len is 0", 3, 5, 0, 0, 0, 0, EINVAL},
    {"len is above SSIZE_MAX", 3, 5, 0, 0, SIZE_MAX, 0, EINVAL},
    {"another flag", 3, 5, 0, 0, 10, MSG_WAITALL, EINVAL},
    {"*nfds is -1", 3, -1, 0, 0, 10, 0, EINVAL},
    {"*nfds is INT_MIN", 3, INT_MIN, 0, 0, 10, 0, EINVAL},
    {"fds is NULL", 3, 5, 1, 0, 10, 0, EFAULT},
    {"socket -1", 3, 5, 0, -1, 10, 0, EBADF},
};

static void kept_after_failures(const struct socket_type *type)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        const struct failure *failure = &failures[i];
        int pair[2], fds[5], nfds = failure->nfds, unused;
        char data[10];
        socket_pair(type->type, pair);
        if (failure->sends >= 0)
            need(raw_send(pair[0], "0123456789", 10, files, failure->sends) == 10);
        fails(recvfds_msg(failure->socket ? failure->socket : pair[1],
                          failure->no_array ? NULL : fds, &nfds, data, failure->len,
                          failure->flags),
              failure->error, "%s: %s", type->name, failure->name);
        is(nfds, failure->nfds, "%s: *nfds is as it was", type->name);
        drain_queue(pair[1], &unused);
        close_pair(pair);
    }
}

static void kept_after_other_failures(const struct socket_type *type)
{
    int pair[2], fds[5], nfds = 5;
    char data[10];
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "0123456789", 10, files, 3) == 10);
    char *volatile no_data = NULL;
    fails(recvfds_msg(pair[1], fds, &nfds, no_data, 10, 0), EFAULT, "%s: data is NULL",
          type->name);
    is(nfds, 5, "%s: *nfds is as it was", type->name);
    leave_room_for(2);
    fails(recvfds_msg(pair[1], fds, &nfds, data, 10, 0), EMFILE, "%s: a full table",
          type->name);
    restore_limit();
    is(nfds, 5, "%s: *nfds is as it was", type->name);
    if (type->type != SOCK_STREAM) {
        need(raw_send(pair[0], "0123456789", 10, files, 3) == 10);
        fails(recvfds_msg(pair[1], fds, &nfds, data, 9, 0), EMSGSIZE,
              "%s: a message longer than the buffer", type->name);
        is(nfds, 5, "%s: *nfds is as it was", type->name);
    }
    close_pair(pair);
}

/* A loop that calls again with what it has, as around read(2), loses nothing. */
static void plain_loop(const struct socket_type *type)
{
    int pair[2], fd = -7, nfds = 1, turns = 0;
    char byte;
    ssize_t bytes;
    socket_pair(type->type, pair);
    while ((bytes = recvfds_msg(pair[1], &fd, &nfds, &byte, 1, MSG_DONTWAIT)) < 0 &&
           errno == EAGAIN && turns++ < 2)
        if (turns == 2)
            need(raw_send(pair[0], "a", 1, files, 1) == 1);
    is(bytes, 1, "%s: a loop on EAGAIN, which does not set *nfds again", type->name);
    ok(nfds == 1 && same_file(fd, files[0]), "%s: receives the descriptor", type->name);
    if (bytes == 1)
        close_fds(&fd, nfds);
    close_pair(pair);
}

/* The three receives that take *nfds, of one byte. */
static ssize_t by_msg(int socket, int *fds, int *nfds)
{
    char byte;
    return recvfds_msg(socket, fds, nfds, &byte, 1, 0);
}

static ssize_t by_msghdr(int socket, int *fds, int *nfds)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    return recvfds_msghdr(socket, fds, nfds, &message, 0);
}

static ssize_t by_cmsg(int socket, int *fds, int *nfds)
{
    char byte;
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(4)];
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    need(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1);
    return recvfds_cmsg(socket, fds, nfds, &message, 0) < 0 ? -1 : 1;
}

/* The manual forbids it, but nothing is lost: where *nfds is the place of a descriptor
 * that came, the descriptor is there. */
static void count_inside_the_array(const struct socket_type *type, int place,
                                   ssize_t (*receive)(int, int *, int *))
{
    int pair[2], fds[4] = {-7, -7, -7, -7};
    socket_pair(type->type, pair);
    int before = count_fds();
    fds[place] = 4;
    need(raw_send(pair[0], "a", 1, files, 3) == 1);
    is(receive(pair[1], fds, fds + place), 1, "%s: *nfds is place %d of the array",
       type->name, place);
    /* The count could be the number of one that was sent. */
    if (ok(same_files(fds, files, 3) && fds[place % 3] != files[place % 3],
           "%s: all descriptors are in it", type->name))
        close_fds(fds, 3);
    is(fds[3], place == 3 ? 3 : -7, "%s: the place behind them", type->name);
    is(count_fds(), before, "%s: none is lost", type->name);

    fds[place] = 2;
    need(raw_send(pair[0], "a", 1, files, 3) == 1);
    fails(receive(pair[1], fds, fds + place), EMSGSIZE, "%s: with room for 2",
          type->name);
    is(fds[place], 2, "%s: *nfds is as it was", type->name);
    is(count_fds(), before, "%s: all are closed", type->name);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    open_files(files, SENDFD_MAX_FDS);
    for (size_t i = 0; i < MOST_BYTES; i++)
        sent_data[i] = (unsigned char)(i * 7 + i / 256);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        round_trips(type);
        no_array(type);
        raw_peer(type, 0, 1);
        raw_peer(type, 0, 4000);
        raw_peer(type, 1, 1);
        raw_peer(type, 2, 13);
        raw_peer(type, SENDFD_MAX_FDS, 4000);
        empty_message(type);
        descriptors_alone(type, 1);
        descriptors_alone(type, SENDFD_MAX_FDS);
        end_of_file(type);
        kept_after_failures(type);
        kept_after_other_failures(type);
        plain_loop(type);
        for (int place = 0; place < 4; place++) {
            count_inside_the_array(type, place, by_msg);
            count_inside_the_array(type, place, by_msghdr);
            count_inside_the_array(type, place, by_cmsg);
        }
    }
    close_fds(files, SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

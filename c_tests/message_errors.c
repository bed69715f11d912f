/* Every errno that sendfds_msg and recvfds_msg add to the kernel's: wrong arguments are
 * reported before anything is done. A message that does not fit is reported and consumed,
 * and its descriptors are closed; the next message arrives as usual. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* A page that cannot be touched, behind one that can. */
static struct {
    char *start, *forbidden;
    size_t size;
} pages;

static int files[SENDFD_MAX_FDS];

static void map_pages(void)
{
    pages.size = (size_t)sysconf(_SC_PAGESIZE);
    pages.start = mmap(NULL, 2 * pages.size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(pages.start != MAP_FAILED);
    pages.forbidden = pages.start + pages.size;
    need(mprotect(pages.forbidden, pages.size, PROT_NONE) == 0);
}

/* --- wrong arguments ------------------------------------------------------- */

static const int bad_counts_to_send[] = {-1,  -2,  -253,      INT_MIN + 1, INT_MIN,
                                         254, 255, 65536 + 1, INT_MAX};
static const int bad_rooms[] = {-1, -2, -253, INT_MIN + 1, INT_MIN};
static const size_t bad_lengths[] = {(size_t)SSIZE_MAX + 1, SIZE_MAX - 1, SIZE_MAX};

static void wrong_sends(const char *name, int socket)
{
    const int *no_fds = (const int *)(const void *)pages.forbidden;
    const char *no_data = pages.forbidden;
    for (size_t i = 0; i < LENGTH(bad_counts_to_send); i++) {
        int nfds = bad_counts_to_send[i];
        fails(sendfds_msg(socket, no_fds, nfds, no_data, 3, 0), EINVAL,
              "%s: sendfds_msg of %d descriptors", name, nfds);
        fails(sendfds_msg(socket, null_fds, nfds, null_data, 3, 0), EINVAL,
              "%s: from NULL too", name);
        fails(sendfds_msg(-1, no_fds, nfds, no_data, 3, 0), EINVAL,
              "%s: to descriptor -1 too", name);
    }
    for (size_t i = 0; i < LENGTH(bad_lengths); i++) {
        volatile size_t len =
            bad_lengths[i]; /* no object is so large: not for gcc to know */
        fails(sendfds_msg(socket, files, 3, no_data, len, 0), EINVAL,
              "%s: sendfds_msg of %zu bytes", name, len);
        fails(sendfds_msg(socket, null_fds, 0, null_data, len, 0), EINVAL,
              "%s: without descriptors too", name);
    }
    fails(sendfds_msg(-1, files, 1, no_data, 0, 0), EBADF,
          "%s: without data to descriptor -1, whose type decides", name);
    fails(sendfds_msg(files[0], files, 1, no_data, 0, 0), ENOTSOCK,
          "%s: without data to a file", name);
    fails(sendfds_msg(socket, null_fds, 1, null_data, 3, MSG_OOB), EINVAL,
          "%s: with a wrong flag from NULL", name);
    fails(sendfds_msg(socket, null_fds, 1, "abc", 3, 0), EFAULT,
          "%s: sendfds_msg of a descriptor from NULL", name);
    fails(sendfds_msg(socket, files, 3, null_data, 3, 0), EFAULT,
          "%s: sendfds_msg of bytes from NULL", name);
    fails(sendfds_msg(socket, null_fds, 0, null_data, 1, 0), EFAULT,
          "%s: without descriptors too", name);
    fails(sendfds_msg(-1, null_fds, 1, "abc", 3, 0), EFAULT,
          "%s: sendfds_msg from NULL to descriptor -1", name);
    fails(sendfds_msg(socket, files, 3, no_data, 3, 0), EFAULT,
          "%s: bytes that cannot be read, as sendmsg reports it", name);
}

static void wrong_receives(const char *name, int socket)
{
    int *no_fds = (int *)(void *)pages.forbidden;
    char *no_data = pages.forbidden, data[8];
    for (size_t i = 0; i < LENGTH(bad_rooms); i++) {
        int nfds = bad_rooms[i];
        fails(recvfds_msg(socket, no_fds, &nfds, no_data, 3, 0), EINVAL,
              "%s: recvfds_msg with room for %d", name, bad_rooms[i]);
        nfds = bad_rooms[i];
        fails(recvfds_msg(-1, null_fds, &nfds, null_data, 3, 0), EINVAL,
              "%s: to NULL from descriptor -1 too", name);
    }
    for (size_t i = 0; i < LENGTH(bad_lengths); i++) {
        int nfds = 3;
        volatile size_t len = bad_lengths[i];
        fails(recvfds_msg(socket, no_fds, &nfds, no_data, len, 0), EINVAL,
              "%s: recvfds_msg of %zu bytes", name, len);
    }
    int nfds = 3;
    fails(recvfds_msg(socket, no_fds, &nfds, no_data, 0, 0), EINVAL,
          "%s: recvfds_msg of 0 bytes", name);
    nfds = 0;
    fails(recvfds_msg(-1, null_fds, &nfds, null_data, 0, 0), EINVAL,
          "%s: to NULL from descriptor -1 too", name);
    fails(recvfds_msg(socket, null_fds, null_fds, null_data, 8, MSG_OOB), EINVAL,
          "%s: with a wrong flag to NULL", name);
    fails(recvfds_msg(socket, no_fds, null_fds, data, 8, 0), EFAULT, "%s: nfds is NULL",
          name);
    nfds = 1;
    fails(recvfds_msg(socket, null_fds, &nfds, data, 8, 0), EFAULT, "%s: fds is NULL",
          name);
    nfds = INT_MAX;
    fails(recvfds_msg(socket, null_fds, &nfds, data, 8, 0), EFAULT,
          "%s: fds is NULL and *nfds INT_MAX", name);
    nfds = 3;
    fails(recvfds_msg(socket, no_fds, &nfds, null_data, 8, 0), EFAULT, "%s: data is NULL",
          name);
    fails(recvfds_msg(-1, no_fds, null_fds, data, 8, 0), EFAULT,
          "%s: nfds is NULL and the socket is -1", name);
}

/* A flag is accepted, and does here what it does on an empty or a short queue,
 * or it is refused; alone and together with one that is accepted. */
static void every_flag(const char *name, const int pair[2])
{
    static const unsigned both = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC;
    int wrong_sends = 0, wrong_receives = 0, sent = 0;
    struct raw_message message;
    for (int bit = 0; bit < 32; bit++) {
        unsigned flag = 1U << bit;
        bool to_send = flag & (both | MSG_EOR), to_receive = flag & (both | MSG_PEEK);
        for (int with = 0; with < 2; with++) {
            int flags = (int)(flag | (with ? MSG_DONTWAIT : 0)), fds[3], nfds = 3;
            char data[8];
            errno = 0;
            ssize_t bytes = sendfds_msg(pair[1], files, 3, "abc", 3, flags);
            if (to_send ? bytes != 3 : bytes != -1 || errno != EINVAL) {
                tap_note("sendfds_msg, flags %#x: %zd, errno %d", (unsigned)flags, bytes,
                         errno);
                wrong_sends++;
            }
            sent += to_send;
            errno = 0;
            bytes = recvfds_msg(pair[1], fds, &nfds, data, sizeof data, flags);
            if (to_receive ? bytes != 8 || nfds != 1
                           : bytes != -1 || errno != EINVAL || nfds != 3) {
                tap_note("recvfds_msg, flags %#x: %zd, errno %d", (unsigned)flags, bytes,
                         errno);
                wrong_receives++;
            }
            if (bytes >= 0)
                close_fds(fds, nfds);
            if (to_receive && flag != MSG_PEEK)
                need(raw_send(pair[0], "queued..", 8, files, 1) == 8);
        }
    }
    is(wrong_sends, 0, "%s: flags of sendfds_msg, one bit after the other", name);
    is(wrong_receives, 0, "%s: flags of recvfds_msg", name);
    int came = 0;
    while (raw_receive(pair[0], 3, MSG_DONTWAIT, &message) == 3) {
        came += message.nfds == 3;
        close_fds(message.fds, message.nfds);
    }
    is(came, sent, "%s: what was accepted is sent, and nothing else", name);
}

static void wrong_arguments(const struct socket_type *type)
{
    int pair[2], fds[3], nfds = 3;
    char data[16];
    socket_pair(type->type, pair);
    need(raw_send(pair[0], "queued..", 8, files, 1) == 8);
    wrong_sends(type->name, pair[1]);
    wrong_receives(type->name, pair[1]);
    ok(is_empty(pair[0]), "%s: nothing was sent", type->name);
    every_flag(type->name, pair);
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), 8,
       "%s: the message that waited comes", type->name);
    ok(nfds == 1 && same_file(fds[0], files[0]), "%s: with its descriptor", type->name);
    ok(is_empty(pair[1]), "%s: and nothing was consumed or doubled", type->name);
    close_fds(fds, nfds);
    close_pair(pair);
}

/* Arrays that end where the memory does: no more is read or written than was given. */
static void end_of_memory(const struct socket_type *type)
{
    int pair[2], nfds = 3;
    int *fds = (int *)(void *)pages.forbidden - 3;
    char data[4];
    socket_pair(type->type, pair);
    memcpy(fds, files, 3 * sizeof *fds);
    is(sendfds_msg(pair[0], fds, 3, "abcd", 4, 0), 4,
       "%s: three at the end of memory are sent", type->name);
    is(recvfds_msg(pair[1], fds, &nfds, data, 4, 0), 4, "%s: and received there",
       type->name);
    ok(nfds == 3 && fds[0] != files[0] && same_files(fds, files, 3), "%s: the right ones",
       type->name);
    close_fds(fds, nfds);
    nfds = 0;
    memcpy(pages.forbidden - 4, "efgh", 4);
    is(sendfds_msg(pair[0], NULL, 0, pages.forbidden - 4, 4, 0), 4,
       "%s: four bytes at the end of memory are sent", type->name);
    memset(pages.forbidden - 4, 0, 4);
    is(recvfds_msg(pair[1], NULL, &nfds, pages.forbidden - 4, 4, 0), 4,
       "%s: and received there", type->name);
    ok(memcmp(pages.forbidden - 4, "efgh", 4) == 0, "%s: the right ones", type->name);
    close_pair(pair);
}

/* --- what does not fit ------------------------------------------------------ */

/* After a message that did not fit: all of it is gone, and another comes. */
static void is_over(const struct socket_type *type, const int pair[2], int before)
{
    is(count_fds(), before, "%s: all are closed", type->name);
    ok(is_empty(pair[1]), "%s: the message is consumed", type->name);
    ok(passes_a_file(pair), "%s: the next one comes", type->name);
}

static void surplus(const struct socket_type *type, int room, int nfds)
{
    int pair[2], fds[SENDFD_MAX_FDS], count = room;
    char data[8];
    socket_pair(type->type, pair);
    int before = count_fds();
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        fds[i] = -7;
    need(raw_send(pair[0], "abc", 3, files, nfds) == 3);
    fails(recvfds_msg(pair[1], room ? fds : NULL, &count, data, sizeof data, 0), EMSGSIZE,
          "%s: %d descriptors with room for %d", type->name, nfds, room);
    bool untouched = true;
    for (int i = 0; i < SENDFD_MAX_FDS; i++)
        untouched = untouched && fds[i] == -7;
    ok(untouched, "%s: the array is not written", type->name);
    is(count, room, "%s: nor is *nfds", type->name);
    is_over(type, pair, before);
    close_pair(pair);
}

static void long_payload(const struct socket_type *type, int nfds)
{
    int pair[2], fds[3] = {-7, -7, -7}, count = 3;
    char data[100], payload[100];
    memset(payload, 'p', sizeof payload);
    socket_pair(type->type, pair);
    int before = count_fds();
    need(sendfds_msg(pair[0], files, nfds, payload, 100, 0) == 100);
    fails(recvfds_msg(pair[1], fds, &count, data, 99, 0), EMSGSIZE,
          "%s: 100 bytes and %d descriptors with room for 99 bytes", type->name, nfds);
    ok(fds[0] == -7 && fds[1] == -7 && fds[2] == -7, "%s: the array is not written",
       type->name);
    is(count, 3, "%s: nor is *nfds", type->name);
    is_over(type, pair, before);
    need(sendfds_msg(pair[0], files, nfds, payload, 100, 0) == 100);
    is(recvfds_msg(pair[1], fds, &count, data, 100, 0), 100, "%s: with room for 100",
       type->name);
    is(count, nfds, "%s: and the descriptors", type->name);
    close_fds(fds, count);
    close_pair(pair);
}

/* On a stream that is no error: the rest comes with the next call. */
static void long_payload_of_a_stream(void)
{
    int pair[2], fds[3], count = 3;
    char data[16];
    socket_pair(SOCK_STREAM, pair);
    need(sendfds_msg(pair[0], files, 3, "0123456789", 10, 0) == 10);
    is(recvfds_msg(pair[1], fds, &count, data, 6, 0), 6,
       "SOCK_STREAM: 6 of 10 bytes, as there is room");
    ok(memcmp(data, "012345", 6) == 0, "SOCK_STREAM: the first ones");
    ok(count == 3 && same_files(fds, files, 3), "SOCK_STREAM: with all descriptors");
    close_fds(fds, count);
    count = 3;
    is(recvfds_msg(pair[1], fds, &count, data, 16, 0), 4, "SOCK_STREAM: then the rest");
    ok(memcmp(data, "6789", 4) == 0, "SOCK_STREAM: of the same message");
    is(count, 0, "SOCK_STREAM: without descriptors");
    close_pair(pair);
}

/* A receive that fails has taken the bytes that it would have brought, also those before
 * the message with the descriptors; the rest stays, without any. */
static void rest_of_a_stream(void)
{
    int pair[2], fds[1], nfds = 1;
    char data[16];
    socket_pair(SOCK_STREAM, pair);
    int before = count_fds();
    need(send(pair[0], "earlier", 7, 0) == 7);
    need(raw_send(pair[0], "message", 7, files, 2) == 7);
    fails(recvfds_msg(pair[1], fds, &nfds, data, 10, 0), EMSGSIZE,
          "SOCK_STREAM: 7 bytes, and 7 with 2 descriptors, with room for 10 and 1");
    is(count_fds(), before, "SOCK_STREAM: both are closed");
    nfds = 1;
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), 4,
       "SOCK_STREAM: what was beyond the 10 comes");
    ok(nfds == 0 && memcmp(data, "sage", 4) == 0, "SOCK_STREAM: as bytes alone");
    need(raw_send(pair[0], "abc", 3, files, 2) == 3);
    fails(recvfd(pair[1]), EMSGSIZE,
          "SOCK_STREAM: 3 bytes with 2 descriptors, to recvfd");
    fails(recvfd(pair[1]), ENOMSG, "SOCK_STREAM: the second byte has none");
    fails(recvfd(pair[1]), ENOMSG, "SOCK_STREAM: nor the third");
    ok(passes_a_file(pair), "SOCK_STREAM: then the next message comes");
    is(count_fds(), before, "SOCK_STREAM: and nothing is left open");
    close_pair(pair);
}

/* A datagram is sent whole or not at all. */
static void too_large_to_send(const struct socket_type *type)
{
    static char payload[65536];
    int pair[2];
    socket_pair(type->type, pair);
    need(set_option(pair[0], SO_SNDBUF, 8192));
    fails(sendfds_msg(pair[0], files, 3, payload, sizeof payload, 0), EMSGSIZE,
          "%s: more than the send buffer holds", type->name);
    fails(sendfds_msg(pair[0], NULL, 0, payload, sizeof payload, MSG_DONTWAIT), EMSGSIZE,
          "%s: without descriptors too", type->name);
    ok(is_empty(pair[1]), "%s: nothing arrived", type->name);
    ok(fcntl(files[0], F_GETFD) >= 0, "%s: the caller's descriptors are open",
       type->name);
    ok(passes_a_file(pair), "%s: the next one comes", type->name);
    close_pair(pair);
}

/* --- a full table ----------------------------------------------------------- */

static void full_table(const struct socket_type *type, int room)
{
    int pair[2], fds[5] = {-7, -7, -7, -7, -7}, nfds = 5;
    char data[8];
    socket_pair(type->type, pair);
    int before = count_fds();
    need(raw_send(pair[0], "abc", 3, files, 5) == 3);
    leave_room_for(room);
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), EMFILE,
          "%s: 5 descriptors, and %d more can be opened", type->name, room);
    restore_limit();
    ok(fds[0] == -7 && fds[4] == -7, "%s: the array is not written", type->name);
    is(nfds, 5, "%s: nor is *nfds", type->name);
    is_over(type, pair, before);
    need(raw_send(pair[0], "abc", 3, files, 5) == 3);
    leave_room_for(5);
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), 3,
       "%s: 5 more can be opened", type->name);
    restore_limit();
    ok(nfds == 5 && same_files(fds, files, 5), "%s: and are", type->name);
    close_fds(fds, nfds);
    need(send(pair[0], "abc", 3, 0) == 3);
    nfds = 5;
    leave_room_for(0);
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), 3,
       "%s: bytes alone need no room", type->name);
    restore_limit();
    close_pair(pair);
}

/* --- the socket ------------------------------------------------------------- */

static void wrong_socket(int socket, int send_error, int receive_error, const char *name)
{
    int fds[2] = {-7, -7}, nfds = 2;
    char data[4];
    fails(sendfds_msg(socket, files, 2, "abc", 3, 0), send_error, "sendfds_msg: %s",
          name);
    fails(sendfds_msg(socket, NULL, 0, "abc", 3, 0), send_error, "of bytes alone: %s",
          name);
    fails(recvfds_msg(socket, fds, &nfds, data, sizeof data, 0), receive_error,
          "recvfds_msg: %s", name);
    ok(fds[0] == -7 && fds[1] == -7 && nfds == 2, "%s: nothing is written", name);
}

static void wrong_sockets(void)
{
    int ends[2], stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int packets = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    need(stream >= 0 && packets >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    wrong_socket(-1, EBADF, EBADF, "descriptor -1");
    wrong_socket(INT_MAX, EBADF, EBADF, "descriptor INT_MAX");
    wrong_socket(ends[0], ENOTSOCK, ENOTSOCK, "a pipe");
    wrong_socket(files[0], ENOTSOCK, ENOTSOCK, "a file");
    wrong_socket(stream, ENOTCONN, EINVAL, "a stream that is not connected");
    wrong_socket(packets, ENOTCONN, ENOTCONN, "a sequence of packets not connected");
    close_fds(ends, 2);
    close(stream);
    close(packets);
}

/* The peer closed without receiving what we sent. */
static void reset(const struct socket_type *type)
{
    int pair[2], fds[2], nfds = 2;
    char data[4];
    socket_pair(type->type, pair);
    need(sendfds_msg(pair[1], files, 2, "abc", 3, 0) == 3);
    close(pair[0]);
    fails(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), ECONNRESET,
          "%s: a reset", type->name);
    is(nfds, 2, "%s: *nfds is as it was", type->name);
    is(recvfds_msg(pair[1], fds, &nfds, data, sizeof data, 0), RECVFD_EOF,
       "%s: then the end of file", type->name);
    is(nfds, 2, "%s: *nfds is as it was", type->name);
    close(pair[1]);
}

int main(void)
{
    int before = count_fds();
    map_pages();
    open_files(files, SENDFD_MAX_FDS);
    for (int i = 0; i < SOCKET_TYPES; i++) {
        const struct socket_type *type = &socket_types[i];
        wrong_arguments(type);
        end_of_memory(type);
        surplus(type, 0, 1);
        surplus(type, 0, SENDFD_MAX_FDS);
        surplus(type, 1, 2);
        surplus(type, 1, SENDFD_MAX_FDS);
        surplus(type, 5, 6);
        surplus(type, 252, SENDFD_MAX_FDS);
        for (int room = 0; room < 5; room++)
            full_table(type, room);
        if (type->type == SOCK_STREAM) {
            long_payload_of_a_stream();
            rest_of_a_stream();
        } else {
            long_payload(type, 0);
            long_payload(type, 3);
            too_large_to_send(type);
        }
        if (type->type != SOCK_DGRAM)
            reset(type);
    }
    wrong_sockets();
    close_fds(files, SENDFD_MAX_FDS);
    munmap(pages.start, 2 * pages.size);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

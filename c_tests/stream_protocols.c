/* Two protocols of real programs on a stream. In Wayland's both ends have a ring buffer,
 * which is in two pieces where it wraps, and a queue of up to 28 descriptors, which
 * belong to the messages in their order. In D-Bus's a header with the length, and a body,
 * are sent from two buffers in one message. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define RING 512 /* bytes; a power of two */
#define MOST_FDS 28
#define MESSAGES 600

/* --- rings --------------------------------------------------------------------- */

struct ring {
    char data[RING];
    unsigned head, tail; /* of the bytes in it: tail to head, of which only head grows */
    int fds[2 * MOST_FDS], nfds;
};

/* The bytes in the ring, or the room for more, as at most two buffers. */
static int pieces(struct ring *ring, unsigned from, unsigned size, struct iovec iov[2])
{
    unsigned start = from % RING, first = size < RING - start ? size : RING - start;
    iov[0] = (struct iovec){.iov_base = ring->data + start, .iov_len = first};
    iov[1] = (struct iovec){.iov_base = ring->data, .iov_len = size - first};
    return size > first ? 2 : 1;
}

static void copy_in(struct ring *ring, const void *bytes, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        ring->data[ring->head++ % RING] = ((const char *)bytes)[i];
}

static void copy_out(struct ring *ring, void *bytes, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        ((char *)bytes)[i] = ring->data[ring->tail++ % RING];
}

static int split_sends, split_receives;

/* Sends what is in the ring, as much as goes. */
static void flush(int socket, struct ring *ring)
{
    struct iovec iov[2];
    struct msghdr message = {.msg_iov = iov};
    message.msg_iovlen = (size_t)pieces(ring, ring->tail, ring->head - ring->tail, iov);
    ssize_t bytes = sendfds_msghdr(socket, ring->fds, ring->nfds, &message, MSG_DONTWAIT);
    if (bytes < 0) {
        need(errno == EAGAIN);
        return;
    }
    split_sends += bytes > (ssize_t)iov[0].iov_len;
    ring->tail += (unsigned)bytes;
    close_fds(ring->fds, ring->nfds); /* they went with the first byte */
    ring->nfds = 0;
}

/* Receives what there is room for. */
static void fill(int socket, struct ring *ring)
{
    struct iovec iov[2];
    int nfds = MOST_FDS;
    struct msghdr message = {.msg_iov = iov};
    need(ring->nfds <= MOST_FDS);
    message.msg_iovlen =
        (size_t)pieces(ring, ring->head, RING - (ring->head - ring->tail), iov);
    ssize_t bytes =
        recvfds_msghdr(socket, ring->fds + ring->nfds, &nfds, &message, MSG_DONTWAIT);
    if (bytes < 0) {
        need(errno == EAGAIN);
        return;
    }
    need(bytes > 0);
    split_receives += bytes > (ssize_t)iov[0].iov_len;
    ring->head += (unsigned)bytes;
    ring->nfds += nfds;
}

/* --- messages -------------------------------------------------------------------- */

struct header {
    uint16_t size, number;
    int32_t nfds;
};

static struct header header_of(int number)
{
    unsigned n = (unsigned)number;
    return (struct header){
        .size = (uint16_t)(sizeof(struct header) + n * 37 % 300),
        .number = (uint16_t)n,
        .nfds = n % 3 ? 0 : (int32_t)(n % 97 ? n % 5 : MOST_FDS),
    };
}

static bool put_message(int socket, struct ring *ring, int number)
{
    struct header header = header_of(number);
    if (ring->head - ring->tail + header.size > RING ||
        ring->nfds + header.nfds > MOST_FDS) {
        flush(socket, ring);
        return false;
    }
    copy_in(ring, &header, sizeof header);
    for (size_t i = sizeof header; i < header.size; i++)
        copy_in(ring, &(char){(char)(number + (int)i)}, 1);
    for (int i = 0; i < header.nfds; i++)
        ring->fds[ring->nfds++] = open_numbered_file(number * 32 + i);
    return true;
}

/* Whether a whole message was there, which is then found right or counted as wrong. */
static bool get_message(struct ring *ring, int number, int *wrong)
{
    struct header header, expected = header_of(number);
    struct ring before = *ring;
    if (ring->head - ring->tail < sizeof header)
        return false;
    copy_out(ring, &header, sizeof header);
    if (ring->head - before.tail < header.size) {
        *ring = before;
        return false;
    }
    bool right =
        memcmp(&header, &expected, sizeof header) == 0 && ring->nfds >= header.nfds;
    need(right);
    for (size_t i = sizeof header; i < header.size; i++) {
        char byte;
        copy_out(ring, &byte, 1);
        right = right && byte == (char)(number + (int)i);
    }
    for (int i = 0; i < header.nfds; i++)
        right = right && number_in(ring->fds[i]) == number * 32 + i;
    close_fds(ring->fds, header.nfds);
    ring->nfds -= header.nfds;
    memmove(ring->fds, ring->fds + header.nfds, sizeof(int) * (size_t)ring->nfds);
    *wrong += !right;
    return true;
}

static void wayland(void)
{
    static struct ring out, in;
    int pair[2], sent = 0, received = 0, wrong = 0;
    socket_pair(SOCK_STREAM, pair);
    need(set_option(pair[0], SO_SNDBUF, 1)); /* so that a part is sent, now and then */
    int before = count_fds();
    while (received < MESSAGES) {
        while (sent < MESSAGES && put_message(pair[0], &out, sent))
            sent++;
        if (out.head != out.tail)
            flush(pair[0], &out);
        fill(pair[1], &in);
        while (received < sent && get_message(&in, received, &wrong))
            received++;
    }
    is(wrong, 0, "%d messages, each with its descriptors", received);
    ok(split_sends > 0 && split_receives > 0,
       "%d sends and %d receives were of two pieces", split_sends, split_receives);
    ok(in.nfds == 0 && in.head == in.tail, "nothing is left");
    is(count_fds(), before, "and nothing is left open");
    close_pair(pair);
}

/* --- header and body ------------------------------------------------------------- */

static void dbus(int nfds)
{
    struct {
        char endian, type, flags, version;
        uint32_t body_size, serial, nfds;
    } header = {'l', 1, 0, 1, 1000, 7, (uint32_t)nfds}, got;
    static char body[1000], got_body[1000];
    int pair[2], files[SENDFD_MAX_FDS], fds[SENDFD_MAX_FDS], count = SENDFD_MAX_FDS;
    struct iovec out[2] = {{.iov_base = &header, .iov_len = sizeof header},
                           {.iov_base = body, .iov_len = sizeof body}};
    struct iovec in[2] = {{.iov_base = &got, .iov_len = sizeof got},
                          {.iov_base = got_body, .iov_len = sizeof got_body}};
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 11);
    socket_pair(SOCK_STREAM, pair);
    open_files(files, nfds);
    is(sendfds_msghdr(pair[0], files, nfds, &message, 0),
       (long)(sizeof header + sizeof body), "header and body with %d descriptors", nfds);
    ssize_t bytes =
        recvfds_msghdr(pair[1], fds, &count,
                       &(struct msghdr){.msg_iov = in, .msg_iovlen = 2}, MSG_WAITALL);
    is(bytes, (long)(sizeof header + sizeof body), "come into two places");
    ok(memcmp(&header, &got, sizeof got) == 0 && memcmp(body, got_body, sizeof body) == 0,
       "the right ones");
    ok(count == nfds && same_files(files, fds, nfds), "with the descriptors");
    close_fds(fds, count);

    /* Or one after the other: the header has the descriptors, the body comes alone. */
    need(sendfds_msghdr(pair[0], files, nfds, &message, 0) == bytes);
    count = SENDFD_MAX_FDS;
    is(recvfds_msg(pair[1], fds, &count, &got, sizeof got, 0), (long)sizeof got,
       "the header alone");
    is(count, nfds, "has the descriptors");
    close_fds(fds, count);
    count = 0;
    is(recvfds_msg(pair[1], NULL, &count, got_body, sizeof got_body, 0),
       (long)sizeof got_body, "then the body");
    is(count, 0, "which has none");
    close_fds(files, nfds);
    close_pair(pair);
}

int main(void)
{
    int before = count_fds();
    wayland();
    dbus(0);
    dbus(1);
    dbus(16);
    dbus(SENDFD_MAX_FDS);
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

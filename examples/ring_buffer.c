/* Many small messages, some with a descriptor, through a ring buffer on either side, as
 * libwayland does it: one system call moves all that is there, in two pieces where the
 * ring wraps, with up to 28 descriptors.
 *
 *     cc ring_buffer.c $(pkg-config --cflags --libs sendfd) -o ring_buffer
 *     ./ring_buffer
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ring_size = 4096, fds_at_once = 28, messages = 10000 };

struct message {
    uint32_t number, nfds; /* 1 or 0 */
    char text[16];
};

/* head and tail only grow; the bytes between them are there. A message that needs a
 * descriptor takes the next of fds, which has room for one with each message. */
struct ring {
    char bytes[ring_size];
    uint32_t head, tail;
    int fds[ring_size / sizeof(struct message) + 1], nfds;
};

/* A stretch of the ring, in one piece or two. */
static struct msghdr stretch(struct ring *ring, uint32_t start, uint32_t length,
                             struct iovec pieces[2])
{
    uint32_t at = start % ring_size;
    uint32_t first = length < ring_size - at ? length : ring_size - at;
    pieces[0] = (struct iovec){.iov_base = ring->bytes + at, .iov_len = first};
    pieces[1] = (struct iovec){.iov_base = ring->bytes, .iov_len = length - first};
    return (struct msghdr){.msg_iov = pieces, .msg_iovlen = length > first ? 2 : 1};
}

/* Sends what is there, or as much as the socket takes now. */
static ssize_t flush_ring(struct ring *ring, int socket)
{
    struct iovec pieces[2];
    struct msghdr message = stretch(ring, ring->tail, ring->head - ring->tail, pieces);
    ssize_t sent = sendfds_msghdr(socket, ring->fds, ring->nfds, &message, MSG_DONTWAIT);
    if (sent < 0)
        return -1;
    ring->tail += (uint32_t)sent;
    while (ring->nfds > 0) /* all of them went, with the first byte */
        close(ring->fds[--ring->nfds]);
    return sent;
}

/* Receives as much as there is room for. */
static ssize_t fill_ring(struct ring *ring, int socket)
{
    struct iovec pieces[2];
    uint32_t room = ring_size - (ring->head - ring->tail);
    struct msghdr message = stretch(ring, ring->head, room, pieces);
    int nfds = (int)(sizeof ring->fds / sizeof *ring->fds) - ring->nfds;
    ssize_t got =
        recvfds_msghdr(socket, ring->fds + ring->nfds, &nfds, &message, MSG_DONTWAIT);
    if (got < 0)
        return got;
    ring->head += (uint32_t)got;
    ring->nfds += nfds;
    return got;
}

static bool has_room(const struct ring *ring)
{
    return ring_size - (ring->head - ring->tail) >= sizeof(struct message) &&
           ring->nfds < fds_at_once;
}

/* The descriptor, or -1, is closed when it was sent. */
static void put_message(struct ring *ring, const struct message *message, int fd)
{
    for (size_t i = 0; i < sizeof *message; i++)
        ring->bytes[ring->head++ % ring_size] = ((const char *)message)[i];
    if (message->nfds == 1)
        ring->fds[ring->nfds++] = fd;
}

/* Takes a message out of the ring, if it is there as a whole. */
static bool take_message(struct ring *ring, struct message *message, int *fd)
{
    if (ring->head - ring->tail < sizeof *message)
        return false;
    for (size_t i = 0; i < sizeof *message; i++)
        ((char *)message)[i] = ring->bytes[ring->tail++ % ring_size];
    if (message->nfds > 1 || (int)message->nfds > ring->nfds)
        errx(1, "message %u without its descriptor", message->number);
    *fd = -1;
    if (message->nfds == 1) {
        *fd = ring->fds[0];
        memmove(ring->fds, ring->fds + 1, (size_t)--ring->nfds * sizeof *ring->fds);
    }
    return true;
}

int main(void)
{
    static struct ring out, in;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    uint32_t sent = 0, received = 0;
    while (received < messages) {
        for (; sent < messages && has_room(&out); sent++) {
            const struct message message = {.number = sent, .nfds = sent % 3 == 0};
            const char *file = sent % 2 == 0 ? "/dev/zero" : "/dev/null";
            int fd = message.nfds == 1 ? open(file, O_RDONLY | O_CLOEXEC) : -1;
            if (message.nfds == 1 && fd < 0)
                err(1, "%s", file);
            put_message(&out, &message, fd);
        }
        if (out.head != out.tail && flush_ring(&out, pair[0]) < 0 && errno != EAGAIN)
            err(1, "sending");
        if (fill_ring(&in, pair[1]) < 0 && errno != EAGAIN)
            err(1, "receiving");
        struct message message;
        char byte;
        for (int fd; take_message(&in, &message, &fd); received++) {
            /* Of the two devices only /dev/zero gives a byte. */
            if (message.number != received ||
                (fd >= 0 && read(fd, &byte, 1) != (received % 2 == 0)))
                errx(1, "message %u is not what was sent", received);
            if (fd >= 0)
                close(fd);
        }
    }
    printf("%u messages came, as they were sent\n", received);
    return 0;
}

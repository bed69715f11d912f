/* Descriptors through io_uring: the kernel does sendmsg and recvmsg when it is asked
 * to, so the library only makes the control message and takes the received one apart.
 *
 *     cc -D_GNU_SOURCE io_uring.c $(pkg-config --cflags --libs sendfd) -o io_uring
 *     ./io_uring    exits with 77 where the kernel has no io_uring, or it is switched off
 *
 * It makes the system calls itself; with liburing the setup, submit and reap below are
 * io_uring_queue_init, io_uring_submit and io_uring_wait_cqe.
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { skipped = 77, fds_most = 4 };

static int ring;
static struct io_uring_params params;
static char *shared; /* both queues */
static struct io_uring_sqe *entries;

static unsigned *at(unsigned offset)
{
    return (unsigned *)(void *)(shared + offset);
}

static void *map(size_t size, off_t offset)
{
    void *place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, offset);
    if (place == MAP_FAILED)
        err(1, "mmap");
    return place;
}

static void set_up(void)
{
    ring = (int)syscall(SYS_io_uring_setup, 4, &params);
    if (ring < 0 && errno != ENOSYS && errno != EPERM)
        err(1, "io_uring_setup");
    if (ring < 0 || !(params.features & IORING_FEAT_SINGLE_MMAP)) {
        printf("skipped: io_uring %s\n",
               ring < 0 && errno == EPERM ? "is switched off here" : "needs Linux 5.4");
        exit(skipped);
    }
    size_t sent = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t done = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    shared = map(sent > done ? sent : done, IORING_OFF_SQ_RING);
    entries = map(params.sq_entries * sizeof *entries, IORING_OFF_SQES);
}

/* Asks for a sendmsg or recvmsg; the message has to stay until it is done. */
static void submit(int operation, int socket, struct msghdr *message, unsigned flags)
{
    unsigned *tail = at(params.sq_off.tail);
    unsigned i = *tail & *at(params.sq_off.ring_mask);
    entries[i] = (struct io_uring_sqe){.opcode = (uint8_t)operation,
                                       .fd = socket,
                                       .addr = (uintptr_t)message,
                                       .len = 1,
                                       .msg_flags = flags,
                                       .user_data = (uint64_t)operation};
    at(params.sq_off.array)[i] = i;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) != 1)
        err(1, "io_uring_enter");
}

/* Waits for the next that is done, and returns what the system call would return, or the
 * errno, negative. */
static int reap(uint64_t *operation)
{
    unsigned *head = at(params.cq_off.head);
    while (*head == __atomic_load_n(at(params.cq_off.tail), __ATOMIC_ACQUIRE)) {
        if (syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) <
                0 &&
            errno != EINTR)
            err(1, "io_uring_enter");
    }
    const struct io_uring_cqe *done = (const void *)at(params.cq_off.cqes);
    done += *head & *at(params.cq_off.ring_mask);
    int result = done->res;
    *operation = done->user_data;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

int main(void)
{
    _Alignas(struct cmsghdr) char control[SENDFDS_CMSG_SPACE(2)];
    _Alignas(struct cmsghdr) char room[RECVFDS_CMSG_SPACE(fds_most)];
    char hello[] = "hello", data[16];
    struct iovec sent = {.iov_base = hello, .iov_len = sizeof hello};
    struct iovec received = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr out = {.msg_iov = &sent, .msg_iovlen = 1, .msg_control = control};
    struct msghdr in = {.msg_iov = &received,
                        .msg_iovlen = 1,
                        .msg_control = room,
                        .msg_controllen = sizeof room};
    int pair[2], fds[fds_most], nfds = fds_most;
    set_up();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");

    /* The socket is a Unix-domain one: on another the descriptors would be lost. */
    ssize_t length = sendfds_cmsg(pair, 2, control, sizeof control);
    if (length < 0)
        err(1, "sendfds_cmsg");
    out.msg_controllen = (size_t)length;
    submit(IORING_OP_RECVMSG, pair[1], &in, MSG_CMSG_CLOEXEC);
    submit(IORING_OP_SENDMSG, pair[0], &out, MSG_NOSIGNAL);
    for (int i = 0; i < 2; i++) {
        uint64_t operation;
        int result = reap(&operation);
        const char *what = operation == IORING_OP_SENDMSG ? "sent" : "received";
        if (result < 0) {
            errno = -result;
            err(1, "%s", what);
        }
        printf("%s %d bytes\n", what, result);
    }
    if (recvfds_cmsg(pair[1], fds, &nfds, &in, 0) < 0)
        err(1, "recvfds_cmsg");
    printf("%s came with %d descriptors\n", data, nfds);
    while (nfds > 0)
        close(fds[--nfds]);
    return 0;
}

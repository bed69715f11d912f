/* IORING_OP_SENDMSG and IORING_OP_RECVMSG (io_uring(7)), with the system calls
 * themselves: the kernel reads and fills a struct msghdr later, so sendfds_cmsg is called
 * before that and recvfds_cmsg after it. */
#include "peer.h"
#include "sendfd.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<linux/io_uring.h>)
#    include <linux/io_uring.h>
#else
#    define NO_HEADER
#endif

#ifndef NO_HEADER

#    define MOST_FDS 4

/* A ring of two entries. */
static struct {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    void *sq, *cq;
    size_t sq_size, cq_size, sqes_size;
} ring;

static void *map(size_t size, long long offset)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, offset);
    need(memory != MAP_FAILED);
    return memory;
}

/* False with errno if this kernel has no io_uring, or has it switched off. */
static bool open_ring(void)
{
    struct io_uring_params parameters;
    memset(&parameters, 0, sizeof parameters);
    ring.fd = (int)syscall(SYS_io_uring_setup, 2, &parameters);
    if (ring.fd < 0)
        return false;
    ring.sq_size = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
    ring.cq_size =
        parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
    ring.sqes_size = parameters.sq_entries * sizeof(struct io_uring_sqe);
    char *sq = map(ring.sq_size, IORING_OFF_SQ_RING);
    char *cq = map(ring.cq_size, IORING_OFF_CQ_RING);
    ring.sq = sq;
    ring.cq = cq;
    ring.sqes = map(ring.sqes_size, IORING_OFF_SQES);
    ring.sq_tail = (void *)(sq + parameters.sq_off.tail);
    ring.sq_mask = (void *)(sq + parameters.sq_off.ring_mask);
    ring.sq_array = (void *)(sq + parameters.sq_off.array);
    ring.cq_head = (void *)(cq + parameters.cq_off.head);
    ring.cq_tail = (void *)(cq + parameters.cq_off.tail);
    ring.cq_mask = (void *)(cq + parameters.cq_off.ring_mask);
    ring.cqes = (void *)(cq + parameters.cq_off.cqes);
    return true;
}

static void close_ring(void)
{
    munmap(ring.sq, ring.sq_size);
    munmap(ring.cq, ring.cq_size);
    munmap(ring.sqes, ring.sqes_size);
    close(ring.fd);
}

/* Queues a sendmsg or a recvmsg. */
static void queue(unsigned char operation, int socket, struct msghdr *message, int flags)
{
    unsigned tail = *ring.sq_tail, index = tail & *ring.sq_mask;
    struct io_uring_sqe *entry = &ring.sqes[index];
    memset(entry, 0, sizeof *entry);
    entry->opcode = operation;
    entry->fd = socket;
    entry->addr = (unsigned long)message;
    entry->len = 1;
    entry->msg_flags = (unsigned)flags;
    entry->user_data = operation;
    ring.sq_array[index] = index;
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
}

/* Submits what is queued and waits for that many to complete. */
static bool run(unsigned entries)
{
    long done;
    do
        done = syscall(SYS_io_uring_enter, ring.fd, entries, entries,
                       IORING_ENTER_GETEVENTS, NULL, 0);
    while (done < 0 && errno == EINTR);
    return done == (long)entries;
}

/* Returns the result of the completed call of this kind, a negative errno on failure. */
static int result_of(unsigned char operation, unsigned entries)
{
    unsigned head = *ring.cq_head;
    need(__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) - head == entries);
    for (unsigned i = 0; i < entries; i++) {
        struct io_uring_cqe *entry = &ring.cqes[(head + i) & *ring.cq_mask];
        if (entry->user_data == operation)
            return entry->res;
    }
    return -ENOENT;
}

static void finish(unsigned entries)
{
    __atomic_store_n(ring.cq_head, *ring.cq_head + entries, __ATOMIC_RELEASE);
}

/* Both ends use one ring, and the receive may be queued before the send. */
static void pass(const struct socket_type *type, int nfds, int room)
{
    _Alignas(struct cmsghdr) char out[SENDFDS_CMSG_SPACE(MOST_FDS)];
    _Alignas(struct cmsghdr) char in[RECVFDS_CMSG_SPACE(MOST_FDS)];
    char data[8] = "", text[] = "message";
    struct iovec to = {.iov_base = text, .iov_len = 7};
    struct iovec from = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr sent = {.msg_iov = &to, .msg_iovlen = 1, .msg_control = out};
    struct msghdr received = {
        .msg_iov = &from,
        .msg_iovlen = 1,
        .msg_control = in,
        .msg_controllen = sizeof in,
    };
    int pair[2], files[MOST_FDS], fds[MOST_FDS], count = room;
    socket_pair(type->type, pair);
    open_files(files, nfds);
    int before = count_fds();
    ssize_t used = sendfds_cmsg(files, nfds, out, sizeof out);
    need(used > 0);
    sent.msg_controllen = (size_t)used;
    queue(IORING_OP_RECVMSG, pair[1], &received, MSG_CMSG_CLOEXEC);
    queue(IORING_OP_SENDMSG, pair[0], &sent, MSG_NOSIGNAL);
    need(run(2));
    is(result_of(IORING_OP_SENDMSG, 2), 7, "%s: IORING_OP_SENDMSG with %d descriptors",
       type->name, nfds);
    is(result_of(IORING_OP_RECVMSG, 2), 7, "%s: IORING_OP_RECVMSG", type->name);
    finish(2);
    ok(memcmp(data, text, 7) == 0, "%s: the bytes come", type->name);
    if (nfds > room) {
        fails(recvfds_cmsg(pair[1], fds, &count, &received, 0), EMSGSIZE,
              "%s: but too many descriptors", type->name);
        is(count_fds(), before, "%s: all are closed", type->name);
    } else {
        is(recvfds_cmsg(pair[1], fds, &count, &received, 0), 0, "%s: and descriptors",
           type->name);
        ok(count == nfds && same_files(fds, files, nfds), "%s: the right ones",
           type->name);
        bool close_on_exec = true;
        for (int i = 0; i < count; i++)
            close_on_exec = close_on_exec && is_close_on_exec(fds[i]);
        ok(close_on_exec, "%s: close-on-exec", type->name);
        close_fds(fds, count);
        is(count_fds(), before, "%s: no other is open", type->name);
    }
    close_fds(files, nfds);
    close_pair(pair);
}

/* The end of file is the caller's to see: no bytes and no descriptor. */
static void end_of_file(const struct socket_type *type)
{
    _Alignas(struct cmsghdr) char in[RECVFDS_CMSG_SPACE(MOST_FDS)];
    char data[8];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof data};
    struct msghdr received = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = in,
        .msg_controllen = sizeof in,
    };
    int pair[2], fds[MOST_FDS], nfds = MOST_FDS;
    if (type->type == SOCK_DGRAM)
        return;
    socket_pair(type->type, pair);
    close(pair[0]);
    queue(IORING_OP_RECVMSG, pair[1], &received, MSG_CMSG_CLOEXEC);
    need(run(1));
    is(result_of(IORING_OP_RECVMSG, 1), 0, "%s: the end of file", type->name);
    finish(1);
    is(recvfds_cmsg(pair[1], fds, &nfds, &received, 0), 0, "%s: is no failure",
       type->name);
    is(nfds, 0, "%s: and no descriptor", type->name);
    close(pair[1]);
}

int main(void)
{
    int before = count_fds();
    if (!open_ring()) {
        unsetenv("REQUIRE_ALL"); /* a container may forbid it, and no package helps */
        tap_skip("no io_uring here: %s", strerror(errno));
        return tap_done();
    }
    for (int i = 0; i < SOCKET_TYPES; i++) {
        pass(&socket_types[i], 1, MOST_FDS);
        pass(&socket_types[i], MOST_FDS, MOST_FDS);
        pass(&socket_types[i], MOST_FDS, 1);
        end_of_file(&socket_types[i]);
    }
    int pair[2];
    socket_pair(SOCK_STREAM, pair);
    fails(sendfd(pair[0], ring.fd), EINVAL, "the ring itself cannot be passed");
    close_pair(pair);
    close_ring();
    is(count_fds(), before, "no descriptor is left open");
    return tap_done();
}

#else

int main(void)
{
    tap_skip("no linux/io_uring.h (Linux 5.1) to compile with");
    return tap_done();
}

#endif

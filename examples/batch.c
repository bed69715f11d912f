/* Several messages with descriptors in one system call, by sendmmsg and recvmmsg: the
 * library makes the control messages and takes the received ones apart.
 *
 *     cc -D_GNU_SOURCE batch.c $(pkg-config --cflags --libs sendfd) -o batch
 *     ./batch
 *
 * This is for programs that already use these calls. To pass descriptors alone, sendfds()
 * with many of them in one message is faster.
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { batch_size = 16, fds_most = 2, data_size = 32 };

struct slot {
    char data[data_size];
    struct iovec buffer;
    _Alignas(struct cmsghdr) char control[RECVFDS_CMSG_SPACE(fds_most)];
};

static void prepare(struct mmsghdr *message, struct slot *slot, size_t length,
                    size_t control)
{
    slot->buffer = (struct iovec){.iov_base = slot->data, .iov_len = length};
    *message = (struct mmsghdr){.msg_hdr = {.msg_iov = &slot->buffer, .msg_iovlen = 1}};
    message->msg_hdr.msg_control = slot->control;
    message->msg_hdr.msg_controllen = control;
}

/* sendmmsg stops at a message that cannot be sent and returns how many were sent before
 * it. The call that begins with that message gives its errno. */
static void send_batch(int socket, struct mmsghdr *messages, unsigned count)
{
    for (unsigned done = 0; done < count;) {
        int sent = sendmmsg(socket, messages + done, count - done, MSG_NOSIGNAL);
        if (sent > 0)
            done += (unsigned)sent;
        else if (errno != EINTR)
            err(1, "message %u", done); /* or leave it out, and go on: done++ */
    }
}

static void send_files(int socket)
{
    static struct slot slots[batch_size];
    struct mmsghdr messages[batch_size];
    const int fds[] = {open("/dev/null", O_RDONLY | O_CLOEXEC), socket};
    for (int i = 0; i < batch_size; i++) {
        int nfds = i % 3; /* without descriptors there is no control message */
        int length = snprintf(slots[i].data, data_size, "message %d", i);
        ssize_t control = 0;
        if (nfds > 0)
            control = sendfds_cmsg(fds, nfds, slots[i].control, sizeof slots[i].control);
        if (control < 0)
            err(1, "sendfds_cmsg");
        prepare(&messages[i], &slots[i], (size_t)length, (size_t)control);
    }
    send_batch(socket, messages, batch_size);
    close(fds[0]);
}

/* Each message has its own result. If one fails, its descriptors are lost, and no others:
 * look at every message, or its descriptors stay open. */
static bool receive_batch(int socket)
{
    static struct slot slots[batch_size];
    struct mmsghdr messages[batch_size];
    for (int i = 0; i < batch_size; i++)
        prepare(&messages[i], &slots[i], data_size, sizeof slots[i].control);
    int count =
        recvmmsg(socket, messages, batch_size, MSG_CMSG_CLOEXEC | MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EINTR)
        err(1, "recvmmsg");
    for (int i = 0; i < count; i++) {
        int fds[fds_most], nfds = fds_most;
        if (recvfds_cmsg(socket, fds, &nfds, &messages[i].msg_hdr, 0) < 0) {
            warn("%.*s: descriptors lost", (int)messages[i].msg_len, slots[i].data);
            continue;
        }
        if (messages[i].msg_len == 0 && nfds == 0)
            return false; /* the end of file */
        printf("%.*s: %d descriptors\n", (int)messages[i].msg_len, slots[i].data, nfds);
        while (nfds > 0)
            close(fds[--nfds]);
    }
    return true;
}

int main(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    send_files(pair[0]);
    close(pair[0]);
    while (receive_batch(pair[1]))
        ;
    return 0;
}

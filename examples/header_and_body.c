/* A message with a header, a body of any length and descriptors, on a stream socket, as
 * D-Bus has them: sent by one system call, without copying header and body together.
 *
 *     cc header_and_body.c $(pkg-config --cflags --libs sendfd) -o header_and_body
 *     ./header_and_body
 */
#include <sendfd.h>

#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { body_most = 1 << 20, fds_most = 16 };

struct header {
    uint32_t serial, length, nfds; /* length is that of the body */
};

/* Takes the bytes that were sent off the front of the buffers. */
static void advance(struct msghdr *message, size_t sent)
{
    while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
        sent -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (message->msg_iovlen > 0) {
        message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
        message->msg_iov->iov_len -= sent;
    }
}

/* A large message may take several calls. The descriptors are sent with its first byte;
 * if they were sent again with the rest, they would arrive twice. */
static int send_message(int socket, const struct header *header, const void *body,
                        const int *fds)
{
    struct iovec parts[] = {{.iov_base = (void *)header, .iov_len = sizeof *header},
                            {.iov_base = (void *)body, .iov_len = header->length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    int nfds = (int)header->nfds;
    while (message.msg_iovlen > 0) {
        ssize_t sent = sendfds_msghdr(socket, fds, nfds, &message, 0);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -1;
        advance(&message, (size_t)sent);
        nfds = 0;
    }
    return 0;
}

/* Exactly that many bytes: what follows them may be another message. Returns 1, or -1,
 * or RECVFD_EOF; *nfds counts the descriptors that came, also if it fails then. */
static int receive_part(int socket, void *data, size_t length, int *fds, int *nfds)
{
    int room = *nfds;
    *nfds = 0;
    for (char *next = data; length > 0;) {
        int came = room - *nfds;
        ssize_t got = recvfds_msg(socket, fds + *nfds, &came, next, length, 0);
        if (got == -1 && errno == EINTR)
            continue;
        if (got < 0)
            return (int)got;
        *nfds += came;
        next += got;
        length -= (size_t)got;
    }
    return 1;
}

/* The descriptors come with the header; more with the body are an error. */
static int receive_message(int socket, struct header *header, char *body, int *fds)
{
    int nfds = fds_most, none = 0;
    int result = receive_part(socket, header, sizeof *header, fds, &nfds);
    if (result == 1 && (header->length > body_most || header->nfds != (uint32_t)nfds)) {
        errno = EPROTO;
        result = -1;
    }
    if (result == 1)
        result = receive_part(socket, body, header->length, NULL, &none);
    while (result < 0 && nfds > 0)
        close(fds[--nfds]);
    return result;
}

int main(void)
{
    static char body[body_most];
    const int out[] = {STDOUT_FILENO, STDOUT_FILENO};
    int pair[2], fds[fds_most], result;
    struct header header;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    close(pair[pid == 0]); /* or the end of file would never come */
    if (pid == 0) {
        for (uint32_t n = 0; n < 3; n++) {
            header = (struct header){.serial = n, .length = n * body_most / 2, .nfds = n};
            if (send_message(pair[0], &header, body, out) < 0)
                err(1, "sending");
        }
        return 0;
    }
    while ((result = receive_message(pair[1], &header, body, fds)) == 1) {
        printf("message %u: a body of %u bytes, %u descriptors\n", header.serial,
               header.length, header.nfds);
        while (header.nfds > 0)
            close(fds[--header.nfds]);
    }
    if (result != RECVFD_EOF)
        err(1, "receiving");
    int status;
    return waitpid(pid, &status, 0) < 0 || status != 0;
}

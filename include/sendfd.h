/* sendfd.h - pass open file descriptors over a Unix-domain socket
 *
 * SPDX-License-Identifier: MIT
 *
 * Generated from src/ffi.rs: change that, then run `make header`.
 */

#ifndef SENDFD_H
#define SENDFD_H

#include <sys/types.h>

/* The version of this header; sendfd_version() is the library's. */
#define SENDFD_VERSION "1.0.0"
#define SENDFD_VERSION_MAJOR 1
#define SENDFD_VERSION_MINOR 0
#define SENDFD_VERSION_PATCH 0

#if defined(__GNUC__)
#define SENDFD_MUST_USE __attribute__((warn_unused_result))
#else
#define SENDFD_MUST_USE
#endif


/**
 * Most descriptors in one message: SCM_MAX_FD of the Linux kernel, unix(7).
 */
#define SENDFD_MAX_FDS 253

/**
 * What the receiving functions return at the end of file: the peer has closed
 * its socket, and everything that it sent has been received.
 */
#define RECVFD_EOF -2

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Sends one descriptor over a Unix-domain socket, with one byte of value 0:
 * one message on the wire, exactly that of the classic sendfd() snippet.
 *
 * unix_domain_socket_fd: a connected AF_UNIX socket of type SOCK_STREAM,
 *     SOCK_SEQPACKET or SOCK_DGRAM.
 * fd: any open descriptor. It stays open and the caller's, who may close it
 *     as soon as this returns: the receiver gets a descriptor of its own for
 *     the same open file description, sharing offset and status flags.
 *
 * Returns 1, or -1 with errno set, and then nothing was sent.
 *
 * Errors:
 * EAFNOSUPPORT  the socket is not a Unix-domain one: it cannot carry
 *               descriptors (the kernel would drop them and report success)
 * EBADF         unix_domain_socket_fd or fd is not an open descriptor
 * EINVAL        fd is one that cannot be passed: an io_uring instance
 * ENOTSOCK      unix_domain_socket_fd is not a socket
 * ENOTCONN      it is not connected
 * EPIPE         the peer has closed, or one end was shut down; no SIGPIPE
 * ECONNREFUSED  the peer of a datagram socket has closed; that disconnects it,
 *               so that the next send fails with ENOTCONN
 * ECONNRESET    the connection was reset by the peer
 * EAGAIN        the queue is full, and the socket is non-blocking or has a
 *               send timeout (SO_SNDTIMEO)
 * EINTR         a signal handler ran before anything was sent; after one with
 *               SA_RESTART, as signal(2) installs it, the kernel goes on
 *               waiting, unless the socket has a timeout
 * ETOOMANYREFS  this user has more descriptors in flight (sent and not yet
 *               received) than RLIMIT_NOFILE; it passes as they are received
 * EPERM         the receiver takes no descriptors (SO_PASSRIGHTS is 0, Linux
 *               6.16), or a security module forbids it
 * EMSGSIZE      the socket's send buffer is too small for the message
 * ENOBUFS, ENOMEM  the system is short of memory
 *
 * Thread-safe and async-signal-safe; a cancellation point, as sendmsg(2) is.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE int sendfd(int unix_domain_socket_fd, int fd);

/**
 * Receives one descriptor from a Unix-domain socket: reads one message and one
 * byte, of any value, as the classic recvfd() snippet does. The kernel drops
 * what else a SOCK_SEQPACKET or SOCK_DGRAM message holds.
 *
 * unix_domain_socket_fd: a Unix-domain socket of type SOCK_STREAM,
 *     SOCK_SEQPACKET or SOCK_DGRAM.
 *
 * Returns the new descriptor, 0 or above, which is the caller's to close and
 * is close-on-exec from the start (fcntl(fd, F_SETFD, 0) turns that off); or
 * -2 (RECVFD_EOF) at the end of file, which SOCK_DGRAM does not have; or -1
 * with errno set. On -1 and -2 every descriptor that came has been closed.
 *
 * Errors:
 * ENOMSG        a message came with no descriptor in it; its byte is consumed
 * EMSGSIZE      more than one descriptor came; all are closed and the message
 *               is consumed (SOCK_STREAM: its first byte; if it has more, they
 *               come next and are ENOMSG)
 * EMFILE, ENFILE  the table of descriptors of this process, or of the system,
 *               is full; the message is consumed, and what was in it is lost
 * EACCES        a security module refused the descriptor, or another thread
 *               has closed one since the table was full; likewise consumed
 * any other     from Linux 7.3 on, with SO_RIGHTS_NOTRUNC, the errno for which
 *               the kernel refused the descriptor; likewise consumed
 * EAFNOSUPPORT  no descriptor came, and the socket is not a Unix-domain one
 * EBADF         unix_domain_socket_fd is not an open descriptor
 * ENOTSOCK      it is not a socket
 * ENOTCONN      it is a SOCK_SEQPACKET (or TCP) socket that is not connected
 * EINVAL        it is a SOCK_STREAM socket that is not connected
 * ECONNRESET    the peer closed without having received all that we sent
 * EAGAIN        nothing has come, and the socket is non-blocking or has a
 *               receive timeout (SO_RCVTIMEO)
 * EINTR         a signal handler ran before anything came; after one with
 *               SA_RESTART, as signal(2) installs it, the kernel goes on
 *               waiting, unless the socket has a timeout
 * ENOMEM        the system is short of memory
 *
 * Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE int recvfd(int unix_domain_socket_fd);

/**
 * Sends 1 to 253 descriptors over a Unix-domain socket as one message, with
 * one byte whose value is their number. All of them go, or none.
 *
 * unix_domain_socket_fd: as for sendfd().
 * fds: the descriptors, which stay open and the caller's. Only read.
 * nfds: how many, 1 to SENDFD_MAX_FDS (253).
 *
 * Returns nfds, or -1 with errno set, and then nothing was sent.
 *
 * Errors: those of sendfd(), and
 * EBADF         one of the descriptors is not open
 * EINVAL        nfds is below 1 or above 253 (fds is not read), or one of the
 *               descriptors cannot be passed (an io_uring instance)
 * EFAULT        fds is NULL
 *
 * Thread-safe and async-signal-safe; a cancellation point, as sendmsg(2) is.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE
int sendfds(int unix_domain_socket_fd,
            const int *fds,
            int nfds);

/**
 * Receives the descriptors of one message from a Unix-domain socket, and reads
 * one byte, of any value, with them.
 *
 * unix_domain_socket_fd: as for recvfd().
 * fds: receives the descriptors, which are the caller's to close and are
 *     close-on-exec from the start. Written only on success, and only as many
 *     places as descriptors came.
 * max_fds: how many there is room for in fds, 1 or above. No message has more
 *     than SENDFD_MAX_FDS (253).
 *
 * Returns how many descriptors came, 1 to max_fds; or -2 (RECVFD_EOF) at the
 * end of file, which SOCK_DGRAM does not have; or -1 with errno set. On -1 and
 * -2 every descriptor that came has been closed.
 *
 * Errors: those of recvfd(), and
 * EMSGSIZE      more than max_fds descriptors came; all are closed and the
 *               message is consumed
 * EMFILE, ENFILE, EACCES  fewer came than were sent; those are closed too
 * EINVAL        max_fds is below 1; nothing is consumed
 * EFAULT        fds is NULL; nothing is consumed
 *
 * Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE int recvfds(int unix_domain_socket_fd, int *fds, int max_fds);

/**
 * Sends any number of descriptors over a Unix-domain socket, as as many
 * messages of sendfds() as it takes: 253 in each but the last.
 *
 * unix_domain_socket_fd: as for sendfd().
 * fds: the descriptors, which stay open and the caller's. Only read.
 * nfds: how many, 1 or above.
 *
 * Returns nfds; or, if it failed after some messages had gone, how many
 * descriptors went, 1 or above and below nfds, with errno set to the error; or
 * -1 with errno set, and then nothing was sent. What is reported as sent is
 * exactly what the receiver can receive.
 *
 * On a blocking socket ETOOMANYREFS is waited out, as a full queue is: it
 * sleeps 1 ms, then twice as long each time up to 32 ms, and tries again, until
 * the receiver has taken enough, or is gone (EPIPE; SOCK_SEQPACKET: ECONNRESET
 * if it left something unread; SOCK_DGRAM: ECONNREFUSED, which the kernel tells
 * only once there are not too many in flight), or a signal handler has run
 * (EINTR), or the send timeout of the socket (SO_SNDTIMEO) is over (EAGAIN).
 *
 * Errors: those of sendfds(), and
 * EINVAL        nfds is below 1, or one of the descriptors cannot be passed
 * ETOOMANYREFS  the socket is non-blocking, and this user has too many
 *               descriptors in flight
 *
 * Thread-safe and async-signal-safe (two callers at once may have their messages
 * mixed); a cancellation point, as sendmsg(2) and nanosleep(2) are. A thread
 * that is cancelled cannot tell how many went.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE
int sendfds_all(int unix_domain_socket_fd,
                const int *fds,
                int nfds);

/**
 * Receives exactly nfds descriptors from a Unix-domain socket, message after
 * message, reading one byte with each. The counterpart of sendfds_all().
 *
 * unix_domain_socket_fd: as for recvfd().
 * fds: receives the descriptors, which are the caller's to close and are
 *     close-on-exec from the start.
 * nfds: how many are wanted, 1 or above; there must be room for them all.
 *
 * Returns nfds; or, if an error or the end of file came after some, how many
 * came, 1 or above and below nfds, which are the caller's: errno is set to the
 * error, and is as it was before the call if it was the end of file; or -2
 * (RECVFD_EOF) if the end of file came first, or -1 with errno set if an error
 * did.
 *
 * A socket that is non-blocking (EAGAIN), or a signal handler (EINTR), can end
 * it with a short count at any message: go on with fds + count.
 *
 * Errors: those of recvfds(), and
 * EMSGSIZE      a message has more descriptors than are still wanted; those of
 *               that message are closed, and the message is consumed
 * EINVAL        nfds is below 1; nothing is consumed
 *
 * Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is:
 * a thread that is cancelled leaves what came before open, in fds.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE int recvfds_all(int unix_domain_socket_fd, int *fds, int nfds);

/**
 * Sends bytes of the caller's own over a Unix-domain socket, with 0 to 253
 * descriptors.
 *
 * unix_domain_socket_fd: as for sendfd().
 * fds: the descriptors, which stay open and the caller's. Only read; may be
 *     NULL if nfds is 0.
 * nfds: how many, 0 to SENDFD_MAX_FDS (253).
 * data: the bytes. Only read; may be NULL if len is 0.
 * len: how many, 1 or above if there are descriptors.
 * flags: 0, or MSG_DONTWAIT (do not block) and MSG_EOR (end of record), or'ed.
 *     MSG_NOSIGNAL and MSG_CMSG_CLOEXEC are as good as not given.
 *
 * Returns the number of bytes sent, or -1 with errno set, and then nothing was
 * sent. Any other return means that every descriptor went, with the first
 * byte. On SOCK_STREAM it may be less than len: send the rest, and send it
 * without the descriptors, or they are sent twice.
 *
 * Errors: those of sendfd(), and
 * EBADF         one of the descriptors is not open
 * EINVAL        nfds is below 0 or above 253, or there are descriptors and len
 *               is 0 (a stream drops them), or len is above SSIZE_MAX, or flags
 *               has another bit, or one of the descriptors cannot be passed
 * EFAULT        fds is NULL and nfds is not 0, or data is NULL and len is not 0
 * EAGAIN        also: MSG_DONTWAIT was given and the queue is full
 * EMSGSIZE      SOCK_SEQPACKET or SOCK_DGRAM: the data does not fit into one
 *               message
 *
 * Thread-safe and async-signal-safe; a cancellation point, as sendmsg(2) is: a
 * thread that is cancelled while a stream waits for room has sent the part
 * that went, and the descriptors.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE
ssize_t sendfds_msg(int unix_domain_socket_fd,
                    const int *fds,
                    int nfds,
                    const void *data,
                    size_t len,
                    int flags);

/**
 * Receives bytes from a Unix-domain socket, and the descriptors that came with
 * them, if any.
 *
 * unix_domain_socket_fd: as for recvfd().
 * fds: receives the descriptors, which are the caller's to close and are
 *     close-on-exec from the start; may be NULL if *nfds is 0.
 * nfds: in: how many there is room for in fds, 0 or above; above 253 is as good
 *     as 253. out: how many came, 0 on -1 and -2.
 * data: receives the bytes. It may have been written on -1, too.
 * len: how many there is room for, 1 or above.
 * flags: 0, or MSG_DONTWAIT (do not block) and MSG_PEEK (leave the message in
 *     the queue: the descriptors that come are the caller's all the same, and
 *     new ones will come with the next receive), or'ed. MSG_NOSIGNAL and
 *     MSG_CMSG_CLOEXEC are as good as not given.
 *
 * Returns the number of bytes received; or -2 (RECVFD_EOF) at the end of file,
 * which SOCK_DGRAM does not have; or -1 with errno set. On -1 and -2 every
 * descriptor that came has been closed. 0 is a message without data: one with
 * descriptors, or an empty datagram (SOCK_DGRAM).
 *
 * On SOCK_STREAM, bytes that were sent without descriptors, or are the rest of a
 * message of which a part was received, may come together with those of the next
 * message that has some, before its bytes; the descriptors of two messages never
 * come together. A peek that such bytes fill brings the descriptors behind them.
 *
 * On SOCK_SEQPACKET a message without bytes and descriptors looks like the end of
 * file.
 *
 * Errors: those of recvfds() but ENOMSG, and
 * EMSGSIZE      more than *nfds descriptors came, or (SOCK_SEQPACKET, SOCK_DGRAM)
 *               more than len bytes; all descriptors are closed, and the message
 *               is consumed (SOCK_STREAM: the bytes that would have come, and the
 *               rest of it comes next, without descriptors), unless MSG_PEEK was
 *               given: then it stays in the queue, and so will the next peek fail
 * EINVAL        *nfds is below 0, or len is 0 or above SSIZE_MAX, or flags has
 *               another bit; nothing is consumed
 * EFAULT        nfds or data is NULL, or fds is and *nfds is not 0; likewise
 * EAGAIN        also: MSG_DONTWAIT was given and nothing has come
 * EAFNOSUPPORT  neither data nor a descriptor came, and the socket is not a
 *               Unix-domain one
 *
 * Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
 * Since version 1.0.0.
 */
SENDFD_MUST_USE
ssize_t recvfds_msg(int unix_domain_socket_fd,
                    int *fds,
                    int *nfds,
                    void *data,
                    size_t len,
                    int flags);

/**
 * Returns the version of the library that the program runs with, such as
 * "1.0.0": SENDFD_VERSION is that of the header it was compiled with. The
 * string is constant and not to be freed.
 *
 * Thread-safe and async-signal-safe. Since version 1.0.0.
 */
const char *sendfd_version(void);

#ifdef __cplusplus
}
#endif

#endif  /* SENDFD_H */

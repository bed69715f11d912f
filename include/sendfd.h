/* sendfd.h - pass open file descriptors over a Unix-domain socket
 *
 * The manual is libsendfd(7), with a page for each function.
 *
 * SPDX-License-Identifier: MIT
 *
 * Generated from src/ffi.rs: change that, then run `make header`.
 */

#ifndef SENDFD_H
#define SENDFD_H

#include <sys/types.h>
#include <sys/socket.h>

/* The version of this header; sendfd_version() is the library's. */
#define SENDFD_VERSION "1.0.0"
#define SENDFD_VERSION_MAJOR 1
#define SENDFD_VERSION_MINOR 0
#define SENDFD_VERSION_PATCH 0

/* To ignore results, define this as nothing before the include. */
#ifndef SENDFD_MUST_USE
#if defined(__GNUC__)
#define SENDFD_MUST_USE __attribute__((warn_unused_result))
#else
#define SENDFD_MUST_USE
#endif
#endif

/* The symbol that a call binds to: a program may have a sendfd of its own. */
#if defined(__GNUC__) || defined(__TINYC__)
#define SENDFD_SYMBOL(name) __asm__(name)
#else
#define SENDFD_SYMBOL(name)
#endif

/* The arrays that a function reads or writes, for the warnings of GCC. */
#if defined(__GNUC__) && defined(__has_attribute)
#if __has_attribute(access)
#define SENDFD_READS(array, size) __attribute__((access(read_only, array, size)))
#define SENDFD_WRITES(array, size) __attribute__((access(write_only, array, size)))
#define SENDFD_UPDATES(pointer) __attribute__((access(read_write, pointer)))
#endif
#endif
#ifndef SENDFD_READS
#define SENDFD_READS(array, size)
#define SENDFD_WRITES(array, size)
#define SENDFD_UPDATES(pointer)
#endif

/* The bytes that sendfds_cmsg() writes for nfds descriptors, and the size of the control
 * buffer for a recvmsg() before recvfds_cmsg(). */
#define SENDFDS_CMSG_SPACE(nfds) CMSG_SPACE((nfds) * sizeof(int))
#define RECVFDS_CMSG_SPACE(nfds) (SENDFDS_CMSG_SPACE(nfds) + 512)


/**
 * The most descriptors in one message: SCM_MAX_FD of the Linux kernel, unix(7).
 */
#define SENDFD_MAX_FDS 253

/**
 * The receiving functions return this at the end of file: the peer has closed
 * its socket, and everything that it sent has been received.
 */
#define RECVFD_EOF (-2)

/**
 * A flag of recvfds_msghdr() and recvfds_cmsg(): prefer the data to an error
 * if descriptors are missing, refused or too many.
 */
#define RECVFD_PARTIAL 0x10000000

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Sends one descriptor as one message with one byte of value 0, exactly as the
 * classic sendfd() snippet does. Never raises SIGPIPE.
 *
 * fd: any open descriptor. Sending does not close it.
 *
 * Returns 1, or -1 with errno set and nothing sent. See sendfd(3).
 */
SENDFD_MUST_USE
int sendfd(int unix_domain_socket_fd,
           int fd)
SENDFD_SYMBOL("libsendfd_sendfd");

/**
 * Receives one descriptor from one message, and reads one byte of any value,
 * as the classic recvfd() snippet does. The descriptor is close-on-exec.
 *
 * Returns the new descriptor (0 or above), which the caller closes; -2
 * (RECVFD_EOF) at the end of file; or -1 with errno set. On -1 and -2 every
 * descriptor that came is closed. See recvfd(3).
 */
SENDFD_MUST_USE
int recvfd(int unix_domain_socket_fd)
SENDFD_SYMBOL("libsendfd_recvfd");

/**
 * Sends 1 to 253 descriptors as one message, all or none, with one byte whose value is
 * their number.
 *
 * Returns nfds, or -1 with errno set and nothing sent. See sendfds(3).
 */
SENDFD_MUST_USE
int sendfds(int unix_domain_socket_fd,
            const int *fds,
            int nfds)
SENDFD_READS(2, 3);

/**
 * Receives the descriptors of one message, and reads one byte of any value. They
 * are close-on-exec, and the caller closes them.
 *
 * max_fds: the room in fds, 1 or above.
 *
 * Returns how many came (1 to max_fds); -2 (RECVFD_EOF) at the end of file; or
 * -1 with errno set. On -1 and -2 every descriptor that came is closed. See
 * recvfds(3).
 */
SENDFD_MUST_USE
int recvfds(int unix_domain_socket_fd,
            int *fds,
            int max_fds)
SENDFD_WRITES(2, 3);

/**
 * Sends any number of descriptors, in as many messages of sendfds() as it takes.
 *
 * Returns nfds; fewer (1 or above), with errno set, if it failed after some had
 * been sent; or -1 with errno set and nothing sent. Waits while too many
 * descriptors are in flight, unless the socket is non-blocking. See
 * sendfds_all(3).
 */
SENDFD_MUST_USE
int sendfds_all(int unix_domain_socket_fd,
                const int *fds,
                int nfds)
SENDFD_READS(2, 3);

/**
 * Receives exactly nfds descriptors, message by message: the counterpart of
 * sendfds_all().
 *
 * Returns nfds; fewer (1 or above), which the caller closes, if an error (errno
 * is set) or the end of file (errno is unchanged) came after some; -2 (RECVFD_EOF)
 * or -1 if it came first. See recvfds_all(3).
 */
SENDFD_MUST_USE
int recvfds_all(int unix_domain_socket_fd,
                int *fds,
                int nfds)
SENDFD_WRITES(2, 3);

/**
 * Sends len bytes of data with 0 to 253 descriptors; these are sent with the first
 * byte.
 *
 * flags: 0 or MSG_DONTWAIT and MSG_EOR.
 *
 * Returns the number of bytes sent, or -1 with errno set and nothing sent. On
 * SOCK_STREAM it can be fewer than len: send the rest without descriptors. With
 * nfds 0 the socket may be of any domain. See sendfds_msg(3).
 */
SENDFD_MUST_USE
ssize_t sendfds_msg(int unix_domain_socket_fd,
                    const int *fds,
                    int nfds,
                    const void *data,
                    size_t len,
                    int flags)
SENDFD_READS(2, 3) SENDFD_READS(4, 5);

/**
 * Receives up to len bytes of data, and the descriptors that came with them. They
 * are close-on-exec, and the caller closes them.
 *
 * nfds: in, the room in fds (0 or above); out, on success, how many came.
 * flags: 0 or MSG_DONTWAIT and MSG_PEEK.
 *
 * Returns the number of bytes (0 or above); -2 (RECVFD_EOF) at the end of file;
 * or -1 with errno set. On -1 and -2 every descriptor that came is closed, and
 * *nfds keeps its value. See recvfds_msg(3).
 */
SENDFD_MUST_USE
ssize_t recvfds_msg(int unix_domain_socket_fd,
                    int *fds,
                    int *nfds,
                    void *data,
                    size_t len,
                    int flags)
SENDFD_UPDATES(3) SENDFD_WRITES(4, 5);

/**
 * Sends a message as sendmsg(2) does, with several buffers, an address and other
 * control messages, and adds 0 to 253 descriptors.
 *
 * message: not changed. msg_control must not hold SCM_RIGHTS, and with
 *     descriptors at most 512 bytes.
 * flags: those of sendmsg(2) except MSG_OOB. MSG_NOSIGNAL is always set.
 *
 * Returns as sendfds_msg() does. See sendfds_msghdr(3).
 */
SENDFD_MUST_USE
ssize_t sendfds_msghdr(int unix_domain_socket_fd,
                       const int *fds,
                       int nfds,
                       const struct msghdr *message,
                       int flags)
SENDFD_READS(2, 3);

/**
 * Receives a message as recvmsg(2) does, with several buffers, the sender's address
 * and other control messages, and the descriptors apart from those.
 *
 * nfds: in, the room in fds (0 or above); out, on success, how many came.
 * message: changed on success only, as recvmsg(2) changes it; msg_control then
 *     holds the control messages except SCM_RIGHTS. The caller closes a pidfd in it.
 * flags: those of recvmsg(2) except MSG_OOB and MSG_ERRQUEUE; RECVFD_PARTIAL.
 *
 * Returns as recvfds_msg() does. See recvfds_msghdr(3).
 */
SENDFD_MUST_USE
ssize_t recvfds_msghdr(int unix_domain_socket_fd,
                       int *fds,
                       int *nfds,
                       struct msghdr *message,
                       int flags)
SENDFD_UPDATES(3) SENDFD_UPDATES(4);

/**
 * Writes a control message that carries 1 to 253 descriptors, for a sendmsg(2) of
 * the caller's own: makes no system call.
 *
 * control: aligned as struct cmsghdr, with room for SENDFDS_CMSG_SPACE(nfds)
 *     bytes or more.
 *
 * Returns the bytes written, which is the msg_controllen to use, or -1 with
 * errno set. See sendfds_cmsg(3).
 */
SENDFD_MUST_USE
ssize_t sendfds_cmsg(const int *fds,
                     int nfds,
                     void *control,
                     size_t room)
SENDFD_READS(1, 2) SENDFD_WRITES(3, 4);

/**
 * Takes the descriptors out of a message that the caller has received itself, with
 * MSG_CMSG_CLOEXEC and RECVFDS_CMSG_SPACE(*nfds) bytes of msg_control.
 *
 * nfds: in, the room in fds (0 or above); out, on success, how many came.
 * received: as recvmsg(2) left it; msg_control then holds the other messages.
 * flags: 0 or RECVFD_PARTIAL.
 *
 * Returns 0, or -1 with errno set. On EINVAL and EFAULT nothing has changed; on every
 * other error each descriptor that came is closed. See recvfds_cmsg(3).
 */
SENDFD_MUST_USE
int recvfds_cmsg(int unix_domain_socket_fd,
                 int *fds,
                 int *nfds,
                 struct msghdr *received,
                 int flags)
SENDFD_UPDATES(3) SENDFD_UPDATES(4);

/**
 * Returns the version of the library that the program runs with, such as
 * "1.0.0". SENDFD_VERSION is that of the header it was compiled with.
 */
const char *sendfd_version(void);

#ifdef __cplusplus
}
#endif

#endif  /* SENDFD_H */

//! The exported functions, documented for those who call them from C: pointers
//! become slices, a `Result` becomes a return value and errno. Nothing else.
//! `make header` turns this file into include/sendfd.h.
#![allow(
    clippy::doc_markdown,
    clippy::doc_lazy_continuation,
    clippy::missing_safety_doc,
    reason = "read by C programmers, in the header"
)]

use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;

use crate::cmsg;
use crate::recv::{self, Failure};
use crate::send;
use crate::sys::Errno;

/// Most descriptors in one message: SCM_MAX_FD of the Linux kernel, unix(7).
pub const SENDFD_MAX_FDS: c_int = 253;

/// What the receiving functions return at the end of file: the peer has closed
/// its socket, and everything that it sent has been received.
pub const RECVFD_EOF: c_int = -2;

const _: () = assert!(SENDFD_MAX_FDS as usize == cmsg::MAX_FDS);

/// A result as C has it: a value that is not negative, or -1 with errno set, or
/// `RECVFD_EOF`.
trait CReturn {
    fn into_c(self) -> c_int;
}

impl CReturn for usize {
    fn into_c(self) -> c_int {
        // No count exceeds the number of descriptors asked for, which came as an int.
        c_int::try_from(self).unwrap_or(c_int::MAX)
    }
}

impl CReturn for c_int {
    fn into_c(self) -> c_int {
        self
    }
}

impl CReturn for Errno {
    fn into_c(self) -> c_int {
        self.set();
        -1
    }
}

impl CReturn for Failure {
    fn into_c(self) -> c_int {
        match self {
            Self::EndOfFile => RECVFD_EOF,
            Self::Error(errno) => errno.into_c(),
        }
    }
}

impl<T: CReturn, E: CReturn> CReturn for Result<T, E> {
    fn into_c(self) -> c_int {
        match self {
            Ok(value) => value.into_c(),
            Err(error) => error.into_c(),
        }
    }
}

/// The descriptors that a C caller wants sent in one message.
///
/// # Safety
/// `fds` is NULL or valid for reads of `nfds` ints for as long as the slice is used.
unsafe fn to_send<'a>(fds: *const c_int, nfds: c_int) -> Result<&'a [c_int], Errno> {
    let nfds = usize::try_from(nfds).map_err(|_| Errno::EINVAL)?;
    if nfds == 0 || nfds > cmsg::MAX_FDS {
        return Err(Errno::EINVAL);
    }
    if fds.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: it is not NULL, so the caller vouches for `nfds` ints.
    Ok(unsafe { core::slice::from_raw_parts(fds, nfds) })
}

/// Where a C caller wants the descriptors of one message: at most as many
/// places as one can fill.
///
/// # Safety
/// `fds` is NULL or valid for writes of `max_fds` ints for as long as the slice is used.
unsafe fn to_fill<'a>(
    fds: *mut c_int,
    max_fds: c_int,
) -> Result<&'a mut [MaybeUninit<c_int>], Errno> {
    let max_fds = usize::try_from(max_fds).map_err(|_| Errno::EINVAL)?;
    if max_fds == 0 {
        return Err(Errno::EINVAL);
    }
    if fds.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: it is not NULL, so the caller vouches for `max_fds` ints, and no more are taken.
    Ok(unsafe { core::slice::from_raw_parts_mut(fds.cast(), max_fds.min(cmsg::MAX_FDS)) })
}

/// Sends one descriptor over a Unix-domain socket, with one byte of value 0:
/// one message on the wire, exactly that of the classic sendfd() snippet.
///
/// unix_domain_socket_fd: a connected AF_UNIX socket of type SOCK_STREAM,
///     SOCK_SEQPACKET or SOCK_DGRAM.
/// fd: any open descriptor. It stays open and the caller's, who may close it
///     as soon as this returns: the receiver gets a descriptor of its own for
///     the same open file description, sharing offset and status flags.
///
/// Returns 1, or -1 with errno set, and then nothing was sent.
///
/// Errors:
/// EAFNOSUPPORT  the socket is not a Unix-domain one: it cannot carry
///               descriptors (the kernel would drop them and report success)
/// EBADF         unix_domain_socket_fd or fd is not an open descriptor
/// EINVAL        fd is one that cannot be passed: an io_uring instance
/// ENOTSOCK      unix_domain_socket_fd is not a socket
/// ENOTCONN      it is not connected
/// EPIPE         the peer has closed, or one end was shut down; no SIGPIPE
/// ECONNREFUSED  the peer of a datagram socket has closed
/// ECONNRESET    the connection was reset by the peer
/// EAGAIN        the queue is full, and the socket is non-blocking or has a
///               send timeout (SO_SNDTIMEO)
/// EINTR         a signal handler ran before anything was sent
/// ETOOMANYREFS  this user has more descriptors in flight (sent and not yet
///               received) than RLIMIT_NOFILE; it passes as they are received
/// EPERM         the receiver takes no descriptors (SO_PASSRIGHTS is 0, Linux
///               6.16), or a security module forbids it
/// EMSGSIZE      the socket's send buffer is too small for the message
/// ENOBUFS, ENOMEM  the system is short of memory
///
/// Thread-safe and async-signal-safe; a cancellation point, as sendmsg(2) is.
/// Since version 1.0.0.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn sendfd(unix_domain_socket_fd: c_int, fd: c_int) -> c_int {
    send::message(unix_domain_socket_fd, &[fd], &[0]).into_c()
}

/// Receives one descriptor from a Unix-domain socket: reads one message and one
/// byte, of any value, as the classic recvfd() snippet does.
///
/// unix_domain_socket_fd: a Unix-domain socket of type SOCK_STREAM,
///     SOCK_SEQPACKET or SOCK_DGRAM.
///
/// Returns the new descriptor, 0 or above, which is the caller's to close and
/// is close-on-exec from the start (fcntl(fd, F_SETFD, 0) turns that off); or
/// -2 (RECVFD_EOF) at the end of file, which SOCK_DGRAM does not have; or -1
/// with errno set. On -1 and -2 every descriptor that came has been closed.
///
/// Errors:
/// ENOMSG        a message came with no descriptor in it; its byte is consumed
/// EMSGSIZE      more than one descriptor came; all are closed and the message
///               is consumed
/// EMFILE, ENFILE  the table of descriptors of this process, or of the system,
///               is full; the message is consumed, and what was in it is lost
/// EACCES        a security module refused the descriptor; likewise consumed
/// any other     from Linux 7.3 on, with SO_RIGHTS_NOTRUNC, the errno for which
///               the kernel refused the descriptor; likewise consumed
/// EAFNOSUPPORT  no descriptor came, and the socket is not a Unix-domain one
/// EBADF         unix_domain_socket_fd is not an open descriptor
/// ENOTSOCK      it is not a socket
/// ENOTCONN      it is not connected
/// EINVAL        it is not connected and not a datagram socket
/// ECONNRESET    the peer closed without having received all that we sent
/// EAGAIN        nothing has come, and the socket is non-blocking or has a
///               receive timeout (SO_RCVTIMEO)
/// EINTR         a signal handler ran before anything came
/// ENOMEM        the system is short of memory
///
/// Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
/// Since version 1.0.0.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn recvfd(unix_domain_socket_fd: c_int) -> c_int {
    let mut fd = [MaybeUninit::new(-1)];
    let received = recv::descriptors(unix_domain_socket_fd, &mut fd);
    let [fd] = fd;
    // SAFETY: it was initialised above, and a receive only ever writes a descriptor over it.
    received.map(|_| unsafe { fd.assume_init() }).into_c()
}

/// Sends 1 to 253 descriptors over a Unix-domain socket as one message, with
/// one byte whose value is their number. All of them go, or none.
///
/// unix_domain_socket_fd: as for sendfd().
/// fds: the descriptors, which stay open and the caller's. Only read.
/// nfds: how many, 1 to SENDFD_MAX_FDS (253).
///
/// Returns nfds, or -1 with errno set, and then nothing was sent.
///
/// Errors: those of sendfd(), and
/// EBADF         one of the descriptors is not open
/// EINVAL        nfds is below 1 or above 253 (fds is not read), or one of the
///               descriptors cannot be passed (an io_uring instance)
/// EFAULT        fds is NULL
///
/// Thread-safe and async-signal-safe; a cancellation point, as sendmsg(2) is.
/// Since version 1.0.0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfds(
    unix_domain_socket_fd: c_int,
    fds: *const c_int,
    nfds: c_int,
) -> c_int {
    // SAFETY: the caller of a C function vouches for the array it passes.
    unsafe { to_send(fds, nfds) }
        .and_then(|fds| send::descriptors(unix_domain_socket_fd, fds))
        .into_c()
}

/// Receives the descriptors of one message from a Unix-domain socket, and reads
/// one byte, of any value, with them.
///
/// unix_domain_socket_fd: as for recvfd().
/// fds: receives the descriptors, which are the caller's to close and are
///     close-on-exec from the start. Written only on success, and only as many
///     places as descriptors came.
/// max_fds: how many there is room for in fds, 1 or above. No message has more
///     than SENDFD_MAX_FDS (253).
///
/// Returns how many descriptors came, 1 to max_fds; or -2 (RECVFD_EOF) at the
/// end of file, which SOCK_DGRAM does not have; or -1 with errno set. On -1 and
/// -2 every descriptor that came has been closed.
///
/// Errors: those of recvfd(), and
/// EMSGSIZE      more than max_fds descriptors came; all are closed and the
///               message is consumed
/// EMFILE, ENFILE, EACCES  fewer came than were sent; those are closed too
/// EINVAL        max_fds is below 1; nothing is consumed
/// EFAULT        fds is NULL; nothing is consumed
///
/// Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
/// Since version 1.0.0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvfds(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    max_fds: c_int,
) -> c_int {
    // SAFETY: the caller of a C function vouches for the array it passes.
    unsafe { to_fill(fds, max_fds) }
        .map_err(Failure::from)
        .and_then(|fds| recv::descriptors(unix_domain_socket_fd, fds))
        .into_c()
}

/// Returns the version of the library that the program runs with, such as
/// "1.0.0": SENDFD_VERSION is that of the header it was compiled with. The
/// string is constant and not to be freed.
///
/// Thread-safe and async-signal-safe. Since version 1.0.0.
#[unsafe(no_mangle)]
pub extern "C" fn sendfd_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

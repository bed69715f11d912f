//! The exported functions, documented for those who call them from C: pointers
//! become slices, a `Result` becomes a return value and errno. Nothing else.
//! `make header` turns this file into include/sendfd.h.
// C programmers read the comments, in the header.
#![allow(
    clippy::doc_markdown,
    clippy::doc_lazy_continuation,
    clippy::missing_safety_doc
)]
// Counts and lengths go from C's types to Rust's and back, each checked before.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use core::mem::{size_of, MaybeUninit};

use libc::{c_char, c_int, c_void, size_t, ssize_t};

use crate::cmsg;
use crate::recv::{self, Failure};
use crate::send;
use crate::sys::{Data, Errno, Message};

/// Most descriptors in one message: SCM_MAX_FD of the Linux kernel, unix(7).
pub const SENDFD_MAX_FDS: c_int = 253;

/// What the receiving functions return at the end of file: the peer has closed
/// its socket, and everything that it sent has been received.
pub const RECVFD_EOF: c_int = -2;

const _: () = assert!(SENDFD_MAX_FDS as usize == cmsg::MAX_FDS);

/// What a function does, as C has it: a value that is not negative, or -1 with
/// errno set, or `RECVFD_EOF`.
#[inline(always)]
fn bytes(body: impl FnOnce() -> Result<usize, Failure>) -> ssize_t {
    match body() {
        // No call returns more than a buffer holds.
        Ok(value) => value as ssize_t,
        Err(Failure::EndOfFile) => RECVFD_EOF as ssize_t,
        Err(Failure::Error(errno)) => {
            errno.set();
            -1
        }
    }
}

/// The same, for counts: none exceeds the number asked for, which came as an int.
#[inline(always)]
fn int(body: impl FnOnce() -> Result<usize, Failure>) -> c_int {
    bytes(body) as c_int
}

/// The same where some may have been passed before it failed: then errno is set, and their
/// number returned.
fn short(passed: usize, failure: Failure) -> Result<usize, Failure> {
    match (passed, failure) {
        (0, failure) => Err(failure),
        (passed, Failure::Error(errno)) => {
            errno.set();
            Ok(passed)
        }
        (passed, Failure::EndOfFile) => Ok(passed),
    }
}

/// A count of C, from `least` to `most`.
#[inline(always)]
fn count(value: c_int, least: c_int, most: c_int) -> Result<usize, Errno> {
    if value < least || value > most {
        return Err(Errno::EINVAL);
    }
    Ok(value as usize)
}

/// Bytes of data, from `least` to what a call can return.
#[inline(always)]
fn byte_count(len: usize, least: usize) -> Result<usize, Errno> {
    if len < least || len > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    Ok(len)
}

/// Fails with EFAULT if no array can be there: NULL, or longer than the address space,
/// as an int of a 32-bit machine can say.
#[inline(always)]
fn require_array<T>(array: *const T, len: usize) -> Result<(), Errno> {
    if array.is_null() || len > isize::MAX as usize / size_of::<T>() {
        return Err(Errno::EFAULT);
    }
    Ok(())
}

/// The descriptors of a C caller.
///
/// # Safety
/// `fds` is NULL or aligned and valid for reads of `len` ints for as long as the slice
/// is used, and nothing writes to them.
#[inline(always)]
unsafe fn to_read<'a>(fds: *const c_int, len: usize) -> Result<&'a [c_int], Errno> {
    if len == 0 {
        return Ok(&[]);
    }
    require_array(fds, len)?;
    // SAFETY: it is not NULL, so the caller vouches for `len` aligned ints that nothing writes to.
    Ok(unsafe { core::slice::from_raw_parts(fds, len) })
}

/// The places for descriptors of a C caller.
///
/// # Safety
/// `fds` is NULL or aligned and valid for writes of `len` ints for as long as the slice
/// is used, and nothing else reads or writes them.
#[inline(always)]
unsafe fn to_write<'a>(fds: *mut c_int, len: usize) -> Result<&'a mut [MaybeUninit<c_int>], Errno> {
    if len == 0 {
        return Ok(&mut []);
    }
    require_array(fds, len)?;
    // SAFETY: it is not NULL, so the caller vouches for `len` aligned ints that are this call's alone.
    Ok(unsafe { core::slice::from_raw_parts_mut(fds.cast(), len) })
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
/// ECONNREFUSED  the peer of a datagram socket has closed; that disconnects it,
///               so that the next send fails with ENOTCONN
/// ECONNRESET    the connection was reset by the peer
/// EAGAIN        the queue is full, and the socket is non-blocking or has a
///               send timeout (SO_SNDTIMEO)
/// EINTR         a signal handler ran before anything was sent; after one with
///               SA_RESTART, as signal(2) installs it, the kernel goes on
///               waiting, unless the socket has a timeout
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
#[no_mangle]
pub extern "C" fn sendfd(unix_domain_socket_fd: c_int, fd: c_int) -> c_int {
    int(|| Ok(send::descriptor(unix_domain_socket_fd, fd)?))
}

/// Receives one descriptor from a Unix-domain socket: reads one message and one
/// byte, of any value, as the classic recvfd() snippet does. The kernel drops
/// what else a SOCK_SEQPACKET or SOCK_DGRAM message holds.
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
///               is consumed (SOCK_STREAM: its first byte; if it has more, they
///               come next and are ENOMSG)
/// EMFILE, ENFILE  the table of descriptors of this process, or of the system,
///               is full; the message is consumed, and what was in it is lost
/// EACCES        a security module refused the descriptor, or another thread
///               has closed one since the table was full; likewise consumed
/// any other     from Linux 7.3 on, with SO_RIGHTS_NOTRUNC, the errno for which
///               the kernel refused the descriptor; likewise consumed
/// EAFNOSUPPORT  no descriptor came, and the socket is not a Unix-domain one
/// EBADF         unix_domain_socket_fd is not an open descriptor
/// ENOTSOCK      it is not a socket
/// ENOTCONN      it is a SOCK_SEQPACKET (or TCP) socket that is not connected
/// EINVAL        it is a SOCK_STREAM socket that is not connected
/// ECONNRESET    the peer closed without having received all that we sent
/// EAGAIN        nothing has come, and the socket is non-blocking or has a
///               receive timeout (SO_RCVTIMEO)
/// EINTR         a signal handler ran before anything came; after one with
///               SA_RESTART, as signal(2) installs it, the kernel goes on
///               waiting, unless the socket has a timeout
/// ENOMEM        the system is short of memory
///
/// Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
/// Since version 1.0.0.
#[must_use]
#[no_mangle]
pub extern "C" fn recvfd(unix_domain_socket_fd: c_int) -> c_int {
    let mut fd = [MaybeUninit::new(-1)];
    let received = int(|| recv::descriptors(unix_domain_socket_fd, &mut fd));
    if received < 0 {
        return received;
    }
    let [fd] = fd;
    // SAFETY: it was initialised above, and a receive only ever writes a descriptor over it.
    unsafe { fd.assume_init() }
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
#[no_mangle]
pub unsafe extern "C" fn sendfds(
    unix_domain_socket_fd: c_int,
    fds: *const c_int,
    nfds: c_int,
) -> c_int {
    int(|| {
        let nfds = count(nfds, 1, SENDFD_MAX_FDS)?;
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        Ok(send::descriptors(unix_domain_socket_fd, fds)?)
    })
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
#[no_mangle]
pub unsafe extern "C" fn recvfds(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    max_fds: c_int,
) -> c_int {
    int(|| {
        let max_fds = count(max_fds, 1, c_int::MAX)?.min(cmsg::MAX_FDS);
        // SAFETY: the caller vouches for `max_fds` places.
        let fds = unsafe { to_write(fds, max_fds) }?;
        recv::descriptors(unix_domain_socket_fd, fds)
    })
}

/// Sends any number of descriptors over a Unix-domain socket, as as many
/// messages of sendfds() as it takes: 253 in each but the last.
///
/// unix_domain_socket_fd: as for sendfd().
/// fds: the descriptors, which stay open and the caller's. Only read.
/// nfds: how many, 1 or above.
///
/// Returns nfds; or, if it failed after some messages had gone, how many
/// descriptors went, 1 or above and below nfds, with errno set to the error; or
/// -1 with errno set, and then nothing was sent. What is reported as sent is
/// exactly what the receiver can receive.
///
/// On a blocking socket ETOOMANYREFS is waited out, as a full queue is: it
/// sleeps 1 ms, then twice as long each time up to 32 ms, and tries again, until
/// the receiver has taken enough, or is gone (EPIPE; SOCK_SEQPACKET: ECONNRESET
/// if it left something unread; SOCK_DGRAM: ECONNREFUSED, which the kernel tells
/// only once there are not too many in flight), or a signal handler has run
/// (EINTR), or the send timeout of the socket (SO_SNDTIMEO) is over (EAGAIN).
///
/// Errors: those of sendfds(), and
/// EINVAL        nfds is below 1, or one of the descriptors cannot be passed
/// ETOOMANYREFS  the socket is non-blocking, and this user has too many
///               descriptors in flight
///
/// Thread-safe and async-signal-safe (two callers at once may have their messages
/// mixed); a cancellation point, as sendmsg(2) and nanosleep(2) are. A thread
/// that is cancelled cannot tell how many went.
/// Since version 1.0.0.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn sendfds_all(
    unix_domain_socket_fd: c_int,
    fds: *const c_int,
    nfds: c_int,
) -> c_int {
    int(|| {
        let nfds = count(nfds, 1, c_int::MAX)?;
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        send::all_descriptors(unix_domain_socket_fd, fds)
            .or_else(|stopped| short(stopped.sent, stopped.errno.into()))
    })
}

/// Receives exactly nfds descriptors from a Unix-domain socket, message after
/// message, reading one byte with each. The counterpart of sendfds_all().
///
/// unix_domain_socket_fd: as for recvfd().
/// fds: receives the descriptors, which are the caller's to close and are
///     close-on-exec from the start.
/// nfds: how many are wanted, 1 or above; there must be room for them all.
///
/// Returns nfds; or, if an error or the end of file came after some, how many
/// came, 1 or above and below nfds, which are the caller's: errno is set to the
/// error, and is as it was before the call if it was the end of file; or -2
/// (RECVFD_EOF) if the end of file came first, or -1 with errno set if an error
/// did.
///
/// A socket that is non-blocking (EAGAIN), or a signal handler (EINTR), can end
/// it with a short count at any message: go on with fds + count.
///
/// Errors: those of recvfds(), and
/// EMSGSIZE      a message has more descriptors than are still wanted; those of
///               that message are closed, and the message is consumed
/// EINVAL        nfds is below 1; nothing is consumed
///
/// Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is:
/// a thread that is cancelled leaves what came before open, in fds.
/// Since version 1.0.0.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn recvfds_all(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    nfds: c_int,
) -> c_int {
    int(|| {
        let nfds = count(nfds, 1, c_int::MAX)?;
        // SAFETY: the caller vouches for `nfds` places.
        let fds = unsafe { to_write(fds, nfds) }?;
        recv::all_descriptors(unix_domain_socket_fd, fds)
            .or_else(|stopped| short(stopped.received, stopped.failure))
    })
}

/// Sends bytes of the caller's own over a Unix-domain socket, with 0 to 253
/// descriptors.
///
/// unix_domain_socket_fd: as for sendfd().
/// fds: the descriptors, which stay open and the caller's. Only read; may be
///     NULL if nfds is 0.
/// nfds: how many, 0 to SENDFD_MAX_FDS (253).
/// data: the bytes. Only read; may be NULL if len is 0.
/// len: how many, 1 or above if there are descriptors.
/// flags: 0, or MSG_DONTWAIT (do not block) and MSG_EOR (end of record), or'ed.
///     MSG_NOSIGNAL and MSG_CMSG_CLOEXEC are as good as not given.
///
/// Returns the number of bytes sent, or -1 with errno set, and then nothing was
/// sent. Any other return means that every descriptor went, with the first
/// byte. On SOCK_STREAM it may be less than len: send the rest, and send it
/// without the descriptors, or they are sent twice.
///
/// Errors: those of sendfd(), and
/// EBADF         one of the descriptors is not open
/// EINVAL        nfds is below 0 or above 253, or there are descriptors and len
///               is 0 (a stream drops them), or len is above SSIZE_MAX, or flags
///               has another bit, or one of the descriptors cannot be passed
/// EFAULT        fds is NULL and nfds is not 0, or data is NULL and len is not 0
/// EAGAIN        also: MSG_DONTWAIT was given and the queue is full
/// EMSGSIZE      SOCK_SEQPACKET or SOCK_DGRAM: the data does not fit into one
///               message
///
/// Thread-safe and async-signal-safe; a cancellation point, as sendmsg(2) is: a
/// thread that is cancelled while a stream waits for room has sent the part
/// that went, and the descriptors.
/// Since version 1.0.0.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn sendfds_msg(
    unix_domain_socket_fd: c_int,
    fds: *const c_int,
    nfds: c_int,
    data: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    bytes(|| {
        let nfds = count(nfds, 0, SENDFD_MAX_FDS)?;
        let len = byte_count(len, nfds.min(1))?;
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        if data.is_null() && len > 0 {
            return Err(Errno::EFAULT.into());
        }
        // SAFETY: the caller vouches for `len` bytes, which are only read.
        let mut data = unsafe { Data::new(data as *mut c_void, len) };
        let mut message = Message::of(&mut data);
        Ok(send::message(
            unix_domain_socket_fd,
            fds,
            &mut message,
            len,
            flags,
        )?)
    })
}

/// Receives bytes from a Unix-domain socket, and the descriptors that came with
/// them, if any.
///
/// unix_domain_socket_fd: as for recvfd().
/// fds: receives the descriptors, which are the caller's to close and are
///     close-on-exec from the start; may be NULL if *nfds is 0.
/// nfds: in: how many there is room for in fds, 0 or above; above 253 is as good
///     as 253. out: how many came, 0 on -1 and -2.
/// data: receives the bytes. It may have been written on -1, too.
/// len: how many there is room for, 1 or above.
/// flags: 0, or MSG_DONTWAIT (do not block) and MSG_PEEK (leave the message in
///     the queue: the descriptors that come are the caller's all the same, and
///     new ones will come with the next receive), or'ed. MSG_NOSIGNAL and
///     MSG_CMSG_CLOEXEC are as good as not given.
///
/// Returns the number of bytes received; or -2 (RECVFD_EOF) at the end of file,
/// which SOCK_DGRAM does not have; or -1 with errno set. On -1 and -2 every
/// descriptor that came has been closed. 0 is a message without data: one with
/// descriptors, or an empty datagram (SOCK_DGRAM).
///
/// On SOCK_STREAM, bytes that were sent without descriptors, or are the rest of a
/// message of which a part was received, may come together with those of the next
/// message that has some, before its bytes; the descriptors of two messages never
/// come together. A peek that such bytes fill brings the descriptors behind them.
///
/// On SOCK_SEQPACKET a message without bytes and descriptors looks like the end of
/// file.
///
/// Errors: those of recvfds() but ENOMSG, and
/// EMSGSIZE      more than *nfds descriptors came, or (SOCK_SEQPACKET, SOCK_DGRAM)
///               more than len bytes; all descriptors are closed, and the message
///               is consumed (SOCK_STREAM: the bytes that would have come, and the
///               rest of it comes next, without descriptors), unless MSG_PEEK was
///               given: then it stays in the queue, and so will the next peek fail
/// EINVAL        *nfds is below 0, or len is 0 or above SSIZE_MAX, or flags has
///               another bit; nothing is consumed
/// EFAULT        nfds or data is NULL, or fds is and *nfds is not 0; likewise
/// EAGAIN        also: MSG_DONTWAIT was given and nothing has come
/// EAFNOSUPPORT  neither data nor a descriptor came, and the socket is not a
///               Unix-domain one
///
/// Thread-safe and async-signal-safe; a cancellation point, as recvmsg(2) is.
/// Since version 1.0.0.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn recvfds_msg(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    nfds: *mut c_int,
    data: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    bytes(|| {
        if nfds.is_null() {
            return Err(Errno::EFAULT.into());
        }
        // SAFETY: it is not NULL, so the caller vouches for an aligned int; it is not used while `fds` is.
        let room = count(unsafe { nfds.read() }, 0, c_int::MAX)?.min(cmsg::MAX_FDS);
        let len = byte_count(len, 1)?;
        // SAFETY: the caller vouches for `*nfds` places.
        let fds = unsafe { to_write(fds, room) }?;
        if data.is_null() {
            return Err(Errno::EFAULT.into());
        }
        // SAFETY: the caller vouches for `len` bytes.
        let mut data = unsafe { Data::new(data, len) };
        let mut message = Message::of(&mut data);
        let received = recv::message(unix_domain_socket_fd, fds, &mut message, flags)?;
        // SAFETY: as above, and `fds` is no longer used.
        unsafe { nfds.write(received.nfds as c_int) };
        Ok(received.bytes)
    })
}

/// Returns the version of the library that the program runs with, such as
/// "1.0.0": SENDFD_VERSION is that of the header it was compiled with. The
/// string is constant and not to be freed.
///
/// Thread-safe and async-signal-safe. Since version 1.0.0.
#[no_mangle]
pub extern "C" fn sendfd_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

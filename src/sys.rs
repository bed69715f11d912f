//! The system calls that the library makes and errno: thin, typed, and with
//! `ffi` the only place of `unsafe`. Knows nothing of what a message means.

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, zeroed};

/// An error number of errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

impl Errno {
    pub(crate) const EACCES: Self = Self(libc::EACCES);
    pub(crate) const EAFNOSUPPORT: Self = Self(libc::EAFNOSUPPORT);
    pub(crate) const EAGAIN: Self = Self(libc::EAGAIN);
    pub(crate) const EFAULT: Self = Self(libc::EFAULT);
    pub(crate) const EINVAL: Self = Self(libc::EINVAL);
    pub(crate) const EMFILE: Self = Self(libc::EMFILE);
    pub(crate) const EMSGSIZE: Self = Self(libc::EMSGSIZE);
    pub(crate) const ENOMSG: Self = Self(libc::ENOMSG);
    pub(crate) const ETOOMANYREFS: Self = Self(libc::ETOOMANYREFS);

    /// Makes this the calling thread's errno.
    pub(crate) fn set(self) {
        // SAFETY: it has no condition.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it points to this thread's errno, which lives as long as the thread.
        unsafe { *errno = self.0 }
    }

    fn last() -> Self {
        // SAFETY: it has no condition.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it points to this thread's errno, which lives as long as the thread.
        Self(unsafe { *errno })
    }

    /// The value of a C call that returns a negative one for an error.
    fn check(returned: c_int) -> Result<c_int, Self> {
        if returned < 0 {
            Err(Self::last())
        } else {
            Ok(returned)
        }
    }
}

/// What recvmsg(2) brought.
pub(crate) struct Incoming<'c> {
    /// Bytes of data.
    pub(crate) bytes: usize,
    /// The control messages.
    pub(crate) control: &'c [u8],
    /// `MSG_CTRUNC`: something of the control messages was left out.
    pub(crate) control_truncated: bool,
    /// `MSG_TRUNC`: a datagram had more data than there was room for.
    pub(crate) data_truncated: bool,
}

/// Sends `data` and the control messages in `control` with sendmsg(2), never
/// raising SIGPIPE. Returns the number of bytes of data sent.
pub(crate) fn sendmsg(
    socket: c_int,
    data: &[u8],
    control: &[MaybeUninit<u8>],
    flags: c_int,
) -> Result<usize, Errno> {
    let mut iov = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let message = message_header(&mut iov, control.as_ptr().cast_mut().cast(), control.len());
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: `message` points to `data` and `control`, which outlive the call, and sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket, &raw const message, flags) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

/// Receives one message into `data` and `control` with recvmsg(2), the
/// descriptors in it close-on-exec from the start.
pub(crate) fn recvmsg<'c>(
    socket: c_int,
    data: &mut [MaybeUninit<u8>],
    control: &'c mut [MaybeUninit<u8>],
    flags: c_int,
) -> Result<Incoming<'c>, Errno> {
    let mut iov = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    let mut message = message_header(&mut iov, control.as_mut_ptr().cast(), control.len());
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` points to `data` and `control`, which outlive the call and are this call's to write.
    let received = unsafe { libc::recvmsg(socket, &raw mut message, flags) };
    let bytes = usize::try_from(received).map_err(|_| Errno::last())?;
    #[allow(
        clippy::unnecessary_cast,
        reason = "size_t on glibc, socklen_t on musl"
    )]
    let control_len = control.len().min(message.msg_controllen as usize);
    // SAFETY: recvmsg had its address, so these bytes are whatever it left there; padding, which it only counts, nobody reads.
    let control = unsafe { core::slice::from_raw_parts(control.as_ptr().cast(), control_len) };
    Ok(Incoming {
        bytes,
        control,
        control_truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
        data_truncated: message.msg_flags & libc::MSG_TRUNC != 0,
    })
}

fn message_header(iov: &mut libc::iovec, control: *mut c_void, control_len: usize) -> libc::msghdr {
    // SAFETY: msghdr is integers and pointers, for which zero is a value. It has private padding on musl.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    // size_t on glibc, socklen_t on musl.
    message.msg_controllen = control_len as _;
    message
}

/// Fails with EAFNOSUPPORT on a socket that is not a Unix-domain one: no other
/// passes descriptors.
pub(crate) fn require_unix_domain(socket: c_int) -> Result<(), Errno> {
    match socket_option(socket, libc::SO_DOMAIN, 0)? {
        libc::AF_UNIX => Ok(()),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Whether the socket has connections, which end: all but datagram sockets do.
pub(crate) fn is_connection(socket: c_int) -> Result<bool, Errno> {
    Ok(socket_option(socket, libc::SO_TYPE, 0)? != libc::SOCK_DGRAM)
}

/// How many microseconds a send on the socket may take (`SO_SNDTIMEO`); 0 for
/// no limit.
pub(crate) fn send_timeout(socket: c_int) -> Result<i64, Errno> {
    let none = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let timeout = socket_option(socket, libc::SO_SNDTIMEO, none)?;
    #[allow(clippy::useless_conversion, reason = "32 bits on 32-bit machines")]
    let (seconds, micros) = (i64::from(timeout.tv_sec), i64::from(timeout.tv_usec));
    Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// Gets an option of level `SOL_SOCKET` whose value is a `T`, an int or a struct of integers.
fn socket_option<T: Copy>(socket: c_int, option: c_int, mut value: T) -> Result<T, Errno> {
    #[allow(clippy::cast_possible_truncation, reason = "a few bytes")]
    let mut len = size_of::<T>() as libc::socklen_t;
    let place = (&raw mut value).cast::<c_void>();
    // SAFETY: `place` and `len` are valid for writes, and `len` is the size of what `place` points to.
    let returned =
        unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, option, place, &raw mut len) };
    Errno::check(returned).map(|_| value)
}

/// Whether the socket is non-blocking (`O_NONBLOCK`).
pub(crate) fn is_nonblocking(socket: c_int) -> Result<bool, Errno> {
    // SAFETY: F_GETFL takes no argument and touches no memory.
    let flags = Errno::check(unsafe { libc::fcntl(socket, libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// Sleeps for less than a second; fails with EINTR when a signal handler ran.
pub(crate) fn sleep(micros: i32) -> Result<(), Errno> {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: micros.saturating_mul(1000).into(),
    };
    // SAFETY: `time` outlives the call, and no remainder is asked for.
    Errno::check(unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) }).map(|_| ())
}

/// Duplicates a descriptor, close-on-exec.
pub(crate) fn duplicate(fd: c_int) -> Result<c_int, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC takes an int and touches no memory.
    Errno::check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
}

/// Closes a descriptor that the kernel has installed for this library. Linux
/// closes it whatever close(2) returns; errno stays as it was.
pub(crate) fn close(fd: c_int) {
    let errno = Errno::last();
    // SAFETY: close takes an int; nobody else has been told of this descriptor.
    unsafe { libc::close(fd) };
    errno.set();
}

/// Ends the process.
#[cfg(not(test))]
pub(crate) fn abort() -> ! {
    // SAFETY: abort has no condition.
    unsafe { libc::abort() }
}

/// Reads what a test has initialised.
#[cfg(test)]
pub(crate) fn initialised(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: tests start from a buffer of which every byte is set.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

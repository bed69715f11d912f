//! The system calls that the library makes, errno, and the casts between a buffer
//! and a control message: thin, typed, and with `ffi` the only place of `unsafe`.
//! This module does not know what a message means.

use core::marker::PhantomData;
use core::mem::{align_of, size_of, size_of_val, zeroed, MaybeUninit};
use core::ptr::addr_of_mut;

use libc::{c_int, c_void};

/// An error number of errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

impl Errno {
    /// The peer has closed, and all that it sent has been received: no error, so no number of one.
    pub(crate) const END_OF_FILE: Self = Self(-1);
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
        // SAFETY: it points to this thread's errno, aligned, which lives as long as the thread and which no reference points to.
        unsafe { *errno = self.0 }
    }

    fn last() -> Self {
        // SAFETY: it has no condition.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it points to this thread's errno, aligned, which lives as long as the thread.
        Self(unsafe { *errno })
    }

    /// The value of a C call that returns a negative one for an error.
    #[inline(always)]
    fn check(returned: c_int) -> Result<c_int, Self> {
        if returned < 0 {
            return Err(Self::last());
        }
        Ok(returned)
    }
}

/// `struct cmsghdr`, as the kernel lays it out.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// Bytes of the header and the data, without padding.
    pub(crate) len: usize,
    pub(crate) level: c_int,
    pub(crate) kind: c_int,
}

/// `CMSG_ALIGN`.
pub(crate) const fn align(len: usize) -> usize {
    (len + align_of::<Header>() - 1) & !(align_of::<Header>() - 1)
}

/// Where one part of a message's data is: a pointer and a length, and no slice, as
/// another process may write to it at any time (shared memory).
#[repr(transparent)]
pub(crate) struct Data<'d>(libc::iovec, PhantomData<&'d mut [u8]>);

impl<'d> Data<'d> {
    /// # Safety
    /// For as long as `'d`, `start` is NULL or valid for reads (a send) or writes (a receive)
    /// of `len` bytes, and no reference points there.
    #[inline(always)]
    pub(crate) unsafe fn new(start: *mut c_void, len: usize) -> Self {
        let iovec = libc::iovec {
            iov_base: start,
            iov_len: len,
        };
        Self(iovec, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn of_byte(byte: &'d mut u8) -> Self {
        let start: *mut u8 = byte;
        // SAFETY: the one byte is borrowed for as long as this is used.
        unsafe { Self::new(start.cast(), 1) }
    }
}

/// A message as sendmsg(2) and recvmsg(2) take it, but for its descriptors.
pub(crate) struct Message<'m, O> {
    header: libc::msghdr,
    /// The control messages without descriptors: those to send, or the room for those that come.
    pub(crate) others: O,
    /// How many bytes of the room have been used.
    pub(crate) others_len: usize,
    /// Bytes of data: those to send, then those that were sent or received.
    pub(crate) len: usize,
    data: PhantomData<&'m mut [u8]>,
}

/// A message to send.
pub(crate) type Outgoing<'m> = Message<'m, &'m [u8]>;

/// Room for a message.
pub(crate) type Incoming<'m> = Message<'m, &'m mut [MaybeUninit<u8>]>;

impl<'m, O: Default> Message<'m, O> {
    /// A message of one buffer, without other control messages.
    #[inline(always)]
    pub(crate) fn of(data: &'m mut Data<'_>) -> Self {
        // SAFETY: msghdr is integers and pointers, for which zero is a value. It has private padding on musl.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_iov = &mut data.0;
        header.msg_iovlen = 1;
        Self {
            header,
            others: O::default(),
            others_len: 0,
            len: data.0.iov_len,
            data: PhantomData,
        }
    }

    /// The address and the buffers of a caller's message, which have `len` bytes.
    ///
    /// # Safety
    /// For as long as `'m` the address and the buffers of `theirs` are valid, for reads (a
    /// send) or writes (a receive), and no reference points there.
    #[inline(always)]
    pub(crate) unsafe fn like(theirs: &libc::msghdr, len: usize, others: O) -> Self {
        // SAFETY: as above.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = theirs.msg_name;
        header.msg_namelen = theirs.msg_namelen;
        header.msg_iov = theirs.msg_iov;
        header.msg_iovlen = theirs.msg_iovlen;
        Self {
            header,
            others,
            others_len: 0,
            len,
            data: PhantomData,
        }
    }
}

impl Incoming<'_> {
    /// The length of the address that the kernel has written.
    pub(crate) fn name_len(&self) -> libc::socklen_t {
        self.header.msg_namelen
    }

    /// The flags that recvmsg(2) has set.
    pub(crate) fn flags(&mut self) -> &mut c_int {
        &mut self.header.msg_flags
    }
}

/// Sends a message with the control messages in `control`, never raising SIGPIPE.
#[inline(always)]
pub(crate) fn sendmsg(
    socket: c_int,
    message: &mut Outgoing<'_>,
    control: &[MaybeUninit<u8>],
    flags: c_int,
) -> Result<(), Errno> {
    message.header.msg_control = control.as_ptr() as *mut c_void;
    // size_t on glibc, socklen_t on musl.
    message.header.msg_controllen = control.len() as _;
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: `message` points to data and `control`, which outlive the call, and sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket, &message.header, flags) };
    if sent < 0 {
        return Err(Errno::last());
    }
    #[allow(clippy::cast_sign_loss)] // It is not negative.
    let len = sent as usize;
    message.len = len;
    Ok(())
}

/// Receives a message into the buffers of `message` and its control messages into
/// `control`, the descriptors in them close-on-exec from the start. Returns the
/// control messages.
#[inline(always)]
pub(crate) fn recvmsg<'c>(
    socket: c_int,
    message: &mut Incoming<'_>,
    control: &'c mut [MaybeUninit<u8>],
    flags: c_int,
) -> Result<&'c mut [u8], Errno> {
    message.header.msg_control = control.as_mut_ptr().cast();
    message.header.msg_controllen = control.len() as _;
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` points to data and `control`, which outlive the call and are this call's to write.
    let received = unsafe { libc::recvmsg(socket, &mut message.header, flags) };
    if received < 0 {
        return Err(Errno::last());
    }
    #[allow(clippy::unnecessary_cast)] // size_t on glibc, socklen_t on musl.
    let len = control.len().min(message.header.msg_controllen as usize);
    let start = control.as_mut_ptr().cast();
    // SAFETY: recvmsg had the address, so these bytes are whatever it left there; the slice takes over the borrow of `control`, and is no longer.
    let control = unsafe { core::slice::from_raw_parts_mut(start, len) };
    #[allow(clippy::cast_sign_loss)] // It is not negative.
    let len = received as usize;
    message.len = len;
    Ok(control)
}

/// The header of the control message at the start of `control`, if there is room for one.
#[allow(clippy::cast_ptr_alignment)] // Not relied upon.
#[inline(always)]
pub(crate) fn header(control: &[u8]) -> Option<Header> {
    if control.len() < size_of::<Header>() {
        return None;
    }
    // SAFETY: there are bytes enough, any bytes are a header, and they need not be aligned.
    Some(unsafe { control.as_ptr().cast::<Header>().read_unaligned() })
}

/// The data of a control message as ints, as many as are whole; none if they would not be
/// aligned.
#[allow(clippy::cast_ptr_alignment)] // Checked.
#[inline(always)]
pub(crate) fn ints(data: &[u8]) -> &[c_int] {
    let start = data.as_ptr().cast::<c_int>();
    if start as usize % align_of::<c_int>() != 0 {
        return &[];
    }
    // SAFETY: so many ints are there, aligned, and any bytes are one; the borrow of `data` goes on.
    unsafe { core::slice::from_raw_parts(start, data.len() / size_of::<c_int>()) }
}

/// Moves a control message of `len` bytes from one place in `control` to an earlier one, or
/// the same, and makes its header say `len`.
#[allow(clippy::cast_ptr_alignment)] // Not relied upon.
pub(crate) fn move_message(control: &mut [u8], from: usize, len: usize, to: usize) {
    let room = control.len().checked_sub(from);
    if to <= from && room >= Some(len) && len >= size_of::<Header>() {
        let place = control.as_mut_ptr().wrapping_add(to);
        let from = control.as_ptr().wrapping_add(from);
        // SAFETY: both places are in `control`, which is borrowed exclusively; they may overlap.
        unsafe { place.copy_from(from, len) };
        // SAFETY: a header is there, which starts with the length, and it need not be aligned.
        unsafe { place.cast::<usize>().write_unaligned(len) };
    }
}

/// Bytes to send, as a buffer that need not be initialised.
pub(crate) fn as_buffer(bytes: &[u8]) -> &[MaybeUninit<u8>] {
    // SAFETY: a byte is a MaybeUninit byte, and nobody writes through a shared slice.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Writes a header, `data` and a padding of zeros to the start of `control`, and returns how
/// many bytes these are. Nothing if there is no room for them.
#[allow(clippy::cast_ptr_alignment)] // Not relied upon.
#[inline(always)]
pub(crate) fn put_message(
    control: &mut [MaybeUninit<u8>],
    header: Header,
    data: &[c_int],
) -> Option<usize> {
    let len = size_of::<Header>() + size_of_val(data);
    let space = align(len);
    if control.len() < space {
        return None;
    }
    let start = control.as_mut_ptr().cast::<Header>();
    // SAFETY: there is room for a header, and it need not be aligned.
    unsafe { start.write_unaligned(header) };
    if len < space {
        let end = control.as_mut_ptr().wrapping_add(space).cast::<c_int>();
        // SAFETY: there is room for more than an int before the end, and it need not be aligned.
        unsafe { end.wrapping_sub(1).write_unaligned(0) };
    }
    let place = start.wrapping_add(1).cast::<u8>();
    // SAFETY: there is room for `data` after the header, and `control` is borrowed exclusively, so `data` is elsewhere.
    unsafe { place.copy_from_nonoverlapping(data.as_ptr().cast(), size_of_val(data)) };
    Some(space)
}

/// Writes `values` to the start of `places`, or nothing if there are too few.
#[inline(always)]
pub(crate) fn put<T: Copy>(places: &mut [MaybeUninit<T>], values: &[T]) {
    if values.len() <= places.len() {
        let start = places.as_mut_ptr().cast::<T>();
        // SAFETY: there are places enough, aligned and borrowed exclusively, so `values` is elsewhere.
        unsafe { start.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    }
}

/// Fails with EAFNOSUPPORT on a socket that is not a Unix-domain one: no other
/// passes descriptors. The family of its own address costs less to ask than
/// [`is_unix_domain`], which follows only if the answer is anything else.
#[inline(always)]
pub(crate) fn require_unix_domain(socket: c_int) -> Result<(), Errno> {
    let mut family: libc::sa_family_t = 0;
    #[allow(clippy::cast_possible_truncation)] // Two bytes.
    let mut len = size_of::<libc::sa_family_t>() as libc::socklen_t;
    let place = addr_of_mut!(family).cast();
    // SAFETY: `place` and `len` are this call's to write, and getsockname writes no more than `len` bytes.
    unsafe { libc::getsockname(socket, place, &mut len) };
    // Where it fails, it writes none.
    if c_int::from(family) == libc::AF_UNIX {
        return Ok(());
    }
    require_unix_option(socket)
}

/// The same, by [`is_unix_domain`] alone.
#[cold]
#[inline(never)]
pub(crate) fn require_unix_option(socket: c_int) -> Result<(), Errno> {
    if is_unix_domain(socket)? {
        return Ok(());
    }
    Err(Errno::EAFNOSUPPORT)
}

/// Whether it is a Unix-domain socket, by `SO_DOMAIN`: an `AF_XDP` socket has no
/// address, and a filter may forbid getsockname(2).
pub(crate) fn is_unix_domain(socket: c_int) -> Result<bool, Errno> {
    Ok(int_option(socket, libc::SO_DOMAIN)? == libc::AF_UNIX)
}

/// The type of the socket, such as `SOCK_STREAM`.
pub(crate) fn socket_type(socket: c_int) -> Result<c_int, Errno> {
    int_option(socket, libc::SO_TYPE)
}

/// How many microseconds a send on the socket may take (`SO_SNDTIMEO`); 0 for
/// no limit.
pub(crate) fn send_timeout(socket: c_int) -> Result<i64, Errno> {
    let timeout = socket_option::<libc::timeval>(socket, libc::SO_SNDTIMEO)?;
    #[allow(clippy::useless_conversion)] // 32 bits on 32-bit machines.
    let (seconds, micros) = (i64::from(timeout.tv_sec), i64::from(timeout.tv_usec));
    let seconds = seconds.min(i64::from(u32::MAX)); // More would overflow, and is not waited for.
    Ok(seconds * 1_000_000 + micros)
}

/// A type that the value of a socket option can have: of the kernel's layout, and any bytes are one.
///
/// # Safety
/// It has no padding, and every bit pattern, zeros above all, is a value.
unsafe trait OptionValue: Copy {}
// SAFETY: it is an integer.
unsafe impl OptionValue for c_int {}
// SAFETY: it is two integers of one size.
unsafe impl OptionValue for libc::timeval {}

/// Gets an option of level `SOL_SOCKET` that is an int.
#[cold]
#[inline(never)]
fn int_option(socket: c_int, option: c_int) -> Result<c_int, Errno> {
    socket_option(socket, option)
}

/// Gets an option of level `SOL_SOCKET`.
#[inline(always)]
fn socket_option<T: OptionValue>(socket: c_int, option: c_int) -> Result<T, Errno> {
    // SAFETY: zeros are a value of every T.
    let mut value: T = unsafe { zeroed() };
    #[allow(clippy::cast_possible_truncation)] // A few bytes.
    let mut len = size_of::<T>() as libc::socklen_t;
    let place = addr_of_mut!(value).cast();
    // SAFETY: `place` and `len` are this call's to write, and `len` is the size of what `place` points to.
    let returned = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, option, place, &mut len) };
    Errno::check(returned).map(|_| value)
}

/// Whether the socket is non-blocking (`O_NONBLOCK`).
pub(crate) fn is_nonblocking(socket: c_int) -> Result<bool, Errno> {
    // SAFETY: F_GETFL takes no argument and touches no memory.
    let flags = Errno::check(unsafe { libc::fcntl(socket, libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// Sleeps for less than a second; fails with EINTR if a signal handler ran.
pub(crate) fn sleep(micros: i64) -> Result<(), Errno> {
    // tv_nsec is 64 bits wide on x32, where a long is 32.
    #[allow(clippy::cast_possible_truncation)]
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: (micros * 1000) as _,
    };
    // SAFETY: `time` outlives the call, and no remainder is asked for.
    Errno::check(unsafe { libc::nanosleep(&time, core::ptr::null_mut()) }).map(|_| ())
}

/// Duplicates a descriptor, close-on-exec.
pub(crate) fn duplicate(fd: c_int) -> Result<c_int, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC takes an int and touches no memory.
    Errno::check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
}

/// Closes a descriptor that the kernel has installed for this library. Linux
/// closes it whatever close(2) returns; errno stays as it was. By syscall(2), as
/// close(2) of the C library is a cancellation point, which would leave the others
/// open.
#[cold]
#[inline(never)]
pub(crate) fn close(fd: c_int) {
    let errno = Errno::last();
    // SAFETY: close takes an int; nobody else knows this descriptor.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    errno.set();
}

/// Ends the process.
#[cfg(not(test))]
pub(crate) fn abort() -> ! {
    // SAFETY: abort has no condition.
    unsafe { libc::abort() }
}

/// Words as bytes, for tests.
#[cfg(test)]
pub(crate) fn bytes_of(words: &[usize]) -> &[u8] {
    // SAFETY: they are that many bytes, and bytes need no alignment.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Reads what a test has initialised.
#[cfg(test)]
pub(crate) fn initialised(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: tests start from a buffer of which every byte is set.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

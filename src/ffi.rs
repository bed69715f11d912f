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

use core::mem::{align_of, size_of, MaybeUninit};
use core::ptr::addr_of_mut;

use libc::{c_char, c_int, c_void, msghdr, size_t, ssize_t};

use crate::cmsg;
use crate::recv::{self, Rule};
use crate::send;
use crate::sys::{Data, Errno, Incoming, Outgoing};

/// The most descriptors in one message: SCM_MAX_FD of the Linux kernel, unix(7).
pub const SENDFD_MAX_FDS: c_int = 253;

/// The receiving functions return this at the end of file: the peer has closed
/// its socket, and everything that it sent has been received.
pub const RECVFD_EOF: c_int = -2;

/// A flag of recvfds_msghdr() and recvfds_cmsg(): prefer the data to an error
/// if descriptors are missing, refused or too many.
pub const RECVFD_PARTIAL: c_int = 0x1000_0000;

const _: () = assert!(SENDFD_MAX_FDS as usize == cmsg::MAX_FDS);

/// The most buffers in one message: the kernel's UIO_MAXIOV.
const IOV_MAX: usize = 1024;

/// The flags that a message of one buffer takes; the last two change nothing.
const SEND_FLAGS: c_int =
    libc::MSG_DONTWAIT | libc::MSG_EOR | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;
const RECEIVE_FLAGS: c_int =
    libc::MSG_DONTWAIT | libc::MSG_PEEK | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

/// The flags that a message of several buffers does not take.
const NO_SEND_FLAGS: c_int = libc::MSG_OOB | RECVFD_PARTIAL;
const NO_RECEIVE_FLAGS: c_int = libc::MSG_OOB | libc::MSG_ERRQUEUE;

/// The result of a function as C has it: a value that is not negative, or -1 with
/// errno set, or `RECVFD_EOF`.
#[inline(always)]
fn bytes(body: impl FnOnce() -> Result<usize, Errno>) -> ssize_t {
    match body() {
        // No call returns more than a buffer holds.
        Ok(value) => value as ssize_t,
        Err(errno) => failed(errno),
    }
}

#[cold]
#[inline(never)]
fn failed(errno: Errno) -> ssize_t {
    if errno == Errno::END_OF_FILE {
        return RECVFD_EOF as ssize_t;
    }
    errno.set();
    -1
}

/// The same, for counts: none exceeds the number asked for, which came as an int.
#[inline(always)]
fn int(body: impl FnOnce() -> Result<usize, Errno>) -> c_int {
    bytes(body) as c_int
}

/// The same where some may have been passed before it failed: then their number is returned.
#[inline(always)]
fn passed(body: impl FnOnce(&mut usize) -> Result<(), Errno>) -> c_int {
    let mut passed = 0;
    let value = int(|| body(&mut passed).map(|()| 0));
    if passed > 0 {
        return passed as c_int;
    }
    value
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

/// An array of a C caller.
///
/// # Safety
/// `array` is NULL or aligned and valid for reads of `len` elements for as long as the slice
/// is used, and nothing writes to them.
#[inline(always)]
unsafe fn to_read<'a, T>(array: *const T, len: usize) -> Result<&'a [T], Errno> {
    if len == 0 {
        return Ok(&[]);
    }
    require_array(array, len)?;
    // SAFETY: it is not NULL, so the caller vouches for `len` aligned elements that nothing writes to.
    Ok(unsafe { core::slice::from_raw_parts(array, len) })
}

/// An array of a C caller that need not be initialised.
///
/// # Safety
/// `array` is NULL or aligned and valid for writes of `len` elements for as long as the slice
/// is used, and nothing else reads or writes them.
#[inline(always)]
unsafe fn to_write<'a, T>(array: *mut T, len: usize) -> Result<&'a mut [MaybeUninit<T>], Errno> {
    // SAFETY: as above; a place need not be initialised.
    unsafe { to_change(array.cast(), len) }
}

/// An array of a C caller that is read and written.
///
/// # Safety
/// As for [`to_write`], and each element is initialised.
#[inline(always)]
unsafe fn to_change<'a, T>(array: *mut T, len: usize) -> Result<&'a mut [T], Errno> {
    if len == 0 {
        return Ok(&mut []);
    }
    require_array(array, len)?;
    // SAFETY: it is not NULL, so the caller vouches for `len` aligned elements that are this call's alone.
    Ok(unsafe { core::slice::from_raw_parts_mut(array, len) })
}

/// How many bytes the buffers of a caller's message have, each looked at before a system
/// call is made.
///
/// # Safety
/// `msg_iov` is NULL or aligned and valid for reads of `msg_iovlen` elements.
#[inline(never)]
unsafe fn data_len(message: &msghdr) -> Result<usize, Errno> {
    #[allow(clippy::unnecessary_cast)] // size_t on glibc, int on musl.
    let count = message.msg_iovlen as usize;
    if count > IOV_MAX {
        return Err(Errno::EMSGSIZE);
    }
    if count == 0 {
        return Ok(0);
    }
    if message.msg_iov.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: it is not NULL, so the caller vouches for `count` aligned elements, which nothing writes to meanwhile.
    let buffers = unsafe { core::slice::from_raw_parts(message.msg_iov, count) };
    let mut all: usize = 0;
    let mut missing = false;
    for buffer in buffers {
        all = all.saturating_add(byte_count(buffer.iov_len, 0)?);
        missing |= buffer.iov_base.is_null() && buffer.iov_len > 0;
    }
    if missing {
        return Err(Errno::EFAULT);
    }
    Ok(all)
}

/// How many bytes of control messages a caller's message has.
#[inline(always)]
fn control_len(message: &msghdr) -> Result<usize, Errno> {
    #[allow(clippy::unnecessary_cast)] // size_t on glibc, socklen_t on musl.
    byte_count(message.msg_controllen as usize, 0)
}

/// Whether control messages may be there.
fn is_aligned(control: *const c_void) -> bool {
    control as usize % align_of::<libc::cmsghdr>() == 0
}

/// Reads what a caller points to.
///
/// # Safety
/// `place` is NULL or aligned and valid for reads, and nothing writes there meanwhile.
#[inline(always)]
unsafe fn read<T: Copy>(place: *const T) -> Result<T, Errno> {
    if place.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: it is not NULL, so the caller vouches for it.
    Ok(unsafe { place.read() })
}

/// For how many descriptors there is room; none if `nfds` is NULL, which
/// [`require_array`] refuses after all that is EINVAL.
///
/// # Safety
/// `nfds` is NULL or aligned and valid for reads, and nothing writes there meanwhile.
#[inline(always)]
unsafe fn room(nfds: *const c_int) -> Result<usize, Errno> {
    if nfds.is_null() {
        return Ok(0);
    }
    // SAFETY: it is not NULL, so the caller vouches for it.
    let nfds = unsafe { nfds.read() };
    Ok(count(nfds, 0, c_int::MAX)?.min(cmsg::MAX_FDS))
}

/// Writes for the caller how many descriptors came. Where `nfds` lies in the array, one that is
/// there stays: nobody loses a descriptor by an overlap.
///
/// # Safety
/// `nfds` is aligned and valid for writes, and no reference points there.
#[inline(always)]
unsafe fn put_count(nfds: *mut c_int, fds: *const c_int, count: u32) {
    let place = (nfds as usize).wrapping_sub(fds as usize) / size_of::<c_int>();
    if place >= count as usize {
        // SAFETY: the caller vouches for it.
        unsafe { nfds.write(count as c_int) };
    }
}

/// How a receive treats what lacks something.
fn rule_of(flags: c_int) -> Rule {
    if flags & RECVFD_PARTIAL == 0 {
        Rule::Complete
    } else {
        Rule::Partial
    }
}

/// sendfd(), under each of its names. Not inlined: of two functions that are the
/// same, LLVM makes one a call of the other by its exported name, which a program may have taken.
#[inline(never)]
extern "C" fn send_one(socket: c_int, fd: c_int) -> c_int {
    int(|| {
        send::descriptor(socket, fd)?;
        Ok(1)
    })
}

/// The same for recvfd().
#[inline(never)]
extern "C" fn receive_one(socket: c_int) -> c_int {
    let mut fd = [MaybeUninit::new(-1)];
    let received = int(|| Ok(recv::descriptor(socket, &mut fd)? as usize));
    if received < 0 {
        return received;
    }
    let [fd] = fd;
    // SAFETY: it was initialised above, and a receive only ever writes a descriptor over it.
    unsafe { fd.assume_init() }
}

/// Sends one descriptor as one message with one byte of value 0, exactly as the
/// classic sendfd() snippet does. Never raises SIGPIPE.
///
/// fd: any open descriptor. Sending does not close it.
///
/// Returns 1, or -1 with errno set and nothing sent. See sendfd(3).
/// cbindgen:postfix=SENDFD_SYMBOL("libsendfd_sendfd")
#[must_use]
#[no_mangle]
pub extern "C" fn sendfd(unix_domain_socket_fd: c_int, fd: c_int) -> c_int {
    send_one(unix_domain_socket_fd, fd)
}

/// Receives one descriptor from one message, and reads one byte of any value,
/// as the classic recvfd() snippet does. The descriptor is close-on-exec.
///
/// Returns the new descriptor (0 or above), which the caller closes; -2
/// (RECVFD_EOF) at the end of file; or -1 with errno set. On -1 and -2 every
/// descriptor that came is closed. See recvfd(3).
/// cbindgen:postfix=SENDFD_SYMBOL("libsendfd_recvfd")
#[must_use]
#[no_mangle]
pub extern "C" fn recvfd(unix_domain_socket_fd: c_int) -> c_int {
    receive_one(unix_domain_socket_fd)
}

/// sendfd() under a name that no program has for a function of its own: the header
/// binds to it.
/// cbindgen:ignore
#[must_use]
#[no_mangle]
pub extern "C" fn libsendfd_sendfd(unix_domain_socket_fd: c_int, fd: c_int) -> c_int {
    send_one(unix_domain_socket_fd, fd)
}

/// The same for recvfd().
/// cbindgen:ignore
#[must_use]
#[no_mangle]
pub extern "C" fn libsendfd_recvfd(unix_domain_socket_fd: c_int) -> c_int {
    receive_one(unix_domain_socket_fd)
}

/// Sends 1 to 253 descriptors as one message, all or none, with one byte whose value is
/// their number.
///
/// Returns nfds, or -1 with errno set and nothing sent. See sendfds(3).
/// cbindgen:postfix=SENDFD_READS(2, 3)
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
        send::descriptors(unix_domain_socket_fd, fds)?;
        Ok(nfds)
    })
}

/// Receives the descriptors of one message, and reads one byte of any value. They
/// are close-on-exec, and the caller closes them.
///
/// max_fds: the room in fds, 1 or above.
///
/// Returns how many came (1 to max_fds); -2 (RECVFD_EOF) at the end of file; or
/// -1 with errno set. On -1 and -2 every descriptor that came is closed. See
/// recvfds(3).
/// cbindgen:postfix=SENDFD_WRITES(2, 3)
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
        Ok(recv::descriptors(unix_domain_socket_fd, fds)? as usize)
    })
}

/// Sends any number of descriptors, in as many messages of sendfds() as it takes.
///
/// Returns nfds; fewer (1 or above), with errno set, if it failed after some had
/// been sent; or -1 with errno set and nothing sent. Waits while too many
/// descriptors are in flight, unless the socket is non-blocking. See
/// sendfds_all(3).
/// cbindgen:postfix=SENDFD_READS(2, 3)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn sendfds_all(
    unix_domain_socket_fd: c_int,
    fds: *const c_int,
    nfds: c_int,
) -> c_int {
    passed(|sent| {
        let nfds = count(nfds, 1, c_int::MAX)?;
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        send::all_descriptors(unix_domain_socket_fd, fds, sent)
    })
}

/// Receives exactly nfds descriptors, message by message: the counterpart of
/// sendfds_all().
///
/// Returns nfds; fewer (1 or above), which the caller closes, if an error (errno
/// is set) or the end of file (errno is unchanged) came after some; -2 (RECVFD_EOF)
/// or -1 if it came first. See recvfds_all(3).
/// cbindgen:postfix=SENDFD_WRITES(2, 3)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn recvfds_all(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    nfds: c_int,
) -> c_int {
    passed(|received| {
        let nfds = count(nfds, 1, c_int::MAX)?;
        // SAFETY: the caller vouches for `nfds` places.
        let fds = unsafe { to_write(fds, nfds) }?;
        recv::all_descriptors(unix_domain_socket_fd, fds, received)
    })
}

/// Sends len bytes of data with 0 to 253 descriptors; these are sent with the first
/// byte.
///
/// flags: 0 or MSG_DONTWAIT and MSG_EOR.
///
/// Returns the number of bytes sent, or -1 with errno set and nothing sent. On
/// SOCK_STREAM it can be fewer than len: send the rest without descriptors. With
/// nfds 0 the socket may be of any domain. See sendfds_msg(3).
/// cbindgen:postfix=SENDFD_READS(2, 3) SENDFD_READS(4, 5)
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
        let len = byte_count(len, 0)?;
        if flags & !SEND_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        if data.is_null() && len > 0 {
            return Err(Errno::EFAULT);
        }
        // SAFETY: the caller vouches for `len` bytes, which are only read.
        let mut data = unsafe { Data::new(data as *mut c_void, len) };
        let mut message = Outgoing::of(&mut data);
        send::message(unix_domain_socket_fd, fds, &mut message, flags)?;
        Ok(message.len)
    })
}

/// Receives up to len bytes of data, and the descriptors that came with them. They
/// are close-on-exec, and the caller closes them.
///
/// nfds: in, the room in fds (0 or above); out, on success, how many came.
/// flags: 0 or MSG_DONTWAIT and MSG_PEEK.
///
/// Returns the number of bytes (0 or above); -2 (RECVFD_EOF) at the end of file;
/// or -1 with errno set. On -1 and -2 every descriptor that came is closed, and
/// *nfds keeps its value. See recvfds_msg(3).
/// cbindgen:postfix=SENDFD_UPDATES(3) SENDFD_WRITES(4, 5)
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
        let len = byte_count(len, 1)?;
        if flags & !RECEIVE_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for an int, which may be in `fds`: it is read before and written after.
        let room = unsafe { room(nfds) }?;
        require_array(nfds, 1)?;
        let places = fds;
        // SAFETY: the caller vouches for `*nfds` places.
        let fds = unsafe { to_write(places, room) }?;
        if data.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: the caller vouches for `len` bytes.
        let mut data = unsafe { Data::new(data, len) };
        let mut message = Incoming::of(&mut data);
        let rule = Rule::CompleteWithData;
        let received = recv::message(unix_domain_socket_fd, fds, &mut message, flags, rule)?;
        // SAFETY: it was read from above, and `fds` is no longer used.
        unsafe { put_count(nfds, places, received) };
        Ok(message.len)
    })
}

/// Sends a message as sendmsg(2) does, with several buffers, an address and other
/// control messages, and adds 0 to 253 descriptors.
///
/// message: not changed. msg_control must not hold SCM_RIGHTS, and with
///     descriptors at most 512 bytes.
/// flags: those of sendmsg(2) except MSG_OOB. MSG_NOSIGNAL is always set.
///
/// Returns as sendfds_msg() does. See sendfds_msghdr(3).
/// cbindgen:postfix=SENDFD_READS(2, 3)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn sendfds_msghdr(
    unix_domain_socket_fd: c_int,
    fds: *const c_int,
    nfds: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    bytes(|| {
        let nfds = count(nfds, 0, SENDFD_MAX_FDS)?;
        if flags & NO_SEND_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for a message.
        let theirs = unsafe { read(message) }?;
        let control_len = control_len(&theirs)?;
        if nfds > 0 && control_len > cmsg::BESIDE_RIGHTS {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for so many bytes, which nothing writes to.
        let control = unsafe { to_read(theirs.msg_control.cast::<u8>(), control_len) };
        let others = cmsg::sendable(control.unwrap_or_default()).ok_or(Errno::EINVAL)?;
        // SAFETY: the caller vouches for its buffers.
        let len = unsafe { data_len(&theirs) }?;
        control?;
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        // SAFETY: the caller vouches for the address and the buffers, which are only read.
        let mut message = unsafe { Outgoing::like(&theirs, len, others) };
        send::message(unix_domain_socket_fd, fds, &mut message, flags)?;
        Ok(message.len)
    })
}

/// Receives a message as recvmsg(2) does, with several buffers, the sender's address
/// and other control messages, and the descriptors apart from those.
///
/// nfds: in, the room in fds (0 or above); out, on success, how many came.
/// message: changed on success only, as recvmsg(2) changes it; msg_control then
///     holds the control messages except SCM_RIGHTS. The caller closes a pidfd in it.
/// flags: those of recvmsg(2) except MSG_OOB and MSG_ERRQUEUE; RECVFD_PARTIAL.
///
/// Returns as recvfds_msg() does. See recvfds_msghdr(3).
/// cbindgen:postfix=SENDFD_UPDATES(3) SENDFD_UPDATES(4)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn recvfds_msghdr(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    nfds: *mut c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    bytes(|| {
        if flags & NO_RECEIVE_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for an int, which is read before `fds` is used and written after.
        let room = unsafe { room(nfds) }?;
        // SAFETY: the caller vouches for a message.
        let theirs = unsafe { read(message) }?;
        let control_len = if theirs.msg_control.is_null() {
            0 // No buffer for them.
        } else {
            control_len(&theirs)?
        };
        // SAFETY: the caller vouches for its buffers.
        byte_count(unsafe { data_len(&theirs) }?, 1)?;
        // SAFETY: the caller vouches for so many bytes, which are this call's alone.
        let others = unsafe { to_write(theirs.msg_control.cast::<u8>(), control_len) }?;
        require_array(nfds, 1)?;
        let places = fds;
        // SAFETY: the caller vouches for `*nfds` places.
        let fds = unsafe { to_write(places, room) }?;
        // SAFETY: the caller vouches for the address and the buffers.
        let mut ours = unsafe { Incoming::like(&theirs, 0, others) };
        let rule = rule_of(flags);
        let flags = flags & !RECVFD_PARTIAL;
        let received = recv::message(unix_domain_socket_fd, fds, &mut ours, flags, rule)?;
        let mut written = theirs;
        written.msg_namelen = ours.name_len();
        written.msg_controllen = ours.others_len as _;
        written.msg_flags = *ours.flags();
        // SAFETY: it is not NULL, and nothing of what it points to is used any more.
        unsafe { message.write(written) };
        // SAFETY: it was read from above, and `fds` is no longer used.
        unsafe { put_count(nfds, places, received) };
        Ok(ours.len)
    })
}

/// Writes a control message that carries 1 to 253 descriptors, for a sendmsg(2) of
/// the caller's own: makes no system call.
///
/// control: aligned as struct cmsghdr, with room for SENDFDS_CMSG_SPACE(nfds)
///     bytes or more.
///
/// Returns the bytes written, which is the msg_controllen to use, or -1 with
/// errno set. See sendfds_cmsg(3).
/// cbindgen:postfix=SENDFD_READS(1, 2) SENDFD_WRITES(3, 4)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn sendfds_cmsg(
    fds: *const c_int,
    nfds: c_int,
    control: *mut c_void,
    room: size_t,
) -> ssize_t {
    bytes(|| {
        let nfds = count(nfds, 1, SENDFD_MAX_FDS)?;
        let len = cmsg::space(nfds);
        if room < len || !is_aligned(control) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for `nfds` descriptors.
        let fds = unsafe { to_read(fds, nfds) }?;
        if control.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: it is not NULL, so the caller vouches for `room` bytes that are this call's alone.
        let place = unsafe { core::slice::from_raw_parts_mut(control.cast(), len) };
        cmsg::write_rights(place, fds, &[]).ok_or(Errno::EINVAL)?;
        Ok(len)
    })
}

/// Takes the descriptors out of a message that the caller has received itself, with
/// MSG_CMSG_CLOEXEC and RECVFDS_CMSG_SPACE(*nfds) bytes of msg_control.
///
/// nfds: in, the room in fds (0 or above); out, on success, how many came.
/// received: as recvmsg(2) left it; msg_control then holds the other messages.
/// flags: 0 or RECVFD_PARTIAL.
///
/// Returns 0, or -1 with errno set. On EINVAL and EFAULT nothing has changed; on every
/// other error each descriptor that came is closed. See recvfds_cmsg(3).
/// cbindgen:postfix=SENDFD_UPDATES(3) SENDFD_UPDATES(4)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn recvfds_cmsg(
    unix_domain_socket_fd: c_int,
    fds: *mut c_int,
    nfds: *mut c_int,
    received: *mut msghdr,
    flags: c_int,
) -> c_int {
    int(|| {
        if flags & !RECVFD_PARTIAL != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for an int, which is read before `fds` is used and written after.
        let room = unsafe { room(nfds) }?;
        // SAFETY: the caller vouches for a message.
        let theirs = unsafe { read(received) }?;
        if !is_aligned(theirs.msg_control) {
            return Err(Errno::EINVAL);
        }
        let control_len = control_len(&theirs)?;
        // SAFETY: the caller vouches for so many bytes that recvmsg has had and that are this call's alone.
        let control = unsafe { to_change(theirs.msg_control.cast::<u8>(), control_len) }?;
        require_array(nfds, 1)?;
        let places = fds;
        // SAFETY: the caller vouches for `*nfds` places.
        let fds = unsafe { to_write(places, room) }?;
        let rule = rule_of(flags);
        let mut message_flags = theirs.msg_flags;
        let (left, claimed) = recv::from_control(
            unix_domain_socket_fd,
            fds,
            control,
            &mut message_flags,
            rule,
        );
        // SAFETY: it is not NULL, and nothing refers to it.
        let len = unsafe { addr_of_mut!((*received).msg_controllen) };
        // SAFETY: it is a field of what the caller vouches for.
        unsafe { len.write(left as _) };
        let count = claimed?;
        // SAFETY: as for the length.
        let place = unsafe { addr_of_mut!((*received).msg_flags) };
        // SAFETY: as for the length.
        unsafe { place.write(message_flags) };
        // SAFETY: it was read from above, and `fds` is no longer used.
        unsafe { put_count(nfds, places, count) };
        Ok(0)
    })
}

/// Returns the version of the library that the program runs with, such as
/// "1.0.0". SENDFD_VERSION is that of the header it was compiled with.
#[no_mangle]
pub extern "C" fn sendfd_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

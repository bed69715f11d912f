//! What a send does: check the socket, build the control message, send it
//! whole or not at all.

use core::ffi::c_int;

use crate::cmsg;
use crate::sys::{self, Errno};

/// The flags of sendmsg(2) that a caller may give; the last two say what is so anyway.
const FLAGS: c_int =
    libc::MSG_DONTWAIT | libc::MSG_EOR | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

/// How many microseconds to wait before a send that found too many descriptors
/// in flight is tried again: first, and at most.
const FIRST_WAIT: i32 = 1_000;
const LONGEST_WAIT: i32 = 32_000;

/// Sends one descriptor as one message, with a byte of value 0.
pub(crate) fn descriptor(socket: c_int, fd: c_int) -> Result<usize, Errno> {
    message(socket, &[fd], &[0], 0)
}

/// Sends `fds` as one message, with one byte that tells their number, and
/// returns that number.
pub(crate) fn descriptors(socket: c_int, fds: &[c_int]) -> Result<usize, Errno> {
    // At most 253 descriptors go into one message.
    let count = u8::try_from(fds.len()).map_err(|_| Errno::EINVAL)?;
    message(socket, fds, &[count], 0).map(|_| fds.len())
}

/// Sends `fds` as many messages. Returns how many descriptors went, and what
/// kept the others.
pub(crate) fn all_descriptors(socket: c_int, fds: &[c_int]) -> (usize, Result<(), Errno>) {
    let mut sent = 0;
    for part in fds.chunks(cmsg::MAX_FDS) {
        match descriptors_patiently(socket, part) {
            Ok(nfds) => sent += nfds,
            Err(errno) => return (sent, Err(errno)),
        }
    }
    (sent, Ok(()))
}

/// As [`descriptors`], but too many in flight is waited out, as a send waits for
/// a full queue: on a blocking socket, and no longer than its send timeout. No
/// system call tells when it has passed.
fn descriptors_patiently(socket: c_int, fds: &[c_int]) -> Result<usize, Errno> {
    let mut wait = FIRST_WAIT;
    let mut waited = 0;
    loop {
        match descriptors(socket, fds) {
            Err(Errno::ETOOMANYREFS) if !sys::is_nonblocking(socket)? => (),
            result => return result,
        }
        let limit = sys::send_timeout(socket)?;
        if limit > 0 && waited >= limit {
            return Err(Errno::EAGAIN);
        }
        sys::sleep(wait)?;
        waited += i64::from(wait);
        wait = LONGEST_WAIT.min(wait * 2);
    }
}

/// Sends `data` with `fds` as one message and returns the number of bytes sent:
/// all of `data`, but on a stream perhaps fewer. The descriptors travel with
/// the first byte.
pub(crate) fn message(
    socket: c_int,
    fds: &[c_int],
    data: &[u8],
    flags: c_int,
) -> Result<usize, Errno> {
    // Descriptors without data: a stream would drop them and report success.
    if flags & !FLAGS != 0 || (data.is_empty() && !fds.is_empty()) {
        return Err(Errno::EINVAL);
    }
    // So would a socket of any other domain.
    sys::require_unix_domain(socket)?;
    let mut buffer = cmsg::SEND_BUFFER;
    let control = match fds {
        [] => &[],
        _ => cmsg::write_rights(&mut buffer, fds).ok_or(Errno::EINVAL)?,
    };
    sys::sendmsg(socket, data, control, flags)
}

//! What a send does: check the socket, build the control message, send it
//! whole or not at all.

use libc::c_int;

use crate::cmsg;
use crate::sys::{self, Data, Errno, Message};

/// How many microseconds to wait before a send that found too many descriptors
/// in flight is tried again: first, and at most.
const FIRST_WAIT: i64 = 1_000;
const LONGEST_WAIT: i64 = 32_000;

/// Some were sent, then this error came.
pub(crate) struct Stopped {
    pub(crate) sent: usize,
    pub(crate) errno: Errno,
}

/// Sends one descriptor as one message, with a byte of value 0.
#[inline(always)]
pub(crate) fn descriptor(socket: c_int, fd: c_int) -> Result<usize, Errno> {
    sys::require_unix_domain(socket)?;
    with_byte(socket, &[fd], 0)
}

/// Sends `fds` as one message, with one byte that is their number, and returns
/// that number.
#[inline(always)]
pub(crate) fn descriptors(socket: c_int, fds: &[c_int]) -> Result<usize, Errno> {
    sys::require_unix_domain(socket)?;
    counted(socket, fds)
}

/// Sends `fds` as many messages, and returns how many descriptors that were.
pub(crate) fn all_descriptors(socket: c_int, fds: &[c_int]) -> Result<usize, Stopped> {
    let mut sent = 0;
    let mut send_all = || {
        sys::require_unix_domain(socket)?;
        for part in fds.chunks(cmsg::MAX_FDS) {
            sent += patiently(socket, || counted(socket, part))?;
        }
        Ok(sent)
    };
    send_all().map_err(|errno| Stopped { sent, errno })
}

/// Too many in flight is waited out, as a send waits for a full queue: on a blocking
/// socket, and no longer than its send timeout. No system call tells when it has passed.
fn patiently(socket: c_int, send: impl Fn() -> Result<usize, Errno>) -> Result<usize, Errno> {
    let mut wait = FIRST_WAIT;
    let mut waited = 0;
    loop {
        match send() {
            Err(Errno::ETOOMANYREFS) if !sys::is_nonblocking(socket)? => (),
            result => return result,
        }
        wait = match sys::send_timeout(socket)? {
            0 => wait,
            limit if limit > waited => wait.min(limit - waited),
            _ => return Err(Errno::EAGAIN),
        };
        sys::sleep(wait)?;
        waited += wait;
        wait = LONGEST_WAIT.min(wait * 2);
    }
}

/// Sends `message`, whose data is `len` bytes, with `fds` and the control messages in
/// `others`, and returns the number of bytes sent: all of them, but on a stream perhaps
/// fewer. The descriptors go with the first byte.
#[inline(always)]
pub(crate) fn message(
    socket: c_int,
    fds: &[c_int],
    message: &mut Message<'_>,
    len: usize,
    others: &[u8],
    flags: c_int,
) -> Result<usize, Errno> {
    if fds.is_empty() {
        return sys::sendmsg(socket, message, sys::as_buffer(others), flags);
    }
    sys::require_unix_domain(socket)?;
    // A stream would drop them and report success.
    if len == 0 && sys::socket_type(socket)? == libc::SOCK_STREAM {
        return Err(Errno::EINVAL);
    }
    with_rights(socket, fds, message, others, flags)
}

/// Sends `fds` with one byte that is their number.
#[inline(never)]
fn counted(socket: c_int, fds: &[c_int]) -> Result<usize, Errno> {
    #[allow(clippy::cast_possible_truncation)] // At most 253 go into one message.
    with_byte(socket, fds, fds.len() as u8)?;
    Ok(fds.len())
}

#[inline(always)]
fn with_byte(socket: c_int, fds: &[c_int], mut byte: u8) -> Result<usize, Errno> {
    let mut data = Data::of_byte(&mut byte);
    with_rights(socket, fds, &mut Message::of(&mut data), &[], 0)
}

#[inline(always)]
fn with_rights(
    socket: c_int,
    fds: &[c_int],
    message: &mut Message<'_>,
    others: &[u8],
    flags: c_int,
) -> Result<usize, Errno> {
    let mut buffer = cmsg::Buffer::new();
    let room = buffer.bytes();
    let mut len = cmsg::write_rights(room, fds).ok_or(Errno::EINVAL)?.len();
    if !others.is_empty() {
        let place = room.get_mut(len..).unwrap_or_default();
        place
            .iter_mut()
            .zip(others)
            .for_each(|(place, byte)| _ = place.write(*byte));
        len += others.len();
    }
    sys::sendmsg(socket, message, room.get(..len).unwrap_or_default(), flags)
}

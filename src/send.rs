//! Sending: checks the socket, builds the control message, and sends it whole or not at all.

use libc::c_int;

use crate::cmsg;
use crate::sys::{self, Data, Errno, Outgoing};

/// How many microseconds to wait before a send that found too many descriptors
/// in flight is tried again: first, and at most.
const FIRST_WAIT: i64 = 1_000;
const LONGEST_WAIT: i64 = 32_000;

/// Sends one descriptor as one message, with a byte of value 0.
#[inline(always)]
pub(crate) fn descriptor(socket: c_int, fd: c_int) -> Result<(), Errno> {
    sys::require_unix_domain(socket)?;
    with_byte(socket, &[fd], 0)
}

/// Sends `fds` as one message, with one byte that is their number.
#[inline(always)]
pub(crate) fn descriptors(socket: c_int, fds: &[c_int]) -> Result<(), Errno> {
    sys::require_unix_domain(socket)?;
    counted(socket, fds)
}

/// Sends `fds` as many messages, and counts in `sent` the descriptors that have gone.
pub(crate) fn all_descriptors(socket: c_int, fds: &[c_int], sent: &mut usize) -> Result<(), Errno> {
    sys::require_unix_domain(socket)?;
    for part in fds.chunks(cmsg::MAX_FDS) {
        patiently(socket, || counted(socket, part))?;
        *sent += part.len();
    }
    Ok(())
}

/// Too many in flight is waited out, as a send waits for a full queue: on a blocking
/// socket, and no longer than its send timeout. No system call reports when it has passed.
fn patiently(socket: c_int, send: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
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

/// Sends `message` with `fds`: all of its data, but on a stream perhaps less. The descriptors
/// go with the first byte.
#[inline(never)]
pub(crate) fn message(
    socket: c_int,
    fds: &[c_int],
    message: &mut Outgoing<'_>,
    flags: c_int,
) -> Result<(), Errno> {
    if fds.is_empty() {
        let others = sys::as_buffer(message.others);
        return sys::sendmsg(socket, message, others, flags);
    }
    sys::require_unix_domain(socket)?;
    // A stream would drop them and report success.
    if message.len == 0 && sys::socket_type(socket)? == libc::SOCK_STREAM {
        return Err(Errno::EINVAL);
    }
    with_rights(socket, fds, message, flags)
}

/// Sends `fds` with one byte that is their number.
#[inline(never)]
fn counted(socket: c_int, fds: &[c_int]) -> Result<(), Errno> {
    #[allow(clippy::cast_possible_truncation)] // At most 253 go into one message.
    with_byte(socket, fds, fds.len() as u8)
}

#[inline(always)]
fn with_byte(socket: c_int, fds: &[c_int], mut byte: u8) -> Result<(), Errno> {
    let mut data = Data::of_byte(&mut byte);
    with_rights(socket, fds, &mut Outgoing::of(&mut data), 0)
}

#[inline(always)]
fn with_rights(
    socket: c_int,
    fds: &[c_int],
    message: &mut Outgoing<'_>,
    flags: c_int,
) -> Result<(), Errno> {
    let mut buffer = cmsg::Buffer::new();
    let control = cmsg::write_rights(buffer.bytes(), fds, message.others);
    sys::sendmsg(socket, message, control.ok_or(Errno::EINVAL)?, flags)
}

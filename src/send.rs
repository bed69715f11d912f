//! What a send does: check the socket, build the control message, send it
//! whole or not at all.

use core::ffi::c_int;

use crate::cmsg;
use crate::sys::{self, Errno};

/// Sends `fds` as one message, with one byte that tells their number, and
/// returns that number.
pub(crate) fn descriptors(socket: c_int, fds: &[c_int]) -> Result<usize, Errno> {
    // At most 253 descriptors go into one message.
    let count = u8::try_from(fds.len()).map_err(|_| Errno::EINVAL)?;
    message(socket, fds, &[count]).map(|_| fds.len())
}

/// Sends `data` with `fds` as one message and returns the number of bytes sent:
/// all of `data`, but on a stream perhaps fewer. The descriptors travel with
/// the first byte.
pub(crate) fn message(socket: c_int, fds: &[c_int], data: &[u8]) -> Result<usize, Errno> {
    // Only a Unix-domain socket passes descriptors; TCP and UDP drop them and report success.
    if !sys::is_unix_domain(socket)? {
        return Err(Errno::EAFNOSUPPORT);
    }
    let mut buffer = cmsg::SEND_BUFFER;
    let control = cmsg::write_rights(&mut buffer, fds).ok_or(Errno::EINVAL)?;
    sys::sendmsg(socket, data, control)
}

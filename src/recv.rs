//! What a receive does: take one message, tell what became of the descriptors
//! that were sent with it, and close each one that is not handed over.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use crate::cmsg;
use crate::sys::{self, Errno};

/// Why a receive brings nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The peer has closed, and all that it sent has been received.
    EndOfFile,
    /// It failed.
    Error(Errno),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// One message, its descriptors handed over.
struct Message {
    bytes: usize,
    nfds: usize,
}

/// Receives one message with at least one descriptor, consuming one byte of
/// data, and returns how many descriptors it has put into `fds`.
pub(crate) fn descriptors(socket: c_int, fds: &mut [MaybeUninit<c_int>]) -> Result<usize, Failure> {
    let mut byte = [MaybeUninit::uninit()];
    match message(socket, fds, &mut byte)? {
        Message { bytes, nfds: 0 } => Err(why_no_descriptor(socket, bytes)),
        Message { nfds, .. } => Ok(nfds),
    }
}

/// Receives one message, its data into `data` and its descriptors into `fds`.
fn message(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    data: &mut [MaybeUninit<u8>],
) -> Result<Message, Errno> {
    let mut buffer = cmsg::RECEIVE_BUFFER;
    let room = cmsg::receive_len(fds.len().min(cmsg::MAX_FDS));
    let control = buffer.get_mut(..room).unwrap_or_default();
    let incoming = sys::recvmsg(socket, data, control)?;

    let descriptors = Descriptors::new(incoming.control);
    let nfds = cmsg::rights(incoming.control).count();
    if nfds > fds.len() {
        return Err(Errno::EMSGSIZE);
    }
    if let Some(refused) = cmsg::rights(incoming.control).find(|slot| *slot < 0) {
        return Err(Errno(refused.wrapping_neg()));
    }
    if incoming.control_truncated {
        return Err(why_fewer(socket));
    }
    descriptors.hand_over(fds);
    Ok(Message {
        bytes: incoming.bytes,
        nfds,
    })
}

/// Why the kernel delivered fewer descriptors than were sent. It has no errno
/// for that: there is room in the buffer for all that can come, so either the
/// table was full, and then it still is for one more, or a security module
/// refused. To be asked while what came is open.
fn why_fewer(socket: c_int) -> Errno {
    match sys::duplicate(socket) {
        Ok(copy) => {
            sys::close(copy);
            Errno::EACCES
        }
        // RLIMIT_NOFILE is 0, and fcntl takes the lowest number for out of range.
        Err(Errno::EINVAL) => Errno::EMFILE,
        Err(errno) => errno,
    }
}

/// Why a message has no descriptor: nobody can send one on this socket, it is
/// the end of file, or it was sent so.
fn why_no_descriptor(socket: c_int, bytes: usize) -> Failure {
    match sys::is_unix_domain(socket) {
        Err(errno) => errno.into(),
        Ok(false) => Errno::EAFNOSUPPORT.into(),
        Ok(true) if bytes > 0 => Errno::ENOMSG.into(),
        Ok(true) => match sys::is_connection(socket) {
            Err(errno) => errno.into(),
            // A datagram may be empty, and nothing tells that the last one has come.
            Ok(false) => Errno::ENOMSG.into(),
            Ok(true) => Failure::EndOfFile,
        },
    }
}

/// The descriptors that the kernel has installed with a message: closed when
/// dropped, but for those that have been handed over.
struct Descriptors<'c> {
    control: &'c [u8],
    handed_over: bool,
}

impl<'c> Descriptors<'c> {
    fn new(control: &'c [u8]) -> Self {
        Self {
            control,
            handed_over: false,
        }
    }

    /// Gives those that were sent to the caller. `fds` has room for them all.
    fn hand_over(mut self, fds: &mut [MaybeUninit<c_int>]) {
        for (place, fd) in fds.iter_mut().zip(cmsg::rights(self.control)) {
            place.write(fd);
        }
        self.handed_over = true;
    }
}

impl Drop for Descriptors<'_> {
    fn drop(&mut self) {
        if !self.handed_over {
            close_all(cmsg::rights(self.control));
        }
        close_all(cmsg::pidfds(self.control));
    }
}

/// Closes descriptors; a negative one is the errno of one that never was.
fn close_all(fds: impl Iterator<Item = c_int>) {
    fds.filter(|fd| *fd >= 0).for_each(sys::close);
}

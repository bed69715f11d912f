//! What a receive does: take one message, tell what became of the descriptors
//! that were sent with it, and close each one that is not handed over.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use crate::cmsg::{self, Kind, Slots};
use crate::sys::{self, Errno};

/// The flags of recvmsg(2) that a caller may give; the last two say what is so anyway.
const FLAGS: c_int =
    libc::MSG_DONTWAIT | libc::MSG_PEEK | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

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

/// One message, its data and its descriptors handed over.
pub(crate) struct Message {
    pub(crate) bytes: usize,
    pub(crate) nfds: usize,
}

/// Receives one message with at least one descriptor, consuming one byte of
/// data, and returns how many descriptors it has put into `fds`.
pub(crate) fn descriptors(socket: c_int, fds: &mut [MaybeUninit<c_int>]) -> Result<usize, Failure> {
    let mut byte = [MaybeUninit::uninit()];
    let Message { bytes, nfds } = take(socket, fds, &mut byte, 0, Excess::Dropped)?;
    if nfds == 0 {
        require_not_the_end(socket, bytes)?;
        return Err(Errno::ENOMSG.into());
    }
    Ok(nfds)
}

/// Receives messages until `fds` is full. Returns how many descriptors came, and
/// what kept the others.
pub(crate) fn all_descriptors(
    socket: c_int,
    mut fds: &mut [MaybeUninit<c_int>],
) -> (usize, Result<(), Failure>) {
    let mut received = 0;
    while !fds.is_empty() {
        match descriptors(socket, fds) {
            Ok(nfds) => {
                received += nfds;
                fds = fds.get_mut(nfds..).unwrap_or_default();
            }
            Err(failure) => return (received, Err(failure)),
        }
    }
    (received, Ok(()))
}

/// Receives one message, its data into `data` and its descriptors, if it has
/// any, into `fds`.
pub(crate) fn message(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    data: &mut [MaybeUninit<u8>],
    flags: c_int,
) -> Result<Message, Failure> {
    if flags & !FLAGS != 0 || data.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    let message = take(socket, fds, data, flags, Excess::Refused)?;
    if message.bytes == 0 && message.nfds == 0 {
        require_not_the_end(socket, message.bytes)?;
    }
    Ok(message)
}

/// What becomes of the data of a datagram beyond the buffer.
#[derive(Clone, Copy, PartialEq)]
enum Excess {
    Dropped,
    Refused,
}

/// Takes one message from the queue and hands over what is in it, or closes
/// each descriptor that came.
fn take(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    data: &mut [MaybeUninit<u8>],
    flags: c_int,
    excess: Excess,
) -> Result<Message, Errno> {
    let mut buffer = cmsg::RECEIVE_BUFFER;
    let room = cmsg::receive_len(fds.len().min(cmsg::MAX_FDS));
    let control = buffer.get_mut(..room).unwrap_or_default();
    let incoming = sys::recvmsg(socket, data, control, flags)?;

    let descriptors = Descriptors::new(incoming.control);
    let nfds = descriptors.sent;
    if nfds > fds.len() || (incoming.data_truncated && excess == Excess::Refused) {
        return Err(Errno::EMSGSIZE);
    }
    if descriptors.any_refused {
        return Err(descriptors.refuse());
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
/// refused. To be asked while what came is open. If another thread has closed
/// something since, this takes a full table for a refusal.
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

/// Tells a message without a descriptor from the end of file, and from a socket
/// on which nobody can send one.
fn require_not_the_end(socket: c_int, bytes: usize) -> Result<(), Failure> {
    sys::require_unix_domain(socket)?;
    // A datagram may be empty, and nothing tells that the last one has come.
    if bytes == 0 && sys::is_connection(socket)? {
        return Err(Failure::EndOfFile);
    }
    Ok(())
}

/// The descriptors that the kernel has installed with a message: closed when
/// dropped, but for those that have been handed over.
struct Descriptors<'c> {
    control: &'c [u8],
    /// How many were sent and have a place in `control`.
    sent: usize,
    /// Whether there is a place for which a descriptor was refused.
    any_refused: bool,
    /// The last of the control messages with descriptors that were sent; the kernel makes one.
    last: Slots<'c>,
    /// Whether there is a descriptor that nobody sent.
    has_pidfd: bool,
}

impl<'c> Descriptors<'c> {
    fn new(control: &'c [u8]) -> Self {
        let mut descriptors = Self {
            control,
            sent: 0,
            any_refused: false,
            last: Slots::default(),
            has_pidfd: false,
        };
        for message in cmsg::messages(control) {
            match message.kind {
                Kind::Rights => {
                    descriptors.sent += message.slots.len();
                    descriptors.last = message.slots;
                    descriptors.any_refused |= message.slots.any_negative();
                }
                Kind::Pidfd => descriptors.has_pidfd = true,
                Kind::Other => (),
            }
        }
        descriptors
    }

    /// Gives those that were sent to the caller. `fds` has room for them all.
    fn hand_over(self, fds: &mut [MaybeUninit<c_int>]) {
        if self.last.len() == self.sent && !self.has_pidfd {
            for (place, fd) in fds.iter_mut().zip(self.last.iter()) {
                place.write(fd);
            }
        } else {
            self.close_all_but(fds);
        }
        core::mem::forget(self);
    }

    /// Closes them all, and tells why the first that was refused was.
    fn refuse(self) -> Errno {
        let errno = self.close_all_but(&mut []);
        core::mem::forget(self);
        errno
    }

    /// Closes all but those that were sent and find a place in `fds`. Returns the errno
    /// in the first place for which a descriptor was refused.
    #[cold]
    fn close_all_but(&self, fds: &mut [MaybeUninit<c_int>]) -> Errno {
        let mut places = fds.iter_mut();
        let mut refused = 0;
        for message in cmsg::messages(self.control) {
            for fd in message.slots.iter() {
                let place = match message.kind {
                    Kind::Other => break,
                    Kind::Pidfd => None,
                    Kind::Rights => places.next(),
                };
                match place {
                    Some(place) => _ = place.write(fd),
                    None if fd >= 0 => sys::close(fd),
                    None if refused == 0 && message.kind == Kind::Rights => refused = fd,
                    None => (),
                }
            }
        }
        Errno(refused.wrapping_neg())
    }
}

impl Drop for Descriptors<'_> {
    fn drop(&mut self) {
        self.close_all_but(&mut []);
    }
}

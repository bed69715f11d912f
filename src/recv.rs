//! What a receive does: take one message, find out what became of the descriptors
//! that were sent with it, and close each one that is not handed over.

use core::mem::MaybeUninit;

use libc::c_int;

use crate::cmsg::{self, Kind};
use crate::sys::{self, Data, Errno, Message};

/// The flags of recvmsg(2) that `recvfds_msg` takes; the last two change nothing.
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
    #[inline(always)]
    fn from(errno: Errno) -> Self {
        Self::Error(errno)
    }
}

/// Some were received, then this came.
pub(crate) struct Stopped {
    pub(crate) received: usize,
    pub(crate) failure: Failure,
}

/// Bytes of data and descriptors that a message brought.
pub(crate) struct Received {
    pub(crate) bytes: usize,
    pub(crate) nfds: usize,
}

/// Receives one message with at least one descriptor, consuming one byte of
/// data, and returns how many descriptors it has put into `fds`.
#[inline(always)]
pub(crate) fn descriptors(socket: c_int, fds: &mut [MaybeUninit<c_int>]) -> Result<usize, Failure> {
    let mut byte = 0;
    let mut data = Data::of_byte(&mut byte);
    let mut message = Message::of(&mut data);
    let mut buffer = cmsg::Buffer::new();
    let control = buffer.first(cmsg::receive_len(fds.len()));
    let (bytes, control) = sys::recvmsg(socket, &mut message, control, 0)?;
    match usual(&message, control, fds) {
        0 => unusual_descriptors(socket, control, message.control_truncated(), bytes, fds),
        nfds => Ok(nfds),
    }
}

/// Receives messages until `fds` is full, and returns how many descriptors came.
pub(crate) fn all_descriptors(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
) -> Result<usize, Stopped> {
    let mut received = 0;
    while let Some(rest) = fds.get_mut(received..).filter(|rest| !rest.is_empty()) {
        match descriptors(socket, rest) {
            Ok(nfds) => received += nfds,
            Err(failure) => return Err(Stopped { received, failure }),
        }
    }
    Ok(received)
}

/// Receives one message, its data into `message` and its descriptors, if it has
/// any, into `fds`.
#[inline(always)]
pub(crate) fn message(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    message: &mut Message<'_>,
    flags: c_int,
) -> Result<Received, Failure> {
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut buffer = cmsg::Buffer::new();
    let control = buffer.first(cmsg::receive_len(fds.len()));
    let (bytes, control) = sys::recvmsg(socket, message, control, flags)?;
    let nfds = match usual(message, control, fds) {
        0 => unusual_message(socket, control, message, bytes, fds)?,
        nfds => nfds,
    };
    Ok(Received { bytes, nfds })
}

/// Hands over the descriptors of the usual message: one control message with
/// descriptors for which there is room, nothing before or after it, nothing left out.
/// Returns how many, or 0 for any other message, which is left as it is.
#[inline(always)]
fn usual(message: &Message<'_>, control: &[u8], fds: &mut [MaybeUninit<c_int>]) -> usize {
    let slots = cmsg::only_rights(control).unwrap_or_default();
    if slots.len() > fds.len() || !message.is_whole() || cmsg::any_refused(slots) {
        return 0;
    }
    sys::put_descriptors(fds, slots);
    slots.len()
}

#[cold]
#[inline(never)]
fn unusual_descriptors(
    socket: c_int,
    control: &mut [u8],
    truncated: bool,
    bytes: usize,
    fds: &mut [MaybeUninit<c_int>],
) -> Result<usize, Failure> {
    let nfds = Unclaimed { control }.claim(socket, truncated, fds)?;
    if nfds == 0 {
        require_unix_domain(socket)?;
        require_not_the_end(socket, bytes)?;
        return Err(Errno::ENOMSG.into());
    }
    Ok(nfds)
}

#[cold]
#[inline(never)]
fn unusual_message(
    socket: c_int,
    control: &mut [u8],
    message: &Message<'_>,
    bytes: usize,
    fds: &mut [MaybeUninit<c_int>],
) -> Result<usize, Failure> {
    let mut unclaimed = Unclaimed { control };
    if message.data_truncated() {
        return Err(Errno::EMSGSIZE.into());
    }
    let nfds = unclaimed.claim(socket, message.control_truncated(), fds)?;
    if nfds == 0 && bytes == 0 {
        require_unix_domain(socket)?;
        require_not_the_end(socket, bytes)?;
    }
    Ok(nfds)
}

/// Fails with EAFNOSUPPORT on a socket on which nobody can send a descriptor.
fn require_unix_domain(socket: c_int) -> Result<(), Errno> {
    if sys::is_unix_domain(socket)? {
        return Ok(());
    }
    Err(Errno::EAFNOSUPPORT)
}

/// Tells the end of file from a message without data: a datagram may be empty, and
/// nothing tells that the last one has come.
fn require_not_the_end(socket: c_int, bytes: usize) -> Result<(), Failure> {
    if bytes == 0 && sys::has_connections(socket)? {
        return Err(Failure::EndOfFile);
    }
    Ok(())
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

/// Control messages of which nobody owns the descriptors yet: dropped, it closes them.
struct Unclaimed<'c> {
    control: &'c mut [u8],
}

impl Unclaimed<'_> {
    /// Hands over the descriptors that were sent, or fails if not all of them are there
    /// and have a place in `fds`. `truncated`: the kernel said `MSG_CTRUNC`.
    fn claim(
        &mut self,
        socket: c_int,
        truncated: bool,
        fds: &mut [MaybeUninit<c_int>],
    ) -> Result<usize, Errno> {
        let rights = || cmsg::messages(self.control).filter(|message| message.kind == Kind::Rights);
        let sent = || rights().flat_map(|message| message.slots);
        let nfds = rights().map(|message| message.slots.len()).sum();
        if nfds > fds.len() {
            return Err(Errno::EMSGSIZE);
        }
        if let Some(slot) = sent().find(|slot| **slot < 0) {
            return Err(Errno(slot.wrapping_neg()));
        }
        // There was room for everything else. On another domain it means nothing.
        if truncated && sys::is_unix_domain(socket)? {
            return Err(why_fewer(socket));
        }
        for (place, fd) in fds.iter_mut().zip(sent()) {
            place.write(*fd);
        }
        // They are the caller's now, the others are not.
        self.close(Kind::Pidfd);
        self.control = &mut [];
        Ok(nfds)
    }

    fn close(&self, kind: Kind) {
        for message in cmsg::messages(self.control).filter(|message| message.kind == kind) {
            for fd in message.slots.iter().filter(|fd| **fd >= 0) {
                sys::close(*fd);
            }
        }
    }
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        self.close(Kind::Rights);
        self.close(Kind::Pidfd);
    }
}

//! What a receive does: take one message, find out what became of the descriptors
//! that were sent with it, and close each one that is not handed over.

use core::mem::MaybeUninit;

use libc::c_int;

use crate::cmsg::{self, Kind};
use crate::sys::{self, Data, Errno, Message};

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

/// What a message brought.
pub(crate) struct Received {
    /// Bytes of data.
    pub(crate) bytes: usize,
    pub(crate) nfds: usize,
    /// Bytes of other control messages that have been copied out.
    pub(crate) control_len: usize,
    /// `MSG_TRUNC` and the like.
    pub(crate) flags: c_int,
}

/// What the caller makes of a message that does not fit or lacks something.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Descriptors that are missing, refused or too many are an error.
    Complete,
    /// So is a datagram that is longer than the buffer.
    CompleteWithData,
    /// What there is will do (`RECVFD_PARTIAL`).
    Partial,
}

/// Receives one message with at least one descriptor, consuming one byte of
/// data, and returns how many descriptors it has put into `fds`.
#[inline(always)]
pub(crate) fn descriptors(socket: c_int, fds: &mut [MaybeUninit<c_int>]) -> Result<usize, Failure> {
    let mut byte = 0;
    let mut data = Data::of_byte(&mut byte);
    let mut message = Message::of(&mut data);
    let mut buffer = cmsg::Buffer::new();
    let control = buffer.for_receive(fds.len());
    let (bytes, control) = sys::recvmsg(socket, &mut message, control, 0)?;
    match usual(&message, control, fds) {
        0 => unusual_descriptors(socket, control, message.flags(), bytes, fds),
        nfds => Ok(nfds),
    }
}

/// [`descriptors`], of any number. The result fits into two registers.
#[inline(never)]
pub(crate) fn several(socket: c_int, fds: &mut [MaybeUninit<c_int>]) -> Result<u32, Failure> {
    #[allow(clippy::cast_possible_truncation)] // At most 253.
    descriptors(socket, fds).map(|nfds| nfds as u32)
}

/// Receives messages until `fds` is full, and returns how many descriptors came.
pub(crate) fn all_descriptors(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
) -> Result<usize, Stopped> {
    let mut received = 0;
    while received < fds.len() {
        let wanted = cmsg::MAX_FDS.min(fds.len() - received);
        let places = fds.get_mut(received..received + wanted).unwrap_or_default();
        match several(socket, places) {
            Ok(nfds) => received += nfds as usize,
            Err(failure) => return Err(Stopped { received, failure }),
        }
    }
    Ok(received)
}

/// Receives one message: its data into `message`, its descriptors, if it has any, into
/// `fds`, and its other control messages into `others` as far as each fits.
#[inline(never)]
pub(crate) fn message(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    message: &mut Message<'_>,
    others: &mut [MaybeUninit<u8>],
    flags: c_int,
    rule: Rule,
) -> Result<Received, Failure> {
    let mut buffer = cmsg::Buffer::new();
    let room = buffer.for_receive(fds.len());
    let (bytes, control) = sys::recvmsg(socket, message, room, flags)?;
    let flags = message.flags();
    match usual(message, control, fds) {
        0 => unusual_message(socket, control, flags, bytes, fds, others, rule),
        nfds => Ok(Received {
            bytes,
            nfds,
            control_len: 0,
            flags,
        }),
    }
}

/// Takes the descriptors out of the control messages of a message that the caller has
/// received, with the flags that recvmsg(2) has set. Returns the bytes of control messages
/// that are left, and how many descriptors came, with the flags as they are to be now.
pub(crate) fn from_control(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    control: &mut [u8],
    flags: c_int,
    rule: Rule,
) -> (usize, Result<(usize, c_int), Errno>) {
    let mut unclaimed = Unclaimed { control };
    let claimed = unclaimed.claim(socket, flags, fds, rule);
    if claimed.is_err() {
        unclaimed.close();
    }
    let flags = |claimed: Claimed| (claimed.nfds, claimed.flags);
    (unclaimed.release(), claimed.map(flags))
}

/// Hands over the descriptors of the usual message: one control message with
/// descriptors for which there is room, nothing before or after it, nothing left out.
/// Returns how many, or 0 for any other message, which is left as it is.
#[inline(always)]
fn usual(message: &Message<'_>, control: &[u8], fds: &mut [MaybeUninit<c_int>]) -> usize {
    let slots = cmsg::only_rights(control).unwrap_or_default();
    let whole = message.flags() & (libc::MSG_CTRUNC | libc::MSG_TRUNC) == 0;
    if slots.len() > fds.len() || !whole || cmsg::any_refused(slots) {
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
    flags: c_int,
    bytes: usize,
    fds: &mut [MaybeUninit<c_int>],
) -> Result<usize, Failure> {
    let claimed = Unclaimed { control }.claim(socket, flags, fds, Rule::Complete)?;
    if claimed.nfds == 0 {
        if !sys::is_unix_domain(socket)? {
            return Err(Errno::EAFNOSUPPORT.into());
        }
        require_not_the_end(socket, bytes)?;
        return Err(Errno::ENOMSG.into());
    }
    Ok(claimed.nfds)
}

#[cold]
#[inline(never)]
fn unusual_message(
    socket: c_int,
    control: &mut [u8],
    flags: c_int,
    bytes: usize,
    fds: &mut [MaybeUninit<c_int>],
    others: &mut [MaybeUninit<u8>],
    rule: Rule,
) -> Result<Received, Failure> {
    let cut = ends_cut(control, flags, cmsg::receive_len(fds.len()));
    let mut unclaimed = Unclaimed { control };
    let Claimed { nfds, flags, lacks } = unclaimed.claim(socket, flags, fds, rule)?;
    if nfds == 0 && !lacks {
        require_not_the_end(socket, bytes)?;
    }
    let (control_len, left_out) = unclaimed.copy_out(others, cut);
    let flags = flags | if left_out { libc::MSG_CTRUNC } else { 0 };
    Ok(Received {
        bytes,
        nfds,
        control_len,
        flags,
    })
}

/// Whether the kernel has cut the last control message, of `room` bytes in all: its
/// length then says only how much of it is there.
fn ends_cut(control: &[u8], flags: c_int, room: usize) -> bool {
    let at_the_end = |message: cmsg::Message<'_>| {
        message.kind != Kind::Rights
            && message.bytes.as_ptr_range().end == control.as_ptr_range().end
    };
    flags & libc::MSG_CTRUNC != 0
        && control.len() == room
        && cmsg::messages(control).last().map_or(false, at_the_end)
}

/// Tells the end of file from a message without data: a datagram may be empty, and
/// nothing tells that the last one has come.
fn require_not_the_end(socket: c_int, bytes: usize) -> Result<(), Failure> {
    if bytes == 0
        && matches!(
            sys::socket_type(socket)?,
            libc::SOCK_STREAM | libc::SOCK_SEQPACKET
        )
    {
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

/// What [`Unclaimed::claim`] has handed over.
struct Claimed {
    nfds: usize,
    /// Those of the message.
    flags: c_int,
    /// Whether it would be an error, but for [`Rule::Partial`].
    lacks: bool,
}

/// Control messages of which nobody owns the descriptors yet: dropped, it closes them.
struct Unclaimed<'c> {
    control: &'c mut [u8],
}

impl Unclaimed<'_> {
    /// Hands over the descriptors that were sent, or fails if not all of them are there
    /// and have a place in `fds`. Their control messages are taken out.
    #[inline(never)]
    fn claim(
        &mut self,
        socket: c_int,
        flags: c_int,
        fds: &mut [MaybeUninit<c_int>],
        rule: Rule,
    ) -> Result<Claimed, Errno> {
        let (mut sent, mut refused) = (0, None);
        for message in cmsg::messages(self.control) {
            if message.kind == Kind::Rights {
                sent += message.slots.len();
                refused = refused.or_else(|| message.slots.iter().find(|slot| **slot < 0));
            }
        }
        let truncated = flags & libc::MSG_CTRUNC != 0;
        let partial = rule == Rule::Partial;
        let too_many = sent > fds.len();
        let too_long = rule == Rule::CompleteWithData && flags & libc::MSG_TRUNC != 0;
        let lacks = too_many || too_long || refused.is_some() || truncated;
        if lacks && !partial {
            if too_many || too_long {
                return Err(Errno::EMSGSIZE);
            }
            if let Some(slot) = refused {
                return Err(Errno(slot.wrapping_neg()));
            }
            // There was room for everything else. On another domain it means nothing.
            if sys::is_unix_domain(socket)? {
                return Err(why_fewer(socket));
            }
        }
        let lacks = lacks && partial;
        self.hand_over(fds);
        Ok(Claimed {
            nfds: sent.min(fds.len()),
            flags: flags | if lacks { libc::MSG_CTRUNC } else { 0 },
            lacks,
        })
    }

    /// Gives the caller the descriptors that were sent and have a place in `fds`, and -1
    /// where one was refused, and closes the others that were sent.
    fn hand_over(&mut self, fds: &mut [MaybeUninit<c_int>]) {
        let mut places = fds.iter_mut();
        self.retain(&mut |message| {
            if message.kind != Kind::Rights {
                return true;
            }
            for fd in message.slots {
                match places.next() {
                    Some(place) => _ = place.write((*fd).max(-1)),
                    None => close(*fd),
                }
            }
            false
        });
    }

    /// Copies each message that fits to `others`, with room for its padding, and closes the
    /// pidfd of one that does not. `cut`: the last is not whole. Returns the bytes that
    /// they take there, and whether one is left out that the caller may have wanted.
    fn copy_out(mut self, others: &mut [MaybeUninit<u8>], cut: bool) -> (usize, bool) {
        let last = if cut {
            cmsg::messages(self.control)
                .last()
                .map(|last| last.bytes.as_ptr())
        } else {
            None
        };
        let (mut used, mut left_out) = (0, false);
        self.retain(&mut |message| {
            let space = cmsg::align(message.bytes.len());
            let whole = last != Some(message.bytes.as_ptr());
            match others.get_mut(used..used + space) {
                Some(place) if whole => {
                    for (place, byte) in place.iter_mut().zip(message.bytes) {
                        place.write(*byte);
                    }
                    used += space;
                    return false;
                }
                _ => left_out = true,
            }
            true
        });
        (used, left_out && !others.is_empty())
    }

    /// Closes every descriptor, and takes its message out.
    #[inline(never)]
    fn close(&mut self) {
        self.retain(&mut |message| {
            if message.kind != Kind::Other {
                message.slots.iter().for_each(|fd| close(*fd));
            }
            message.kind == Kind::Other
        });
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&cmsg::Message<'_>) -> bool) {
        let control = core::mem::take(&mut self.control);
        let len = cmsg::retain(control, keep);
        self.control = control.get_mut(..len).unwrap_or_default();
    }

    /// Leaves the descriptors that are left to the caller: how many bytes they take, with
    /// the other messages.
    fn release(mut self) -> usize {
        core::mem::take(&mut self.control).len()
    }
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Closes what came in a place for a descriptor, unless that is an errno.
fn close(fd: c_int) {
    if fd >= 0 {
        sys::close(fd);
    }
}

//! Receiving: takes one message, finds out what became of the descriptors that were sent
//! with it, and closes each one that is not handed over.

use core::mem::MaybeUninit;

use libc::c_int;

use crate::cmsg::{self, Kind, Message};
use crate::sys::{self, Data, Errno, Incoming};

/// How the caller takes a message that does not fit or lacks something.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Descriptors that are missing, refused or too many are an error.
    Complete,
    /// So is a datagram that is longer than the buffer.
    CompleteWithData,
    /// So is a message without a descriptor.
    CompleteWithDescriptors,
    /// It is received all the same (`RECVFD_PARTIAL`).
    Partial,
}

/// Receives one message with at least one descriptor, consuming one byte of
/// data, and returns how many descriptors it has put into `fds`.
#[inline(always)]
pub(crate) fn descriptors(socket: c_int, fds: &mut [MaybeUninit<c_int>]) -> Result<u32, Errno> {
    let mut byte = 0;
    let mut data = Data::of_byte(&mut byte);
    let mut message = Incoming::of(&mut data);
    self::message(socket, fds, &mut message, 0, Rule::CompleteWithDescriptors)
}

/// The same for one descriptor, inlined as a whole: programs make this call the most.
#[inline(always)]
pub(crate) fn descriptor(socket: c_int, fd: &mut [MaybeUninit<c_int>; 1]) -> Result<u32, Errno> {
    let mut byte = 0;
    let mut data = Data::of_byte(&mut byte);
    let mut message = Incoming::of(&mut data);
    receive(socket, fd, &mut message, 0, Rule::CompleteWithDescriptors)
}

/// Receives messages until `fds` is full, and counts in `received` the descriptors that came.
pub(crate) fn all_descriptors(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    received: &mut usize,
) -> Result<(), Errno> {
    while *received < fds.len() {
        let wanted = cmsg::MAX_FDS.min(fds.len() - *received);
        let places = fds.get_mut(*received..*received + wanted);
        *received += descriptors(socket, places.unwrap_or_default())? as usize;
    }
    Ok(())
}

/// Receives one message: its data into `message`, with its other control messages as far as
/// each fits, and its descriptors, if it has any, into `fds`. Returns how many those are: a
/// number that fits into a register with an errno.
#[inline(never)]
pub(crate) fn message(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    message: &mut Incoming<'_>,
    flags: c_int,
    rule: Rule,
) -> Result<u32, Errno> {
    receive(socket, fds, message, flags, rule)
}

#[inline(always)]
fn receive(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    message: &mut Incoming<'_>,
    flags: c_int,
    rule: Rule,
) -> Result<u32, Errno> {
    let mut buffer = cmsg::Buffer::new();
    let room = buffer.for_receive(fds.len());
    let control = sys::recvmsg(socket, message, room, flags)?;
    match usual(*message.flags(), control, fds) {
        0 => unusual(socket, control, message, fds, rule),
        nfds => Ok(nfds),
    }
}

/// Takes the descriptors out of the control messages of a message that the caller has
/// received, with the flags that recvmsg(2) has set. Returns the bytes of control messages
/// that are left, and how many descriptors came.
pub(crate) fn from_control(
    socket: c_int,
    fds: &mut [MaybeUninit<c_int>],
    control: &mut [u8],
    flags: &mut c_int,
    rule: Rule,
) -> (usize, Result<u32, Errno>) {
    let mut unclaimed = Unclaimed { control };
    let claimed = unclaimed.claim(socket, flags, fds, rule);
    if claimed.is_err() {
        unclaimed.close();
    }
    (unclaimed.release(), claimed)
}

/// Hands over the descriptors of the usual message: one control message with
/// descriptors for which there is room, nothing before or after it, nothing left out.
/// Returns how many, or 0 for any other message, which is left as it is.
#[inline(always)]
fn usual(flags: c_int, control: &[u8], fds: &mut [MaybeUninit<c_int>]) -> u32 {
    // One comparison for both: without descriptors it is not usual, either.
    let fit = |slots: &[c_int]| slots.len().wrapping_sub(1) < fds.len();
    let whole = flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) == 0;
    match cmsg::only_rights(control) {
        Some(slots) if whole && fit(slots) && !cmsg::any_refused(slots) => {
            sys::put(fds, slots);
            number(slots.len())
        }
        _ => 0,
    }
}

/// A number of descriptors: at most 253.
#[allow(clippy::cast_possible_truncation)]
#[inline(always)]
fn number(nfds: usize) -> u32 {
    nfds as u32
}

#[cold]
#[inline(never)]
fn unusual(
    socket: c_int,
    control: &mut [u8],
    message: &mut Incoming<'_>,
    fds: &mut [MaybeUninit<c_int>],
    rule: Rule,
) -> Result<u32, Errno> {
    let room = cmsg::receive_len(fds.len());
    let cut = ends_cut(control, *message.flags(), room);
    let mut unclaimed = Unclaimed { control };
    let nfds = unclaimed.claim(socket, message.flags(), fds, rule)?;
    let lacks = rule == Rule::Partial && *message.flags() & libc::MSG_CTRUNC != 0;
    if nfds == 0 && !lacks {
        unclaimed.without_descriptors(socket, message.len, rule)?;
    }
    unclaimed.copy_out(message, cut);
    Ok(nfds)
}

/// Whether the kernel has cut the last control message, of `room` bytes in all: its
/// length then says only how much of it is there.
fn ends_cut(control: &[u8], flags: c_int, room: usize) -> bool {
    let end = control.as_ptr_range().end;
    let at_the_end = |message: Message<'_>| {
        message.kind != Kind::Rights && message.bytes.as_ptr_range().end == end
    };
    flags & libc::MSG_CTRUNC != 0
        && control.len() == room
        && cmsg::messages(control).any(at_the_end)
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
    /// and have a place in `fds`; with [`Rule::Partial`], `MSG_CTRUNC` then says so. Their
    /// control messages are taken out. Returns how many have a place.
    #[inline(never)]
    fn claim(
        &mut self,
        socket: c_int,
        flags: &mut c_int,
        fds: &mut [MaybeUninit<c_int>],
        rule: Rule,
    ) -> Result<u32, Errno> {
        let (mut sent, mut refused) = (0, None);
        for message in cmsg::messages(self.control) {
            if message.kind == Kind::Rights {
                sent += message.slots.len();
                refused = refused.or_else(|| message.slots.iter().find(|slot| **slot < 0));
            }
        }
        let truncated = *flags & libc::MSG_CTRUNC != 0;
        let too_many = sent > fds.len();
        let too_long = rule == Rule::CompleteWithData && *flags & libc::MSG_TRUNC != 0;
        if too_many || too_long || refused.is_some() || truncated {
            if rule == Rule::Partial {
                *flags |= libc::MSG_CTRUNC;
            } else if too_many || too_long {
                return Err(Errno::EMSGSIZE);
            } else if let Some(slot) = refused {
                return Err(Errno(slot.wrapping_neg()));
            } else if sys::is_unix_domain(socket)? {
                // There was room for everything else. On another domain it means nothing.
                return Err(why_fewer(socket));
            }
        }
        self.hand_over(fds);
        Ok(number(sent.min(fds.len())))
    }

    /// Gives the caller the descriptors that were sent and have a place in `fds`, and -1
    /// where one was refused, and closes the others that were sent.
    fn hand_over(&mut self, fds: &mut [MaybeUninit<c_int>]) {
        let mut places = fds.iter_mut();
        self.retain(&mut |message: &Message<'_>| {
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

    /// A message without descriptors is the end of file, or an error where they are required,
    /// or neither. A datagram may be empty, and there is no sign that it was the last one.
    fn without_descriptors(
        &mut self,
        socket: c_int,
        bytes: usize,
        rule: Rule,
    ) -> Result<(), Errno> {
        let required = rule == Rule::CompleteWithDescriptors;
        if required {
            self.close();
            sys::require_unix_option(socket)?;
        }
        if bytes == 0
            && matches!(
                sys::socket_type(socket)?,
                libc::SOCK_STREAM | libc::SOCK_SEQPACKET
            )
        {
            return Err(Errno::END_OF_FILE);
        }
        if required {
            return Err(Errno::ENOMSG);
        }
        Ok(())
    }

    /// Copies each message that fits to the room for the others, with room for its padding,
    /// and closes the pidfd of one that does not. `cut`: the last is not whole.
    fn copy_out(mut self, message: &mut Incoming<'_>, cut: bool) {
        let end = self.control.as_ptr_range().end;
        let mut left_out = false;
        self.retain(&mut |other: &Message<'_>| {
            let whole = !cut || other.bytes.as_ptr_range().end != end;
            let used = message.others_len + sys::align(other.bytes.len());
            match message.others.get_mut(message.others_len..used) {
                Some(place) if whole => {
                    sys::put(place, other.bytes);
                    message.others_len = used;
                    return false;
                }
                _ => left_out = true,
            }
            true
        });
        if left_out && !message.others.is_empty() {
            *message.flags() |= libc::MSG_CTRUNC;
        }
    }

    /// Closes every descriptor, and takes its message out.
    #[inline(never)]
    fn close(&mut self) {
        self.retain(&mut |message: &Message<'_>| {
            if message.kind != Kind::Other {
                message.slots.iter().for_each(|fd| close(*fd));
            }
            message.kind == Kind::Other
        });
    }

    fn retain(&mut self, choice: &mut dyn cmsg::Choice) {
        let control = core::mem::take(&mut self.control);
        let len = cmsg::retain(control, choice);
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

//! Control messages (cmsg(3)): writes the one that carries descriptors, and walks
//! those that a receive brought. Pure functions of a buffer: this module makes no
//! system call and owns no descriptor.
//!
//! A control message is a header, then its data, which is descriptors here: ints.
//! Each message starts at a multiple of the size of `size_t`.

use core::mem::{size_of, MaybeUninit};

use libc::c_int;

use crate::sys::{self, align, Header};

/// Most descriptors in one message: the kernel's `SCM_MAX_FD` (unix(7)).
pub(crate) const MAX_FDS: usize = 253;

/// Room for what socket options put next to the descriptors: credentials (32
/// bytes), a security label of up to 255 (272), timestamps (96), a pidfd (24).
pub(crate) const BESIDE_RIGHTS: usize = 512;

/// `SCM_PIDFD` (Linux 6.5): a descriptor that nobody sent. It arrives when
/// `SO_PASSPIDFD` is set on the receiving socket.
const SCM_PIDFD: c_int = 4;

/// `CMSG_LEN` of `nfds` descriptors.
const fn rights_len(nfds: usize) -> usize {
    size_of::<Header>() + nfds * size_of::<c_int>()
}

/// `CMSG_SPACE` of `nfds` descriptors.
pub(crate) const fn space(nfds: usize) -> usize {
    align(rights_len(nfds))
}

/// How much of a [`Buffer`] a receive of `max_fds` descriptors offers.
#[inline(always)]
pub(crate) fn receive_len(max_fds: usize) -> usize {
    space(max_fds) + BESIDE_RIGHTS
}

/// A buffer for the largest message with descriptors and what is next to them, aligned as a header.
#[repr(C)]
pub(crate) struct Buffer {
    aligned: [Header; 0],
    bytes: [MaybeUninit<u8>; space(MAX_FDS) + BESIDE_RIGHTS],
}

impl Buffer {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            aligned: [],
            bytes: [MaybeUninit::uninit(); space(MAX_FDS) + BESIDE_RIGHTS],
        }
    }

    /// All of it.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.bytes
    }

    /// The part that a receive of `max_fds` descriptors, at most [`MAX_FDS`], offers to the kernel.
    #[inline(always)]
    pub(crate) fn for_receive(&mut self, max_fds: usize) -> &mut [MaybeUninit<u8>] {
        let len = receive_len(max_fds).min(self.bytes.len());
        self.bytes.get_mut(..len).unwrap_or_default()
    }
}

/// Writes the control message that carries `fds` to the start of `buffer`, its
/// padding zeroed, then `others`, and returns the bytes written, or nothing if `buffer`
/// has no room for them.
#[inline(always)]
pub(crate) fn write_rights<'b>(
    buffer: &'b mut [MaybeUninit<u8>],
    fds: &[c_int],
    others: &[u8],
) -> Option<&'b [MaybeUninit<u8>]> {
    let header = Header {
        len: rights_len(fds.len()),
        level: libc::SOL_SOCKET,
        kind: libc::SCM_RIGHTS,
    };
    let len = sys::put_message(buffer, header, fds)?;
    if others.is_empty() {
        return buffer.get(..len);
    }
    sys::put(buffer.get_mut(len..)?, others);
    buffer.get(..len + others.len())
}

/// The descriptors of the usual message: one with descriptors, whole, and nothing
/// before or after it.
#[inline(always)]
pub(crate) fn only_rights(control: &[u8]) -> Option<&[c_int]> {
    let header = sys::header(control)?;
    let data = control.get(size_of::<Header>()..header.len)?;
    if [header.level, header.kind] != [libc::SOL_SOCKET, libc::SCM_RIGHTS]
        || align(header.len) < control.len()
    {
        return None;
    }
    Some(sys::ints(data))
}

/// Whether there is a place for which a descriptor was refused.
#[inline(always)]
pub(crate) fn any_refused(slots: &[c_int]) -> bool {
    // There is hardly ever one: no branch for each.
    slots.iter().fold(0, |all, slot| all | slot) < 0
}

/// The control messages in a buffer that may be sent, or nothing if one may not: each needs
/// a length that its header and the buffer allow, and none may hold descriptors. Fewer bytes
/// than a header at the end are left out: a 32-bit program's would be looked at by a 64-bit
/// kernel.
pub(crate) fn sendable(control: &[u8]) -> Option<&[u8]> {
    let mut rest = control;
    while let Some(header) = sys::header(rest) {
        let rights = Kind::of(&header) == Kind::Rights;
        if rights || header.len < size_of::<Header>() || header.len > rest.len() {
            return None;
        }
        rest = rest.get(align(header.len)..).unwrap_or_default();
    }
    control.get(..control.len() - rest.len())
}

/// The subject of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Descriptors that were sent, in order. A negative one is the errno of a
    /// refused descriptor (`SO_RIGHTS_NOTRUNC`, Linux 7.3).
    Rights,
    /// A descriptor that nobody sent. A negative one is the errno that kept the
    /// kernel from making it.
    Pidfd,
    /// Something that holds no descriptor.
    Other,
}

impl Kind {
    fn of(header: &Header) -> Self {
        match (header.level, header.kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => Self::Rights,
            (libc::SOL_SOCKET, SCM_PIDFD) => Self::Pidfd,
            _ => Self::Other,
        }
    }
}

/// A control message, its data read as descriptors.
#[derive(Clone, Copy)]
pub(crate) struct Message<'c> {
    pub(crate) kind: Kind,
    pub(crate) slots: &'c [c_int],
    /// Header and data, without padding.
    pub(crate) bytes: &'c [u8],
}

/// The control messages in a buffer, one after the other.
pub(crate) fn messages(control: &[u8]) -> Messages<'_> {
    Messages { rest: control }
}

/// Walks the control messages in a buffer.
pub(crate) struct Messages<'c> {
    rest: &'c [u8],
}

impl<'c> Iterator for Messages<'c> {
    type Item = Message<'c>;

    #[inline(never)]
    fn next(&mut self) -> Option<Message<'c>> {
        let header = sys::header(self.rest)?;
        // The length that the message claims is not trusted: one beyond the
        // buffer is cut to it, one shorter than the header ends the walk.
        let bytes = self.rest.get(..header.len.min(self.rest.len()))?;
        let slots = sys::ints(bytes.get(size_of::<Header>()..)?);
        self.rest = self.rest.get(align(bytes.len())..).unwrap_or_default();
        let kind = Kind::of(&header);
        Some(Message { kind, slots, bytes })
    }
}

/// Chooses among control messages.
pub(crate) trait Choice {
    /// Whether to keep one.
    fn keep(&mut self, message: &Message<'_>) -> bool;
}

// Not `dyn FnMut`: rustc 1.63 would compile each closure once more, as an `FnOnce`.
impl<F: FnMut(&Message<'_>) -> bool> Choice for F {
    fn keep(&mut self, message: &Message<'_>) -> bool {
        self(message)
    }
}

/// Takes out the control messages that `choice` does not keep, and moves the others
/// together, in their order. Returns the bytes that they take, each with its padding as
/// far as the buffer has it. The length of one that was cut says so.
#[inline(never)]
pub(crate) fn retain(control: &mut [u8], choice: &mut dyn Choice) -> usize {
    let (mut from, mut to) = (0, 0);
    while let Some(message) = control.get(from..).and_then(|rest| messages(rest).next()) {
        let len = message.bytes.len();
        if choice.keep(&message) {
            sys::move_message(control, from, len, to);
            to += align(len);
        }
        from += align(len);
    }
    to.min(control.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: usize = size_of::<usize>();
    const HEADER: usize = size_of::<Header>();
    const SLOT: usize = size_of::<c_int>();

    /// Bytes as recvmsg(2) leaves them, in memory that is aligned as a header and no larger.
    struct Control {
        words: Vec<usize>,
        len: usize,
    }

    impl Control {
        fn of(bytes: &[u8]) -> Self {
            let word = |bytes: &[u8]| {
                let mut word = [0xa5; WORD];
                word[..bytes.len()].copy_from_slice(bytes);
                usize::from_ne_bytes(word)
            };
            Self {
                words: bytes.chunks(WORD).map(word).collect(),
                len: bytes.len(),
            }
        }

        fn bytes(&self) -> &[u8] {
            &sys::bytes_of(&self.words)[..self.len]
        }

        fn slots(&self, kind: Kind) -> Vec<c_int> {
            messages(self.bytes())
                .filter(|message| message.kind == kind)
                .flat_map(|message| message.slots.to_vec())
                .collect()
        }

        fn rights(&self) -> Vec<c_int> {
            self.slots(Kind::Rights)
        }
    }

    /// One control message as the kernel lays it out, padding included.
    fn message(level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
        let mut bytes = claiming(HEADER + data.len(), level, kind, data);
        bytes.resize(align(bytes.len()), 0xa5);
        bytes
    }

    /// One whose header claims `len` bytes, whatever it has.
    fn claiming(len: usize, level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes
    }

    fn bytes_of(fds: &[c_int]) -> Vec<u8> {
        fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect()
    }

    fn rights(fds: &[c_int]) -> Vec<u8> {
        message(libc::SOL_SOCKET, libc::SCM_RIGHTS, &bytes_of(fds))
    }

    fn written(fds: &[c_int], room: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![MaybeUninit::new(0xa5); room];
        let bytes = write_rights(&mut buffer, fds, &[])?;
        Some(sys::initialised(bytes).to_vec())
    }

    #[test]
    fn lengths_are_those_of_the_macros_in_c() {
        // CMSG_LEN and CMSG_SPACE, read off cmsg(3) programs of both kinds.
        let expected = if WORD == 4 {
            [(0, 12, 12), (1, 16, 16), (2, 20, 20), (253, 1024, 1024)]
        } else {
            [(0, 16, 16), (1, 20, 24), (2, 24, 24), (253, 1028, 1032)]
        };
        for (nfds, cmsg_len, cmsg_space) in expected {
            assert_eq!(rights_len(nfds), cmsg_len);
            assert_eq!(space(nfds), cmsg_space);
        }
    }

    #[test]
    fn what_is_written_is_what_the_kernel_lays_out() {
        for nfds in [0, 1, 2, 3, 252, 253] {
            let fds: Vec<c_int> = (0..nfds).map(|n| n * 7 + 3).collect();
            let mut expected = rights(&fds);
            expected.truncate(rights_len(fds.len()));
            expected.resize(space(fds.len()), 0);
            assert_eq!(written(&fds, 2000), Some(expected));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        for nfds in [0, 1, 2, 3] {
            assert!(written(&vec![1; nfds], space(nfds)).is_some());
            assert!(written(&vec![1; nfds], space(nfds) - 1).is_none());
        }
        assert!(written(&[], 0).is_none());
    }

    #[test]
    fn an_empty_buffer_holds_nothing() {
        assert!(messages(&[]).next().is_none());
        assert!(only_rights(&[]).is_none());
    }

    #[test]
    fn messages_come_in_order_around_their_padding() {
        // 12 bytes of credentials and an odd number of descriptors leave padding on 64 bits.
        let control = Control::of(
            &[
                message(libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &[1; 12]),
                rights(&[3, 4, 5]),
                message(libc::SOL_SOCKET, SCM_PIDFD, &bytes_of(&[6])),
                rights(&[7]),
            ]
            .concat(),
        );
        assert_eq!(control.rights(), [3, 4, 5, 7]);
        assert_eq!(control.slots(Kind::Pidfd), [6]);
        assert!(only_rights(control.bytes()).is_none());
    }

    #[test]
    fn only_rights_of_the_socket_level_are_descriptors() {
        for (level, kind) in [
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMP),
            (libc::SOL_IP, libc::SCM_RIGHTS),
            (libc::SOL_IP, SCM_PIDFD),
        ] {
            let control = Control::of(&message(level, kind, &bytes_of(&[3])));
            assert_eq!(control.rights(), []);
            assert_eq!(control.slots(Kind::Pidfd), []);
            assert!(only_rights(control.bytes()).is_none());
        }
    }

    #[test]
    fn the_usual_message_is_one_and_whole() {
        for fds in [&[][..], &[3], &[3, 4], &[3, 4, 5]] {
            let whole = rights(fds);
            assert_eq!(only_rights(Control::of(&whole).bytes()), Some(fds));
            // Without its padding, and without its end.
            let len = rights_len(fds.len());
            assert_eq!(only_rights(Control::of(&whole[..len]).bytes()), Some(fds));
            assert!(only_rights(Control::of(&whole[..len - 1]).bytes()).is_none());
            let with_more = [&whole[..], &[0xa5; WORD]].concat();
            assert!(only_rights(Control::of(&with_more).bytes()).is_none());
        }
    }

    #[test]
    fn a_length_beyond_the_buffer_is_cut_to_it() {
        for len in [HEADER + 9, 4096, u32::MAX as usize, usize::MAX] {
            let data = bytes_of(&[3, 4]);
            let control = Control::of(&claiming(len, libc::SOL_SOCKET, libc::SCM_RIGHTS, &data));
            assert_eq!(control.rights(), [3, 4]);
            assert!(only_rights(control.bytes()).is_none());
        }
    }

    #[test]
    fn a_length_without_room_for_the_header_ends_the_walk() {
        for len in 0..HEADER {
            let mut bytes = claiming(len, libc::SOL_SOCKET, libc::SCM_RIGHTS, &[]);
            assert!(only_rights(Control::of(&bytes).bytes()).is_none());
            bytes.extend(rights(&[3]));
            assert!(messages(Control::of(&bytes).bytes()).next().is_none());
        }
    }

    #[test]
    fn half_a_descriptor_is_none() {
        for cut in 1..SLOT {
            let mut data = bytes_of(&[3, 4]);
            data.truncate(2 * SLOT - cut);
            let control = Control::of(&message(libc::SOL_SOCKET, libc::SCM_RIGHTS, &data));
            assert_eq!(control.rights(), [3]);
            assert_eq!(only_rights(control.bytes()), Some(&[3][..]));
        }
    }

    #[test]
    fn a_header_that_is_cut_off_ends_the_walk() {
        let whole = rights(&[3, 4]);
        for end in 0..HEADER {
            let control = Control::of(&[&whole[..], &whole[..end]].concat());
            assert_eq!(control.rights(), [3, 4]);
        }
    }

    #[test]
    fn a_refused_slot_is_found_wherever_it_is() {
        for nfds in [0, 1, 2, 3, 8, 9, 252, 253] {
            let fds: Vec<c_int> = (0..nfds).map(|n| n * 7 + 3).collect();
            assert!(!any_refused(&fds));
            for place in 0..fds.len() {
                let mut fds = fds.clone();
                fds[place] = -1;
                assert!(any_refused(&fds));
                assert_eq!(Control::of(&rights(&fds)).rights(), fds);
            }
        }
    }

    #[test]
    fn any_length_claimed_ends_inside_the_buffer() {
        let fds: Vec<c_int> = (3..11).collect();
        for len in 0..200 {
            let data = bytes_of(&fds);
            let control = Control::of(&claiming(len, libc::SOL_SOCKET, libc::SCM_RIGHTS, &data));
            let room = len.min(control.len).saturating_sub(HEADER) / SLOT;
            let found = messages(control.bytes()).next();
            let found = found.map_or(&[][..], |message| message.slots);
            assert_eq!(found, &fds[..room]);
        }
    }

    #[test]
    fn what_is_kept_moves_together_in_its_order() {
        // Empty, with padding, and one that claims more than there is: its length is corrected.
        let other = |data: &[u8]| claiming(HEADER + data.len(), libc::SOL_IP, 7, data);
        let kept = [other(&[]), other(&[1]), other(&[2; WORD]), other(&[3])];
        for first in [&[3][..], &[3, 4, 5]] {
            let mut control = rights(first);
            for data in [&[][..], &[1], &[2; WORD]] {
                control.extend(message(libc::SOL_IP, 7, data));
            }
            control.extend(rights(&[6]));
            control.extend(claiming(4096, libc::SOL_IP, 7, &[3]));
            let mut control = control.into_boxed_slice();
            let len = retain(&mut control, &mut |message: &Message<'_>| {
                message.kind == Kind::Other
            });
            let found: Vec<&[u8]> = messages(&control[..len]).map(|it| it.bytes).collect();
            assert_eq!(found, kept);
            assert_eq!(len, kept.iter().map(|bytes| align(bytes.len())).sum());
        }
    }

    #[test]
    fn where_nothing_is_taken_out_no_padding_is_counted() {
        let bytes = claiming(HEADER + 1, libc::SOL_IP, 7, &[1]);
        let mut control = bytes.clone().into_boxed_slice();
        assert_eq!(
            retain(&mut control, &mut |_: &Message<'_>| true),
            bytes.len()
        );
        assert_eq!(control[..], bytes);
        assert_eq!(retain(&mut control, &mut |_: &Message<'_>| false), 0);
    }

    #[test]
    fn what_may_be_sent_ends_with_the_last_header() {
        let empty = message(libc::SOL_IP, 7, &[]);
        for end in 0..HEADER {
            let control = Control::of(&[&empty[..], &vec![0xa5; end]].concat());
            assert_eq!(sendable(control.bytes()), Some(&empty[..]));
        }
    }

    #[test]
    fn a_receive_has_room_for_all_that_may_come_beside() {
        let data = [12, 255, 48, 16, SLOT]; // Credentials, label, timestamps, pidfd.
        let all: usize = data.iter().map(|len| align(HEADER + len)).sum();
        assert!(all <= BESIDE_RIGHTS);
    }
}

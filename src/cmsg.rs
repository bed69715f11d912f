//! Control messages (cmsg(3)) as bytes: builds the one that carries
//! descriptors, and walks those that a receive brought. Pure functions of a
//! buffer: this module makes no system call and owns no descriptor.
//!
//! A control message is a header (its length as the kernel's `size_t`, a level
//! and a type), then its data; header and message are padded to the size of
//! that `size_t`, which is `WORD` here so that the tests can run both.

use core::ffi::c_int;
use core::mem::MaybeUninit;

/// Most descriptors in one message: the kernel's `SCM_MAX_FD` (unix(7)).
pub(crate) const MAX_FDS: usize = 253;

/// Room for what socket options put beside the descriptors: credentials (32
/// bytes), a security label of up to 255 (272), timestamps (96), a pidfd (24).
const BESIDE_RIGHTS: usize = 512;

/// `SCM_PIDFD` (Linux 6.5): a descriptor that nobody sent. It arrives when
/// `SO_PASSPIDFD` is set on the receiving socket.
const SCM_PIDFD: c_int = 4;

const NATIVE_WORD: usize = size_of::<usize>();
const SLOT: usize = size_of::<c_int>();

/// A buffer for the control message of [`MAX_FDS`] descriptors.
pub(crate) const SEND_BUFFER: [MaybeUninit<u8>; space::<NATIVE_WORD>(MAX_FDS)] =
    [MaybeUninit::uninit(); space::<NATIVE_WORD>(MAX_FDS)];

/// A buffer for [`MAX_FDS`] descriptors and all that may come beside them.
pub(crate) const RECEIVE_BUFFER: [MaybeUninit<u8>; receive_len(MAX_FDS)] =
    [MaybeUninit::uninit(); receive_len(MAX_FDS)];

/// How much of a [`RECEIVE_BUFFER`] a receive of `max_fds` descriptors offers.
pub(crate) const fn receive_len(max_fds: usize) -> usize {
    space::<NATIVE_WORD>(max_fds) + BESIDE_RIGHTS
}

/// Writes the control message that carries `fds` to the start of `buffer` and
/// returns the bytes written, or nothing where `buffer` has no room for it.
pub(crate) fn write_rights<'b>(
    buffer: &'b mut [MaybeUninit<u8>],
    fds: &[c_int],
) -> Option<&'b [MaybeUninit<u8>]> {
    write_rights_as::<NATIVE_WORD>(buffer, fds)
}

/// The control messages in a buffer, one after the other.
pub(crate) fn messages(control: &[u8]) -> Messages<'_> {
    Messages { rest: control }
}

/// `CMSG_ALIGN`.
const fn align<const WORD: usize>(len: usize) -> usize {
    len.saturating_add(WORD - 1) & !(WORD - 1)
}

/// `CMSG_LEN(0)`.
const fn header_len<const WORD: usize>() -> usize {
    align::<WORD>(WORD + 2 * SLOT)
}

/// `CMSG_LEN` of `nfds` descriptors.
const fn rights_len<const WORD: usize>(nfds: usize) -> usize {
    header_len::<WORD>() + nfds * SLOT
}

/// `CMSG_SPACE` of `nfds` descriptors.
const fn space<const WORD: usize>(nfds: usize) -> usize {
    align::<WORD>(rights_len::<WORD>(nfds))
}

fn write_rights_as<'b, const WORD: usize>(
    buffer: &'b mut [MaybeUninit<u8>],
    fds: &[c_int],
) -> Option<&'b [MaybeUninit<u8>]> {
    let len = rights_len::<WORD>(fds.len());
    let message = buffer.get_mut(..len)?;
    let (header, slots) = message.split_at_mut_checked(header_len::<WORD>())?;
    let (word, level_and_type) = header.split_at_mut_checked(WORD)?;
    let (level, kind) = level_and_type.split_at_mut_checked(SLOT)?;
    write_word(word, len)?;
    write(level, &libc::SOL_SOCKET.to_ne_bytes());
    write(kind, &libc::SCM_RIGHTS.to_ne_bytes());
    for (slot, fd) in slots.chunks_exact_mut(SLOT).zip(fds) {
        write(slot, &fd.to_ne_bytes());
    }
    Some(message)
}

fn write(place: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    for (byte, value) in place.iter_mut().zip(bytes) {
        byte.write(*value);
    }
}

fn write_word(place: &mut [MaybeUninit<u8>], value: usize) -> Option<()> {
    match place.len() {
        4 => write(place, &u32::try_from(value).ok()?.to_ne_bytes()),
        _ => write(place, &u64::try_from(value).ok()?.to_ne_bytes()),
    }
    Some(())
}

fn read_word<const WORD: usize>(bytes: &[u8]) -> Option<usize> {
    let value = match WORD {
        4 => u64::from(u32::from_ne_bytes(*bytes.first_chunk()?)),
        _ => u64::from_ne_bytes(*bytes.first_chunk()?),
    };
    // A length above the address space is as wrong as the largest one.
    Some(usize::try_from(value).unwrap_or(usize::MAX))
}

fn read_int(bytes: &[u8]) -> Option<c_int> {
    Some(c_int::from_ne_bytes(*bytes.first_chunk()?))
}

/// What a control message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Descriptors that were sent, in order. A negative one is the errno of a
    /// refused descriptor (`SO_RIGHTS_NOTRUNC`, Linux 7.3).
    Rights,
    /// A descriptor that nobody sent. A negative one is the errno for which the
    /// kernel made none.
    Pidfd,
    /// Something that holds no descriptor.
    Other,
}

impl Kind {
    fn of(level: c_int, kind: c_int) -> Self {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => Self::Rights,
            (libc::SOL_SOCKET, SCM_PIDFD) => Self::Pidfd,
            _ => Self::Other,
        }
    }
}

/// A control message, its data read as descriptors.
pub(crate) struct Message<'c> {
    pub(crate) kind: Kind,
    pub(crate) slots: Slots<'c>,
}

/// The places of descriptors in a control message, in order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slots<'c> {
    bytes: &'c [u8],
}

impl Slots<'_> {
    pub(crate) fn len(self) -> usize {
        self.bytes.len() / SLOT
    }

    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = c_int> {
        self.bytes
            .chunks_exact(SLOT)
            .map(|slot| read_int(slot).unwrap_or(-1))
    }

    /// Whether one is negative.
    pub(crate) fn any_negative(self) -> bool {
        // There is hardly ever one: no branch for each, and two at a time.
        const SIGNS: u64 = 0x8000_0000_8000_0000;
        let pairs = self.bytes.chunks_exact(2 * SLOT);
        let odd = read_int(pairs.remainder()).unwrap_or_default();
        let all = pairs.fold(0, |all, pair| {
            all | pair.first_chunk().copied().map_or(0, u64::from_ne_bytes)
        });
        odd < 0 || all & SIGNS != 0
    }
}

/// Walks the control messages in a buffer.
pub(crate) struct Messages<'c, const WORD: usize = NATIVE_WORD> {
    rest: &'c [u8],
}

impl<'c, const WORD: usize> Iterator for Messages<'c, WORD> {
    type Item = Message<'c>;

    #[inline]
    fn next(&mut self) -> Option<Message<'c>> {
        let control = self.rest;
        let header = control.get(..header_len::<WORD>())?;
        let level = read_int(header.get(WORD..)?)?;
        let kind = read_int(header.get(WORD + SLOT..)?)?;
        // The length that the message claims is not trusted: one beyond the
        // buffer is cut to it, one that has no room for the header ends the walk.
        let len = read_word::<WORD>(header)?.min(control.len());
        let bytes = control.get(header.len()..len)?;
        self.rest = control.get(align::<WORD>(len)..).unwrap_or_default();
        Some(Message {
            kind: Kind::of(level, kind),
            slots: Slots { bytes },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: c_int = libc::SCM_CREDENTIALS;

    /// One control message as the kernel lays it out, padding included.
    fn message<const WORD: usize>(level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
        let len = header_len::<WORD>() + data.len();
        let mut bytes = claiming::<WORD>(len, level, kind, data);
        bytes.resize(align::<WORD>(len), 0xa5);
        bytes
    }

    /// One whose header claims `len` bytes, whatever it has.
    fn claiming<const WORD: usize>(len: usize, level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
        let mut bytes = match WORD {
            4 => u32::try_from(len)
                .unwrap_or(u32::MAX)
                .to_ne_bytes()
                .to_vec(),
            _ => (len as u64).to_ne_bytes().to_vec(),
        };
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(header_len::<WORD>(), 0xa5);
        bytes.extend(data);
        bytes
    }

    fn bytes_of(fds: &[c_int]) -> Vec<u8> {
        fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect()
    }

    fn rights_message<const WORD: usize>(fds: &[c_int]) -> Vec<u8> {
        message::<WORD>(libc::SOL_SOCKET, libc::SCM_RIGHTS, &bytes_of(fds))
    }

    fn slots_in<const WORD: usize>(control: &[u8], kind: Kind) -> Vec<c_int> {
        Messages::<WORD> { rest: control }
            .filter(|message| message.kind == kind)
            .flat_map(|message| message.slots.iter())
            .collect()
    }

    fn rights_in<const WORD: usize>(control: &[u8]) -> Vec<c_int> {
        slots_in::<WORD>(control, Kind::Rights)
    }

    fn written<const WORD: usize>(fds: &[c_int]) -> Option<Vec<u8>> {
        let mut buffer = SEND_BUFFER.map(|_| MaybeUninit::new(0xa5));
        let bytes = write_rights_as::<WORD>(&mut buffer, fds)?;
        Some(crate::sys::initialised(bytes).to_vec())
    }

    /// Runs a test with the word of both kinds of machine.
    macro_rules! with_both_words {
        ($($name:ident)*) => {
            $(
                mod $name {
                    #[test]
                    fn word_4() { super::$name::<4>(); }
                    #[test]
                    fn word_8() { super::$name::<8>(); }
                }
            )*
        };
    }

    with_both_words! {
        lengths_are_those_of_the_macros_in_c
        what_is_written_is_what_the_kernel_lays_out
        what_does_not_fit_is_not_written
        an_empty_buffer_holds_nothing
        messages_come_in_order_around_their_padding
        only_rights_of_the_socket_level_are_descriptors
        a_length_beyond_the_buffer_is_cut_to_it
        a_length_without_room_for_the_header_ends_the_walk
        half_a_descriptor_is_none
        a_header_that_is_cut_off_ends_the_walk
        a_negative_slot_is_told_wherever_it_is
        any_length_claimed_ends_the_walk_inside_the_buffer
    }

    fn lengths_are_those_of_the_macros_in_c<const WORD: usize>() {
        // CMSG_LEN and CMSG_SPACE, read off cmsg(3) programs of both kinds.
        let expected = match WORD {
            4 => [(0, 12, 12), (1, 16, 16), (2, 20, 20), (253, 1024, 1024)],
            _ => [(0, 16, 16), (1, 20, 24), (2, 24, 24), (253, 1028, 1032)],
        };
        for (nfds, cmsg_len, cmsg_space) in expected {
            assert_eq!(rights_len::<WORD>(nfds), cmsg_len);
            assert_eq!(space::<WORD>(nfds), cmsg_space);
        }
    }

    fn what_is_written_is_what_the_kernel_lays_out<const WORD: usize>() {
        for nfds in [0, 1, 2, 3, 252, 253] {
            let fds: Vec<c_int> = (0..nfds).map(|n| n * 7 + 3).collect();
            let mut expected = rights_message::<WORD>(&fds);
            // No padding is written: it would be read uninitialised.
            expected.truncate(rights_len::<WORD>(fds.len()));
            assert_eq!(written::<WORD>(&fds), Some(expected));
        }
    }

    fn what_does_not_fit_is_not_written<const WORD: usize>() {
        let mut buffer = [MaybeUninit::new(0xa5); 64];
        let most = (buffer.len() - header_len::<WORD>()) / SLOT;
        assert!(write_rights_as::<WORD>(&mut buffer, &vec![1; most]).is_some());
        assert!(write_rights_as::<WORD>(&mut buffer, &vec![1; most + 1]).is_none());
        assert!(write_rights_as::<WORD>(&mut [], &[]).is_none());
        assert!(written::<WORD>(&vec![1; MAX_FDS + 4]).is_none());
    }

    fn an_empty_buffer_holds_nothing<const WORD: usize>() {
        assert_eq!(rights_in::<WORD>(&[]), []);
    }

    fn messages_come_in_order_around_their_padding<const WORD: usize>() {
        // 12 bytes of credentials and an odd number of descriptors leave padding with a word of 8.
        let control = [
            message::<WORD>(libc::SOL_SOCKET, CREDENTIALS, &[1; 12]),
            rights_message::<WORD>(&[3, 4, 5]),
            message::<WORD>(libc::SOL_SOCKET, SCM_PIDFD, &bytes_of(&[6])),
            rights_message::<WORD>(&[7]),
        ]
        .concat();
        assert_eq!(rights_in::<WORD>(&control), [3, 4, 5, 7]);
        assert_eq!(slots_in::<WORD>(&control, Kind::Pidfd), [6]);
    }

    fn only_rights_of_the_socket_level_are_descriptors<const WORD: usize>() {
        let data = bytes_of(&[3]);
        for (level, kind) in [
            (libc::SOL_SOCKET, CREDENTIALS),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMP),
            (libc::SOL_IP, libc::SCM_RIGHTS),
            (libc::SOL_IP, SCM_PIDFD),
        ] {
            let control = message::<WORD>(level, kind, &data);
            assert_eq!(rights_in::<WORD>(&control), []);
            assert_eq!(slots_in::<WORD>(&control, Kind::Pidfd), []);
        }
    }

    fn a_length_beyond_the_buffer_is_cut_to_it<const WORD: usize>() {
        let data = bytes_of(&[3, 4]);
        for len in [
            header_len::<WORD>() + 9,
            4096,
            u32::MAX as usize,
            usize::MAX,
        ] {
            let control = claiming::<WORD>(len, libc::SOL_SOCKET, libc::SCM_RIGHTS, &data);
            assert_eq!(rights_in::<WORD>(&control), [3, 4]);
        }
    }

    fn a_length_without_room_for_the_header_ends_the_walk<const WORD: usize>() {
        for len in 0..header_len::<WORD>() {
            let mut control = claiming::<WORD>(len, libc::SOL_SOCKET, libc::SCM_RIGHTS, &[]);
            control.extend(rights_message::<WORD>(&[3]));
            assert_eq!(rights_in::<WORD>(&control), []);
        }
    }

    fn half_a_descriptor_is_none<const WORD: usize>() {
        for cut in 1..SLOT {
            let mut data = bytes_of(&[3, 4]);
            data.truncate(2 * SLOT - cut);
            let control = message::<WORD>(libc::SOL_SOCKET, libc::SCM_RIGHTS, &data);
            assert_eq!(rights_in::<WORD>(&control), [3]);
        }
    }

    fn a_header_that_is_cut_off_ends_the_walk<const WORD: usize>() {
        let whole = rights_message::<WORD>(&[3, 4]);
        for end in 0..header_len::<WORD>() {
            let control = [&whole[..], &whole[..end]].concat();
            assert_eq!(rights_in::<WORD>(&control), [3, 4]);
        }
    }

    fn a_negative_slot_is_told_wherever_it_is<const WORD: usize>() {
        for nfds in [0, 1, 2, 3, 252, 253] {
            let fds: Vec<c_int> = (0..nfds).map(|n| n * 7 + 3).collect();
            assert!(!any_negative_in::<WORD>(&fds));
            for place in 0..fds.len() {
                let mut fds = fds.clone();
                fds[place] = -libc::EMFILE;
                assert!(any_negative_in::<WORD>(&fds));
                assert_eq!(rights_in::<WORD>(&rights_message::<WORD>(&fds)), fds);
            }
        }
    }

    fn any_negative_in<const WORD: usize>(fds: &[c_int]) -> bool {
        let control = rights_message::<WORD>(fds);
        let first = Messages::<WORD> { rest: &control }.next();
        first.is_some_and(|message| message.slots.any_negative())
    }

    fn any_length_claimed_ends_the_walk_inside_the_buffer<const WORD: usize>() {
        let fds: Vec<c_int> = (3..11).collect();
        for len in 0..200 {
            let data = bytes_of(&fds);
            let control = claiming::<WORD>(len, libc::SOL_SOCKET, libc::SCM_RIGHTS, &data);
            let room = len.min(control.len()).saturating_sub(header_len::<WORD>());
            let found: Vec<c_int> = rights_in::<WORD>(&control)
                .into_iter()
                .take(room / SLOT)
                .collect();
            assert_eq!(found, fds[..room / SLOT]);
        }
    }

    #[test]
    fn a_receive_has_room_for_all_that_may_come_beside() {
        let credentials = align::<8>(header_len::<8>() + 12);
        let label = align::<8>(header_len::<8>() + 255);
        let timestamps = align::<8>(header_len::<8>() + 48) + align::<8>(header_len::<8>() + 16);
        assert!(credentials + label + timestamps + space::<8>(1) <= BESIDE_RIGHTS);
    }
}

//! The walk of control messages against a model of it that goes by offsets, and
//! what is written against what the walk makes of it; for the words of both
//! kinds of machine.

use std::mem::MaybeUninit;

use crate::choices::Choices;
use cmsg::Kind;

/// src/cmsg.rs once more, with its private parts in reach: the word is one.
mod cmsg {
    #![allow(dead_code)]

    pub(super) fn walk_as<const WORD: usize>(control: &[u8]) -> Messages<'_, WORD> {
        Messages { rest: control }
    }

    pub(super) fn write_as<'b, const WORD: usize>(
        buffer: &'b mut [MaybeUninit<u8>],
        fds: &[c_int],
    ) -> Option<&'b [MaybeUninit<u8>]> {
        write_rights_as::<WORD>(buffer, fds)
    }

    include!(concat!(env!("OUT_DIR"), "/cmsg.rs"));
}

const SCM_PIDFD: i32 = 4;
const MOST_FDS: usize = 260;
const FILL: u8 = 0xa5;

/// Reads the bytes once as control messages, and once as descriptors to write.
pub fn check(bytes: &[u8]) {
    walks_as_the_model::<4>(bytes);
    walks_as_the_model::<8>(bytes);
    comes_back_as_written::<4>(bytes);
    comes_back_as_written::<8>(bytes);
}

fn walks_as_the_model<const WORD: usize>(control: &[u8]) {
    // On the heap, and no longer than that: a sanitizer sees the end.
    let control: Box<[u8]> = control.into();
    let expected = model::<WORD>(&control);
    let mut walk = cmsg::walk_as::<WORD>(&control);
    for (kind, slots) in &expected {
        let message = walk.next().expect("the walk ended early");
        assert_eq!(message.kind, *kind);
        assert_eq!(message.slots.len(), slots.len());
        assert!(message.slots.iter().eq(slots.iter().copied()));
        let any_negative = slots.iter().any(|slot| *slot < 0);
        assert_eq!(message.slots.any_negative(), any_negative);
    }
    for _ in 0..3 {
        assert!(walk.next().is_none(), "the walk goes on after the end");
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    if cfg!(target_endian = "little") {
        number[..bytes.len()].copy_from_slice(bytes);
    } else {
        number[8 - bytes.len()..].copy_from_slice(bytes);
    }
    u64::from_ne_bytes(number)
}

fn int(bytes: &[u8]) -> i32 {
    number(bytes) as u32 as i32
}

/// The control messages that a buffer holds: each begins at a multiple of the
/// word, and none ends beyond the buffer, whatever it claims.
fn model<const WORD: usize>(control: &[u8]) -> Vec<(Kind, Vec<i32>)> {
    let header = WORD + 8;
    let mut messages = Vec::new();
    let mut start = 0;
    while start + header <= control.len() {
        let claimed = u128::from(number(&control[start..start + WORD]));
        if claimed < header as u128 {
            break;
        }
        let end = (start as u128 + claimed).min(control.len() as u128) as usize;
        let level = int(&control[start + WORD..start + WORD + 4]);
        let kind = match int(&control[start + WORD + 4..start + header]) {
            libc::SCM_RIGHTS if level == libc::SOL_SOCKET => Kind::Rights,
            SCM_PIDFD if level == libc::SOL_SOCKET => Kind::Pidfd,
            _ => Kind::Other,
        };
        let data = &control[start + header..end];
        let slots = (0..data.len() / 4).map(|i| int(&data[4 * i..4 * i + 4]));
        messages.push((kind, slots.collect()));
        start = end.next_multiple_of(WORD);
    }
    messages
}

fn comes_back_as_written<const WORD: usize>(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let fds: Vec<i32> = (0..choices.number(MOST_FDS))
        .map(|_| i32::from(choices.byte()) - 16)
        .collect();
    let len = WORD + 8 + 4 * fds.len();
    // Mostly with a place to spare or two, sometimes with too few.
    let room = (len + choices.below(24)).saturating_sub(8);
    let mut buffer = vec![MaybeUninit::new(FILL); room].into_boxed_slice();

    let written = cmsg::write_as::<WORD>(&mut buffer, &fds).map(<[_]>::len);
    assert_eq!(written, (room >= len).then_some(len));
    // SAFETY: every byte was set when the buffer was made, and writing leaves none unset.
    let mut control: Vec<u8> = buffer
        .iter()
        .map(|byte| unsafe { byte.assume_init() })
        .collect();
    if written.is_none() {
        return;
    }
    assert!(control[len..].iter().all(|byte| *byte == FILL));

    // Whatever stands behind it, it is found first and whole.
    control.truncate(len);
    control.resize(len.next_multiple_of(WORD), FILL);
    control.extend(choices.rest());
    let first = cmsg::walk_as::<WORD>(&control)
        .next()
        .expect("nothing was written");
    assert_eq!(first.kind, Kind::Rights);
    assert!(first.slots.iter().eq(fds));
    walks_as_the_model::<WORD>(&control);
}

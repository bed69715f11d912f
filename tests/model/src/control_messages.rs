//! The walk of control messages against a model of it that goes by offsets, and
//! what is written against what the walk makes of it.

use std::mem::MaybeUninit;

use crate::choices::Choices;
use crate::cmsg::{self, Kind};

const SCM_PIDFD: i32 = 4;
const MOST_FDS: usize = 260;
const FILL: u8 = 0xa5;
const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;

/// Reads the bytes once as control messages, and once as descriptors to write.
pub fn check(bytes: &[u8]) {
    walks_as_the_model(bytes);
    comes_back_as_written(bytes);
}

fn walks_as_the_model(control: &[u8]) {
    // On the heap, aligned as every allocation is, and no longer than that: a sanitizer
    // sees the end.
    let control: Box<[u8]> = control.into();
    let expected = model(&control);
    let mut walk = cmsg::messages(&control);
    for (kind, slots) in &expected {
        let message = walk.next().expect("the walk ended early");
        assert_eq!(message.kind, *kind);
        assert_eq!(message.slots, slots);
        let any_negative = slots.iter().any(|slot| *slot < 0);
        assert_eq!(cmsg::any_refused(message.slots), any_negative);
    }
    for _ in 0..3 {
        assert!(walk.next().is_none(), "the walk goes on after the end");
    }
    // The straight path takes nothing that the walk does not.
    if let Some(slots) = cmsg::only_rights(&control) {
        assert_eq!(expected, [(Kind::Rights, slots.to_vec())]);
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
fn model(control: &[u8]) -> Vec<(Kind, Vec<i32>)> {
    let mut messages = Vec::new();
    let mut start = 0;
    while start + HEADER <= control.len() {
        let claimed = u128::from(number(&control[start..start + WORD]));
        if claimed < HEADER as u128 {
            break;
        }
        let end = (start as u128 + claimed).min(control.len() as u128) as usize;
        let level = int(&control[start + WORD..start + WORD + 4]);
        let kind = match int(&control[start + WORD + 4..start + HEADER]) {
            libc::SCM_RIGHTS if level == libc::SOL_SOCKET => Kind::Rights,
            SCM_PIDFD if level == libc::SOL_SOCKET => Kind::Pidfd,
            _ => Kind::Other,
        };
        let data = &control[start + HEADER..end];
        let slots = (0..data.len() / 4).map(|i| int(&data[4 * i..4 * i + 4]));
        messages.push((kind, slots.collect()));
        start = end.next_multiple_of(WORD);
    }
    messages
}

fn comes_back_as_written(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let fds: Vec<i32> = (0..choices.number(MOST_FDS))
        .map(|_| i32::from(choices.byte()) - 16)
        .collect();
    let len = (HEADER + 4 * fds.len()).next_multiple_of(WORD);
    // Mostly with a place to spare or two, sometimes with too few.
    let room = (len + choices.below(24)).saturating_sub(8);
    let mut buffer = vec![MaybeUninit::new(FILL); room].into_boxed_slice();

    let written = cmsg::write_rights(&mut buffer, &fds, &[]).map(<[_]>::len);
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
    assert!(control[HEADER + 4 * fds.len()..len]
        .iter()
        .all(|byte| *byte == 0));

    // Whatever follows it, it is found first and whole.
    control.truncate(len);
    assert_eq!(cmsg::only_rights(&control), Some(&fds[..]));
    control.extend(choices.rest());
    let control = control.into_boxed_slice();
    let first = cmsg::messages(&control)
        .next()
        .expect("nothing was written");
    assert_eq!(first.kind, Kind::Rights);
    assert_eq!(first.slots, fds);
    walks_as_the_model(&control);
}

//! A second implementation of the contract, with which the library is compared: by a
//! fuzzer (fuzz/fuzz_targets/), or by a generator of random bytes (main.rs).
//!
//! The library is src/ itself, compiled into this crate; it is called as C calls
//! it, by the exported functions. A failed check is a panic.

pub mod control_messages;
pub mod hostile_peer;

mod choices;
mod files;
mod queue;
mod raw;

#[path = "../../../src/cmsg.rs"]
mod cmsg;
#[path = "../../../src/ffi.rs"]
#[allow(missing_docs)]
pub mod ffi;
#[path = "../../../src/recv.rs"]
mod recv;
#[path = "../../../src/send.rs"]
mod send;
#[path = "../../../src/sys.rs"]
#[allow(
    dead_code,
    reason = "abort() is for the panic handler of a no_std crate"
)]
mod sys;

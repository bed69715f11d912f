//! libsendfd passes open file descriptors between processes over a Unix-domain
//! socket (`SCM_RIGHTS`, unix(7)). It is a C library written in Rust: `ffi` has
//! what it exports, and `make header` turns that into `include/sendfd.h`.
//!
//! Data flows one way: `ffi` -> `send`, `recv` -> `cmsg`, `sys`.
//!
//! Panics: none can be reached. A `no_std` crate must have the handler below,
//! and all it does is abort; `make check` asserts that the shared object contains
//! nothing of the panic machinery.

#![cfg_attr(not(test), no_std)]
#![deny(
    missing_docs,
    unsafe_op_in_unsafe_fn,
    unreachable_pub,
    unused_qualifications
)]
#![deny(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block
)]
#![warn(clippy::pedantic)]
// The types of the crate libc, taken for core's of the same names; `make check-arch`
// compiles with the oldest compiler.
#![allow(clippy::incompatible_msrv)]
// Inlining is part of the design here: the usual path is straight-line code.
#![allow(clippy::inline_always)]
// Nothing that can panic gets in.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

#[cfg(not(target_os = "linux"))]
compile_error!("libsendfd relies on Linux: SO_DOMAIN, MSG_CMSG_CLOEXEC, MSG_CTRUNC");

// C frames call this code: unwinding out of it is undefined. (rustdoc does not
// set `panic`.)
#[cfg(all(not(test), not(doc), not(panic = "abort")))]
compile_error!("libsendfd needs panic=\"abort\": build it with a profile of its Cargo.toml");

mod cmsg;
pub mod ffi;
mod recv;
mod send;
mod sys;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::abort()
}

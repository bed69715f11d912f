//! libsendfd passes open file descriptors between processes over a Unix-domain
//! socket (`SCM_RIGHTS`, unix(7)). It is a C library that happens to be written
//! in Rust: what it exports is in `ffi`, and `include/sendfd.h` is made from it.
//!
//! Data flows one way: `ffi` -> `send`, `recv` -> `cmsg`, `sys`.
//!
//! Panics: none can be reached. The handler below is there because a `no_std`
//! crate must have one, and it only aborts; `make check` asserts that nothing
//! of the panic machinery is left in the shared object.

#![cfg_attr(not(test), no_std)]

#[cfg(not(target_os = "linux"))]
compile_error!("libsendfd relies on what Linux does: SO_DOMAIN, MSG_CMSG_CLOEXEC, MSG_CTRUNC");

// C frames call this code: unwinding out of it is not defined.
#[cfg(all(not(test), not(panic = "abort")))]
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

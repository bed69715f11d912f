//! A file a crate: only that crate's own interface does the passing in it.

mod nix;
mod passfd;
mod rustix;
mod sendfd;
mod uds;
mod unix_ancillary;

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The byte that goes with the descriptors where the caller is to choose one.
const BYTE: &[u8] = b"F";

/// Most descriptors in one message: `SCM_MAX_FD` of the kernel.
const MOST: usize = 253;

pub trait Peer {
    /// Whether a message of this crate has one descriptor, and several are several.
    fn one_a_message(&self) -> bool {
        false
    }
    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()>;
    /// The descriptors of one message.
    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>>;
}

pub fn named(name: &str) -> io::Result<&'static dyn Peer> {
    Ok(match name {
        "nix" => &nix::Nix,
        "passfd" => &passfd::Passfd,
        "rustix" => &rustix::Rustix,
        "sendfd" => &sendfd::Sendfd,
        "uds" => &uds::Uds,
        "unix-ancillary" => &unix_ancillary::UnixAncillary,
        _ => return Err(io::Error::other(format!("{name} is none of the crates"))),
    })
}

/// The numbers of the descriptors that a crate returns.
fn files(fds: &[RawFd]) -> Vec<File> {
    // SAFETY: the kernel has just installed them for us, and nobody else has them.
    let own = |fd: &RawFd| unsafe { OwnedFd::from_raw_fd(*fd) };
    fds.iter().map(own).map(File::from).collect()
}

/// The bytes and the descriptors of a message, unless it is the end of file.
fn unless_end<Fds>(bytes: usize, fds: Fds) -> io::Result<Fds> {
    if bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(fds)
}

//! Each crate as its documentation shows it, close-on-exec where it can be had.

use crate::{Contender, Stage, MANY};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The byte that goes with the descriptors.
const BYTE: &[u8] = &[0];

/// The first is the baseline.
pub fn all() -> [&'static dyn Contender; 7] {
    [
        &Rustix,
        &Nix,
        &Passfd,
        &SendfdCrate,
        &Uds,
        &UnixAncillary,
        &Libsendfd,
    ]
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed it for us, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Closes those that came as numbers, and counts them.
fn close(fds: &[RawFd]) -> usize {
    fds.iter().map(|fd| drop(own(*fd))).count()
}

fn none_came() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Passes the numbers in the one array and fills the other; how many came.
type Pass = fn(&Stage, &[RawFd], &mut [RawFd]) -> io::Result<usize>;

fn one_by(stage: &Stage, pass: Pass) -> io::Result<OwnedFd> {
    let mut came = [-1];
    pass(stage, &stage.fds[..1], &mut came)?;
    Ok(own(came[0]))
}

fn many_by(stage: &Stage, pass: Pass) -> io::Result<usize> {
    let mut came = [-1; MANY];
    let count = pass(stage, &stage.fds, &mut came)?;
    Ok(close(&came[..count]))
}

struct Rustix;

impl Rustix {
    fn send<const SPACE: usize>(stage: &Stage, fds: &[BorrowedFd]) -> io::Result<()> {
        use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
        let mut space = [std::mem::MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let data = [IoSlice::new(BYTE)];
        sendmsg(&stage.left, &data, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Gives each that came to `take`.
    fn receive<const SPACE: usize>(stage: &Stage, take: impl FnMut(OwnedFd)) -> io::Result<()> {
        use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
        let mut byte = [0];
        let mut data = [IoSliceMut::new(&mut byte)];
        let mut space = [std::mem::MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        recvmsg(
            &stage.right,
            &mut data,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .for_each(take);
        Ok(())
    }
}

impl Contender for Rustix {
    fn name(&self) -> &'static str {
        "rustix"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        const SPACE: usize = rustix::cmsg_space!(ScmRights(1));
        Self::send::<SPACE>(stage, &[stage.files[0].as_fd()])?;
        let mut came = None;
        Self::receive::<SPACE>(stage, |fd| came = Some(fd))?;
        came.ok_or_else(none_came)
    }

    fn many(&self, stage: &Stage) -> Option<io::Result<usize>> {
        const SPACE: usize = rustix::cmsg_space!(ScmRights(MANY));
        let pass = || {
            let fds: Vec<_> = stage.files.iter().map(AsFd::as_fd).collect();
            Self::send::<SPACE>(stage, &fds)?;
            let mut count = 0;
            Self::receive::<SPACE>(stage, |fd| {
                drop(fd);
                count += 1;
            })?;
            Ok(count)
        };
        Some(pass())
    }
}

struct Nix;

impl Nix {
    fn pass(stage: &Stage, fds: &[RawFd], space: &mut Vec<u8>) -> io::Result<Vec<RawFd>> {
        use nix::sys::socket::{recvmsg, sendmsg, ControlMessage, ControlMessageOwned, MsgFlags};
        let data = [IoSlice::new(BYTE)];
        let control = [ControlMessage::ScmRights(fds)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(stage.left.as_raw_fd(), &data, &control, flags, None)?;
        let mut byte = [0];
        let mut data = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(stage.right.as_raw_fd(), &mut data, Some(space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                return Ok(fds);
            }
        }
        Err(none_came())
    }
}

impl Contender for Nix {
    fn name(&self) -> &'static str {
        "nix"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        let mut space = nix::cmsg_space!(RawFd);
        let came = Self::pass(stage, &stage.fds[..1], &mut space)?;
        Ok(own(came[0]))
    }

    fn many(&self, stage: &Stage) -> Option<io::Result<usize>> {
        let mut space = nix::cmsg_space!([RawFd; MANY]);
        let came = Self::pass(stage, &stage.fds, &mut space);
        Some(came.map(|fds| close(&fds)))
    }
}

struct Passfd;

impl Contender for Passfd {
    fn name(&self) -> &'static str {
        "passfd"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        use passfd::FdPassingExt;
        stage.left.send_fd(stage.fds[0])?;
        stage.right.recv_fd().map(own)
    }

    fn many(&self, _: &Stage) -> Option<io::Result<usize>> {
        None
    }
}

struct SendfdCrate;

impl SendfdCrate {
    fn pass(stage: &Stage, fds: &[RawFd], came: &mut [RawFd]) -> io::Result<usize> {
        use sendfd::{RecvWithFd, SendWithFd};
        stage.left.send_with_fd(BYTE, fds)?;
        let (_, count) = stage.right.recv_with_fd(&mut [0], came)?;
        Ok(count)
    }
}

impl Contender for SendfdCrate {
    fn name(&self) -> &'static str {
        "sendfd; the crate"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        one_by(stage, Self::pass)
    }

    fn many(&self, stage: &Stage) -> Option<io::Result<usize>> {
        Some(many_by(stage, Self::pass))
    }
}

struct Uds;

impl Uds {
    fn pass(stage: &Stage, fds: &[RawFd], came: &mut [RawFd]) -> io::Result<usize> {
        use uds::UnixStreamExt;
        stage.left.send_fds(BYTE, fds)?;
        let (_, count) = stage.right.recv_fds(&mut [0], came)?;
        Ok(count)
    }
}

impl Contender for Uds {
    fn name(&self) -> &'static str {
        "uds"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        one_by(stage, Self::pass)
    }

    fn many(&self, stage: &Stage) -> Option<io::Result<usize>> {
        Some(many_by(stage, Self::pass))
    }
}

struct UnixAncillary;

impl UnixAncillary {
    fn pass<const ROOM: usize>(stage: &Stage, files: &[std::fs::File]) -> io::Result<Vec<OwnedFd>> {
        use unix_ancillary::UnixStreamExt;
        stage.left.send_fds_all(BYTE, files)?;
        let (_, fds) = stage.right.recv_fds_into::<ROOM>(&mut [0])?;
        Ok(fds)
    }
}

impl Contender for UnixAncillary {
    fn name(&self) -> &'static str {
        "unix-ancillary"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        let came = Self::pass::<1>(stage, &stage.files[..1])?;
        came.into_iter().next().ok_or_else(none_came)
    }

    fn many(&self, stage: &Stage) -> Option<io::Result<usize>> {
        let came = Self::pass::<MANY>(stage, &stage.files);
        Some(came.map(|fds| fds.into_iter().map(drop).count()))
    }
}

struct Libsendfd;

mod c {
    use std::ffi::c_int;

    // The declarations of include/sendfd.h.
    unsafe extern "C" {
        pub fn sendfd(socket: c_int, fd: c_int) -> c_int;
        pub fn recvfd(socket: c_int) -> c_int;
        pub fn sendfds(socket: c_int, fds: *const c_int, nfds: c_int) -> c_int;
        pub fn recvfds(socket: c_int, fds: *mut c_int, max_fds: c_int) -> c_int;
    }
}

impl Libsendfd {
    fn pass(stage: &Stage, fds: &[RawFd], came: &mut [RawFd]) -> io::Result<usize> {
        let [nfds, max_fds] = [fds.len() as i32, came.len() as i32];
        // SAFETY: so many are in the one array, and have room in the other.
        unsafe {
            checked(c::sendfds(stage.left.as_raw_fd(), fds.as_ptr(), nfds))?;
            let count = c::recvfds(stage.right.as_raw_fd(), came.as_mut_ptr(), max_fds);
            checked(count).map(|count| count as usize)
        }
    }
}

fn checked(result: i32) -> io::Result<i32> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        -2 => Err(none_came()),
        result => Ok(result),
    }
}

impl Contender for Libsendfd {
    fn name(&self) -> &'static str {
        "libsendfd"
    }

    fn one(&self, stage: &Stage) -> io::Result<OwnedFd> {
        // SAFETY: they are given no pointer.
        unsafe {
            checked(c::sendfd(stage.left.as_raw_fd(), stage.fds[0]))?;
            checked(c::recvfd(stage.right.as_raw_fd())).map(own)
        }
    }

    fn many(&self, stage: &Stage) -> Option<io::Result<usize>> {
        Some(many_by(stage, Self::pass))
    }
}

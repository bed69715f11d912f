use super::{files, unless_end, Peer, BYTE, MOST};
use nix::sys::socket::{recvmsg, sendmsg, ControlMessage, ControlMessageOwned, MsgFlags};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

pub struct Nix;

impl Peer for Nix {
    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()> {
        let fds: Vec<RawFd> = files.iter().map(File::as_raw_fd).collect();
        let data = [IoSlice::new(BYTE)];
        let control = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(socket.as_raw_fd(), &data, &control, MsgFlags::empty(), None)?;
        Ok(())
    }

    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>> {
        let mut byte = [0];
        let mut data = [IoSliceMut::new(&mut byte)];
        let mut control = nix::cmsg_space!([RawFd; MOST]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut control), flags)?;
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(more) = control {
                fds.extend(more);
            }
        }
        unless_end(message.bytes, files(&fds))
    }
}

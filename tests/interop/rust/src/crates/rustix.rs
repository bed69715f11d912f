use super::{unless_end, Peer, BYTE, MOST};
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

pub struct Rustix;

const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST));

impl Peer for Rustix {
    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()> {
        let fds: Vec<_> = files.iter().map(File::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("no room for so many descriptors"));
        }
        let data = [IoSlice::new(BYTE)];
        sendmsg(socket, &data, &mut control, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>> {
        let mut byte = [0];
        let mut data = [IoSliceMut::new(&mut byte)];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut files = Vec::new();
        for control in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = control {
                files.extend(fds.map(File::from));
            }
        }
        unless_end(message.bytes, files)
    }
}

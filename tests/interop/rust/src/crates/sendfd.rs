use super::{files, unless_end, Peer, BYTE, MOST};
use sendfd::{RecvWithFd, SendWithFd};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

pub struct Sendfd;

impl Peer for Sendfd {
    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()> {
        let fds: Vec<RawFd> = files.iter().map(File::as_raw_fd).collect();
        socket.send_with_fd(BYTE, &fds).map(drop)
    }

    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>> {
        let mut fds = [-1; MOST];
        let (bytes, count) = socket.recv_with_fd(&mut [0], &mut fds)?;
        unless_end(bytes, files(&fds[..count]))
    }
}

use super::{files, unless_end, Peer, BYTE, MOST};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use uds::UnixStreamExt;

pub struct Uds;

impl Peer for Uds {
    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()> {
        let fds: Vec<RawFd> = files.iter().map(File::as_raw_fd).collect();
        socket.send_fds(BYTE, &fds).map(drop)
    }

    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>> {
        let mut fds = [-1; MOST];
        let (bytes, count) = socket.recv_fds(&mut [0], &mut fds)?;
        unless_end(bytes, files(&fds[..count]))
    }
}

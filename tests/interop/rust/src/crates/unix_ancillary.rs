use super::{unless_end, Peer, BYTE, MOST};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use unix_ancillary::UnixStreamExt;

pub struct UnixAncillary;

impl Peer for UnixAncillary {
    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()> {
        socket.send_fds_all(BYTE, files)
    }

    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>> {
        let (bytes, fds) = socket.recv_fds_into::<MOST>(&mut [0])?;
        unless_end(bytes, fds.into_iter().map(File::from).collect())
    }
}

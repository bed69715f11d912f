use super::{files, Peer};
use passfd::FdPassingExt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

pub struct Passfd;

impl Peer for Passfd {
    fn one_a_message(&self) -> bool {
        true
    }

    fn send(&self, socket: &UnixStream, files: &[File]) -> io::Result<()> {
        files
            .iter()
            .try_for_each(|file| socket.send_fd(file.as_raw_fd()))
    }

    fn receive(&self, socket: &UnixStream) -> io::Result<Vec<File>> {
        socket.recv_fd().map(|fd| files(&[fd]))
    }
}

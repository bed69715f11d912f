//! One peer a crate, with the command line that all peers have:
//!
//! ```text
//! interop CRATE send FUNCTION FILE...
//! interop CRATE receive FUNCTION COUNT
//! ```
//!
//! FUNCTION is not looked at: a crate has one way here.

mod crates;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

const USAGE: &str = "usage: CRATE send FUNCTION FILE... or CRATE receive FUNCTION COUNT";

fn send(peer: &dyn crates::Peer, socket: &UnixStream, names: &[String]) -> io::Result<()> {
    let files = names
        .iter()
        .map(File::open)
        .collect::<io::Result<Vec<_>>>()?;
    peer.send(socket, &files)
}

fn receive(peer: &dyn crates::Peer, socket: &UnixStream, count: usize) -> io::Result<()> {
    let mut came = 0;
    let messages = if peer.one_a_message() { count } else { 1 };
    for _ in 0..messages {
        for mut file in peer.receive(socket)? {
            io::copy(&mut file, &mut io::stdout())?;
            came += 1;
        }
        io::stdout().flush()?;
    }
    if came == count {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{came} of {count} descriptors came"
        )))
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let [name, direction, _function, rest @ ..] = arguments else {
        return Err(io::Error::other(USAGE));
    };
    let peer = crates::named(name)?;
    // SAFETY: descriptor 3 is ours alone: whoever starts us opened it for us.
    let socket = unsafe { UnixStream::from_raw_fd(3) };
    match (direction.as_str(), rest) {
        ("send", names) => send(peer, &socket, names),
        ("receive", [count]) => receive(peer, &socket, count.parse().map_err(io::Error::other)?),
        _ => Err(io::Error::other(USAGE)),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

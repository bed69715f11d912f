//! The crates that pass descriptors in Rust, and libsendfd by `extern "C"`: one
//! descriptor, or 253 in a message, sent, received and closed over a socketpair. Prints a
//! line for each contender in each round, for rounds.awk.
//!
//! ```text
//! bench SECONDS        to spend on each case
//! bench calls COUNT    only makes the calls, for callgrind to count the instructions
//! ```

mod contenders;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Most descriptors in one message: `SCM_MAX_FD` of the kernel.
const MANY: usize = 253;

/// Of each contender in a round: enough to be worth looking at the clock.
const SLICE: Duration = Duration::from_millis(1);

/// Both ends of a socketpair, and what is sent over it, in each form that a crate may
/// want: to make one of the other is not what is measured.
struct Stage {
    left: UnixStream,
    right: UnixStream,
    files: Vec<File>,
    fds: Vec<RawFd>,
}

impl Stage {
    fn new() -> io::Result<Self> {
        let (left, right) = UnixStream::pair()?;
        let files = (0..MANY)
            .map(|_| File::open("/dev/null"))
            .collect::<io::Result<Vec<_>>>()?;
        let fds = files.iter().map(AsRawFd::as_raw_fd).collect();
        Ok(Self {
            left,
            right,
            files,
            fds,
        })
    }
}

/// A crate: sends and receives over the stage, and gives what came.
trait Contender {
    fn name(&self) -> &'static str;
    fn one(&self, stage: &Stage) -> io::Result<OwnedFd>;
    /// Closes them itself and says how many came, unless it can only send one.
    fn many(&self, stage: &Stage) -> Option<io::Result<usize>>;
}

type Work<'s> = (&'static str, Box<dyn Fn() + 's>);

fn one<'s>(contender: &'static dyn Contender, stage: &'s Stage) -> Work<'s> {
    let work = move || drop(contender.one(stage).expect(contender.name()));
    (contender.name(), Box::new(work))
}

fn many<'s>(contender: &'static dyn Contender, stage: &'s Stage) -> Option<Work<'s>> {
    contender.many(stage)?.expect(contender.name());
    let work = move || {
        let came = contender
            .many(stage)
            .map(|result| result.expect(contender.name()));
        assert_eq!(came, Some(MANY), "{}", contender.name());
    };
    Some((contender.name(), Box::new(work)))
}

/// Nanoseconds each.
fn timed(work: &dyn Fn(), count: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        work();
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

/// Each contender in its turn, in each round from the next one on.
fn measure(case: &str, contenders: &[Work], seconds: f64) -> io::Result<()> {
    contenders[0].1();
    let once = timed(&contenders[0].1, 3);
    let count = ((SLICE.as_nanos() as f64 / once) as u32).max(1);
    for (_, work) in contenders {
        timed(work, count);
    }
    let start = Instant::now();
    let mut out = io::stdout().lock();
    let mut round = 0;
    while round < 3 || start.elapsed().as_secs_f64() < seconds {
        let mut figures = vec![0.0; contenders.len()];
        for turn in 0..contenders.len() {
            let place = (turn + round) % contenders.len();
            figures[place] = timed(&contenders[place].1, count);
        }
        for ((name, _), figure) in contenders.iter().zip(figures) {
            writeln!(out, "{case},{name},ns,{round},{figure:.0}")?;
        }
        round += 1;
    }
    Ok(())
}

fn measure_all(stage: &Stage, seconds: f64) -> io::Result<()> {
    let all = contenders::all();
    let ones: Vec<_> = all.iter().map(|each| one(*each, stage)).collect();
    let manies: Vec<_> = all.iter().filter_map(|each| many(*each, stage)).collect();
    measure("Rust: one descriptor", &ones, seconds)?;
    measure("Rust: 253 in a message", &manies, seconds)
}

fn make_calls(stage: &Stage, count: usize) {
    for contender in contenders::all() {
        let (_, work) = one(contender, stage);
        (0..count).for_each(|_| work());
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let stage = Stage::new()?;
    match arguments.as_slice() {
        [calls, count] if calls == "calls" => {
            make_calls(&stage, count.parse().map_err(io::Error::other)?);
            Ok(())
        }
        [seconds] => measure_all(&stage, seconds.parse().map_err(io::Error::other)?),
        _ => Err(io::Error::other(
            "usage: bench SECONDS or bench calls COUNT",
        )),
    }
}

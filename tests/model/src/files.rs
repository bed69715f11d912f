//! Files that can be distinguished, and which descriptors this process has open.

use std::sync::LazyLock;
use std::{fs, io, mem};

use libc::c_int;

/// How many files there are.
pub(crate) const FILES: usize = 16;

/// The files that are sent, by number: opened once, and open to the end.
pub(crate) static FILE: LazyLock<[c_int; FILES]> = LazyLock::new(|| {
    raise_limit();
    std::array::from_fn(|_| {
        // SAFETY: the name ends with a zero byte and outlives the call.
        let fd = unsafe { libc::memfd_create(c"model".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "memfd_create: {}", io::Error::last_os_error());
        fd
    })
});

fn identity(fd: c_int) -> Option<(libc::dev_t, libc::ino_t)> {
    // SAFETY: stat is integers, for which zero is a value.
    let mut status: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `status` is valid for writes.
    let returned = unsafe { libc::fstat(fd, &raw mut status) };
    (returned == 0).then_some((status.st_dev, status.st_ino))
}

/// Whether `fd` is another descriptor of the file of that number.
pub(crate) fn is_file(fd: c_int, number: usize) -> bool {
    identity(fd).is_some() && identity(fd) == identity(FILE[number])
}

pub(crate) fn is_close_on_exec(fd: c_int) -> bool {
    // SAFETY: F_GETFD takes no argument and touches no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) == libc::FD_CLOEXEC }
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: close takes an int; the caller owns the descriptor.
    let returned = unsafe { libc::close(fd) };
    assert_eq!(returned, 0, "{fd} is not open");
}

/// The descriptors that are open, in order.
pub(crate) fn open_descriptors() -> Vec<c_int> {
    let entries = fs::read_dir("/proc/self/fd").expect("there is a /proc");
    let mut fds: Vec<c_int> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    fds.sort_unstable();
    // The directory itself was open too: as the lowest that was free.
    let directory = fds
        .iter()
        .position(|fd| identity(*fd).is_none())
        .expect("the directory was open");
    fds.remove(directory);
    fds
}

/// The limit, RLIMIT_NOFILE, that leaves room for so many more descriptors than
/// those, which are in order.
pub(crate) fn limit_that_leaves_room(open: &[c_int], room: usize) -> u64 {
    let free = (0..).filter(|fd| open.binary_search(fd).is_err());
    let lowest_beyond: c_int = free.into_iter().nth(room).expect("numbers do not end");
    lowest_beyond as u64
}

fn limit() -> libc::rlimit {
    // SAFETY: rlimit is integers, for which zero is a value.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: `limit` is valid for writes.
    let returned = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(returned, 0);
    limit
}

pub(crate) fn set_limit(descriptors: u64) {
    let mut new = limit();
    new.rlim_cur = descriptors as libc::rlim_t;
    // SAFETY: `new` outlives the call.
    let returned = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const new) };
    assert_eq!(returned, 0);
}

/// As high as it may be: what is in flight is held against it, too.
pub(crate) fn raise_limit() {
    #[allow(clippy::unnecessary_cast, reason = "32 bits on 32-bit machines")]
    set_limit(limit().rlim_max as u64);
}

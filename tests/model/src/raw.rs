//! Sockets without the library: bare sendmsg(2) and recvmsg(2), which can send
//! what it never would and see what it sent. Shares no code with src/.

use std::{io, mem, ptr};

use libc::{c_int, c_void};

use crate::queue::Type;

pub(crate) fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub(crate) fn clear_errno() {
    // SAFETY: it points to this thread's errno, which lives as long as the thread.
    unsafe { *libc::__errno_location() = 0 }
}

/// A connected, non-blocking pair.
pub(crate) fn pair(kind: Type) -> [c_int; 2] {
    let kind = match kind {
        Type::Stream => libc::SOCK_STREAM,
        Type::Seqpacket => libc::SOCK_SEQPACKET,
        Type::Datagram => libc::SOCK_DGRAM,
    };
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let mut pair = [-1; 2];
    // SAFETY: `pair` has room for two.
    let returned = unsafe { libc::socketpair(libc::AF_UNIX, kind | flags, 0, pair.as_mut_ptr()) };
    assert_eq!(returned, 0, "socketpair: {}", io::Error::last_os_error());
    pair
}

/// Whether a socket that is closed while an empty message is all that it has not
/// received resets the connection: not on Linux 6.18, where this was found.
pub(crate) fn resets_for_an_empty_message() -> bool {
    let [ours, theirs] = pair(Type::Seqpacket);
    assert!(send(ours, &[], Control::default()));
    crate::files::close(theirs);
    // A reset is reported before the end of file.
    let resets = receive(ours, 1).is_none();
    crate::files::close(ours);
    resets
}

/// A UDP socket that is its own peer; nothing on a machine without networks.
pub(crate) fn udp() -> Option<c_int> {
    use std::net::UdpSocket;
    use std::os::fd::IntoRawFd;
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.connect(socket.local_addr().ok()?).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket.into_raw_fd())
}

/// Sets an integer option of level `SOL_SOCKET`; false if there is no such option.
pub(crate) fn set_option(socket: c_int, option: c_int, value: c_int) -> bool {
    let place = (&raw const value).cast::<c_void>();
    let len = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `place` points to an int, and `len` is its size.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, place, len) == 0 }
}

pub(crate) fn shutdown(socket: c_int, how: c_int) {
    // SAFETY: shutdown takes two ints.
    unsafe { libc::shutdown(socket, how) };
}

/// Control messages to be sent, one after the other.
#[derive(Default)]
pub(crate) struct Control(Vec<u8>);

impl Control {
    pub(crate) fn with_descriptors(mut self, fds: &[c_int]) -> Self {
        let data: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        self.append(libc::SCM_RIGHTS, &data);
        self
    }

    pub(crate) fn with_credentials(mut self) -> Self {
        // SAFETY: these have no condition.
        let ids = unsafe { [libc::getpid() as u32, libc::getuid(), libc::getgid()] };
        let data: Vec<u8> = ids.iter().flat_map(|id| id.to_ne_bytes()).collect();
        self.append(libc::SCM_CREDENTIALS, &data);
        self
    }

    fn append(&mut self, kind: c_int, data: &[u8]) {
        let word = mem::size_of::<usize>();
        let len = (word + 8).next_multiple_of(word) + data.len();
        self.0.extend(len.to_ne_bytes());
        self.0.extend(libc::SOL_SOCKET.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(word), 0);
    }
}

fn header(iov: &mut libc::iovec, control: *mut c_void, len: usize) -> libc::msghdr {
    // SAFETY: msghdr is integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = iov;
    message.msg_iovlen = 1;
    message.msg_control = if len == 0 { ptr::null_mut() } else { control };
    message.msg_controllen = len as _;
    message
}

/// Data in two buffers, of which one may be empty. It has to stay where it is while the
/// message is used.
pub(crate) struct Buffers([libc::iovec; 2]);

impl Buffers {
    pub(crate) fn of(data: &mut [u8], first: usize) -> Self {
        let (first, second) = data.split_at_mut(first.min(data.len()));
        Self([first, second].map(|part| libc::iovec {
            iov_base: part.as_mut_ptr().cast(),
            iov_len: part.len(),
        }))
    }

    pub(crate) fn message(&mut self) -> libc::msghdr {
        let mut message = header(&mut self.0[0], ptr::null_mut(), 0);
        message.msg_iovlen = 2;
        message
    }
}

/// `RECVFDS_CMSG_SPACE` in C.
pub(crate) fn control_space(nfds: usize) -> usize {
    let word = mem::size_of::<usize>();
    (word + 8 + 4 * nfds).next_multiple_of(word) + 512
}

/// Room for the control messages of any receive of these tests.
pub(crate) const CONTROL_ROOM: usize = 2048;

/// A buffer for control messages, aligned as their header is.
pub(crate) struct ControlBuffer([u64; CONTROL_ROOM / 8]);

impl ControlBuffer {
    pub(crate) fn new() -> Self {
        Self([0; CONTROL_ROOM / 8])
    }

    pub(crate) fn start(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// The pidfds in the control messages of a message that came, and the descriptors, which
/// are not to be there any more.
pub(crate) fn pidfds_in(message: &libc::msghdr) -> Vec<c_int> {
    assert!(slots(message, libc::SCM_RIGHTS).is_empty());
    slots(message, 4)
}

/// Whether it was sent; all of it, as it is little.
pub(crate) fn send(socket: c_int, data: &[u8], mut control: Control) -> bool {
    let mut iov = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let message = header(&mut iov, control.0.as_mut_ptr().cast(), control.0.len());
    // SAFETY: `message` points to `data` and `control`, which outlive the call, and sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
    assert!(sent < 0 || sent as usize == data.len());
    sent >= 0
}

/// The result of a bare receive: bytes, and descriptors for the caller to close.
pub(crate) struct Received {
    pub(crate) data: Vec<u8>,
    pub(crate) fds: Vec<c_int>,
    pub(crate) pidfds: Vec<c_int>,
}

pub(crate) fn receive(socket: c_int, room: usize) -> Option<Received> {
    let mut data = vec![0; room];
    let mut control = [0_u64; 512];
    let mut iov = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: room,
    };
    let place = control.as_mut_ptr().cast();
    let mut message = header(&mut iov, place, mem::size_of_val(&control));
    // SAFETY: `message` points to `data` and `control`, which outlive the call.
    let bytes = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    data.truncate(usize::try_from(bytes).ok()?);
    assert_eq!(message.msg_flags & libc::MSG_CTRUNC, 0);
    Some(Received {
        data,
        fds: slots(&message, libc::SCM_RIGHTS),
        pidfds: slots(&message, 4),
    })
}

fn slots(message: &libc::msghdr, kind: c_int) -> Vec<c_int> {
    let mut slots = Vec::new();
    // SAFETY: the kernel has filled in `message`, and its control messages are well-formed.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: as above.
    while let Some(header) = unsafe { next.as_ref() } {
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == kind {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(next) }.cast::<c_int>();
            #[allow(
                clippy::unnecessary_cast,
                reason = "size_t on glibc, socklen_t on musl"
            )]
            // SAFETY: CMSG_LEN only counts.
            let len = header.cmsg_len as usize - unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: as above; it holds ints, and begins at a multiple of the word.
            slots.extend((0..len / 4).map(|i| unsafe { data.add(i).read() }));
        }
        // SAFETY: as above.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    slots
}

//! The exported functions at one end of a pair of sockets, and at the other a
//! peer that sends what it likes, sets options, shuts down and closes; while the
//! socket options of this end and the limit of descriptors change, too.
//!
//! A model of the contract and of the two queues says what each call returns, with
//! which errno, files and bytes. After each step exactly those descriptors are
//! open that are to be. The hard limit of descriptors is to be 1024 or more.

use std::sync::LazyLock;

use libc::{
    c_int, EAFNOSUPPORT, EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EFAULT, EINVAL, EMFILE, EMSGSIZE,
    ENOMSG, ENOTCONN, ENOTSOCK, EPERM, EPIPE, ETOOMANYREFS,
};

use crate::choices::Choices;
use crate::ffi::{
    recvfd, recvfds, recvfds_all, recvfds_cmsg, recvfds_msg, recvfds_msghdr, sendfd, sendfds,
    sendfds_all, sendfds_cmsg, sendfds_msg, sendfds_msghdr, RECVFD_EOF, RECVFD_PARTIAL,
    SENDFD_MAX_FDS,
};
use crate::files::{self, FILE, FILES};
use crate::queue::{Message, Portion, Queue, Type};
use crate::raw::{self, Control};

const MAX_FDS: usize = SENDFD_MAX_FDS as usize;
const MOST_BYTES: usize = 600;
const MOST_QUEUED: usize = 12;
const END: isize = RECVFD_EOF as isize;

const SO_PASSPIDFD: c_int = 76;
const SO_PASSRIGHTS: c_int = 83;

/// The content of the arrays before a receive.
const NO_FD: c_int = -77;
const NO_BYTE: u8 = 0xa5;
/// Places beyond those that a call is given; a sanitizer sees those that are not there.
const SPARE: usize = if cfg!(fuzzing) { 0 } else { 4 };

/// More than a table can be short of.
const NO_LIMIT: usize = usize::MAX;

static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TRACE").is_some());
// SAFETY: it has no condition.
static IS_LIMITED: LazyLock<bool> = LazyLock::new(|| unsafe { libc::geteuid() } != 0);
static EMPTY_MESSAGES_RESET: LazyLock<bool> = LazyLock::new(raw::resets_for_an_empty_message);
static UDP: LazyLock<Option<c_int>> = LazyLock::new(raw::udp);

macro_rules! trace {
    ($($what:tt)*) => {
        if *TRACE {
            eprintln!($($what)*);
        }
    };
}

/// Makes the steps that the bytes describe, with one pair of sockets, and returns how
/// many they were.
pub fn run(bytes: &[u8]) -> usize {
    LazyLock::force(&FILE);
    LazyLock::force(&UDP);
    LazyLock::force(&EMPTY_MESSAGES_RESET);
    // Rust programs ignore it, C programs do not: whoever raises it is to die.
    // SAFETY: SIG_DFL is a disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut choices = Choices::new(bytes);
    let mut scene = Scene::new(&mut choices);
    let mut steps = 0;
    while !choices.are_over() {
        scene.step(&mut choices);
        scene.check_descriptors();
        steps += 1;
    }
    scene.finish();
    steps
}

/// The result of a call, and errno, which was 0 before.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome {
    returned: isize,
    errno: c_int,
}

impl Outcome {
    fn of<T: TryInto<isize>>(call: impl FnOnce() -> T) -> Self {
        raw::clear_errno();
        let returned = call().try_into().unwrap_or(isize::MAX);
        Self {
            returned,
            errno: raw::errno(),
        }
    }

    /// Of a call that has done so much, and then either was done or met an error.
    fn expected(done: usize, errno: c_int) -> Self {
        let returned = match (done, errno) {
            (0, 0) => 0,
            (0, _) => -1,
            _ => done as isize,
        };
        Self { returned, errno }
    }
}

/// A message that is to be sent, and what it adds to what the call returns.
struct Part {
    data: Vec<u8>,
    files: Vec<usize>,
    has_bad_descriptor: bool,
    worth: usize,
}

/// What a receive finds.
enum Found {
    Error(c_int),
    End,
    /// One of these.
    Portions(Vec<Portion>),
}

/// How a message is received.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Msg,
    Msghdr {
        partial: bool,
        control: bool,
    },
    /// By a recvmsg of the caller's own.
    Cmsg {
        partial: bool,
    },
}

struct Scene {
    kind: Type,
    ours: c_int,
    theirs: c_int,
    /// All other descriptors that are open, in order.
    others: Vec<c_int>,

    /// On their way to our end, and to theirs.
    inbox: Queue,
    outbox: Queue,
    sender: u32,

    they_are_open: bool,
    /// We may not send any more, or nothing will come any more.
    send_shut: bool,
    receive_shut: bool,
    /// ECONNRESET is yet to be reported.
    was_reset: bool,
    /// A datagram socket that has found out that its peer has closed.
    was_disconnected: bool,
    they_take_descriptors: bool,
    outbox_is_small: bool,
}

impl Scene {
    fn new(choices: &mut Choices<'_>) -> Self {
        let kind = [Type::Stream, Type::Seqpacket, Type::Datagram][choices.below(3)];
        trace!("{kind:?}");
        let others = files::open_descriptors();
        let [ours, theirs] = raw::pair(kind);
        Self {
            kind,
            ours,
            theirs,
            others,
            inbox: Queue::new(kind),
            outbox: Queue::new(kind),
            sender: 0,
            they_are_open: true,
            send_shut: false,
            receive_shut: false,
            was_reset: false,
            was_disconnected: false,
            they_take_descriptors: true,
            outbox_is_small: false,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..=4 => self.they_send(choices),
            5..=8 => self.receive(choices),
            9..=11 => self.send(choices),
            12 => self.they_receive(choices),
            13 => self.set_an_option(choices),
            14 => match choices.below(4) {
                0 => match choices.below(6) {
                    0 => self.they_close(),
                    1 | 2 => self.they_shut_down(choices),
                    _ => self.they_send(choices),
                },
                _ => self.call_with_nonsense(choices),
            },
            _ => self.call_on_another_socket(choices),
        }
    }

    /// All that is left comes, and then both ends are closed.
    fn finish(mut self) {
        while !self.inbox.is_empty() || self.was_reset {
            self.receive_message(Way::Msg, MAX_FDS, MOST_QUEUED * MOST_BYTES, 0, NO_LIMIT);
            self.check_descriptors();
        }
        while self.they_are_open && !self.outbox.is_empty() {
            self.take_from_outbox(MOST_BYTES);
            self.check_descriptors();
        }
        files::close(self.ours);
        if self.they_are_open {
            files::close(self.theirs);
        }
        assert_eq!(files::open_descriptors(), self.others);
    }

    fn descriptors_that_are_to_be_open(&self) -> Vec<c_int> {
        let mut fds = self.others.clone();
        fds.push(self.ours);
        if self.they_are_open {
            fds.push(self.theirs);
        }
        fds.sort_unstable();
        fds
    }

    fn check_descriptors(&self) {
        assert_eq!(
            files::open_descriptors(),
            self.descriptors_that_are_to_be_open(),
            "other descriptors are open than are to be"
        );
    }

    // --- what the peer does, and what happens to the sockets ---------------------

    fn they_send(&mut self, choices: &mut Choices<'_>) {
        if !self.they_are_open || self.inbox.len() >= MOST_QUEUED {
            return self.receive(choices);
        }
        let files = choose_files(choices, MAX_FDS);
        let data = choose_data(choices);
        let fds = descriptors_of(&files);
        let mut sent_files = files.clone();
        let mut tells_sender = false;
        let control = match choices.below(8) {
            0 => {
                let (first, second) = fds.split_at(fds.len() / 2);
                Control::default()
                    .with_descriptors(first)
                    .with_descriptors(second)
            }
            1 => {
                tells_sender = true;
                Control::default().with_credentials().with_descriptors(&fds)
            }
            2 => {
                sent_files.clear();
                Control::default()
            }
            _ => Control::default().with_descriptors(&fds),
        };
        let sent = raw::send(self.theirs, &data, control);
        trace!(
            "they send {} bytes, {} files: {sent}",
            data.len(),
            sent_files.len()
        );
        if sent {
            self.sender += u32::from(tells_sender);
            self.inbox.push(Message {
                data,
                files: sent_files,
                sender: self.sender,
            });
            self.sender += u32::from(tells_sender);
        }
    }

    fn they_receive(&mut self, choices: &mut Choices<'_>) {
        if self.they_are_open {
            self.take_from_outbox(1 + choices.number(MOST_BYTES));
        }
    }

    /// Asserts that the peer receives what we have sent, and nothing else.
    fn take_from_outbox(&mut self, room: usize) {
        let portions = self.outbox.portions(room, false);
        let Some(received) = raw::receive(self.theirs, room) else {
            assert!(portions.is_empty(), "what we have sent does not come");
            return;
        };
        received
            .pidfds
            .iter()
            .filter(|fd| **fd >= 0)
            .for_each(|fd| files::close(*fd));
        trace!(
            "they receive {} bytes, {} files",
            received.data.len(),
            received.fds.len()
        );
        let portion = portions.iter().find(|portion| {
            portion.data == received.data && portion.files.len() == received.fds.len()
        });
        match portion {
            Some(portion) => {
                check_and_close(&received.fds, &portion.files);
                self.outbox.remove(portion);
            }
            // The end of file.
            None => assert!(
                portions.is_empty() && received.data.is_empty() && received.fds.is_empty(),
                "something else comes than what we have sent"
            ),
        }
    }

    fn they_shut_down(&mut self, choices: &mut Choices<'_>) {
        if !self.they_are_open {
            return;
        }
        let how = [libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR][choices.below(3)];
        trace!("they shut down: {how}");
        raw::shutdown(self.theirs, how);
        self.send_shut |= how != libc::SHUT_WR;
        // Datagram sockets do not report it to each other.
        self.receive_shut |= how != libc::SHUT_RD && self.kind.has_connections();
    }

    fn they_close(&mut self) {
        if !self.they_are_open {
            return;
        }
        trace!("they close");
        files::close(self.theirs);
        self.they_are_open = false;
        if self.kind.has_connections() {
            self.send_shut = true;
            self.receive_shut = true;
            self.was_reset = if *EMPTY_MESSAGES_RESET {
                !self.outbox.is_empty()
            } else {
                !self.outbox.is_empty_behind_an_empty_message()
            };
        }
        self.outbox.clear();
    }

    fn set_an_option(&mut self, choices: &mut Choices<'_>) {
        let at_ours = !self.they_are_open || choices.one_in(2);
        let socket = if at_ours { self.ours } else { self.theirs };
        let value = c_int::from(!choices.one_in(3));
        match choices.below(8) {
            // Their end is the one that takes what we send.
            0 if !at_ours => {
                if raw::set_option(socket, SO_PASSRIGHTS, 1 - value) {
                    trace!("they take descriptors: {}", 1 - value);
                    self.they_take_descriptors = value == 0;
                }
            }
            0 => drop(raw::set_option(socket, SO_PASSRIGHTS, 1 - value)),
            1 => {
                trace!("a small queue: {at_ours}");
                raw::set_option(socket, libc::SO_SNDBUF, 1);
                self.outbox_is_small |= at_ours;
            }
            2 => drop(raw::set_option(socket, libc::SO_TIMESTAMP, value)),
            number => {
                let option = [libc::SO_PASSCRED, SO_PASSPIDFD, libc::SO_PASSSEC][number % 3];
                trace!("option {option}: {value}, {at_ours}");
                raw::set_option(socket, option, value);
                self.sender += 1;
            }
        }
    }

    // --- sending ------------------------------------------------------------------

    fn send(&mut self, choices: &mut Choices<'_>) {
        if self.outbox.len() >= MOST_QUEUED && !self.outbox_is_small {
            return self.they_receive(choices);
        }
        match choices.below(6) {
            0 => self.send_one(choices),
            1 | 2 => self.send_some(choices),
            3 => self.send_all(choices),
            _ => self.send_message(choices),
        }
    }

    fn send_one(&mut self, choices: &mut Choices<'_>) {
        let mut part = Part {
            data: vec![0],
            files: vec![choices.below(FILES)],
            has_bad_descriptor: false,
            worth: 1,
        };
        let fds = fds_to_send(choices, std::slice::from_mut(&mut part));
        let outcome = Outcome::of(|| sendfd(self.ours, fds[0]) as isize);
        self.check_sent("sendfd", outcome, vec![part]);
    }

    fn send_some(&mut self, choices: &mut Choices<'_>) {
        let files = choose_files(choices, MAX_FDS - 1);
        let mut parts = parts_of(if files.is_empty() { &[0] } else { &files });
        let fds = fds_to_send(choices, &mut parts);
        let nfds = fds.len() as c_int;
        // SAFETY: there are so many in the array.
        let outcome = Outcome::of(|| unsafe { sendfds(self.ours, fds.as_ptr(), nfds) } as isize);
        self.check_sent("sendfds", outcome, parts);
    }

    fn send_all(&mut self, choices: &mut Choices<'_>) {
        let mut files = choose_files(choices, MAX_FDS);
        files.push(0);
        let times = 1 + choices.below(3);
        let mut parts = parts_of(&files.repeat(times));
        let fds = fds_to_send(choices, &mut parts);
        let nfds = fds.len() as c_int;
        // SAFETY: there are so many in the array.
        let outcome =
            Outcome::of(|| unsafe { sendfds_all(self.ours, fds.as_ptr(), nfds) } as isize);
        self.check_sent("sendfds_all", outcome, parts);
    }

    fn send_message(&mut self, choices: &mut Choices<'_>) {
        let files = choose_files(choices, MAX_FDS);
        let mut data = choose_data(choices);
        if data.is_empty() && !files.is_empty() && self.kind == Type::Stream {
            data.push(1);
        }
        let mut part = Part {
            worth: data.len(),
            data: data.clone(),
            files,
            has_bad_descriptor: false,
        };
        let fds = fds_to_send(choices, std::slice::from_mut(&mut part));
        let flags = [0, libc::MSG_DONTWAIT, libc::MSG_EOR, libc::MSG_NOSIGNAL][choices.below(4)];
        let (nfds, bytes) = (fds.len() as c_int, data.as_ptr().cast());
        let mut copy = data.clone();
        let mut buffers = raw::Buffers::of(&mut copy, choices.below(MOST_BYTES));
        let (name, outcome) = match choices.below(3) {
            0 if nfds > 0 => (
                "sendfds_cmsg",
                self.send_with_control(&fds, &mut buffers, flags),
            ),
            1 => (
                "sendfds_msghdr",
                Outcome::of(|| {
                    let message = buffers.message();
                    // SAFETY: there are so many descriptors in the array, and the buffers of the message.
                    unsafe { sendfds_msghdr(self.ours, fds.as_ptr(), nfds, &message, flags) }
                }),
            ),
            _ => (
                "sendfds_msg",
                Outcome::of(|| {
                    // SAFETY: there are so many descriptors and bytes in the arrays.
                    unsafe { sendfds_msg(self.ours, fds.as_ptr(), nfds, bytes, data.len(), flags) }
                }),
            ),
        };
        self.check_sent(name, outcome, vec![part]);
    }

    /// A sendmsg of the caller's own.
    fn send_with_control(
        &self,
        fds: &[c_int],
        buffers: &mut raw::Buffers,
        flags: c_int,
    ) -> Outcome {
        let mut control = raw::ControlBuffer::new();
        let mut message = buffers.message();
        // SAFETY: there are so many descriptors in the array, and so much room in the buffer.
        let len = unsafe {
            sendfds_cmsg(
                fds.as_ptr(),
                fds.len() as c_int,
                control.start(),
                raw::CONTROL_ROOM,
            )
        };
        assert!(len > 0, "sendfds_cmsg: {len}");
        message.msg_control = control.start();
        message.msg_controllen = len as usize;
        // SAFETY: the message points to buffers that outlive the call.
        Outcome::of(|| unsafe { libc::sendmsg(self.ours, &message, flags | libc::MSG_NOSIGNAL) })
    }

    fn check_sent(&mut self, name: &str, outcome: Outcome, parts: Vec<Part>) {
        trace!("{name}: {outcome:?}");
        let (mut done, mut error) = (0, 0);
        for part in parts {
            let refused = self.refusal(&part, outcome, done);
            error = self.error_of_sending(&part, refused);
            if error != 0 {
                break;
            }
            done += part.worth;
            self.outbox.push(Message {
                data: part.data,
                files: part.files,
                sender: self.sender,
            });
        }
        assert_eq!(outcome, Outcome::expected(done, error), "{name}");
    }

    /// The errno, or 0, for which the kernel was free to refuse the part, and did:
    /// it says when a queue is full, but that is never empty, and when a user has
    /// too many descriptors in flight, who is not privileged.
    fn refusal(&self, part: &Part, outcome: Outcome, done: usize) -> c_int {
        let may_be_full = self.outbox_is_small && !self.outbox.is_empty();
        let may_be_too_many = *IS_LIMITED && !part.files.is_empty();
        if may_be_full && outcome == Outcome::expected(done, EAGAIN) {
            EAGAIN
        } else if may_be_too_many && outcome == Outcome::expected(done, ETOOMANYREFS) {
            ETOOMANYREFS
        } else {
            0
        }
    }

    /// The errno of sendmsg(2), in the order in which the kernel checks, or 0.
    fn error_of_sending(&mut self, part: &Part, refused: c_int) -> c_int {
        let is_datagram = self.kind == Type::Datagram;
        if self.kind == Type::Seqpacket && std::mem::take(&mut self.was_reset) {
            return ECONNRESET;
        }
        if part.has_bad_descriptor {
            return EBADF;
        }
        if self.was_disconnected {
            return ENOTCONN;
        }
        if self.send_shut && !is_datagram {
            return EPIPE;
        }
        if part.data.is_empty() && self.kind == Type::Stream {
            return 0;
        }
        if refused != 0 {
            return refused;
        }
        if is_datagram && !self.they_are_open {
            // Everything that they had sent is lost with the connection.
            self.was_disconnected = true;
            self.inbox.clear();
            return ECONNREFUSED;
        }
        if self.send_shut {
            return EPIPE;
        }
        if !self.they_take_descriptors && !part.files.is_empty() {
            return EPERM;
        }
        0
    }

    // --- receiving ----------------------------------------------------------------

    fn receive(&mut self, choices: &mut Choices<'_>) {
        let way = choices.below(6);
        let limit = match choices.below(12) {
            0 => choices.below(12),
            1 => 0,
            _ => NO_LIMIT,
        };
        match way {
            0 => self.receive_one(limit),
            1 => self.receive_some(1 + choices.number(MAX_FDS), limit),
            2 => self.receive_some(MAX_FDS + choices.below(2), limit),
            3 => {
                let wanted = (1 + choices.number(MAX_FDS)) * (1 + choices.below(3));
                self.receive_all(wanted, limit);
            }
            _ => self.choose_and_receive_message(choices, limit),
        }
    }

    /// Makes a call while the table has room for so many descriptors.
    fn with_room_for<T>(&self, nfds: usize, call: impl FnOnce() -> T) -> T {
        if nfds == NO_LIMIT {
            return call();
        }
        let open = self.descriptors_that_are_to_be_open();
        files::set_limit(files::limit_that_leaves_room(&open, nfds));
        let value = call();
        files::raise_limit();
        value
    }

    /// The result of recvmsg(2), in the order in which the kernel checks.
    fn find(&mut self, room: usize, peek: bool) -> Found {
        let error_first = self.kind == Type::Seqpacket || self.inbox.is_empty();
        if error_first && std::mem::take(&mut self.was_reset) {
            Found::Error(ECONNRESET)
        } else if !self.inbox.is_empty() {
            Found::Portions(self.inbox.portions(room, peek))
        } else if self.receive_shut {
            Found::End
        } else {
            Found::Error(EAGAIN)
        }
    }

    /// Whether the descriptors of a portion are handed over: the errno if not, or 0.
    fn error_of_receiving(portion: &Portion, room: usize, limit: usize, whole: bool) -> c_int {
        let installed = portion.files.len().min(limit);
        if installed > room || (whole && portion.cut_off) {
            EMSGSIZE
        } else if installed < portion.files.len() {
            EMFILE
        } else {
            0
        }
    }

    /// What all receives make of a message of which they take one byte: the files,
    /// or what the call returns where it brings none.
    fn find_descriptors(&mut self, room: usize, limit: usize) -> Result<Vec<usize>, Outcome> {
        let failure = |errno| {
            Err(Outcome {
                returned: -1,
                errno,
            })
        };
        let end = Err(Outcome {
            returned: END,
            errno: 0,
        });
        let portion = match self.find(1, false) {
            Found::Error(errno) => return failure(errno),
            Found::End => return end,
            // One byte is never of two messages.
            Found::Portions(mut portions) => portions.remove(0),
        };
        self.inbox.remove(&portion);
        match Self::error_of_receiving(&portion, room, limit, false) {
            0 if !portion.files.is_empty() => Ok(portion.files),
            // An empty message on a connection looks like its end.
            0 if portion.data.is_empty() && self.kind.has_connections() => end,
            0 => failure(ENOMSG),
            errno => failure(errno),
        }
    }

    fn receive_one(&mut self, limit: usize) {
        let expected = self.find_descriptors(1, limit);
        let outcome = self.with_room_for(limit, || Outcome::of(|| recvfd(self.ours) as isize));
        trace!("recvfd, room for {limit}: {outcome:?}");
        match expected {
            Ok(files) => check_and_close(&[outcome.returned as c_int], &files),
            Err(failure) => assert_eq!(outcome, failure, "recvfd"),
        }
    }

    fn receive_some(&mut self, room: usize, limit: usize) {
        let expected = self.find_descriptors(room, limit);
        let mut fds = vec![NO_FD; room + SPARE];
        let outcome = self.with_room_for(limit, || {
            // SAFETY: there is so much room in the array.
            Outcome::of(|| unsafe { recvfds(self.ours, fds.as_mut_ptr(), room as c_int) } as isize)
        });
        trace!("recvfds of {room}, room for {limit}: {outcome:?}");
        let (expected, files) = match expected {
            Ok(files) => (Outcome::expected(files.len(), 0), files),
            Err(failure) => (failure, Vec::new()),
        };
        assert_eq!(outcome, expected, "recvfds");
        check_array(&fds, &files);
    }

    fn receive_all(&mut self, wanted: usize, limit: usize) {
        let mut files = Vec::new();
        let mut failure = Outcome::expected(0, 0);
        while files.len() < wanted && failure.returned == 0 {
            let limit = if limit == NO_LIMIT {
                limit
            } else {
                limit - files.len()
            };
            match self.find_descriptors(wanted - files.len(), limit) {
                Ok(more) => files.extend(more),
                Err(error) => failure = error,
            }
        }
        let mut fds = vec![NO_FD; wanted + SPARE];
        let outcome = self.with_room_for(limit, || {
            Outcome::of(|| {
                // SAFETY: there is so much room in the array.
                unsafe { recvfds_all(self.ours, fds.as_mut_ptr(), wanted as c_int) as isize }
            })
        });
        trace!("recvfds_all of {wanted}, room for {limit}: {outcome:?}");
        let expected = match files.len() {
            0 => failure,
            came => Outcome::expected(came, failure.errno),
        };
        assert_eq!(outcome, expected, "recvfds_all");
        check_array(&fds, &files);
    }

    fn choose_and_receive_message(&mut self, choices: &mut Choices<'_>, limit: usize) {
        let peek = if choices.one_in(4) { libc::MSG_PEEK } else { 0 };
        let room = choices.number(MAX_FDS + 1);
        let len = 1 + choices.number(3 * MOST_BYTES);
        let flags = peek | [0, libc::MSG_DONTWAIT][choices.below(2)];
        let partial = choices.one_in(3);
        let way = match choices.below(4) {
            0 => Way::Msghdr {
                partial,
                control: choices.one_in(2),
            },
            1 => Way::Cmsg { partial },
            _ => Way::Msg,
        };
        self.receive_message(way, room, len, flags, limit);
    }

    fn receive_message(&mut self, way: Way, room: usize, len: usize, flags: c_int, limit: usize) {
        let peek = flags & libc::MSG_PEEK != 0;
        let mut fds = vec![NO_FD; room + SPARE];
        let mut data = vec![NO_BYTE; len + SPARE];
        let mut nfds = room as c_int;
        let mut control = raw::ControlBuffer::new();
        let found = self.find(len, peek);
        let (outcome, message_flags) = self.with_room_for(limit, || {
            self.call_to_receive(
                way,
                &mut fds,
                &mut nfds,
                &mut data[..len],
                &mut control,
                flags,
            )
        });
        trace!("{way:?} of {room} and {len}, peek {peek}, room for {limit}: {outcome:?}, {nfds}");
        let is_message = matches!(found, Found::Portions(_));
        let end = match way {
            Way::Cmsg { .. } => 0, // For the caller to see.
            _ => END,
        };
        let possible: Vec<(Outcome, Portion)> = match found {
            Found::Error(errno) => vec![(Outcome::expected(0, errno), Portion::default())],
            Found::End => vec![(
                Outcome {
                    returned: end,
                    errno: 0,
                },
                Portion::default(),
            )],
            Found::Portions(portions) => portions
                .into_iter()
                .map(|portion| {
                    (
                        self.outcome_of_message(way, &portion, room, limit, end),
                        portion,
                    )
                })
                .collect(),
        };
        let handed_over = |outcome: &Outcome, portion: &Portion| match outcome.returned {
            0.. => portion.files[..portion.files.len().min(room).min(limit)].to_vec(),
            _ => Vec::new(),
        };
        // Only a call that succeeds writes *nfds.
        let count_after = |outcome: &Outcome, portion: &Portion| match outcome.returned {
            0.. => handed_over(outcome, portion).len(),
            _ => room,
        };
        // The message says whether something is left out.
        let flags_are_right = |outcome: &Outcome, portion: &Portion| {
            let lacks = handed_over(outcome, portion).len() < portion.files.len();
            let truncated = message_flags & libc::MSG_CTRUNC != 0;
            let cut_off = message_flags & libc::MSG_TRUNC != 0;
            outcome.returned < 0
                || way == Way::Msg
                || (truncated, cut_off) == (lacks, portion.cut_off)
        };
        let Some((_, portion)) = possible.iter().find(|(expected, portion)| {
            *expected == outcome
                && count_after(expected, portion) == nfds as usize
                && flags_are_right(expected, portion)
        }) else {
            let expected: Vec<_> = possible
                .iter()
                .map(|(outcome, portion)| (outcome, portion.files.len()))
                .collect();
            panic!("{way:?}: {outcome:?}, {nfds} and {message_flags:#x}, not {expected:?}");
        };
        let files = handed_over(&outcome, portion);
        check_array(&fds, &files);
        assert!(
            data[len..].iter().all(|byte| *byte == NO_BYTE),
            "bytes beyond the buffer"
        );
        if outcome.returned >= 0 {
            assert_eq!(data[..outcome.returned as usize], portion.data);
        }
        if !peek && is_message {
            self.inbox.remove(portion);
        }
    }

    /// Receives into the arrays, and closes the pidfds that are the caller's then. Returns
    /// also the flags of the message.
    fn call_to_receive(
        &self,
        way: Way,
        fds: &mut [c_int],
        nfds: &mut c_int,
        data: &mut [u8],
        control: &mut raw::ControlBuffer,
        flags: c_int,
    ) -> (Outcome, c_int) {
        let (ours, places, room) = (self.ours, fds.as_mut_ptr(), *nfds as usize);
        let flag = |partial: bool| if partial { RECVFD_PARTIAL } else { 0 };
        let mut buffers = raw::Buffers::of(data, data.len() / 3);
        let mut message = buffers.message();
        message.msg_flags = 0;
        let outcome = match way {
            Way::Msg => {
                let (start, len) = (data.as_mut_ptr().cast(), data.len());
                // SAFETY: there is so much room in the arrays.
                return (
                    Outcome::of(|| unsafe { recvfds_msg(ours, places, nfds, start, len, flags) }),
                    0,
                );
            }
            Way::Msghdr {
                partial,
                control: wanted,
            } => {
                if wanted {
                    message.msg_control = control.start();
                    message.msg_controllen = raw::CONTROL_ROOM;
                }
                let flags = flags | flag(partial);
                // SAFETY: there is so much room in the arrays.
                Outcome::of(|| unsafe { recvfds_msghdr(ours, places, nfds, &mut message, flags) })
            }
            Way::Cmsg { partial } => {
                message.msg_control = control.start();
                message.msg_controllen = raw::control_space(room);
                let flags = flags | libc::MSG_CMSG_CLOEXEC;
                // SAFETY: the message points to buffers that outlive the call.
                let received = Outcome::of(|| unsafe { libc::recvmsg(ours, &mut message, flags) });
                if received.returned < 0 {
                    return (received, 0);
                }
                // SAFETY: there is so much room in the array, and the message came.
                let taken = Outcome::of(|| unsafe {
                    recvfds_cmsg(ours, places, nfds, &mut message, flag(partial))
                } as isize);
                if taken.returned == 0 {
                    received
                } else {
                    taken
                }
            }
        };
        if outcome.returned < 0 && matches!(way, Way::Msghdr { .. }) {
            assert_eq!(
                message.msg_flags, 0,
                "a failed call has changed the message"
            );
        }
        let pidfds = raw::pidfds_in(&message);
        assert!(outcome.returned >= 0 || matches!(way, Way::Msghdr { .. }) || pidfds.is_empty());
        if outcome.returned >= 0 {
            pidfds
                .into_iter()
                .filter(|fd| *fd >= 0)
                .for_each(files::close);
        }
        (outcome, message.msg_flags)
    }

    fn outcome_of_message(
        &self,
        way: Way,
        portion: &Portion,
        room: usize,
        limit: usize,
        end: isize,
    ) -> Outcome {
        let room = room.min(MAX_FDS);
        let lacks = portion.files.len() > room.min(limit);
        let error = match way {
            Way::Msghdr { partial: true, .. } | Way::Cmsg { partial: true } => 0,
            _ => Self::error_of_receiving(portion, room, limit, way == Way::Msg),
        };
        let empty = portion.data.is_empty() && portion.files.is_empty();
        match error {
            0 if empty && !lacks && self.kind.has_connections() => Outcome {
                returned: end,
                errno: 0,
            },
            0 => Outcome::expected(portion.data.len(), 0),
            errno => Outcome::expected(0, errno),
        }
    }

    // --- what must fail and change nothing ------------------------------------------

    fn call_with_nonsense(&mut self, choices: &mut Choices<'_>) {
        let null = std::ptr::null_mut::<c_int>;
        let mut fds = [FILE[0]; 3];
        let place = fds.as_mut_ptr();
        let mut nfds = 3;
        let count = &raw mut nfds;
        let mut data = [NO_BYTE; 4];
        let bytes = data.as_mut_ptr().cast();
        let socket = self.ours;
        // SAFETY: what is not NULL has room for the given length, as far as that makes sense.
        let (outcome, errno) = unsafe {
            match choices.below(16) {
                0 => (Outcome::of(|| sendfds(socket, place, 0) as isize), EINVAL),
                1 => (Outcome::of(|| sendfds(socket, place, 254) as isize), EINVAL),
                2 => (Outcome::of(|| sendfds(socket, null(), 3) as isize), EFAULT),
                3 => (
                    Outcome::of(|| sendfds_all(socket, place, c_int::MIN) as isize),
                    EINVAL,
                ),
                4 => (
                    Outcome::of(|| sendfds_all(socket, null(), 300) as isize),
                    EFAULT,
                ),
                5 => (
                    Outcome::of(|| sendfds_msg(socket, place, 254, bytes, 4, 0)),
                    EINVAL,
                ),
                6 => (
                    Outcome::of(|| sendfds_msg(socket, place, -1, bytes, 4, 0)),
                    EINVAL,
                ),
                7 => (
                    Outcome::of(|| sendfds_msg(socket, place, 3, null().cast(), 4, 0)),
                    EFAULT,
                ),
                8 => (
                    Outcome::of(|| sendfds_msg(socket, place, 3, bytes, 4, libc::MSG_OOB)),
                    EINVAL,
                ),
                9 => (Outcome::of(|| recvfds(socket, place, 0) as isize), EINVAL),
                10 => (Outcome::of(|| recvfds(socket, null(), 3) as isize), EFAULT),
                11 => (
                    Outcome::of(|| recvfds_all(socket, place, -3) as isize),
                    EINVAL,
                ),
                12 => (
                    Outcome::of(|| recvfds_all(socket, null(), 3) as isize),
                    EFAULT,
                ),
                13 => (
                    Outcome::of(|| recvfds_msg(socket, place, count, bytes, 0, 0)),
                    EINVAL,
                ),
                14 => (
                    Outcome::of(|| recvfds_msg(socket, place, null(), bytes, 4, 0)),
                    EFAULT,
                ),
                _ => (
                    Outcome::of(|| recvfds_msg(socket, place, count, bytes, 4, libc::MSG_TRUNC)),
                    EINVAL,
                ),
            }
        };
        trace!("nonsense: {outcome:?}");
        assert_eq!(outcome, Outcome::expected(0, errno));
        assert_eq!((fds, data), ([FILE[0]; 3], [NO_BYTE; 4]));
    }

    /// Nothing is sent on what is not a Unix-domain socket, and nothing received.
    fn call_on_another_socket(&mut self, choices: &mut Choices<'_>) {
        let (socket, error) = match (choices.below(3), *UDP) {
            (0, Some(udp)) => (udp, EAFNOSUPPORT),
            (1, _) => (-1, EBADF),
            _ => (FILE[0], ENOTSOCK),
        };
        let fds = [FILE[1]; 2];
        // On UDP a receive finds nothing: nothing was ever sent.
        let receive_error = if error == EAFNOSUPPORT { EAGAIN } else { error };
        let mut received = [NO_FD; 2];
        // SAFETY: the arrays have room for two.
        let (outcome, errno) = unsafe {
            match choices.below(5) {
                0 => (Outcome::of(|| sendfd(socket, fds[0]) as isize), error),
                1 => (
                    Outcome::of(|| sendfds(socket, fds.as_ptr(), 2) as isize),
                    error,
                ),
                2 => (
                    Outcome::of(|| sendfds_all(socket, fds.as_ptr(), 2) as isize),
                    error,
                ),
                3 => (
                    Outcome::of(|| {
                        sendfds_msg(socket, fds.as_ptr(), 2, c"a".as_ptr().cast(), 1, 0)
                    }),
                    error,
                ),
                _ => (
                    Outcome::of(|| recvfds(socket, received.as_mut_ptr(), 2) as isize),
                    receive_error,
                ),
            }
        };
        trace!("another socket, {socket}: {outcome:?}");
        assert_eq!(outcome, Outcome::expected(0, errno));
        assert_eq!(received, [NO_FD; 2]);
    }
}

// --- what is sent, and what came ----------------------------------------------------

fn choose_files(choices: &mut Choices<'_>, most: usize) -> Vec<usize> {
    let nfds = choices.number(most);
    let first = choices.below(FILES);
    (0..nfds).map(|i| (first + i) % FILES).collect()
}

fn choose_data(choices: &mut Choices<'_>) -> Vec<u8> {
    let len = choices.number(MOST_BYTES);
    let first = choices.byte();
    (0..len).map(|i| first.wrapping_add(i as u8)).collect()
}

fn descriptors_of(files: &[usize]) -> Vec<c_int> {
    files.iter().map(|number| FILE[*number]).collect()
}

/// The messages of sendfds_all: as many descriptors in each as go into one, with
/// a byte that says how many.
fn parts_of(files: &[usize]) -> Vec<Part> {
    let part = |files: &[usize]| Part {
        data: vec![files.len() as u8],
        files: files.to_vec(),
        has_bad_descriptor: false,
        worth: files.len(),
    };
    files.chunks(MAX_FDS).map(part).collect()
}

/// The descriptors of all parts, now and then with one that is not open.
fn fds_to_send(choices: &mut Choices<'_>, parts: &mut [Part]) -> Vec<c_int> {
    let files: Vec<usize> = parts.iter().flat_map(|part| part.files.clone()).collect();
    let mut fds = descriptors_of(&files);
    if choices.one_in(8) && !fds.is_empty() {
        let bad = choices.below(fds.len());
        fds[bad] = -1;
        parts[bad / MAX_FDS].has_bad_descriptor = true;
    }
    fds
}

/// Those descriptors are of those files, and new, and close-on-exec; they are closed.
fn check_and_close(fds: &[c_int], files: &[usize]) {
    assert_eq!(fds.len(), files.len());
    for (i, (fd, file)) in fds.iter().zip(files).enumerate() {
        assert!(
            !FILE.contains(fd) && files::is_file(*fd, *file),
            "{i}: {fd} is not file {file}"
        );
        assert!(
            files::is_close_on_exec(*fd),
            "{i}: {fd} is not close-on-exec"
        );
    }
    fds.iter().for_each(|fd| files::close(*fd));
}

/// The array holds those files and is as it was behind them.
fn check_array(fds: &[c_int], files: &[usize]) {
    let (came, rest) = fds.split_at(files.len());
    check_and_close(came, files);
    assert!(
        rest.iter().all(|fd| *fd == NO_FD),
        "more is written than came"
    );
}

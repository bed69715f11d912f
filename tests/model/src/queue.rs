//! A model of the queue of a Unix-domain socket: what was sent, and what one
//! recvmsg(2) may make of it.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Stream,
    Seqpacket,
    Datagram,
}

impl Type {
    pub(crate) fn has_connections(self) -> bool {
        self != Self::Datagram
    }
}

/// A message, or what is left of it in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) data: Vec<u8>,
    /// The numbers of the files.
    pub(crate) files: Vec<usize>,
    /// The kernel may keep apart what comes from different senders, and takes a
    /// change of the options that report the sender for one.
    pub(crate) sender: u32,
}

/// The result of one recvmsg(2).
#[derive(Clone, Debug, Default)]
pub(crate) struct Portion {
    pub(crate) data: Vec<u8>,
    pub(crate) files: Vec<usize>,
    /// A datagram had more data.
    pub(crate) cut_off: bool,
}

pub(crate) struct Queue {
    kind: Type,
    messages: VecDeque<Message>,
}

impl Queue {
    pub(crate) fn new(kind: Type) -> Self {
        Self {
            kind,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether nothing is left in it, an empty message at its head not counted.
    pub(crate) fn is_empty_behind_an_empty_message(&self) -> bool {
        let mut messages = self.messages.iter();
        messages.next().is_none_or(|head| head.data.is_empty()) && messages.next().is_none()
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
    }

    pub(crate) fn push(&mut self, message: Message) {
        // A stream knows bytes only: where there are none, the descriptors are dropped.
        if self.kind != Type::Stream || !message.data.is_empty() {
            self.messages.push_back(message);
        }
    }

    /// What a receive with room for so many bytes may bring: one thing, but where
    /// the kernel is free to stop earlier. Nothing, if the queue is empty.
    pub(crate) fn portions(&self, room: usize, peek: bool) -> Vec<Portion> {
        match (self.kind, self.messages.front()) {
            (_, None) => Vec::new(),
            (Type::Stream, _) => self.stream_portions(room, peek),
            (_, Some(message)) => vec![Portion {
                data: message.data[..room.min(message.data.len())].to_vec(),
                files: message.files.clone(),
                cut_off: message.data.len() > room,
            }],
        }
    }

    /// A stream goes on until there is no room, or until there were descriptors.
    fn stream_portions(&self, room: usize, peek: bool) -> Vec<Portion> {
        let mut portions = Vec::new();
        let mut portion = Portion::default();
        let mut sender = None;
        for message in &self.messages {
            let left = room - portion.data.len();
            if left == 0 && !peek {
                break;
            }
            // A peek looks on when there is no room left, and brings descriptors
            // without the byte that they came with.
            if sender.is_some_and(|sender| sender != message.sender) || left == 0 {
                portions.push(portion.clone());
            }
            sender = Some(message.sender);
            let taken = &message.data[..left.min(message.data.len())];
            portion.data.extend_from_slice(taken);
            portion.files.clone_from(&message.files);
            if !message.files.is_empty() {
                break;
            }
        }
        portions.push(portion);
        portions
    }

    /// Takes from the queue what a receive has brought.
    pub(crate) fn remove(&mut self, portion: &Portion) {
        if self.kind != Type::Stream {
            self.messages.pop_front();
            return;
        }
        let mut left = portion.data.len();
        while let Some(message) = self.messages.front_mut().filter(|_| left > 0) {
            let taken = left.min(message.data.len());
            left -= taken;
            message.data.drain(..taken);
            message.files.clear();
            if message.data.is_empty() {
                self.messages.pop_front();
            }
        }
    }
}

"""What the tests have in common."""

import contextlib
import os
import signal
import socket
import tempfile
import time

import pytest

import sendfd


def raises(kind, number=None):
    """Expects an exception, with an errno and its message if there is a number."""
    expected = pytest.raises(kind)
    if number is not None:
        expected = pytest.raises(kind, match=f"Errno {number}. {os.strerror(number)}$")
    return expected


@contextlib.contextmanager
def pair(kind=socket.SOCK_STREAM):
    left, right = socket.socketpair(socket.AF_UNIX, kind)
    with left, right:
        yield left, right


@contextlib.contextmanager
def files(count):
    """Open files, each with its number in it."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(count):
            file = stack.enter_context(tempfile.TemporaryFile("w+"))
            file.write(f"file {number}\n")
            file.flush()
            opened.append(file)
        yield opened


def names(count):
    return [f"file {number}\n" for number in range(count)]


def content(fd):
    """What is in a received file, which is closed."""
    try:
        return os.pread(fd, 100, 0).decode()
    finally:
        os.close(fd)


def contents(fds):
    return [content(fd) for fd in fds]


def close_all(fds):
    for fd in fds:
        os.close(fd)


def next_number():
    """The number of the next descriptor."""
    fd = os.dup(0)
    os.close(fd)
    return fd


def nothing_was_sent(receiver):
    with pytest.raises(BlockingIOError):
        receiver.recv(1, socket.MSG_DONTWAIT)


def sleeps(process):
    """Whether a process with one thread is waiting in a system call."""
    with open(f"/proc/{process}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def wait_until_it_sleeps(process):
    while not sleeps(process):
        assert os.getppid() == process
        time.sleep(0.002)


@contextlib.contextmanager
def signal_when_blocked(number, repeat=1):
    """A child that sends this process a signal as soon as it waits; each time that it
    waits again, repeat times. What is in the block waits."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            for _ in range(repeat):
                wait_until_it_sleeps(parent)
                os.kill(parent, number)
                # Its handler runs before it waits again.
                time.sleep(0.01)
        finally:
            os._exit(0)  # also if the parent is gone
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@contextlib.contextmanager
def handler(number, function):
    before = signal.signal(number, function)
    try:
        yield
    finally:
        signal.signal(number, before)


class Raised(Exception):
    pass


def raise_it(*_):
    raise Raised


#: Each way to receive, with room for some descriptors: what it returns is passed to
#: close_received().
RECEIVES = {
    "recvfd": lambda fr: sendfd.recvfd(fr),
    "recvfds": lambda fr: sendfd.recvfds(fr, 2),
    "recvfds_all": lambda fr: sendfd.recvfds_all(fr, 2),
    "recvfds_msg": lambda fr: sendfd.recvfds_msg(fr, 2, 10),
    "recvfds_msghdr": lambda fr: sendfd.recvfds_msghdr(fr, 2, [bytearray(10)]),
    "recv_descriptor": lambda fr: sendfd.recv_descriptor(fr),
    "recv_descriptors": lambda fr: sendfd.recv_descriptors(fr, 2),
    "recv_file": lambda fr: sendfd.recv_file(fr),
    "recv_files": lambda fr: sendfd.recv_files(fr, 2),
    "recv_socket": lambda fr: sendfd.recv_socket(fr),
    "recv_sockets": lambda fr: sendfd.recv_sockets(fr, 2),
}
#: Each way to send descriptors.
SENDS = {
    "sendfd": lambda to, fd: sendfd.sendfd(to, fd),
    "sendfds": lambda to, fd: sendfd.sendfds(to, [fd]),
    "sendfds_all": lambda to, fd: sendfd.sendfds_all(to, [fd]),
    "sendfds_msg": lambda to, fd: sendfd.sendfds_msg(to, [fd], b"x"),
    "sendfds_msghdr": lambda to, fd: sendfd.sendfds_msghdr(to, [fd], [b"x"]),
}
every_receive = pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES)
every_send = pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)

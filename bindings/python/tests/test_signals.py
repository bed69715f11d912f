"""Signals, threads and timeouts: what waits can be interrupted, and goes on if it is
not."""

import contextlib
import errno
import select
import signal
import socket
import struct
import threading
import time

import pytest

import sendfd
from support import (
    Raised,
    close_all,
    content,
    contents,
    every_receive,
    every_send,
    files,
    handler,
    names,
    nothing_was_sent,
    pair,
    raise_it,
    raises,
    signal_when_blocked,
)


def fill(left):
    left.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sendfd.sendfd(left, 0)


@every_receive
@pytest.mark.parametrize("timeout", [None, 1000])
def test_control_c(receive, timeout):
    with pair() as (left, right):
        right.settimeout(timeout)
        with signal_when_blocked(signal.SIGINT), pytest.raises(KeyboardInterrupt):
            receive(right)


@every_send
@pytest.mark.parametrize("timeout", [None, 1000])
def test_control_c_in_a_send(send, timeout):
    with pair() as (left, right):
        fill(left)
        left.settimeout(timeout)
        with signal_when_blocked(signal.SIGINT), pytest.raises(KeyboardInterrupt):
            send(left, 0)


@pytest.mark.parametrize(
    "receive, expected",
    [
        (lambda fr: [sendfd.recvfd(fr)], 1),
        (lambda fr: sendfd.recvfds(fr, 2), 1),
        (lambda fr: sendfd.recvfds_msg(fr, 2, 10)[1], 1),
        (lambda fr: sendfd.recvfds_msghdr(fr, 2, [bytearray(10)]).fds, 1),
        (lambda fr: sendfd.recvfds_all(fr, 4), 4),
    ],
    ids=["recvfd", "recvfds", "recvfds_msg", "recvfds_msghdr", "recvfds_all"],
)
def test_handler_that_returns(receive, expected):
    """and itself passes descriptors: the call goes on, and has the right errno"""
    with pair() as (left, right), files(1) as (file,):
        handled = []

        def send(*_):
            handled.append(1)
            if len(handled) == 2:
                for _ in range(expected):
                    sendfd.sendfd(left, file)
            with raises(OSError, errno.EBADF):
                sendfd.recvfd(-1)
            with raises(OSError, errno.EBADF):
                sendfd.recvfds_msg(-1, 1, 1)

        with handler(signal.SIGUSR1, send), signal_when_blocked(signal.SIGUSR1, repeat=2):
            assert contents(receive(right)) == names(1) * expected
        assert len(handled) == 2


def test_interrupted_receive():
    """recvfds_all that a handler ends after some: the exception has them"""
    with pair() as (left, right), files(2) as opened:
        sendfd.sendfds(left, opened)
        with handler(signal.SIGUSR1, raise_it), signal_when_blocked(signal.SIGUSR1):
            with pytest.raises(Raised) as caught:
                sendfd.recvfds_all(right, 5)
        assert contents(fd.detach() for fd in caught.value.received) == names(2)


def test_resumed_receive():
    """recvfds_all goes on where a handler interrupted it"""
    with pair() as (left, right), files(4) as opened:
        sendfd.sendfds(left, opened[:2])
        with handler(signal.SIGUSR1, lambda *_: sendfd.sendfds(left, opened[2:])):
            with signal_when_blocked(signal.SIGUSR1):
                assert contents(sendfd.recvfds_all(right, 4)) == names(4)


def test_interrupted_send():
    """sendfds_all that a handler ends after some: the exception has how many"""
    with pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with handler(signal.SIGUSR1, raise_it), signal_when_blocked(signal.SIGUSR1):
            with pytest.raises(Raised) as caught:
                sendfd.sendfds_all(left, [0] * 253 * 20)
        assert 0 < caught.value.sent < 253 * 20
        close_all(sendfd.recvfds_all(right, caught.value.sent))
        nothing_was_sent(right)


def test_resumed_send():
    """sendfds_all goes on where a handler interrupted it"""
    with pair() as (left, right), files(4) as opened:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        came = []

        def drain(*_):
            with contextlib.suppress(BlockingIOError):
                while True:
                    _, fds = sendfd.recvfds_msg(right, 253, 1, socket.MSG_DONTWAIT)
                    came.extend(contents(fds))

        with handler(signal.SIGUSR1, drain), signal_when_blocked(signal.SIGUSR1, repeat=1000):
            sendfd.sendfds_all(left, opened * 500)
        drain()
        assert came == names(4) * 500


def test_other_threads():
    """They run while one waits in a receive."""
    with pair() as (left, right), files(1) as (file,):
        came = []
        thread = threading.Thread(
            target=lambda: came.append(content(sendfd.recvfd(right))), daemon=True
        )
        thread.start()
        with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
            while stat.read().rpartition(")")[2].split()[0] != "S":
                stat.seek(0)
        assert not came
        sendfd.sendfd(left, file)
        thread.join(100)
        assert came == names(1)


@pytest.fixture
def polls(monkeypatch):
    """The milliseconds of each poll."""
    poll = select.poll

    class Poll:
        def __init__(self):
            self.poll_object = poll()
            self.register = self.poll_object.register

        def poll(self, milliseconds):
            polled.append(milliseconds)
            polled.before()
            return self.poll_object.poll(milliseconds)

    class Polls(list):
        before = staticmethod(lambda: None)

    polled = Polls()
    monkeypatch.setattr(select, "poll", Poll)
    return polled


@every_receive
def test_timeout(receive, polls):
    """It is waited for, in one go."""
    with pair() as (left, right):
        right.settimeout(0.05)
        start = time.monotonic()
        with raises(socket.timeout):
            receive(right)
        assert time.monotonic() - start >= 0.05
        assert len(polls) == 1


@every_send
def test_timeout_of_a_send(send, polls):
    with pair() as (left, right):
        fill(left)
        left.settimeout(0.05)
        with raises(socket.timeout):
            send(left, 0)
        assert len(polls) == 1


def test_in_time(polls):
    """What comes before the timeout is received."""
    with pair() as (left, right), files(1) as (file,):
        right.settimeout(1000)
        polls.before = lambda: sendfd.sendfd(left, file)
        assert content(sendfd.recvfd(right)) == "file 0\n"
        assert len(polls) == 1 and 990000 < polls[0] <= 1000000


def test_timeout_of_all():
    """It is for all of the messages."""
    with pair() as (left, right):
        right.settimeout(0.2)
        stop = threading.Event()

        def send():
            while not stop.wait(0.05):
                sendfd.sendfd(left, 0)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            start = time.monotonic()
            with raises(socket.timeout) as caught:
                sendfd.recvfds_all(right, 253)
            del caught
            assert time.monotonic() - start >= 0.2
        finally:
            stop.set()
            thread.join()


def test_sent_in_time():
    with pair() as (left, right), files(1) as (file,):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        left.settimeout(1000)
        came = []

        def receive():
            while len(came) < 5000:
                came.extend(contents(sendfd.recvfds(right, 253)))

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        sendfd.sendfds_all(left, [file] * 5000)
        thread.join(100)
        assert came == names(1) * 5000


@every_receive
def test_non_blocking(receive, polls):
    with pair() as (left, right):
        right.setblocking(False)
        with raises(BlockingIOError, errno.EAGAIN):
            receive(right)
        right.setblocking(True)
        limit = struct.pack("ll", 0, 10000)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        with raises(BlockingIOError, errno.EAGAIN):
            receive(right)
        assert not polls


@pytest.mark.parametrize("timeout", [None, 1000])
def test_dontwait(timeout, polls):
    dontwait = socket.MSG_DONTWAIT
    with pair() as (left, right):
        right.settimeout(timeout)
        with raises(BlockingIOError, errno.EAGAIN):
            sendfd.recvfds_msg(right, 2, 10, dontwait)
        with raises(BlockingIOError, errno.EAGAIN):
            sendfd.recvfds_msghdr(right, 2, [bytearray(10)], flags=dontwait)
        left.settimeout(timeout)
        with raises(BlockingIOError, errno.EAGAIN):
            while True:
                sendfd.sendfds_msg(left, [], b"x" * 1000, dontwait)
        with raises(BlockingIOError, errno.EAGAIN):
            sendfd.sendfds_msghdr(left, [], [b"x" * 1000], flags=dontwait)
        assert not polls

"""What the functions of the library send and receive, and their errors."""

import errno
import os
import resource
import socket
from array import array

import pytest

import sendfd
from support import (
    close_all,
    content,
    contents,
    every_receive,
    every_send,
    files,
    names,
    nothing_was_sent,
    pair,
    raises,
)


def test_one_descriptor():
    """of a file, of a number; with sockets as numbers"""
    with pair() as (left, right), files(1) as (file,):
        assert sendfd.sendfd(left, file) is None
        fd = sendfd.recvfd(right)
        assert not os.get_inheritable(fd)
        assert content(fd) == "file 0\n"
        sendfd.sendfd(left.fileno(), file.fileno())
        assert content(sendfd.recvfd(right.fileno())) == "file 0\n"
        sendfd.sendfd(left, file)
        assert right.recv(9) == b"\0"


def test_several_descriptors():
    """3 and 253 in a message, in their order"""
    with pair() as (left, right), files(3) as opened:
        sendfd.sendfds(left, opened)
        assert contents(sendfd.recvfds(right, 3)) == names(3)
        sendfd.sendfds(left, (file.fileno() for file in opened[:1]))
        assert contents(sendfd.recvfds(right, 10**12)) == names(1)
        for many in (opened * 84 + opened[:1], [file.fileno() for file in opened * 84 + opened[:1]]):
            sendfd.sendfds(left, many)
            assert right.recv(1, socket.MSG_PEEK) == b"\xfd"
            assert contents(sendfd.recvfds(right, 1000)) == names(3) * 84 + names(1)


def test_temporary_files():
    """files that nobody else holds are open until they are sent"""
    with pair() as (left, right):
        sendfd.sendfds(left, (open("/proc/self/comm") for _ in range(3)))
        assert len(set(contents(sendfd.recvfds(right, 3)))) == 1


def test_very_many_descriptors():
    with pair() as (left, right), files(4) as opened:
        assert sendfd.sendfds_all(left, opened * 250) is None
        assert contents(sendfd.recvfds_all(right, 1000)) == names(4) * 250


def test_no_descriptors():
    """EINVAL, and none at all beside data"""
    with pair() as (left, right):
        for send in (sendfd.sendfds, sendfd.sendfds_all):
            with raises(OSError, errno.EINVAL):
                send(left, [])
        for receive in (sendfd.recvfds, sendfd.recvfds_all):
            for count in (0, -1, -1000):
                with raises(OSError, errno.EINVAL):
                    receive(right, count)
        assert sendfd.sendfds_msg(left, [], b"abc") == 3
        assert sendfd.recvfds_msg(right, 0, 10) == (b"abc", [])
        with raises(OSError, errno.EINVAL):
            sendfd.recvfds_msg(right, 0, 0)
        with raises(OSError, errno.EINVAL):
            sendfd.recvfds_msg(right, -1, 10)
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds_msg(left, [left], b"")
        nothing_was_sent(right)


def test_data():
    """of every type of bytes, with descriptors and flags"""
    with pair(socket.SOCK_SEQPACKET) as (left, right), files(3) as opened:
        sendfd.sendfds_msg(left, opened, b"a\0\xff")
        data, fds = sendfd.recvfds_msg(right, 253, 100, socket.MSG_PEEK)
        assert (data, len(fds)) == (b"a\0\xff", 3)
        close_all(fds)
        data, fds = sendfd.recvfds_msg(right, 3, 3)
        assert (data, contents(fds)) == (b"a\0\xff", names(3))
        for data in (bytearray(b"ab"), memoryview(b"aXbX")[::2], array("b", b"ab")):
            assert sendfd.sendfds_msg(left, opened[:1], data) == 2
            data, fds = sendfd.recvfds_msg(right, 10**12, 100, socket.MSG_DONTWAIT)
            assert (data, contents(fds)) == (b"ab", names(1))
        for data in (5, "text", None):
            with raises(TypeError):
                sendfd.sendfds_msg(left, [], data)
        sendfd.sendfds_msg(left, opened, b"too long")
        with raises(OSError, errno.EMSGSIZE):
            sendfd.recvfds_msg(right, 3, 3)
        nothing_was_sent(right)


# --- errors ----------------------------------------------------------------------


@every_send
def test_errors_of_sends(send):
    with pair() as (left, right), files(1) as (file,):
        with raises(OSError, errno.EBADF):
            send(-1, file)
        with raises(OSError, errno.EBADF):
            send(left, 10**9)
        with raises(OSError, errno.EBADF):
            send(left, -1)
        with raises(OSError, errno.ENOTSOCK):
            send(file, file)
        nothing_was_sent(right)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            with raises(OSError, errno.EAFNOSUPPORT):
                send(udp, file)
        with socket.socket(socket.AF_UNIX) as alone:
            with raises(OSError, errno.ENOTCONN):
                send(alone, file)
    with pair() as (here, there):
        there.close()
        with raises(BrokenPipeError, errno.EPIPE):
            send(here, 0)
    with pair(socket.SOCK_DGRAM) as (here, there):
        there.close()
        with raises(ConnectionRefusedError, errno.ECONNREFUSED):
            send(here, 0)


def test_too_many_descriptors():
    with pair() as (left, right):
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds(left, [0] * 254)
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds_msg(left, [0] * 254, b"x")
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds_msg(left, [], b"x", socket.MSG_OOB)
        nothing_was_sent(right)


@every_receive
def test_errors_of_receives(receive):
    with raises(OSError, errno.EBADF):
        receive(-1)
    with pair() as (left, right), files(1) as (file,):
        with raises(OSError, errno.ENOTSOCK):
            receive(file)
        sendfd.sendfds(left, [file] * 3)
        with raises(OSError, errno.EMSGSIZE):
            receive(right)
    with pair() as (left, right):
        right.send(b"never received")
        left.close()
        right.setblocking(False)
        with raises(ConnectionResetError, errno.ECONNRESET):
            receive(right)


@every_receive
def test_no_descriptor_comes(receive, request):
    with pair() as (left, right):
        left.send(b"x")
        if "msg" in request.node.name:
            receive(right)
        else:
            with raises(OSError, errno.ENOMSG):
                receive(right)


@every_receive
def test_full_table(receive, request):
    """EMFILE, and what fitted is closed"""
    with pair() as (left, right):
        many = "fds" in request.node.name or "s]" in request.node.name
        sendfd.sendfds(left, [0, 0] if many else [0])
        lowest = os.dup(0)
        os.close(lowest)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + many, before[1]))
        try:
            with raises(OSError, errno.EMFILE):
                receive(right)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


@every_receive
def test_end_of_file(receive):
    with pair() as (left, right):
        left.close()
        with raises(EOFError):
            receive(right)


def test_empty_message():
    """with a descriptor it is not the end of file"""
    with pair(socket.SOCK_SEQPACKET) as (left, right):
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [0]))
        left.sendmsg([b""], [rights])
        data, fds = sendfd.recvfds_msg(right, 1, 10)
        close_all(fds)
        assert (data, len(fds)) == (b"", 1)


@pytest.mark.parametrize(
    "kind, number, prepare",
    [
        (EOFError, None, lambda left, right: left.close()),
        (OSError, errno.ENOMSG, lambda left, right: left.send(b"x")),
        (OSError, errno.EMSGSIZE, lambda left, right: sendfd.sendfds(left, [0, 0, 0])),
        (BlockingIOError, errno.EAGAIN, lambda left, right: right.setblocking(False)),
        (socket.timeout, None, lambda left, right: right.settimeout(0.01)),
    ],
    ids=["end", "ENOMSG", "EMSGSIZE", "EAGAIN", "timeout"],
)
def test_recvfds_all_ends_early(kind, number, prepare):
    """The exception owns what came: nobody need look at it."""
    before = len(os.listdir("/proc/self/fd"))
    with pair() as (left, right), files(3) as opened:
        sendfd.sendfds(left, opened)
        prepare(left, right)
        with raises(kind, number) as caught:
            sendfd.recvfds_all(right, 5)
        assert contents(fd.detach() for fd in caught.value.received) == names(3)
    with pair() as (left, right), files(3) as opened:
        sendfd.sendfds(left, opened)
        prepare(left, right)
        try:
            sendfd.recvfds_all(right, 5)
        except kind:
            pass
        left.close()
        assert len(os.listdir("/proc/self/fd")) == before + 3 + 1


def test_recvfds_all_fails_at_once():
    with pair() as (left, right):
        left.send(b"x")
        with raises(OSError, errno.ENOMSG) as caught:
            sendfd.recvfds_all(right, 5)
        assert caught.value.received == []


def test_sendfds_all_ends_early():
    """The exception says how many went."""
    with pair() as (left, right):
        with raises(OSError, errno.EBADF) as caught:
            sendfd.sendfds_all(left, [0] * 300 + [10**9])
        assert caught.value.sent == 253
        close_all(sendfd.recvfds_all(right, 253))
        nothing_was_sent(right)
        with raises(OSError, errno.EBADF) as caught:
            sendfd.sendfds_all(left, [10**9])
        assert caught.value.sent == 0
        for prepare, kind in (
            (lambda: left.setblocking(False), BlockingIOError),
            (lambda: left.settimeout(0.01), socket.timeout),
        ):
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            prepare()
            with raises(kind) as caught:
                sendfd.sendfds_all(left, [0] * 253 * 20)
            assert 0 < caught.value.sent < 253 * 20
            close_all(sendfd.recvfds_all(right, caught.value.sent))
            nothing_was_sent(right)


class Fileno:
    """An object with a method fileno() that returns what it is given."""

    def __init__(self, result):
        self.fileno = lambda: result


@pytest.mark.parametrize(
    "bad, kind",
    [
        (None, TypeError),
        ("0", TypeError),
        (1.0, TypeError),
        (True, TypeError),
        (False, TypeError),
        (Fileno("0"), TypeError),
        (Fileno(None), TypeError),
        (Fileno(2**31), OverflowError),
        (2**31, OverflowError),
        (2**32, OverflowError),
        (-(2**32), OverflowError),
        (2**100, OverflowError),
    ],
    ids=str,
)
class TestBadDescriptor:
    """is no OSError, and nothing is sent"""

    @every_send
    def test_sent(self, send, bad, kind):
        with pair() as (left, right):
            with raises(kind):
                send(left, bad)
            for several in (
                sendfd.sendfds,
                sendfd.sendfds_all,
                lambda to, fds: sendfd.sendfds_msg(to, fds, b"x"),
            ):
                with raises(kind):
                    several(left, [left, bad, left])
                with raises(kind):
                    several(left, [0, bad, 0])
            nothing_was_sent(right)

    @every_send
    def test_sent_to(self, send, bad, kind):
        with raises(kind):
            send(bad, 0)

    @every_receive
    def test_received_from(self, receive, bad, kind):
        with raises(kind):
            receive(bad)


def test_closed_file():
    with pair() as (left, right), files(1) as (closed,):
        closed.close()
        with raises(ValueError):
            sendfd.sendfd(left, closed)
        with raises(ValueError):
            sendfd.sendfds(left, [closed])
        nothing_was_sent(right)
        closed = socket.socket()
        closed.close()
        with raises(OSError, errno.EBADF):
            sendfd.sendfd(left, closed)


def test_bad_counts_and_flags():
    with pair() as (left, right):
        for bad, kind in ((None, TypeError), (1.5, TypeError), (2**31, OverflowError)):
            with raises(kind):
                sendfd.recvfds_all(right, bad)
            with raises(kind):
                sendfd.sendfds_msg(left, [], b"x", bad)
            with raises(kind):
                sendfd.recvfds_msg(right, 1, 1, bad)
        with raises(TypeError):
            sendfd.recvfds(right, None)
        with raises(TypeError):
            sendfd.sendfds(left, 5)
        with raises(ValueError):
            sendfd.recvfds_msg(right, 1, -1)
        nothing_was_sent(right)

"""Messages with several buffers, addresses, credentials and flags."""

import errno
import os
import socket
import struct
from array import array

import pytest

import sendfd
from sendfd import RECVFD_PARTIAL, Credentials, recvfds_msghdr, sendfds_msghdr
from support import close_all, contents, files, names, nothing_was_sent, pair, raises

SO_PASSPIDFD = 76
SCM_PIDFD = 4


def test_buffers():
    """of every type, several or none"""
    with pair(socket.SOCK_SEQPACKET) as (left, right), files(2) as opened:
        buffers = [b"ab", bytearray(b"c"), memoryview(b"dXeX")[::2], array("i", [0]), b"", b"f"]
        assert sendfds_msghdr(left, opened, iter(buffers)) == 10
        first, second, third = bytearray(3), array("b", bytes(4)), bytearray(9)
        received = recvfds_msghdr(right, 9, iter([first, second, memoryview(third)[2:]]))
        assert (first, bytes(second), third[2:5]) == (b"abc", b"de\0\0", b"\0\0f")
        assert received.length == 10
        assert contents(received.fds) == names(2)
        assert (received.ancdata, received.address, received.credentials) == ([], None, None)
        assert not received.flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)

        assert sendfds_msghdr(left, opened, []) == 0
        received = recvfds_msghdr(right, 9, [first])
        assert (received.length, contents(received.fds)) == (0, names(2))


def test_bad_buffers():
    with pair() as (left, right):
        for bad in (5, "text", None):
            with pytest.raises(TypeError):
                sendfds_msghdr(left, [], [bad])
            with pytest.raises(TypeError):
                recvfds_msghdr(right, 0, [bad])
        with pytest.raises(TypeError):
            recvfds_msghdr(right, 0, [b"read-only"])
        with raises(OSError, errno.EINVAL):
            recvfds_msghdr(right, 0, [])
        with raises(OSError, errno.EMSGSIZE):
            sendfds_msghdr(left, [], [b"x"] * 1025)
        with raises(OSError, errno.EMSGSIZE):
            recvfds_msghdr(right, 0, [bytearray(1)] * 1025)
        nothing_was_sent(right)


@pytest.mark.parametrize("place", ["path", b"\0abstract %d" % os.getpid(), os.fsencode], ids=str)
def test_address(place, tmp_path):
    if place == "path":
        place = str(tmp_path / "socket")
    elif place is os.fsencode:
        place = bytes(tmp_path / "bytes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, files(1) as opened:
            receiver.bind(place)
            assert sendfds_msghdr(sender, opened, [b"x"], address=place) == 1
            received = recvfds_msghdr(receiver, 1, [bytearray(9)])
            assert (received.length, contents(received.fds)) == (1, names(1))
            assert received.address is None
            sender.bind(b"\0sender %d" % os.getpid())
            sender.connect(place)
            sendfds_msghdr(sender, opened, [b"x"])
            received = recvfds_msghdr(receiver, 1, [bytearray(9)])
            close_all(received.fds)
            assert received.address == sender.getsockname()
            sendfds_msghdr(receiver, [], [b"back"], address=received.address)
            assert sender.recvfrom(9) == (b"back", receiver.getsockname())
            sendfds_msghdr(receiver, [], [b"back"], address=received.address)
            expected = receiver.getsockname()
            assert recvfds_msghdr(sender, 0, [bytearray(9)]).address == expected


@pytest.mark.parametrize(
    "family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=str
)
def test_internet_address(family, host):
    """without descriptors: one path for all sockets"""
    try:
        socket.create_server((host, 0), family=family).close()
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for one in (receiver, sender):
                one.bind((host, 0))
                one.settimeout(100)
            for address in (receiver.getsockname(), receiver.getsockname()[:2]):
                assert sendfds_msghdr(sender, [], [b"abc"], address=address) == 3
                received = recvfds_msghdr(receiver, 5, [bytearray(9)])
                assert received.length == 3
                assert received.address == sender.getsockname()
            with raises(OSError, errno.EAFNOSUPPORT):
                sendfds_msghdr(sender, [0], [b"abc"], address=address)


def test_other_address():
    with pair() as (left, right):
        with raises(OSError):
            sendfds_msghdr(left, [], [b"x"], address=(socket.AF_NETLINK, bytes(10)))
        for bad in (5, ("no number", 1), ("127.0.0.1", 65536), ("127.0.0.1", -1)):
            with pytest.raises((TypeError, OverflowError, OSError)):
                sendfds_msghdr(left, [], [b"x"], address=bad)
        nothing_was_sent(right)


def credential_pair():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return left, right


ROOM = socket.CMSG_SPACE(12)


def test_credentials():
    left, right = credential_pair()
    with left, right, files(1) as opened:
        sendfds_msghdr(left, opened, [b"x"])
        received = recvfds_msghdr(right, 1, [bytearray(9)], ROOM)
        assert contents(received.fds) == names(1)
        assert received.credentials == Credentials.own() == (os.getpid(), os.getuid(), os.getgid())
        assert not received.flags & socket.MSG_CTRUNC

        said = Credentials(os.getppid() if os.geteuid() == 0 else os.getpid(), *Credentials.own()[1:])
        sendfds_msghdr(left, opened, [b"x"], [said.control_message()])
        received = recvfds_msghdr(right, 1, [bytearray(9)], ROOM)
        assert contents(received.fds) == names(1)
        assert received.credentials == said
        assert received.ancdata == [said.control_message()]


def test_no_room_for_credentials():
    left, right = credential_pair()
    with left, right, files(1) as opened:
        for room, flag in ((0, 0), (ROOM - 1, socket.MSG_CTRUNC)):
            sendfds_msghdr(left, opened, [b"x"])
            received = recvfds_msghdr(right, 1, [bytearray(9)], room)
            assert contents(received.fds) == names(1)
            assert received.ancdata == []
            assert received.flags & socket.MSG_CTRUNC == flag


def test_bad_control_messages():
    with pair() as (left, right):
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [0]))
        with raises(OSError, errno.EINVAL):
            sendfds_msghdr(left, [0], [b"x"], [rights])
        with raises(OSError, errno.EINVAL):
            sendfds_msghdr(left, [0], [b"x"], [(0, 0, bytes(600))])
        for bad in (5, (1, 2), (1, 2, 3), (2**31, 2, b"")):
            with pytest.raises((TypeError, ValueError, struct.error)):
                sendfds_msghdr(left, [0], [b"x"], [bad])
        with pytest.raises(ValueError):
            recvfds_msghdr(right, 1, [bytearray(1)], -1)
        nothing_was_sent(right)


def test_flags():
    with pair(socket.SOCK_SEQPACKET) as (left, right), files(1) as opened:
        sendfds_msghdr(left, opened, [b"abc"], flags=socket.MSG_EOR)
        for _ in range(2):
            received = recvfds_msghdr(right, 1, [bytearray(2)], flags=socket.MSG_PEEK)
            assert (received.length, contents(received.fds)) == (2, names(1))
            assert received.flags & socket.MSG_TRUNC
        received = recvfds_msghdr(right, 1, [bytearray(2)], flags=socket.MSG_TRUNC)
        assert (received.length, contents(received.fds)) == (3, names(1))
        for flag in (socket.MSG_OOB, RECVFD_PARTIAL):
            with raises(OSError, errno.EINVAL):
                sendfds_msghdr(left, opened, [b"x"], flags=flag)
        with raises(OSError, errno.EINVAL):
            recvfds_msghdr(right, 1, [bytearray(1)], flags=socket.MSG_OOB)
        nothing_was_sent(right)


def test_partial():
    """the data is not lost where there is no room for descriptors"""
    with pair() as (left, right), files(3) as opened:
        sendfds_msghdr(left, opened, [b"abc"])
        received = recvfds_msghdr(right, 2, [bytearray(9)], flags=RECVFD_PARTIAL)
        assert (received.length, contents(received.fds)) == (3, names(2))
        assert received.flags & socket.MSG_CTRUNC
        sendfds_msghdr(left, opened, [b"abc"])
        with raises(OSError, errno.EMSGSIZE):
            recvfds_msghdr(right, 2, [bytearray(9)])


@pytest.fixture
def pidfd_pair():
    with pair() as (left, right):
        try:
            right.setsockopt(socket.SOL_SOCKET, SO_PASSPIDFD, 1)
        except OSError as error:
            pytest.skip(f"SO_PASSPIDFD (Linux 6.5): {error}")
        yield left, right


def test_pidfd(pidfd_pair):
    """It is the caller's, unless there is no room for it."""
    left, right = pidfd_pair
    with files(1) as opened:
        sendfds_msghdr(left, opened, [b"x"])
        received = recvfds_msghdr(right, 1, [bytearray(9)], 100)
        assert contents(received.fds) == names(1)
        [(level, kind, data)] = received.ancdata
        assert (level, kind) == (socket.SOL_SOCKET, SCM_PIDFD)
        [pidfd] = struct.unpack("i", data)
        assert os.readlink(f"/proc/self/fd/{pidfd}").startswith(("anon_inode:[pidfd]", "pidfd:"))
        os.close(pidfd)
        sendfds_msghdr(left, opened, [b"x"])
        assert contents(recvfds_msghdr(right, 1, [bytearray(9)]).fds) == names(1)


def test_pidfd_is_not_lost(pidfd_pair, monkeypatch):
    """if what came cannot be handed over"""
    left, right = pidfd_pair
    monkeypatch.delattr("sendfd._messages._decoded")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        sendfds_msghdr(left, [0], [b"x"])
        with pytest.raises(NameError):
            recvfds_msghdr(right, 1, [bytearray(9)], 100)
        assert len(os.listdir("/proc/self/fd")) == before

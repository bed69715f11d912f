"""Descriptors, and the files and sockets that are made of them."""

import contextlib
import copy
import errno
import gc
import io
import os
import pickle
import socket
import threading
import weakref

import pytest

import sendfd
from support import contents, files, names, next_number, pair, raises


def is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False


@pytest.fixture
def descriptor():
    with pair() as (left, right), files(1) as (file,):
        sendfd.sendfd(left, file)
        with sendfd.recv_descriptor(right) as descriptor:
            yield descriptor


class TestDescriptor:
    def test_fileno(self, descriptor):
        assert not descriptor.closed
        assert os.pread(descriptor.fileno(), 9, 0) == b"file 0\n"
        assert repr(descriptor) == f"<Descriptor {descriptor.fileno()}>"
        with pair() as (left, right):
            sendfd.sendfd(left, descriptor)
            assert contents([sendfd.recvfd(right)]) == names(1)

    def check_closed(self, descriptor):
        assert descriptor.closed
        assert repr(descriptor) == "<Descriptor closed>"
        for use in (descriptor.fileno, descriptor.detach, descriptor.as_file, descriptor.as_socket):
            with pytest.raises(ValueError):
                use()
        fd = os.dup(0)  # the number may be the same
        descriptor.close()
        os.close(fd)

    def test_close(self, descriptor):
        fd = descriptor.fileno()
        descriptor.close()
        assert not is_open(fd)
        self.check_closed(descriptor)

    def test_context_manager(self, descriptor):
        fd = descriptor.fileno()
        with descriptor as entered:
            assert entered is descriptor
        assert not is_open(fd)
        self.check_closed(descriptor)

    def test_detach(self, descriptor):
        fd = descriptor.detach()
        self.check_closed(descriptor)
        assert is_open(fd)
        os.close(fd)

    def test_finalizer(self):
        with pair() as (left, right):
            sendfd.sendfds(left, [0, 0])
            one, other = sendfd.recv_descriptors(right, 2)
            gone, left_open = one.fileno(), other.fileno()
            reference = weakref.ref(one)
            del one
            assert reference() is None
            assert not is_open(gone)
            assert is_open(left_open)

    def test_of_a_number(self):
        fd = os.dup(0)
        with sendfd.Descriptor(fd) as descriptor:
            assert descriptor.fileno() == fd
        assert not is_open(fd)
        for bad, kind in ((-1, ValueError), (True, TypeError), ("0", TypeError)):
            with pytest.raises(kind):
                sendfd.Descriptor(bad)

    def test_is_not_copied(self, descriptor):
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                make(descriptor)


@pytest.fixture
def closed_once():
    """A context manager in which the next numbers come, and are closed, and not again:
    a second close would close what somebody else has opened meanwhile."""

    @contextlib.contextmanager
    def check(count):
        first = next_number()
        yield
        assert not any(is_open(fd) for fd in range(first, first + count))
        fds = [os.dup(0) for _ in range(count)]
        assert fds[0] == first
        gc.collect()
        assert all(is_open(fd) for fd in fds)
        for fd in fds:
            os.close(fd)

    return check


class TestFile:
    @pytest.mark.parametrize(
        "mode, options, kind",
        [
            ("rb", {}, io.BufferedReader),
            ("br", {"buffering": 1000}, io.BufferedReader),
            ("wb", {}, io.BufferedWriter),
            ("r+b", {}, io.BufferedRandom),
            ("rb+", {"buffering": 0}, io.FileIO),
            ("ab", {"buffering": 0}, io.FileIO),
            ("r", {"encoding": "ascii", "errors": "replace", "newline": "\n"}, io.TextIOWrapper),
            ("w+", {"buffering": 1}, io.TextIOWrapper),
            ("rt", {}, io.TextIOWrapper),
        ],
    )
    def test_is_what_open_makes(self, mode, options, kind):
        with pair() as (left, right), files(1) as (file,):
            sendfd.sendfd(left, file)
            with open(os.dup(file.fileno()), mode, **options) as opened:
                with sendfd.recv_file(right, mode, **options) as received:
                    assert type(received) is type(opened) is kind
                    for attribute in ("encoding", "errors", "line_buffering", "newlines"):
                        expected = getattr(opened, attribute, None)
                        assert getattr(received, attribute, None) == expected
                    assert received.readable() == opened.readable()
                    assert received.writable() == opened.writable()
                    assert received.tell() == opened.tell()

    def test_content(self):
        with pair() as (left, right), files(1) as (file,):
            file.seek(0)
            sendfd.sendfd(left, file)
            with sendfd.recv_file(right, "r+", encoding="ascii") as received:
                assert received.read() == "file 0\n"
                received.write("more\n")
            file.seek(0)
            assert file.read() == "file 0\nmore\n"

    def test_several(self):
        with pair() as (left, right), files(3) as opened:
            for file in opened:
                file.seek(0)
            sendfd.sendfds(left, opened)
            received = sendfd.recv_files(right, 3, "r")
            assert [file.read() for file in received] == names(3)
            for file in received:
                file.close()

    @pytest.mark.parametrize(
        "options, kind",
        [
            ({"mode": "no mode"}, ValueError),
            ({"mode": "rr"}, ValueError),
            ({"mode": "x"}, ValueError),
            ({"mode": "rbt"}, ValueError),
            ({"mode": "r", "buffering": 0}, ValueError),
            ({"mode": "rb", "encoding": "ascii"}, ValueError),
            ({"nonsense": True}, TypeError),
        ],
        ids=str,
    )
    def test_bad_options(self, options, kind):
        """They are found before anything is received."""
        with pair() as (left, right), files(1) as (file,):
            sendfd.sendfd(left, file)
            with pytest.raises(kind):
                sendfd.recv_file(right, **options)
            with pytest.raises(kind):
                sendfd.recv_files(right, 2, **options)
            with sendfd.recv_descriptor(right) as descriptor:
                with pytest.raises(kind):
                    descriptor.as_file(**options)
                assert not descriptor.closed

    @pytest.mark.parametrize(
        "options, kind",
        [
            ({"mode": "r", "encoding": "none"}, LookupError),
            ({"mode": "r", "newline": "x"}, ValueError),
            ({"mode": "r+b", "buffering": 2**80}, OverflowError),
        ],
        ids=str,
    )
    def test_fails_late(self, options, kind, closed_once):
        with pair() as (left, right), files(2) as opened:
            sendfd.sendfd(left, opened[0])
            with closed_once(1), pytest.raises(kind) as caught:
                sendfd.recv_file(right, **options)
            sendfd.sendfds(left, opened)
            with closed_once(2), pytest.raises(kind) as again:
                sendfd.recv_files(right, 2, **options)
            assert caught and again  # closed although the tracebacks are there

    def test_directory(self, closed_once):
        with pair() as (left, right):
            place = os.open("/", os.O_RDONLY)
            sendfd.sendfd(left, place)
            sendfd.sendfds(left, [0, place, 0])
            os.close(place)
            with closed_once(1), raises(IsADirectoryError):
                sendfd.recv_file(right)
            with closed_once(3), raises(IsADirectoryError):
                sendfd.recv_files(right, 3)


class TestSocket:
    def test_socket(self):
        with pair() as (left, right), pair(socket.SOCK_SEQPACKET) as (here, there):
            sendfd.sendfd(left, here)
            with sendfd.recv_socket(right) as received:
                assert type(received) is socket.socket
                expected = (here.family, here.type, here.proto)
                assert (received.family, received.type, received.proto) == expected
                assert received.gettimeout() is None
                received.send(b"hello")
                assert there.recv(9) == b"hello"
                with received.dup() as again, received.makefile("rb") as file:
                    assert again.type == here.type and file.readable()

    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK])
    def test_other_families(self, family):
        kind = socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_DGRAM
        try:
            sent = socket.socket(family, kind)
        except OSError as error:
            pytest.skip(f"no such sockets here: {error}")
        with sent, pair() as (left, right):
            sendfd.sendfd(left, sent)
            with sendfd.recv_socket(right) as received:
                with socket.socket(fileno=os.dup(sent.fileno())) as expected:
                    for attribute in ("family", "type", "proto"):
                        assert getattr(received, attribute) == getattr(expected, attribute)

    def test_non_blocking(self):
        """The socket of an event loop waits in the worker, and stays what it is."""
        with pair() as (left, right), pair() as (here, there):
            here.setblocking(False)
            sendfd.sendfd(left, here)
            with sendfd.recv_socket(right) as received:
                assert not os.get_blocking(here.fileno())
                thread = threading.Timer(0.05, there.send, [b"late"])
                thread.start()
                assert received.recv(9) == b"late"
                thread.join()
                assert received.gettimeout() > 20 * 24 * 3600

    @pytest.mark.parametrize("blocking", [True, False])
    def test_default_timeout(self, blocking, monkeypatch):
        """It makes nobody's socket non-blocking, not even for a moment."""
        settimeout = socket.socket.settimeout

        def checked(received, timeout):
            assert os.get_blocking(received.fileno()) == blocking
            settimeout(received, timeout)

        monkeypatch.setattr(socket.socket, "settimeout", checked)
        with pair() as (left, right), pair() as (here, there):
            here.setblocking(blocking)
            socket.setdefaulttimeout(5)
            try:
                sendfd.sendfd(left, here)
                with sendfd.recv_socket(right) as received:
                    assert received.gettimeout() == (None if blocking else 5)
            finally:
                socket.setdefaulttimeout(None)
            assert os.get_blocking(here.fileno()) == blocking

    @pytest.mark.parametrize("blocking", [True, False])
    @pytest.mark.parametrize("timeout", [None, 0.0, 0.01])
    def test_timeout(self, blocking, timeout):
        with pair() as (left, right), pair() as (here, there):
            here.setblocking(blocking)
            sendfd.sendfd(left, here)
            with sendfd.recv_socket(right, timeout=timeout) as received:
                assert received.gettimeout() == timeout
                assert os.get_blocking(received.fileno()) == (timeout is None)
                if timeout is not None:
                    with raises(socket.timeout if timeout else BlockingIOError):
                        received.recv(1)

    def test_several(self):
        with pair() as (left, right), pair() as sent:
            sendfd.sendfds(left, sent)
            here, there = sendfd.recv_sockets(right, 2, timeout=9)
            with here, there:
                here.send(b"x")
                assert there.recv(9) == b"x"
                assert here.gettimeout() == there.gettimeout() == 9

    def test_no_socket(self, closed_once):
        with pair() as (left, right), files(1) as (file,):
            sendfd.sendfd(left, file)
            with closed_once(1), raises(OSError, errno.ENOTSOCK):
                sendfd.recv_socket(right)
            sendfd.sendfds(left, [left, file, right])
            with closed_once(3), raises(OSError, errno.ENOTSOCK):
                sendfd.recv_sockets(right, 3)

    def test_bad_timeout(self, closed_once):
        with pair() as (left, right):
            for bad, kind in ((-2, ValueError), ("1", TypeError)):
                sendfd.sendfd(left, left)
                with closed_once(1), pytest.raises(kind):
                    sendfd.recv_socket(right, timeout=bad)

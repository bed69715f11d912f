"""Tests of examples/python/sendfd.py with one of its bindings, as TAP:
python_binding.py ctypes|cffi. Every test counts the open descriptors before and
after; one that hangs ends all, with the stack that hangs."""

import contextlib
import errno
import faulthandler
import os
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from array import array

binding = sys.argv[1]
os.environ["SENDFD_BINDING"] = binding
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../examples/python"))
import sendfd  # noqa: E402

# Python leaves SIGINT alone if it is ignored, as in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
TESTS = []
LIMIT = 50  # seconds for all, on a machine that is busy
directory = tempfile.mkdtemp()


def test(function):
    TESTS.append(function)
    return function


def run_all():
    failures = 0
    # Once, and not for each test: its thread blocks all signals, but in its first
    # moment it would take one that is meant to interrupt the main thread.
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    for function in TESTS:
        name = f"{binding}: {function.__doc__}"
        before = os.listdir("/proc/self/fd")
        try:
            function()
            after = os.listdir("/proc/self/fd")
            assert len(after) == len(before), f"descriptors: {before} to {after}"
            print(f"ok - {name}", flush=True)
        except BaseException:
            failures += 1
            print(f"not ok - {name}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(f"1..{len(TESTS)}")
    return 1 if failures else 0


def equal(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


@contextlib.contextmanager
def raises(kind, number=None, **attributes):
    try:
        yield
    except kind as error:
        if number is not None:
            equal(error.errno, number)
            equal(error.strerror, os.strerror(number))
        for name, value in attributes.items():
            equal(getattr(error, name), value)
        return
    raise AssertionError(f"no {kind.__name__}")


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
            file = stack.enter_context(open(f"{directory}/{number}", "w+"))
            file.write(f"file {number}\n")
            file.flush()
            opened.append(file)
        yield opened


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


def nothing_was_sent(receiver):
    with raises(BlockingIOError, errno.EAGAIN):
        sendfd.recvfds_msg(receiver, 0, 1, socket.MSG_DONTWAIT)


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
    """A child that sends this process a signal as soon as it waits; each time that
    it waits again, repeat times. What is in the block waits."""
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


# --- what comes and goes -------------------------------------------------------


@test
def version():
    """the version"""
    equal(sendfd.version(), os.environ.get("VERSION", "1.0.0"))
    equal(sendfd.MAX_FDS, 253)
    for name in sendfd.__all__:
        assert hasattr(sendfd, name), name


@test
def one():
    """one descriptor, of a file, of a number; with sockets as numbers"""
    with pair() as (left, right), files(1) as (file,):
        equal(sendfd.sendfd(left, file), None)
        fd = sendfd.recvfd(right)
        assert not os.get_inheritable(fd)
        equal(content(fd), "file 0\n")
        equal(sendfd.sendfd(left.fileno(), file.fileno()), None)
        equal(content(sendfd.recvfd(right.fileno())), "file 0\n")
        sendfd.sendfd(left, file)
        equal(right.recv(9), b"\0")


@test
def several():
    """3 and 253 descriptors in a message, in their order"""
    with pair() as (left, right), files(3) as opened:
        sendfd.sendfds(left, opened)
        equal(contents(sendfd.recvfds(right, 3)), ["file 0\n", "file 1\n", "file 2\n"])
        sendfd.sendfds(left, (file.fileno() for file in opened[:1]))
        equal(contents(sendfd.recvfds(right, 10**12)), ["file 0\n"])
        sendfd.sendfds(left, opened * 84 + opened[2:])
        equal(right.recv(1, socket.MSG_PEEK), b"\xfd")
        expected = ["file 0\n", "file 1\n", "file 2\n"] * 84 + ["file 2\n"]
        equal(contents(sendfd.recvfds(right, 1000)), expected)


@test
def temporary():
    """files that nobody else holds are open until they are sent"""
    with pair() as (left, right), files(1):
        sendfd.sendfds(left, (open(f"{directory}/0") for _ in range(3)))
        equal(contents(sendfd.recvfds(right, 3)), ["file 0\n"] * 3)


@test
def very_many():
    """1000 descriptors, in their order"""
    with pair() as (left, right), files(4) as opened:
        equal(sendfd.sendfds_all(left, opened * 250), None)
        expected = [f"file {number}\n" for number in range(4)] * 250
        equal(contents(sendfd.recvfds_all(right, 1000)), expected)


@test
def none():
    """no descriptors: EINVAL, and none at all beside data"""
    with pair() as (left, right):
        for call in (sendfd.sendfds, sendfd.sendfds_all):
            with raises(OSError, errno.EINVAL):
                call(left, [])
        for call in (sendfd.recvfds, sendfd.recvfds_all):
            for count in (0, -1, -1000):
                with raises(OSError, errno.EINVAL):
                    call(right, count)
        equal(sendfd.sendfds_msg(left, [], b"abc"), 3)
        equal(sendfd.recvfds_msg(right, 0, 10), (b"abc", []))
        with raises(OSError, errno.EINVAL):
            sendfd.recvfds_msg(right, 0, 0)
        with raises(OSError, errno.EINVAL):
            sendfd.recvfds_msg(right, -1, 10)
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds_msg(left, [left], b"")
        nothing_was_sent(right)


@test
def with_data():
    """data beside descriptors, of every type of bytes, and flags"""
    with pair(socket.SOCK_SEQPACKET) as (left, right), files(3) as opened:
        sendfd.sendfds_msg(left, opened, b"a\0\xff")
        data, fds = sendfd.recvfds_msg(right, 253, 100, socket.MSG_PEEK)
        equal(data, b"a\0\xff")
        equal(len(contents(fds)), 3)
        data, fds = sendfd.recvfds_msg(right, 3, 3)
        equal((data, contents(fds)), (b"a\0\xff", ["file 0\n", "file 1\n", "file 2\n"]))
        for data in (bytearray(b"ab"), memoryview(b"aXbX")[::2], array("b", b"ab")):
            equal(sendfd.sendfds_msg(left, opened[:1], data), 2)
            data, fds = sendfd.recvfds_msg(right, 10**12, 100, socket.MSG_DONTWAIT)
            equal((data, contents(fds)), (b"ab", ["file 0\n"]))
        for data in (5, "text", None):
            with raises(TypeError):
                sendfd.sendfds_msg(left, [], data)
        sendfd.sendfds_msg(left, opened, b"too long")
        with raises(OSError, errno.EMSGSIZE):
            sendfd.recvfds_msg(right, 3, 3)
        nothing_was_sent(right)


# --- errors ---------------------------------------------------------------------


@test
def errors_of_sends():
    """a failed send is the OSError of its errno, with its message"""
    with pair() as (left, right), files(1) as (file,):
        for send in (
            lambda to: sendfd.sendfd(to, file),
            lambda to: sendfd.sendfds(to, [file]),
            lambda to: sendfd.sendfds_all(to, [file]),
            lambda to: sendfd.sendfds_msg(to, [file], b"x"),
        ):
            with raises(OSError, errno.EBADF):
                send(-1)
            with raises(OSError, errno.ENOTSOCK):
                send(file)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                with raises(OSError, errno.EAFNOSUPPORT):
                    send(udp)
            with socket.socket(socket.AF_UNIX) as alone:
                with raises(OSError, errno.ENOTCONN):
                    send(alone)
            with pair() as (here, there):
                there.close()
                with raises(BrokenPipeError, errno.EPIPE):
                    send(here)
            with pair(socket.SOCK_DGRAM) as (here, there):
                there.close()
                with raises(ConnectionRefusedError, errno.ECONNREFUSED):
                    send(here)
        with raises(OSError, errno.EBADF):
            sendfd.sendfd(left, 10**9)
        with raises(OSError, errno.EBADF):
            sendfd.sendfds(left, [file, -1])
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds(left, [file] * 254)
        with raises(OSError, errno.EINVAL):
            sendfd.sendfds_msg(left, [], b"x", socket.MSG_OOB)
        nothing_was_sent(right)


@test
def errors_of_receives():
    """a failed receive is the OSError of its errno, with its message"""
    for receive in (
        sendfd.recvfd,
        lambda fr: sendfd.recvfds(fr, 2),
        lambda fr: sendfd.recvfds_all(fr, 2),
        lambda fr: sendfd.recvfds_msg(fr, 2, 10),
    ):
        with pair() as (left, right), files(1) as (file,):
            with raises(OSError, errno.EBADF):
                receive(-1)
            with raises(OSError, errno.ENOTSOCK):
                receive(file)
            sendfd.sendfds(left, [file] * 3)
            with raises(OSError, errno.EMSGSIZE):
                receive(right)
            right.send(b"not received")
            right.close()
            left.recv(3)
            left.close()
        with pair() as (left, right):
            right.send(b"never received")
            left.close()
            right.setblocking(False)
            with raises(ConnectionResetError, errno.ECONNRESET):
                receive(right)
    with pair() as (left, right):
        left.send(b"xyz")
        for receive in (sendfd.recvfd, lambda fr: sendfd.recvfds(fr, 2)):
            with raises(OSError, errno.ENOMSG):
                receive(right)
        with raises(OSError, errno.ENOMSG, fds=[]):
            sendfd.recvfds_all(right, 2)


@test
def full_table():
    """a full table of descriptors: EMFILE, and nothing is left open"""
    with pair() as (left, right):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        for receive in (
            lambda: sendfd.recvfds(right, 3),
            lambda: sendfd.recvfds_msg(right, 3, 1),
            lambda: sendfd.recvfds_all(right, 3),
        ):
            sendfd.sendfds(left, [0, 0, 0])
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, before[1]))
            try:
                with raises(OSError, errno.EMFILE):
                    receive()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)


@test
def end_of_file():
    """the end of file is an EOFError"""
    with pair() as (left, right):
        left.close()
        for receive in (
            lambda: sendfd.recvfd(right),
            lambda: sendfd.recvfds(right, 9),
            lambda: sendfd.recvfds_msg(right, 9, 9),
            lambda: sendfd.recv_file(right),
            lambda: sendfd.recv_socket(right),
        ):
            with raises(EOFError):
                receive()
        with raises(EOFError, fds=[]):
            sendfd.recvfds_all(right, 9)


@test
def empty_message():
    """an empty message with a descriptor is not the end of file"""
    with pair(socket.SOCK_SEQPACKET) as (left, right):
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [0]))
        left.sendmsg([b""], [rights])
        data, fds = sendfd.recvfds_msg(right, 1, 10)
        equal((data, len(fds)), (b"", 1))
        close_all(fds)


@test
def partly_received():
    """recvfds_all that ends early: the exception has what came"""
    with files(3) as opened:
        names = ["file 0\n", "file 1\n", "file 2\n"]

        def ends(kind, number=None, prepare=lambda left, right: left.close()):
            with pair() as (left, right):
                sendfd.sendfds(left, opened)
                prepare(left, right)
                try:
                    sendfd.recvfds_all(right, 5)
                except kind as error:
                    equal(getattr(error, "errno", None), number)
                    equal(contents(error.fds), names)
                    return
                raise AssertionError(f"no {kind.__name__}")

        ends(EOFError)
        ends(OSError, errno.ENOMSG, lambda left, _: left.send(b"x"))
        ends(
            OSError,
            errno.EMSGSIZE,
            lambda left, _: sendfd.sendfds(left, [0, 0, 0]),
        )
        ends(BlockingIOError, errno.EAGAIN, lambda _, right: right.setblocking(False))
        ends(TimeoutError, None, lambda _, right: right.settimeout(0.01))


@test
def partly_sent():
    """sendfds_all that ends early: the exception has how many went"""
    with pair() as (left, right):
        with raises(OSError, errno.EBADF, sent=253):
            sendfd.sendfds_all(left, [0] * 300 + [10**9])
        close_all(sendfd.recvfds_all(right, 253))
        nothing_was_sent(right)
        with raises(OSError, errno.EBADF, sent=0):
            sendfd.sendfds_all(left, [10**9])
        for prepare, kind in (
            (lambda: left.setblocking(False), BlockingIOError),
            (lambda: left.settimeout(0.01), TimeoutError),
        ):
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            prepare()
            try:
                sendfd.sendfds_all(left, [0] * 253 * 20)
                raise AssertionError("it did not end early")
            except kind as error:
                assert 0 < error.sent < 253 * 20, error.sent
                close_all(sendfd.recvfds_all(right, error.sent))
            nothing_was_sent(right)


@test
def bad_arguments():
    """what is no descriptor is a TypeError or the like, and nothing is sent"""
    with pair() as (left, right), files(2) as (file, closed):
        closed.close()
        for bad, kind in (
            (None, TypeError),
            ("0", TypeError),
            (1.0, TypeError),
            (object(), TypeError),
            (closed, ValueError),
            (2**32, OverflowError),
            (-(2**32), OverflowError),
        ):
            with raises(kind):
                sendfd.sendfd(left, bad)
            with raises(kind):
                sendfd.sendfd(bad, file)
            with raises(kind):
                sendfd.recvfd(bad)
            for call in (sendfd.sendfds, sendfd.sendfds_all):
                with raises(kind):
                    call(left, [file, bad, file])
            with raises(kind):
                sendfd.sendfds_msg(left, [file, bad, file], b"x")
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


# --- file objects and sockets -----------------------------------------------------


@test
def file_objects():
    """recv_file makes file objects"""
    with pair() as (left, right), files(1) as (file,):
        file.seek(0)
        sendfd.sendfd(left, file)
        with sendfd.recv_file(right, "r", encoding="ascii") as received:
            equal(received.read(), "file 0\n")
        file.seek(0)
        sendfd.sendfd(left, file)
        with sendfd.recv_file(right, "r+b", buffering=0) as received:
            equal(received.read(), b"file 0\n")
            received.write(b"more\n")
        file.seek(0)
        equal(file.read(), "file 0\nmore\n")


@test
def socket_objects():
    """recv_socket makes socket objects"""
    with pair() as (left, right), pair() as (here, there):
        sendfd.sendfd(left, here)
        with sendfd.recv_socket(right) as received:
            equal((received.family, received.type), (here.family, here.type))
            received.send(b"hello")
            equal(there.recv(9), b"hello")


@test
def failed_conversions():
    """a descriptor of which no object can be made is closed, and only once"""
    with pair() as (left, right), files(1) as (file,):

        def fails(kind, convert):
            sendfd.sendfd(left, file)
            fd = os.dup(0)  # the number that will come
            os.close(fd)
            with raises(kind):
                convert()
            equal(os.dup(0), fd)  # it has been closed
            os.close(fd)

        fails(ValueError, lambda: sendfd.recv_file(right, "no mode"))
        fails(LookupError, lambda: sendfd.recv_file(right, "r", encoding="none"))
        fails(TypeError, lambda: sendfd.recv_file(right, "r", nonsense=True))
        fails(ValueError, lambda: sendfd.recv_file(right, "r", buffering=0))
        fails(OSError, lambda: sendfd.recv_socket(right))

        place = os.open(directory, os.O_RDONLY)
        sendfd.sendfd(left, place)
        with raises(IsADirectoryError, errno.EISDIR):
            sendfd.recv_file(right)
        os.close(place)

        # A second close would close what another thread has opened meanwhile.
        closed = []
        close, os.close = os.close, lambda fd: (closed.append(fd), close(fd))
        try:
            for options in ({"encoding": "none"}, {"nonsense": True}):
                sendfd.sendfd(left, file)
                with raises((LookupError, TypeError)):
                    sendfd.recv_file(right, "r", **options)
        finally:
            os.close = close
        equal(len(closed), 1)


class NoMemory(array):
    """Room for descriptors of which no list can be made."""

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise MemoryError
        return super().__getitem__(index)

    def tolist(self):
        raise MemoryError


@test
def out_of_memory():
    """no memory for the result: what came is closed, or in the exception"""
    with pair() as (left, right):
        slots = sendfd._slots
        sendfd._slots = lambda count: NoMemory("i", [-1] * count)
        try:
            sendfd.sendfds(left, [0, 0, 0])
            with raises(MemoryError):
                sendfd.recvfds(right, 9)
            sendfd.sendfds(left, [0, 0, 0])
            with raises(MemoryError):
                sendfd.recvfds_msg(right, 9, 9)
            sendfd.sendfds(left, [0, 0, 0])
            try:
                sendfd.recvfds_all(right, 3)
                raise AssertionError("no MemoryError")
            except MemoryError as error:
                equal(len(error.fds), 3)
                close_all(error.fds)
        finally:
            sendfd._slots = slots


# --- signals ------------------------------------------------------------------------


@test
def control_c():
    """Ctrl-C interrupts a blocked receive"""
    for receive in (
        sendfd.recvfd,
        lambda fr: sendfd.recvfds(fr, 2),
        lambda fr: sendfd.recvfds_all(fr, 2),
        lambda fr: sendfd.recvfds_msg(fr, 2, 10),
        sendfd.recv_file,
    ):
        for timeout in (None, 1000):
            with pair() as (left, right):
                right.settimeout(timeout)
                with signal_when_blocked(signal.SIGINT):
                    with raises(KeyboardInterrupt):
                        receive(right)


@test
def control_c_in_a_send():
    """Ctrl-C interrupts a blocked send"""
    for send in (
        lambda to: sendfd.sendfd(to, 0),
        lambda to: sendfd.sendfds(to, [0, 0]),
        lambda to: sendfd.sendfds_all(to, [0] * 1000),
        lambda to: sendfd.sendfds_msg(to, [0], b"x"),
    ):
        with pair() as (left, right):
            left.setblocking(False)
            with raises(BlockingIOError):
                while True:
                    sendfd.sendfd(left, 0)
            left.setblocking(True)
            with signal_when_blocked(signal.SIGINT):
                with raises(KeyboardInterrupt):
                    send(left)


@test
def handler_that_returns():
    """a signal handler that returns, and itself passes descriptors: it goes on"""
    with files(2) as opened:
        for receive, expected in (
            (lambda fr: [sendfd.recvfd(fr)], 1),
            (lambda fr: sendfd.recvfds(fr, 2), 1),
            (lambda fr: sendfd.recvfds_msg(fr, 2, 10)[1], 1),
            (lambda fr: sendfd.recvfds_all(fr, 4), 4),
        ):
            with pair() as (left, right):
                handled = []

                def send(*_):
                    handled.append(1)
                    if len(handled) == 2:
                        for _ in range(expected):
                            sendfd.sendfd(left, opened[0])
                    with raises(OSError, errno.EBADF):
                        sendfd.recvfd(-1)

                with handler(signal.SIGUSR1, send):
                    with signal_when_blocked(signal.SIGUSR1, repeat=2):
                        equal(contents(receive(right)), ["file 0\n"] * expected)
                equal(len(handled), 2)


@test
def interrupted_receive():
    """recvfds_all that a handler ends after some: the exception has them"""
    with pair() as (left, right), files(2) as opened:
        sendfd.sendfds(left, opened)
        with handler(signal.SIGUSR1, raise_it), signal_when_blocked(signal.SIGUSR1):
            try:
                sendfd.recvfds_all(right, 5)
                raise AssertionError("not interrupted")
            except Raised as error:
                equal(contents(error.fds), ["file 0\n", "file 1\n"])


@test
def resumed_receive():
    """recvfds_all goes on where a handler interrupted it"""
    with pair() as (left, right), files(4) as opened:
        sendfd.sendfds(left, opened[:2])
        with handler(signal.SIGUSR1, lambda *_: sendfd.sendfds(left, opened[2:])):
            with signal_when_blocked(signal.SIGUSR1):
                expected = [f"file {number}\n" for number in range(4)]
                equal(contents(sendfd.recvfds_all(right, 4)), expected)


@test
def interrupted_send():
    """sendfds_all that a handler ends after some: the exception has how many"""
    with pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with handler(signal.SIGUSR1, raise_it), signal_when_blocked(signal.SIGUSR1):
            try:
                sendfd.sendfds_all(left, [0] * 253 * 20)
                raise AssertionError("not interrupted")
            except Raised as error:
                assert 0 < error.sent < 253 * 20, error.sent
                close_all(sendfd.recvfds_all(right, error.sent))
        nothing_was_sent(right)


@test
def resumed_send():
    """sendfds_all goes on where a handler interrupted it"""
    with pair() as (left, right), files(4) as opened:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        came = []

        def drain(*_):
            with contextlib.suppress(BlockingIOError):
                while True:
                    _, fds = sendfd.recvfds_msg(right, 253, 1, socket.MSG_DONTWAIT)
                    came.extend(contents(fds))

        with handler(signal.SIGUSR1, drain):
            with signal_when_blocked(signal.SIGUSR1, repeat=1000):
                sendfd.sendfds_all(left, opened * 500)
        drain()
        equal(came, [f"file {number}\n" for number in range(4)] * 500)


# --- threads and timeouts -----------------------------------------------------------


@test
def other_threads():
    """other threads run while one waits in a receive"""
    with pair() as (left, right), files(1) as (file,):
        came = []
        thread = threading.Thread(
            target=lambda: came.append(content(sendfd.recvfd(right))), daemon=True
        )
        thread.start()
        with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
            while stat.read().rpartition(")")[2].split()[0] != "S":
                stat.seek(0)
        for _ in range(1000):
            assert not came
        sendfd.sendfd(left, file)
        thread.join(LIMIT)
        equal(came, ["file 0\n"])


class Counted:
    """A function of the library that counts its calls."""

    def __init__(self, name):
        self.name = name
        self.function = getattr(sendfd._library, name)
        self.calls = 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)

    def __enter__(self):
        setattr(sendfd._library, self.name, self)
        return self

    def __exit__(self, *_):
        setattr(sendfd._library, self.name, self.function)


@test
def timeouts():
    """a socket with a timeout is waited for, not spun on: TimeoutError"""
    for name, receive in (
        ("recvfd", sendfd.recvfd),
        ("recvfds", lambda fr: sendfd.recvfds(fr, 2)),
        ("recvfds_all", lambda fr: sendfd.recvfds_all(fr, 2)),
        ("recvfds_msg", lambda fr: sendfd.recvfds_msg(fr, 2, 10)),
    ):
        with pair() as (left, right), Counted(name) as counted:
            right.settimeout(0.05)
            start = time.monotonic()
            with raises(TimeoutError):
                receive(right)
            assert time.monotonic() - start >= 0.05
            equal(counted.calls, 1)
    with pair() as (left, right), Counted("sendfd") as counted:
        left.settimeout(0.05)
        queued = 0
        with raises(TimeoutError):
            while True:
                sendfd.sendfd(left, 0)
                queued += 1
        equal(counted.calls, queued + 1)


@test
def in_time():
    """what comes before the timeout is received, and sent"""
    with pair() as (left, right), files(1) as (file,), Counted("recvfd") as counted:
        right.settimeout(1000)
        poll = select.poll
        sent = []

        class Poll:
            """Only when it waits does something come."""

            def __init__(self):
                self.poll_object = poll()
                self.register = self.poll_object.register

            def poll(self, timeout):
                assert 990000 < timeout <= 1000000, timeout
                sent.append(sendfd.sendfd(left, file))
                return self.poll_object.poll(timeout)

        select.poll = Poll
        try:
            equal(content(sendfd.recvfd(right)), "file 0\n")
        finally:
            select.poll = poll
        equal((len(sent), counted.calls), (1, 2))
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
        thread.join(LIMIT)
        equal(came, ["file 0\n"] * 5000)


@test
def non_blocking():
    """non-blocking sockets and MSG_DONTWAIT: BlockingIOError at once"""
    with pair() as (left, right):
        for receive in (
            sendfd.recvfd,
            lambda fr: sendfd.recvfds(fr, 2),
            lambda fr: sendfd.recvfds_all(fr, 2),
            lambda fr: sendfd.recvfds_msg(fr, 2, 10),
        ):
            right.setblocking(False)
            with raises(BlockingIOError, errno.EAGAIN):
                receive(right)
        for timeout in (None, 1000):
            right.settimeout(timeout)
            with raises(BlockingIOError, errno.EAGAIN):
                sendfd.recvfds_msg(right, 2, 10, socket.MSG_DONTWAIT)
            left.settimeout(timeout)
            with raises(BlockingIOError, errno.EAGAIN):
                while True:
                    sendfd.sendfds_msg(left, [], b"x" * 1000, socket.MSG_DONTWAIT)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sendfd.recvfds_msg(right, 0, 100000, socket.MSG_DONTWAIT)
        right.settimeout(None)
        limit = struct.pack("ll", 0, 10000)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        with raises(BlockingIOError, errno.EAGAIN):
            sendfd.recvfd(right)


try:
    sys.exit(run_all())
finally:
    for entry in os.listdir(directory):
        os.unlink(os.path.join(directory, entry))
    os.rmdir(directory)

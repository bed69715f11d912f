"""Pass open file descriptors over a Unix-domain socket, with libsendfd.

    import sendfd

    sendfd.sendfd(connection, file)
    with sendfd.recv_file(connection, "r") as file: ...

Take this file and one of sendfd_ctypes.py (needs nothing installed) and
sendfd_cffi.py. The environment variable SENDFD_BINDING says which, ctypes or
cffi; LIBSENDFD is the path of the library, if it is not where the loader looks.

Sockets and files are given as objects with a fileno() method, or as numbers.
What you send stays open and yours. What you receive is yours to close, and not
inheritable.

Failure is an OSError with its errno, hence of its subclass: BlockingIOError,
BrokenPipeError, ... A number that is none, or is too large, is a TypeError or an
OverflowError, and nothing has been sent.

The end of file is an EOFError, as in multiprocessing. Sockets give b"" for it,
but no descriptor can stand for "no more": None would fail only where it is used,
and an empty message is not the end of file.

Signal handlers run while a call waits. If they raise (Ctrl-C), so does the call;
if not, it goes on: PEP 475. Sockets with a timeout raise TimeoutError when it is
over, non-blocking ones BlockingIOError at once. The timeout is for all of a call.
"""

import functools
import operator
import os
import select
import socket as _socket
import time
from array import array
from errno import EAGAIN, EINTR

if os.environ.get("SENDFD_BINDING") == "cffi":
    import sendfd_cffi as _library
else:
    import sendfd_ctypes as _library

__all__ = """sendfd recvfd sendfds recvfds sendfds_all recvfds_all sendfds_msg
    recvfds_msg version recv_file recv_socket open_received MAX_FDS""".split()

#: Most descriptors in one message.
MAX_FDS = 253
_EOF = -2


def version():
    """The version of the library, such as "1.0.0"."""
    return _library.version()


def sendfd(socket, fd):
    """Sends one descriptor."""
    _Calls(_library.sendfd, socket, select.POLLOUT).until_done(_fileno(fd))


def recvfd(socket):
    """Receives one descriptor, a number."""
    calls = _Calls(_library.recvfd, socket, select.POLLIN)
    try:
        return calls.until_done()
    except BaseException:
        _close(calls.results)
        raise


def sendfds(socket, fds):
    """Sends 1 to MAX_FDS descriptors in one message: all of them, or none."""
    files = list(fds)  # held: those of a generator would be closed again
    numbers = _numbers(files)
    calls = _Calls(_library.sendfds, socket, select.POLLOUT)
    calls.until_done(_library.ints(numbers), len(numbers))


def recvfds(socket, max_fds):
    """Receives the descriptors of one message, as a list of 1 to max_fds numbers.

    More than max_fds are OSError, EMSGSIZE, and closed.
    """
    max_fds = _c_int(min(max_fds, MAX_FDS))
    slots = _slots(max_fds)
    calls = _Calls(_library.recvfds, socket, select.POLLIN)
    try:
        count = calls.until_done(_library.ints(slots), max_fds)
        return slots[:count].tolist()
    except BaseException:
        _close(slots)
        raise


def sendfds_all(socket, fds):
    """Sends any number of descriptors, in as many messages as it takes.

    An exception that comes while it sends, a signal handler's too, has an
    attribute sent: how many descriptors went before. Too many in flight are waited
    out on a blocking socket only; one with a timeout fails with ETOOMANYREFS.
    """
    files = list(fds)
    numbers = _numbers(files)
    calls = _Calls(_library.sendfds_all, socket, select.POLLOUT)
    try:
        while True:
            sent = calls.total()
            calls.once(_library.ints(numbers, sent), len(numbers) - sent)
            if calls.total() == len(numbers) > 0:
                return
            calls.again_or_raise()
    except BaseException as error:
        error.sent = calls.total()
        raise


def recvfds_all(socket, nfds):
    """Receives exactly nfds descriptors, message after message, as a list.

    An exception that comes while it receives, EOFError and a signal handler's
    too, has an attribute fds: a list of those that came before, yours to close.
    """
    nfds = _c_int(nfds)
    slots = _slots(nfds)
    calls = _Calls(_library.recvfds_all, socket, select.POLLIN)
    try:
        while True:
            came = calls.total()
            calls.once(_library.ints(slots, came), nfds - came)
            if calls.total() == nfds > 0:
                return slots.tolist()
            calls.again_or_raise()
    except BaseException as error:
        error.fds = [fd for fd in slots if fd >= 0]
        raise


def sendfds_msg(socket, fds, data, flags=0):
    """Sends bytes with 0 to MAX_FDS descriptors; returns how many bytes went.

    The descriptors go with the first byte. On a stream fewer bytes may go than
    given: send the others, without the descriptors.
    """
    files = list(fds)
    numbers = _numbers(files)
    block = bytearray(memoryview(data))
    flags = _c_int(flags)
    calls = _Calls(_library.sendfds_msg, socket, select.POLLOUT, flags)
    return calls.until_done(
        _library.ints(numbers), len(numbers), _library.data(block), len(block), flags
    )


def recvfds_msg(socket, max_fds, length, flags=0):
    """Receives up to length bytes and up to max_fds descriptors that came with
    them, none is fine: (bytes, list of numbers)."""
    max_fds = _c_int(min(max_fds, MAX_FDS))
    slots, count = _slots(max_fds), array("i", [max_fds])
    block = bytearray(length)
    flags = _c_int(flags)
    calls = _Calls(_library.recvfds_msg, socket, select.POLLIN, flags)
    try:
        while True:
            count[0] = max_fds  # a failure leaves 0
            got = calls.once(
                _library.ints(slots),
                _library.ints(count),
                _library.data(block),
                len(block),
                flags,
            )
            if got >= 0:
                return bytes(memoryview(block)[:got]), slots[: count[0]].tolist()
            calls.again_or_raise()
    except BaseException:
        _close(slots)
        raise


def recv_file(socket, mode="rb", **options):
    """Receives a descriptor and makes a file object of it, as open() does."""
    return open_received(recvfd(socket), mode, **options)


def open_received(fd, mode="rb", **options):
    """Makes a file object of a descriptor; if it fails, the descriptor is closed.

    open(fd) alone leaves the descriptor open when it fails early (a directory),
    and closes it when it fails late (an unknown encoding). What an opener returns
    is the file object's from that moment on.
    """
    owned = [fd]
    try:
        return open(
            f"<descriptor {fd}>", mode, opener=lambda *_: owned.pop(), **options
        )
    except BaseException:
        _close(owned)
        raise


def recv_socket(socket):
    """Receives a descriptor and makes a socket object of it."""
    fd = recvfd(socket)
    try:
        return _socket.socket(fileno=fd)
    except (OSError, MemoryError):
        os.close(fd)
        raise


class _Calls:
    """The calls that it takes until a function is done: signal handlers run in
    between, and a socket with a timeout is waited for."""

    def __init__(self, function, socket, events, flags=0):
        self.function = function
        self.socket = socket
        self.fd = _fileno(socket)
        self.events = events
        self.outcome = []  # result, errno, result, errno, ...
        # Python makes a socket with a timeout non-blocking. A timeout of None is a
        # blocking one and of 0 a non-blocking one, and the kernel sees to both.
        timeout = socket.gettimeout() if hasattr(socket, "gettimeout") else None
        self.deadline = None
        if timeout and not flags & _socket.MSG_DONTWAIT:
            self.deadline = time.monotonic() + timeout

    @property
    def results(self):
        return self.outcome[::2]

    def total(self):
        return sum(result for result in self.results if result > 0)

    def once(self, *arguments):
        call = functools.partial(self.function, self.fd, *arguments)
        _library.set_errno(0)
        # One step, in C: a signal handler that is due when the function returns
        # runs after it, and may raise, or call functions that change errno.
        self.outcome.extend(
            map(operator.methodcaller("__call__"), (call, _library.get_errno))
        )
        return self.outcome[-2]

    def again_or_raise(self):
        """After a failure or a short count: returns if another call is due."""
        result, error = self.outcome[-2:]
        if result == _EOF or (result > 0 and error == 0):
            raise EOFError("end of file: the peer has closed the socket")
        if error == EINTR:
            return
        if error != EAGAIN or self.deadline is None:
            raise OSError(error, os.strerror(error))
        poll = select.poll()
        poll.register(self.fd, self.events)
        if not poll.poll(max(0, self.deadline - time.monotonic()) * 1000):
            raise TimeoutError("timed out")

    def until_done(self, *arguments):
        while self.once(*arguments) < 0:
            self.again_or_raise()
        return self.outcome[-2]


def _fileno(file):
    if not isinstance(file, int):
        if not hasattr(file, "fileno"):
            raise TypeError(f"not a number, and without fileno(): {file!r}")
        file = file.fileno()
    return _c_int(file)


def _c_int(number):
    """The number, if it is an int of C: ctypes would cut off what is too much."""
    return array("i", [number])[0]


def _numbers(files):
    return array("i", map(_fileno, files))


def _slots(count):
    """Room for descriptors: what is not -1 any more is one that came."""
    return array("i", [-1]) * count


def _close(fds):
    for fd in fds:
        if fd >= 0:
            os.close(fd)

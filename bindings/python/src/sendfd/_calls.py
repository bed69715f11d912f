"""Makes the library's calls so that nothing is lost, whenever a signal handler raises.

CPython runs signal handlers between the steps of Python code: also right after a
function in C has returned, before its result is stored. So what a call returns may be
lost, and each descriptor that comes is written to an array instead, which has an owner:
an object that closes them when it goes, in C, where no handler runs. Whoever takes
descriptors out of the array does so in one step of C. From Python 3.11 on handlers run
only when a function is called or a loop goes round, so that this loses nothing either:

    fd = numbers[0]
    del numbers[0]
    return fd

The usual calls are written in C too, for speed. Where that could not be compiled, those
below that make them with ctypes take their place.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket as _socket
import time
from array import array
from collections.abc import Callable
from functools import partial
from itertools import starmap
from typing import Any, Protocol, Union

from sendfd._library import libc, library

#: Most descriptors in one message.
MAX_FDS = 253
_EOF = -2


class HasFileno(Protocol):
    """What has a descriptor: a file, a socket, a Descriptor, ..."""

    def fileno(self) -> int: ...


File = Union[int, HasFileno]


# --- arguments -------------------------------------------------------------------


def c_int(number: int) -> int:
    """The number, if it is an int of C: ctypes would cut off what is too much."""
    return array("i", (number,))[0]


def fileno(file: File) -> int:
    kind = type(file)
    if kind is not int:
        if kind is bool:
            raise TypeError("a bool is no descriptor")
        try:
            file = file.fileno()  # type: ignore[union-attr]
        except AttributeError:
            if not isinstance(file, int):
                raise TypeError(f"not a number, and without fileno(): {file!r}") from None
    if type(file) is int and -0x80000000 <= file <= 0x7FFFFFFF:
        return file
    return c_int(file)  # type: ignore[arg-type]


def filenos(files: list[File]) -> array[int]:
    if set(map(type, files)) <= {int}:
        return array("i", files)  # type: ignore[arg-type]
    return array("i", map(fileno, files))


def places(count: int) -> array[int]:
    """Room for descriptors: what is not -1 any more is one that came."""
    return _NO_FD * count


_NO_FD = array("i", (-1,))


# --- calls -----------------------------------------------------------------------

# For each tuple of them, as zip() has it, in one step of C: errno becomes 0; errno.
_clear_errno = iter(partial(ctypes.set_errno, 0), None)
_get_errno = iter(ctypes.get_errno, None)


def invoke(function: Callable[..., int], *arguments: Any) -> int:
    """What the function returns, with -1 as the OSError of its errno.

    A signal handler that runs after the call may change errno: it is read before.
    """
    ((result, error),) = zip(starmap(function, (arguments,)), _get_errno)
    return result if result != -1 else _fail(error)


def _fail(error: int) -> int:
    raise OSError(error, os.strerror(error))


class Outcomes:
    """The results of calls that can do a part of their work: a handler that raises
    after the call does not make them unknown."""

    def __init__(self) -> None:
        self.list: list[tuple[Any, int, int]] = []

    @property
    def total(self) -> int:
        return sum(result for _, result, _ in self.list if result > 0)

    def invoke(self, function: Callable[..., int], *arguments: Any) -> None:
        self.list.extend(zip(_clear_errno, starmap(function, (arguments,)), _get_errno))

    def check(self, expected: int) -> int:
        """Raises what kept the last call from doing all of its work."""
        _, result, error = self.list[-1]
        if result == expected > 0:
            return result
        if result == _EOF or error == 0:
            raise EOFError(_END)
        raise OSError(error, os.strerror(error))


_END = "end of file: the peer has closed the socket"


def until_done(
    events: int, function: Callable[..., int], socket: File, *arguments: Any, flags: int = 0
) -> int:
    """Calls the function until it does not fail with EINTR (signal handlers have run
    then, and may have raised), nor with EAGAIN before the timeout of the socket."""
    deadline = None
    while True:
        try:
            result = function(socket, *arguments)
        except InterruptedError:
            continue
        except BlockingIOError:
            # Python makes a socket with a timeout non-blocking. The kernel sees to
            # sockets whose timeout is None (blocking) or 0 (non-blocking).
            timeout = getattr(socket, "gettimeout", float)()
            if not timeout or flags & _socket.MSG_DONTWAIT:
                raise
            if deadline is None:
                deadline = time.monotonic() + timeout
            _wait(socket, events, deadline)
            continue
        if result == _EOF:
            raise EOFError(_END)
        return result


def _wait(socket: File, events: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(socket, events)
    if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
        raise _socket.timeout("timed out") from None


# --- with ctypes -----------------------------------------------------------------

_close = libc.close
_close.argtypes = [ctypes.c_int]
_close.restype = None


class Finalizer:
    """Makes a call when it goes.

    Python looks for __del__ in the class, where this slot gives what the object has: a
    partial of C functions. A method would let signal handlers run in it, and what they
    raise in a finalizer is printed and forgotten.
    """

    __slots__ = ("__del__",)
    __del__: Callable[[], object]

    def __init__(self, function: Callable[..., object], *arguments: Any) -> None:
        self.__del__ = partial(function, *arguments)


class _Owner(Finalizer):
    """Closes the descriptors in an array when it goes."""

    __slots__ = ()

    def __init__(self, numbers: array[int]) -> None:
        self.__del__ = partial(any, map(_close, numbers))


_library_sendfd: Callable[[int, int], int] = library.sendfd
_library_recvfds: Callable[[int, int, int], int] = library.recvfds


# These two are invoke(), but faster.
def _sendfd(socket: File, fd: File) -> int:
    ((result, error),) = zip(
        map(_library_sendfd, (fileno(socket),), (fileno(fd),)), _get_errno
    )
    return result if result != -1 else _fail(error)


def _sendfds(socket: File, files: list[File]) -> int:
    numbers = filenos(files)
    return invoke(library.sendfds, fileno(socket), address_of(numbers), len(numbers))


def _recvfds(socket: File, numbers: array[int]) -> int:
    ((result, error),) = zip(
        map(_library_recvfds, (fileno(socket),), (address_of(numbers),), (len(numbers),)),
        _get_errno,
    )
    return result if result != -1 else _fail(error)


def address_of(numbers: array[int], start: int = 0) -> int:
    """That of an element. The array must not change its size during the call."""
    return numbers.buffer_info()[0] + start * numbers.itemsize


owner: Callable[[array[int]], object] = _Owner
sendfd: Callable[[File, File], int] = _sendfd
sendfds: Callable[[File, list[File]], int] = _sendfds
recvfds: Callable[[File, array[int]], int] = _recvfds

with contextlib.suppress(ImportError):
    from sendfd import _core

    _core.bind(library._handle)
    owner = _core.Owner
    sendfd, sendfds, recvfds = _core.sendfd, _core.sendfds, _core.recvfds

"""Descriptors that have an owner from the moment that they come: a Descriptor, a file
object, a socket object. An exception loses none of them, whenever it is raised."""

from __future__ import annotations

import ctypes
import io
import operator
import os
import socket as _socket
from array import array
from collections.abc import Callable
from functools import partial
from select import POLLIN
from types import TracebackType
from typing import IO, Any, Optional, TypeVar, Union, cast

from sendfd import _calls
from sendfd._calls import MAX_FDS, File, owner, places, until_done

_T = TypeVar("_T")
_getsockopt = ctypes.CDLL(None, use_errno=True).getsockopt
_call = operator.methodcaller("__call__")
#: The blocking mode is left as it is.
_UNCHANGED = float("nan")
#: In seconds: what poll(2) has room for.
_LONGEST_TIMEOUT = 2**31 // 1000


def _in_one_step(first: Callable[[], _T], second: Callable[[], object]) -> _T:
    """Calls both, in C: no signal handler runs in between."""
    result, _ = map(_call, (first, second))
    return cast(_T, result)


class Descriptor:
    """Owns a descriptor: closes it when it is closed, or left as a context manager, or
    gone. detach() gives it away as a number, and as_file() and as_socket() as what
    they make of it."""

    __slots__ = ("_numbers", "_owner", "__weakref__")
    _owner: object

    def __init__(self, fd: int) -> None:
        """Takes over an open descriptor."""
        number = _calls.fileno(fd)
        if number < 0:
            raise ValueError(f"a negative number is no descriptor: {fd}")
        self._numbers = array("i", (number,))
        self._owner = owner(self._numbers)

    @classmethod
    def _empty(cls) -> Descriptor:
        """One to receive into."""
        descriptor = cls.__new__(cls)
        descriptor._numbers = places(1)
        descriptor._owner = owner(descriptor._numbers)
        return descriptor

    def fileno(self) -> int:
        """The number; the descriptor stays this object's."""
        if not self._numbers:
            raise ValueError("the descriptor is closed or was given away")
        return self._numbers[0]

    def detach(self) -> int:
        """The number; the descriptor is the caller's to close from now on."""
        fd = self.fileno()
        del self._numbers[0]
        return fd

    def close(self) -> None:
        """Closes it, unless it is closed or was given away."""
        self._numbers = array("i")
        self._owner = None

    @property
    def closed(self) -> bool:
        """Whether it is closed or was given away."""
        return not self._numbers

    def __enter__(self) -> Descriptor:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Descriptor {'closed' if self.closed else self.fileno()}>"

    def __reduce__(self) -> str:
        raise TypeError("a Descriptor has one owner: it cannot be copied")

    def as_file(
        self,
        mode: str = "rb",
        buffering: int = -1,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
    ) -> IO[Any]:
        """A file object as open() makes it, which owns the descriptor from then on.

        If a FileIO can be made, but not what is to be around it, the descriptor is closed.
        """
        _check_mode(mode, buffering, encoding, errors, newline)
        # FileIO leaves a descriptor alone of which it can make nothing.
        make = partial(io.FileIO, self.fileno(), mode.replace("t", ""))
        raw = _in_one_step(make, self._numbers.pop)
        try:
            return _in_layers(raw, mode, buffering, encoding, errors, newline)
        except BaseException:
            raw.close()
            raise

    def as_socket(self, timeout: Optional[float] = _UNCHANGED) -> _socket.socket:
        """A socket object, which owns the descriptor from then on.

        Whether a socket is non-blocking is shared with all who have it, the sender too.
        Without a timeout that stays as it is, and the socket object's calls wait: those
        of a non-blocking socket as Python does for one with a timeout, here the default
        one or the longest that there is (24 days). A timeout is set as by settimeout(),
        which makes the socket blocking for all if it is None, and non-blocking else.
        """
        fd = self.fileno()
        family, kind, protocol = (
            _option(fd, getattr(_socket, option))
            for option in ("SO_DOMAIN", "SO_TYPE", "SO_PROTOCOL")
        )
        if timeout is _UNCHANGED:
            if os.get_blocking(fd):
                timeout = None
            else:
                default = _socket.getdefaulttimeout()
                timeout = _LONGEST_TIMEOUT if default is None else default
        # With SOCK_NONBLOCK Python takes the socket for a non-blocking one for now;
        # without it the default timeout would make it one.
        kind |= _socket.SOCK_NONBLOCK
        made = _socket.socket(family, kind, protocol, cast(int, _Taken(self._numbers.pop)))
        try:
            made.settimeout(timeout)
            return made
        except BaseException:
            made.close()
            raise


class _Taken:
    """What socket() takes for a number, and in the same step of C takes away."""

    __slots__ = ("__index__",)

    def __init__(self, take: Callable[[], int]) -> None:
        self.__index__ = take


def _option(fd: int, option: int) -> int:
    value, length = ctypes.c_int(), ctypes.c_uint(ctypes.sizeof(ctypes.c_int))
    level = _socket.SOL_SOCKET
    _calls.invoke(
        _getsockopt, fd, level, option, ctypes.byref(value), ctypes.byref(length)
    )
    return value.value


def _check_mode(
    mode: str,
    buffering: int,
    encoding: Optional[str],
    errors: Optional[str],
    newline: Optional[str],
) -> None:
    letters = set(mode)
    if (
        len(letters) != len(mode)
        or letters - set("rwabt+")
        or len(letters & set("rwa")) != 1
        or letters >= set("bt")
    ):
        raise ValueError(f"invalid mode: {mode!r}")
    if "b" not in letters:
        if buffering == 0:
            raise ValueError("can't have unbuffered text I/O")
    elif (encoding, errors, newline) != (None, None, None):
        raise ValueError("binary mode takes no encoding, errors or newline")


def _in_layers(
    raw: io.FileIO,
    mode: str,
    buffering: int,
    encoding: Optional[str],
    errors: Optional[str],
    newline: Optional[str],
) -> IO[Any]:
    """What open() puts around a FileIO."""
    if buffering == 0:
        return raw
    kind: Any = io.BufferedReader if "r" in mode else io.BufferedWriter
    if "+" in mode:
        kind = io.BufferedRandom
    buffer = kind(raw, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)
    if "b" in mode:
        return cast(IO[Any], buffer)
    by_line = buffering == 1 or (buffering < 0 and raw.isatty())
    return io.TextIOWrapper(buffer, encoding, errors, newline, by_line)


# --- receiving -------------------------------------------------------------------


def recv_descriptor(socket: File) -> Descriptor:
    """Receives one descriptor."""
    descriptor = Descriptor._empty()
    try:
        until_done(POLLIN, _calls.recvfds, socket, descriptor._numbers)
        return descriptor
    except BaseException:
        del descriptor
        raise


def recv_descriptors(socket: File, max_fds: int) -> list[Descriptor]:
    """Receives the 1 to max_fds descriptors of one message."""
    numbers = places(min(max_fds, MAX_FDS))
    held = owner(numbers)
    try:
        count = until_done(POLLIN, _calls.recvfds, socket, numbers)
        del numbers[count:]
        return separate(numbers)
    except BaseException:
        del held
        raise


def separate(numbers: array[int]) -> list[Descriptor]:
    """Gives each descriptor an owner of its own; for a -1, one that is closed."""
    descriptors = []
    for index, fd in enumerate(numbers):
        descriptor = Descriptor._empty()
        if fd < 0:
            descriptor.close()
        else:
            _in_one_step(
                partial(descriptor._numbers.__setitem__, 0, fd),
                partial(numbers.__setitem__, index, -1),
            )
        descriptors.append(descriptor)
    return descriptors


def recv_file(
    socket: File,
    mode: str = "rb",
    buffering: int = -1,
    encoding: Optional[str] = None,
    errors: Optional[str] = None,
    newline: Optional[str] = None,
) -> IO[Any]:
    """Receives a descriptor and makes a file object of it, as open() does."""
    options = (mode, buffering, encoding, errors, newline)
    _check_mode(*options)
    with recv_descriptor(socket) as descriptor:
        return descriptor.as_file(*options)


def recv_files(
    socket: File,
    max_fds: int,
    mode: str = "rb",
    buffering: int = -1,
    encoding: Optional[str] = None,
    errors: Optional[str] = None,
    newline: Optional[str] = None,
) -> list[IO[Any]]:
    """Receives the 1 to max_fds descriptors of one message and makes file objects of
    them: of all, or else they are closed."""
    options = (mode, buffering, encoding, errors, newline)
    _check_mode(*options)
    descriptors = recv_descriptors(socket, max_fds)
    return _made_of(descriptors, lambda descriptor: descriptor.as_file(*options))


def recv_socket(socket: File, timeout: Optional[float] = _UNCHANGED) -> _socket.socket:
    """Receives a descriptor and makes a socket object of it.

    The timeout is as for Descriptor.as_socket(): without one the blocking mode, which is
    shared with the sender, stays as it is, and the calls of the socket wait.
    """
    with recv_descriptor(socket) as descriptor:
        return descriptor.as_socket(timeout)


def recv_sockets(
    socket: File, max_fds: int, timeout: Optional[float] = _UNCHANGED
) -> list[_socket.socket]:
    """Receives the 1 to max_fds descriptors of one message and makes socket objects of
    them: of all, or else they are closed."""
    descriptors = recv_descriptors(socket, max_fds)
    return _made_of(descriptors, lambda descriptor: descriptor.as_socket(timeout))


def _made_of(
    descriptors: list[Descriptor], make: Callable[[Descriptor], Any]
) -> list[Any]:
    made: list[Any] = []
    try:
        for descriptor in descriptors:
            made.append(make(descriptor))
        return made
    except BaseException:
        for one in made + descriptors:
            one.close()
        raise

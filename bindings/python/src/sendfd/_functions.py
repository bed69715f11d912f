"""The functions of the library under their own names. Descriptors are numbers here, as
they are in os: _objects.py has those that own them."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterable
from select import POLLIN, POLLOUT
from typing import Any, TypeVar

from sendfd import _calls
from sendfd._calls import MAX_FDS, File, Outcomes, address_of, c_int, fileno, filenos
from sendfd._calls import invoke, owner, places, until_done
from sendfd._library import library
from sendfd._objects import separate

_T = TypeVar("_T")


def sendfd(socket: File, fd: File) -> None:
    """Sends one descriptor."""
    until_done(POLLOUT, _calls.sendfd, socket, fd)


def recvfd(socket: File) -> int:
    """Receives one descriptor, a number."""
    numbers = places(1)
    held = owner(numbers)
    try:
        until_done(POLLIN, _calls.recvfds, socket, numbers)
        fd = numbers[0]
        del numbers[0]
        return fd
    except BaseException:
        del held
        raise


def sendfds(socket: File, fds: Iterable[File]) -> None:
    """Sends 1 to MAX_FDS descriptors in one message: all of them, or none."""
    files = list(fds)  # held: those of a generator would be closed again
    until_done(POLLOUT, _calls.sendfds, socket, files)


def recvfds(socket: File, max_fds: int) -> list[int]:
    """Receives the descriptors of one message, as a list of 1 to max_fds numbers.

    More than max_fds are OSError, EMSGSIZE, and closed.
    """
    numbers = places(min(max_fds, MAX_FDS))
    held = owner(numbers)
    try:
        count = until_done(POLLIN, _calls.recvfds, socket, numbers)
        fds = numbers[:count].tolist()
        del numbers[:]
        return fds
    except BaseException:
        del held
        raise


def sendfds_all(socket: File, fds: Iterable[File]) -> None:
    """Sends any number of descriptors, in as many messages as it takes.

    An exception that comes while it sends, even from a signal handler, has an attribute
    sent: how many descriptors were sent before. If too many are in flight, it waits on a
    blocking socket only; one with a timeout fails with ETOOMANYREFS.
    """
    files = list(fds)
    numbers = filenos(files)
    outcomes = Outcomes()

    def send(socket: File) -> int:
        sent = outcomes.total
        left = len(numbers) - sent
        outcomes.invoke(library.sendfds_all, fileno(socket), address_of(numbers, sent), left)
        return outcomes.check(left)

    try:
        until_done(POLLOUT, send, socket)
    except BaseException as error:
        error.sent = outcomes.total  # type: ignore[attr-defined]
        raise


def recvfds_all(socket: File, nfds: int) -> list[int]:
    """Receives exactly nfds descriptors, message after message, as a list.

    An exception that comes while it receives, even EOFError or one from a signal handler,
    has an attribute received: a list of the Descriptors that came before. They are closed
    when the exception is destroyed, if nobody has taken them.
    """
    return receive_all(array.tolist, socket, nfds)


def receive_all(
    make: Callable[[array[int]], list[_T]], socket: File, nfds: int
) -> list[_T]:
    """recvfds_all, with what is to be made of the numbers."""
    numbers = places(c_int(nfds))
    held = owner(numbers)
    outcomes = Outcomes()

    def receive(socket: File) -> int:
        came = outcomes.total
        left = nfds - came
        outcomes.invoke(library.recvfds_all, fileno(socket), address_of(numbers, came), left)
        return outcomes.check(left)

    try:
        until_done(POLLIN, receive, socket)
        fds = make(numbers)
        del numbers[:]
        return fds
    except BaseException as error:
        del numbers[outcomes.total :]
        error.received = separate(numbers)  # type: ignore[attr-defined]
        del held
        raise


def sendfds_msg(socket: File, fds: Iterable[File], data: Any, flags: int = 0) -> int:
    """Sends bytes with 0 to MAX_FDS descriptors; returns how many bytes were sent.

    The descriptors are sent with the first byte. On a stream fewer bytes may be sent than
    given: send the others, without the descriptors.
    """
    files = list(fds)
    numbers = filenos(files)
    block = data if isinstance(data, bytes) else bytes(memoryview(data))

    def send(socket: File) -> int:
        return invoke(
            library.sendfds_msg,
            fileno(socket),
            address_of(numbers),
            len(numbers),
            block,
            len(block),
            c_int(flags),
        )

    return until_done(POLLOUT, send, socket, flags=flags)


def recvfds_msg(
    socket: File, max_fds: int, length: int, flags: int = 0
) -> tuple[bytes, list[int]]:
    """Receives up to length bytes and up to max_fds descriptors that came with them,
    none is fine: (bytes, list of numbers)."""
    return receive_message(array.tolist, socket, max_fds, length, flags)


def receive_message(
    make: Callable[[array[int]], list[_T]],
    socket: File,
    max_fds: int,
    length: int,
    flags: int,
) -> tuple[bytes, list[_T]]:
    """recvfds_msg, with what is to be made of the numbers."""
    max_fds = c_int(min(max_fds, MAX_FDS))
    block = bytearray(length)
    data = (ctypes.c_char * length).from_buffer(block)
    numbers = places(max_fds)
    held = owner(numbers)
    count = array("i", (max_fds,))

    def receive(socket: File) -> int:
        return invoke(
            library.recvfds_msg,
            fileno(socket),
            address_of(numbers),
            address_of(count),
            data,
            length,
            c_int(flags),
        )

    try:
        got = until_done(POLLIN, receive, socket, flags=flags)
        del numbers[count[0] :]
        message = bytes(memoryview(block)[:got]), make(numbers)
        del numbers[:]
        return message
    except BaseException:
        del held
        raise

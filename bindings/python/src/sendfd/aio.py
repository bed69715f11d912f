"""The functions of sendfd for asyncio: they are awaited, and can be cancelled.

    from sendfd import aio

    await aio.sendfd(connection, file)
    with await aio.recv_file(connection, "r") as file: ...

Arguments, results and errors are those of the functions of the same names in sendfd. The
socket must be non-blocking, as setblocking(False) makes it: one that blocks or has a
timeout is a ValueError, and nothing has been sent or received.

What is received always has an owner that closes it, as the result of a task may be thrown
away: recvfds_all, recvfds_msg and recvfds_msghdr have Descriptors where those of sendfd
have numbers. In place of recvfd and recvfds there are recv_descriptor and recv_descriptors.

A call that is cancelled, by a timeout too, has sent or received nothing: it leaves the
message in the socket. Only sendfds_all and recvfds_all may have done a part: the
CancelledError then has the attribute sent or received. A timeout has it as the
__cause__ of its TimeoutError.

Several tasks may wait for the same socket: one of them gets each message. Cancel them
before you close the socket. As with the sock_* functions of the loop, nothing else in the
loop may watch the socket at the time: no transport, no reader of your own.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from select import POLLIN, POLLOUT
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypeVar
from weakref import WeakValueDictionary

from sendfd import _functions, _messages, _objects
from sendfd._calls import File, fileno
from sendfd._messages import ControlMessage, Credentials
from sendfd._objects import Descriptor, separate

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    _P = ParamSpec("_P")
_T = TypeVar("_T")

__all__ = [
    "Message",
    "recv_descriptor",
    "recv_descriptors",
    "recv_file",
    "recv_files",
    "recv_socket",
    "recv_sockets",
    "recvfds_all",
    "recvfds_msg",
    "recvfds_msghdr",
    "sendfd",
    "sendfds",
    "sendfds_all",
    "sendfds_msg",
    "sendfds_msghdr",
]


# --- waiting ---------------------------------------------------------------------

#: A loop has one watcher for a descriptor and direction: the tasks that share it, by
#: (id of the loop, descriptor, events). The loop holds them.
_waiting: WeakValueDictionary[tuple[int, int, int], deque[asyncio.Future[None]]]
_waiting = WeakValueDictionary()


async def _until_done(events: int, call: Callable[[File], _T], socket: File) -> _T:
    """Makes the call when the socket is ready, until it does not fail with EAGAIN.

    Nothing is awaited after a call that succeeds: its result cannot be cancelled.
    """
    fd = fileno(socket)
    if os.get_blocking(fd) or getattr(socket, "gettimeout", float)() != 0:
        raise ValueError("the socket must be non-blocking: setblocking(False)")
    while True:
        try:
            return call(socket)
        except BlockingIOError:
            pass
        await _readiness(events, fd)


async def _readiness(events: int, fd: int) -> None:
    loop = asyncio.get_running_loop()
    if events == POLLIN:
        watch, unwatch = loop.add_reader, loop.remove_reader
    else:
        watch, unwatch = loop.add_writer, loop.remove_writer
    waiting = _waiting.setdefault((id(loop), fd, events), deque())
    ready = loop.create_future()
    waiting.append(ready)
    try:
        watch(fd, _wake, waiting)
        await ready
    finally:
        waiting.remove(ready)
        if not waiting:
            unwatch(fd)


def _wake(waiting: deque[asyncio.Future[None]]) -> None:
    """Wakes all: they try in their order, and those that get nothing wait again."""
    for ready in waiting:
        if not ready.done():
            ready.set_result(None)


def _awaitable(
    events: int, function: Callable[Concatenate[File, _P], _T]
) -> Callable[Concatenate[File, _P], Coroutine[Any, Any, _T]]:
    @functools.wraps(function)
    async def awaitable(socket: File, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await _until_done(events, lambda to: function(to, *args, **kwargs), socket)

    return awaitable


# --- sending ---------------------------------------------------------------------

sendfd = _awaitable(POLLOUT, _functions.sendfd)


async def sendfds(socket: File, fds: Iterable[File]) -> None:
    """Sends 1 to MAX_FDS descriptors in one message: all of them, or none."""
    files = list(fds)  # a generator yields them once
    await _until_done(POLLOUT, lambda to: _functions.sendfds(to, files), socket)


async def sendfds_all(socket: File, fds: Iterable[File]) -> None:
    """Sends any number of descriptors, in as many messages as it takes.

    An exception that comes while it sends, a CancelledError too, has an attribute sent:
    how many descriptors went before. Too many in flight are an OSError, ETOOMANYREFS.
    """
    files = list(fds)
    sent = 0

    def send(socket: File) -> None:
        nonlocal sent
        try:
            _functions.sendfds_all(socket, files[sent:])
        except BaseException as error:
            sent += getattr(error, "sent", 0)
            raise

    try:
        await _until_done(POLLOUT, send, socket)
    except BaseException as error:
        error.sent = sent  # type: ignore[attr-defined]
        raise


async def sendfds_msg(
    socket: File, fds: Iterable[File], data: Any, flags: int = 0
) -> int:
    """Sends bytes with 0 to MAX_FDS descriptors; returns how many bytes went.

    The descriptors go with the first byte. On a stream fewer bytes may go than given:
    send the others, without the descriptors.
    """
    files = list(fds)
    return await _until_done(
        POLLOUT, lambda to: _functions.sendfds_msg(to, files, data, flags), socket
    )


async def sendfds_msghdr(
    socket: File,
    fds: Iterable[File],
    buffers: Iterable[Any],
    ancdata: Iterable[ControlMessage] = (),
    flags: int = 0,
    address: Any = None,
) -> int:
    """Sends what is in the buffers, with 0 to MAX_FDS descriptors and other control
    messages; returns how many bytes went. The arguments are those in sendfd."""
    given = list(fds), list(buffers), list(ancdata), flags, address
    return await _until_done(
        POLLOUT, lambda to: _messages.sendfds_msghdr(to, *given), socket
    )


# --- receiving -------------------------------------------------------------------

recv_descriptor = _awaitable(POLLIN, _objects.recv_descriptor)
recv_descriptors = _awaitable(POLLIN, _objects.recv_descriptors)
recv_file = _awaitable(POLLIN, _objects.recv_file)
recv_files = _awaitable(POLLIN, _objects.recv_files)
recv_socket = _awaitable(POLLIN, _objects.recv_socket)
recv_sockets = _awaitable(POLLIN, _objects.recv_sockets)


async def recvfds_all(socket: File, nfds: int) -> list[Descriptor]:
    """Receives exactly nfds descriptors, message after message.

    An exception that comes while it receives, EOFError and CancelledError too, has an
    attribute received: a list of the Descriptors that came before. They are closed when
    it goes, if nobody has taken them.
    """
    received: list[Descriptor] = []

    def receive(socket: File) -> None:
        try:
            left = nfds - len(received)
            received.extend(_functions.receive_all(separate, socket, left))
        except BaseException as error:
            received.extend(getattr(error, "received", ()))
            raise

    try:
        await _until_done(POLLIN, receive, socket)
        return received
    except BaseException as error:
        error.received = received  # type: ignore[attr-defined]
        raise


async def recvfds_msg(
    socket: File, max_fds: int, length: int, flags: int = 0
) -> tuple[bytes, list[Descriptor]]:
    """Receives up to length bytes and up to max_fds descriptors that came with them,
    none is fine: (bytes, list of Descriptors)."""
    return await _until_done(
        POLLIN,
        lambda fr: _functions.receive_message(separate, fr, max_fds, length, flags),
        socket,
    )


class Message(NamedTuple):
    """What recvfds_msghdr received."""

    length: int
    fds: list[Descriptor]
    ancdata: list[tuple[int, int, bytes]]
    flags: int
    address: Any

    @property
    def credentials(self) -> Optional[Credentials]:
        return _messages.credentials_in(self.ancdata)


async def recvfds_msghdr(
    socket: File,
    max_fds: int,
    buffers: Iterable[Any],
    ancbufsize: int = 0,
    flags: int = 0,
) -> Message:
    """Receives bytes into the buffers, and up to max_fds descriptors and other control
    messages that came with them.

    The arguments are those in sendfd. With RECVFD_PARTIAL, fds may have a closed
    Descriptor for one that was refused. A pidfd in ancdata is the caller's to close.
    """
    given = max_fds, list(buffers), ancbufsize, flags
    return await _until_done(
        POLLIN,
        lambda fr: _messages.receive_header(Message, separate, fr, *given),
        socket,
    )

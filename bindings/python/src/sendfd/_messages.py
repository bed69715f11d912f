"""Messages with all that sendmsg(2) and recvmsg(2) have: several buffers, an address,
credentials and other control messages, flags."""

from __future__ import annotations

import ctypes
import os
import socket as _socket
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from select import POLLIN, POLLOUT
from typing import Any, NamedTuple, Optional, TypeVar

from sendfd._calls import MAX_FDS, File, Finalizer, address_of, c_int, fileno, filenos
from sendfd._calls import invoke, owner, places, until_done
from sendfd._library import Buffer, MessageHeader, library

_M = TypeVar("_M")

#: A flag of recvfds_msghdr: where a receive would fail for what became of descriptors,
#: it hands over the data and those that came, with MSG_CTRUNC in the flags.
RECVFD_PARTIAL = 0x10000000

#: As in socket.sendmsg: level, type, data.
ControlMessage = tuple[int, int, Any]


class Credentials(NamedTuple):
    """Who sends. The kernel checks it, and root may say what it likes. They come to a
    receiver that has set SO_PASSCRED."""

    pid: int
    uid: int
    gid: int

    @classmethod
    def own(cls) -> Credentials:
        return cls(os.getpid(), os.getuid(), os.getgid())

    def control_message(self) -> ControlMessage:
        """For the ancdata of sendfds_msghdr."""
        return _socket.SOL_SOCKET, _socket.SCM_CREDENTIALS, struct.pack("iII", *self)


class Message(NamedTuple):
    """What recvfds_msghdr received."""

    length: int
    fds: list[int]
    ancdata: list[tuple[int, int, bytes]]
    flags: int
    address: Any

    @property
    def credentials(self) -> Optional[Credentials]:
        return credentials_in(self.ancdata)


def credentials_in(ancdata: list[tuple[int, int, bytes]]) -> Optional[Credentials]:
    for level, kind, data in ancdata:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS):
            return Credentials(*struct.unpack("iII", data))
    return None


def sendfds_msghdr(
    socket: File,
    fds: Iterable[File],
    buffers: Iterable[Any],
    ancdata: Iterable[ControlMessage] = (),
    flags: int = 0,
    address: Any = None,
) -> int:
    """Sends the bytes in the buffers, with 0 to MAX_FDS descriptors and other control
    messages; returns how many bytes were sent.

    The arguments after the descriptors are those of socket.sendmsg; but in an Internet
    address the host is a number, as in "127.0.0.1". The descriptors go with the first
    byte. On a stream fewer bytes may go than given: send the others, without the
    descriptors.
    """
    files = list(fds)
    numbers = filenos(files)
    name = b"" if address is None else _encoded(address)
    control = b"".join(map(_control_message, ancdata))
    vector = _vector([_readable(buffer) for buffer in buffers])
    message = MessageHeader(
        _pointer(name), len(name), _pointer(vector), len(vector), _pointer(control), len(control)
    )

    def send(socket: File) -> int:
        return invoke(
            library.sendfds_msghdr,
            fileno(socket),
            address_of(numbers),
            len(numbers),
            message,
            c_int(flags),
        )

    return until_done(POLLOUT, send, socket, flags=flags)


def recvfds_msghdr(
    socket: File,
    max_fds: int,
    buffers: Iterable[Any],
    ancbufsize: int = 0,
    flags: int = 0,
) -> Message:
    """Receives bytes into the buffers, and up to max_fds descriptors and other control
    messages that came with them.

    The buffers, ancbufsize and flags are those of socket.recvmsg_into, but ancbufsize is
    for the other control messages only. With RECVFD_PARTIAL in the flags, data is not
    lost because a descriptor is; fds may have -1 for one that was refused. A pidfd in
    ancdata is the caller's to close.
    """
    return receive_header(Message, array.tolist, socket, max_fds, buffers, ancbufsize, flags)


def receive_header(
    kind: Callable[..., _M],
    make: Callable[[array[int]], list[Any]],
    socket: File,
    max_fds: int,
    buffers: Iterable[Any],
    ancbufsize: int,
    flags: int,
) -> _M:
    """recvfds_msghdr, with the kind of message, and what is to be made of the numbers."""
    max_fds = c_int(min(max_fds, MAX_FDS))
    name = ctypes.create_string_buffer(_ADDRESS_ROOM)
    control = ctypes.create_string_buffer(ancbufsize)
    vector = _vector([_writable(buffer) for buffer in buffers])
    message = MessageHeader(
        _pointer(name), len(name), _pointer(vector), len(vector), _pointer(control), ancbufsize
    )
    numbers = places(max_fds)
    held = owner(numbers)
    # A pidfd is closed by a call that fails for no other reason than that flag.
    pidfd = MessageHeader(control=message.control, controllen=ancbufsize, flags=_socket.MSG_CTRUNC)
    pidfd.memory = control  # held
    none = (ctypes.c_int * 1)()
    pidfd_held = Finalizer(library.recvfds_cmsg, -1, None, none, pidfd, 0)
    count = array("i", (max_fds,))

    def receive(socket: File) -> int:
        return invoke(
            library.recvfds_msghdr,
            fileno(socket),
            address_of(numbers),
            address_of(count),
            message,
            c_int(flags),
        )

    try:
        length = until_done(POLLIN, receive, socket, flags=flags)
        del numbers[count[0] :]
        received = kind(
            length,
            make(numbers),
            list(_control_messages(control.raw[: message.controllen])),
            message.flags,
            _decoded(name.raw[: message.namelen]),
        )
        del numbers[:]
        pidfd.controllen = 0
        return received
    except BaseException:
        del held, pidfd_held
        raise


# --- memory ----------------------------------------------------------------------


def _pointer(memory: Any) -> Optional[int]:
    """The address of bytes or of a ctypes array, for a structure."""
    return ctypes.cast(memory, ctypes.c_void_p).value if len(memory) else None


def _writable(buffer: Any) -> Any:
    return (ctypes.c_char * memoryview(buffer).nbytes).from_buffer(buffer)


def _readable(buffer: Any) -> Any:
    """Without a copy where ctypes can: bytes, and what could be written too."""
    if isinstance(buffer, bytes):
        return buffer
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous:
        return bytes(view)
    return _writable(view)


def _vector(buffers: list[Any]) -> Any:
    """The addresses and lengths of buffers, which it holds."""
    vector: Any = (Buffer * len(buffers))()
    for place, memory in zip(vector, buffers):
        place.base, place.len = _pointer(memory), len(memory)
    vector.buffers = buffers
    return vector


# --- control messages ------------------------------------------------------------

#: struct cmsghdr
_CONTROL_HEADER = struct.Struct("Nii")


def _control_message(message: ControlMessage) -> bytes:
    level, kind, data = message
    block = bytes(memoryview(data))
    header: bytes = _CONTROL_HEADER.pack(_socket.CMSG_LEN(len(block)), level, kind)
    return (header + block).ljust(_socket.CMSG_SPACE(len(block)), b"\0")


def _control_messages(control: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + _CONTROL_HEADER.size <= len(control):
        length, level, kind = _CONTROL_HEADER.unpack_from(control, offset)
        yield level, kind, control[offset + _socket.CMSG_LEN(0) : offset + length]
        offset += _socket.CMSG_SPACE(length - _socket.CMSG_LEN(0))


# --- addresses, as the module socket has them ---------------------------------------

#: struct sockaddr_storage
_ADDRESS_ROOM = 128


def _encoded(address: Any) -> bytes:
    if isinstance(address, (str, bytes, os.PathLike)):
        path: bytes = os.fsencode(address)
        end = b"" if path[:1] in (b"", b"\0") else b"\0"
        return struct.pack("H", _socket.AF_UNIX) + path + end
    host, port, *more = address
    if isinstance(host, int):
        return struct.pack("H", host) + bytes(port)
    if ":" not in host:
        number = _socket.inet_pton(_socket.AF_INET, host)
        return struct.pack("=H2s4s8x", _socket.AF_INET, _port(port), number)
    flow, scope = (*more, 0, 0)[:2]
    number = _socket.inet_pton(_socket.AF_INET6, host)
    return struct.pack(
        "=H2s4s16sI", _socket.AF_INET6, _port(port), flow.to_bytes(4, "big"), number, scope
    )


def _port(port: int) -> bytes:
    return port.to_bytes(2, "big")


def _decoded(name: bytes) -> Any:
    if len(name) < 2:
        return None
    (family,) = struct.unpack_from("H", name)
    if family == _socket.AF_UNIX:
        path = name[2:]
        return path if path[:1] == b"\0" else os.fsdecode(path.partition(b"\0")[0])
    if family == _socket.AF_INET:
        return _socket.inet_ntop(family, name[4:8]), int.from_bytes(name[2:4], "big")
    if family == _socket.AF_INET6:
        _, port, flow, number, scope = struct.unpack("=H2s4s16sI", name)
        host = _socket.inet_ntop(family, number)
        return host, int.from_bytes(port, "big"), int.from_bytes(flow, "big"), scope
    return family, name[2:]

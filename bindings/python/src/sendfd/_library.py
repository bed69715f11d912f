"""Finds the library and declares its functions, as C has them. It knows nothing of
Python's files, sockets and exceptions."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_void_p
from typing import Any

#: The name at run time. libsendfd.so, without the number, is in -dev packages only.
SONAME = "libsendfd.so.1"
_AT_SECURE = 23

libc = ctypes.CDLL(None)
libc.getauxval.argtypes = [c_size_t]
libc.getauxval.restype = c_size_t


class MessageHeader(ctypes.Structure):
    """struct msghdr"""

    _fields_ = [
        ("name", c_void_p),
        ("namelen", c_uint),
        ("iov", c_void_p),
        ("iovlen", c_size_t),
        ("control", c_void_p),
        ("controllen", c_size_t),
        ("flags", c_int),
    ]


class Buffer(ctypes.Structure):
    """struct iovec"""

    _fields_ = [("base", c_void_p), ("len", c_size_t)]


def _path() -> str:
    """$LIBSENDFD, or the copy in this package, or the name that the loader looks for."""
    if not libc.getauxval(_AT_SECURE) and os.environ.get("LIBSENDFD"):
        return os.environ["LIBSENDFD"]
    bundled = os.path.join(os.path.dirname(os.path.abspath(__file__)), SONAME)
    return bundled if os.path.exists(bundled) else SONAME


def _load() -> ctypes.CDLL:
    path = _path()
    try:
        # CDLL, not PyDLL: it lets other threads run during a call.
        library = ctypes.CDLL(path, use_errno=True)
        # Addresses of arrays are passed as numbers, for speed: c_void_p.
        one, many, size, data = c_int, c_void_p, c_size_t, c_void_p
        header = POINTER(MessageHeader)
        functions: list[tuple[str, Any, list[Any]]] = [
            ("sendfd", c_int, [one, one]),
            ("sendfds", c_int, [one, many, c_int]),
            ("recvfds", c_int, [one, many, c_int]),
            ("sendfds_all", c_int, [one, many, c_int]),
            ("recvfds_all", c_int, [one, many, c_int]),
            ("sendfds_msg", c_ssize_t, [one, many, c_int, data, size, c_int]),
            ("recvfds_msg", c_ssize_t, [one, many, many, data, size, c_int]),
            ("sendfds_msghdr", c_ssize_t, [one, many, c_int, header, c_int]),
            ("recvfds_msghdr", c_ssize_t, [one, many, many, header, c_int]),
            ("recvfds_cmsg", c_int, [one, many, many, header, c_int]),
            ("sendfd_version", c_char_p, []),
        ]
        for name, result, arguments in functions:
            function: Any = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        # The loader's message starts with the path, but for a path that is a folder.
        raise ImportError(
            f"cannot load libsendfd from {path}: {error}", name="sendfd", path=path
        ) from None
    return library


library = _load()


def version() -> str:
    """The version of the library that is loaded, such as "1.0.0"."""
    return str(library.sendfd_version().decode())

"""The functions of libsendfd through ctypes, as C has them. For sendfd.py."""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_ssize_t, c_void_p

# The name that the library has at run time: libsendfd.so, without the number, is
# for the linker and comes with the development package only. CDLL, not PyDLL: it
# lets other threads run during a call.
_library = ctypes.CDLL(
    os.environ.get("LIBSENDFD") or "libsendfd.so.1", use_errno=True
)


def _bind(name, result, *arguments):
    function = getattr(_library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_ints = POINTER(c_int)
sendfd = _bind("sendfd", c_int, c_int, c_int)
recvfd = _bind("recvfd", c_int, c_int)
sendfds = _bind("sendfds", c_int, c_int, _ints, c_int)
recvfds = _bind("recvfds", c_int, c_int, _ints, c_int)
sendfds_all = _bind("sendfds_all", c_int, c_int, _ints, c_int)
recvfds_all = _bind("recvfds_all", c_int, c_int, _ints, c_int)
sendfds_msg = _bind(
    "sendfds_msg", c_ssize_t, c_int, _ints, c_int, c_void_p, c_size_t, c_int
)
recvfds_msg = _bind(
    "recvfds_msg", c_ssize_t, c_int, _ints, _ints, c_void_p, c_size_t, c_int
)
_version = _bind("sendfd_version", c_char_p)

# Of the errno that use_errno keeps for each thread; os and errno do not have it.
get_errno = ctypes.get_errno
set_errno = ctypes.set_errno


def version():
    return _version().decode()


def ints(numbers, start=0):
    """The int * of an array.array("i"), from an index on."""
    count = len(numbers) - start
    return (c_int * count).from_buffer(numbers, start * numbers.itemsize)


def data(buffer):
    """The void * of a bytearray."""
    return (ctypes.c_char * len(buffer)).from_buffer(buffer)

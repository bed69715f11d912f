"""Passes open file descriptors over a Unix-domain socket, with libsendfd.

    import sendfd

    sendfd.sendfd(connection, file)
    with sendfd.recv_file(connection, "r") as file: ...

Sockets and files are given as objects with a fileno() method, or as numbers. Sending
does not close them. Received descriptors are not inheritable, and yours to close:

- recv_file, recv_socket, recv_descriptor (and recv_files, ... for all of a message)
  return objects that own their descriptor. Use them if you can.
- recvfd and the other functions of the library return numbers. In Python 3.9 and 3.10
  a number is lost if a signal handler raises an exception before you have stored it.

If they raise, for whatever reason, every descriptor that came has been closed.

Failure is an OSError with an errno, or its subclass for that errno: BlockingIOError,
BrokenPipeError, ... An argument that is not a number, or is too large, is a TypeError or
an OverflowError, and nothing has been sent. The end of file is an EOFError; an empty
message is not the end of file.

Signal handlers run while a call waits. If they raise (Ctrl-C), so does the call; if
not, it continues. A socket with a timeout raises TimeoutError when that expires, and a
non-blocking one BlockingIOError at once. The timeout is for all of a call.

sendfd.aio has the same functions for asyncio.

The library is the one that the environment variable LIBSENDFD names (not in a set-id
program), or a copy in this package, or the system's libsendfd.so.1.
"""

from sendfd._calls import MAX_FDS
from sendfd._functions import (
    recvfd,
    recvfds,
    recvfds_all,
    recvfds_msg,
    sendfd,
    sendfds,
    sendfds_all,
    sendfds_msg,
)
from sendfd._library import version
from sendfd._messages import (
    RECVFD_PARTIAL,
    Credentials,
    Message,
    recvfds_msghdr,
    sendfds_msghdr,
)
from sendfd._objects import (
    Descriptor,
    recv_descriptor,
    recv_descriptors,
    recv_file,
    recv_files,
    recv_socket,
    recv_sockets,
)
from sendfd._version import __version__

__all__ = [
    "MAX_FDS",
    "RECVFD_PARTIAL",
    "Credentials",
    "Descriptor",
    "Message",
    "__version__",
    "recv_descriptor",
    "recv_descriptors",
    "recv_file",
    "recv_files",
    "recv_socket",
    "recv_sockets",
    "recvfd",
    "recvfds",
    "recvfds_all",
    "recvfds_msg",
    "recvfds_msghdr",
    "sendfd",
    "sendfds",
    "sendfds_all",
    "sendfds_msg",
    "sendfds_msghdr",
    "version",
]

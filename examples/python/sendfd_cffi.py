"""The functions of libsendfd through cffi, as C has them. For sendfd.py."""

import os

import cffi

_ffi = cffi.FFI()
_ffi.cdef(
    """
    int sendfd(int unix_domain_socket_fd, int fd);
    int recvfd(int unix_domain_socket_fd);
    int sendfds(int unix_domain_socket_fd, const int *fds, int nfds);
    int recvfds(int unix_domain_socket_fd, int *fds, int max_fds);
    int sendfds_all(int unix_domain_socket_fd, const int *fds, int nfds);
    int recvfds_all(int unix_domain_socket_fd, int *fds, int nfds);
    ssize_t sendfds_msg(int unix_domain_socket_fd, const int *fds, int nfds,
                        const void *data, size_t len, int flags);
    ssize_t recvfds_msg(int unix_domain_socket_fd, int *fds, int *nfds,
                        void *data, size_t len, int flags);
    const char *sendfd_version(void);
    """
)
# The name that the library has at run time: libsendfd.so, without the number, is
# for the linker and comes with the development package only.
_library = _ffi.dlopen(os.environ.get("LIBSENDFD") or "libsendfd.so.1")

sendfd = _library.sendfd
recvfd = _library.recvfd
sendfds = _library.sendfds
recvfds = _library.recvfds
sendfds_all = _library.sendfds_all
recvfds_all = _library.recvfds_all
sendfds_msg = _library.sendfds_msg
recvfds_msg = _library.recvfds_msg

# What is behind ffi.errno, without the Python code in between in which a signal
# handler could run.
get_errno = _ffi._backend.get_errno
set_errno = _ffi._backend.set_errno


def version():
    return _ffi.string(_library.sendfd_version()).decode()


def ints(numbers, start=0):
    """The int * of an array.array("i"), from an index on."""
    return _ffi.from_buffer("int[]", memoryview(numbers)[start:])


def data(buffer):
    """The void * of a bytearray."""
    return _ffi.from_buffer("char[]", buffer)

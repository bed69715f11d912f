#!/usr/bin/python3
"""What Python itself has to pass descriptors, and libsendfd by its package, which is
where PYTHONPATH says: one descriptor, or 253 in a message, sent, received and closed
over a socketpair. Prints a line for each contender in each round, for rounds.awk.

    python.py SECONDS    to spend on each case
"""

import array
import ctypes
import functools
import importlib
import os
import resource
import socket
import sys
import time
from multiprocessing import connection, reduction

sys.dont_write_bytecode = True
MANY = 253
#: Of each contender in a round: enough to be worth looking at the clock.
SLICE = 0.001

left, right = socket.socketpair()
file = os.open("/dev/null", os.O_RDONLY)
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(MANY)]


def skip(contender, why):
    print(f"# skipped: {contender}: {why}", file=sys.stderr)


def close_all(fds):
    assert len(fds) == MANY
    for fd in fds:
        os.close(fd)


def sockets_one():
    socket.send_fds(left, [b"\0"], [file])
    os.close(socket.recv_fds(right, 1, 1)[1][0])


def sockets_many():
    socket.send_fds(left, [b"\0"], files)
    close_all(socket.recv_fds(right, 1, MANY)[1])


def multiprocessing_many():
    reduction.sendfds(left, files)
    close_all(reduction.recvfds(right, MANY))


def multiprocessing_one(sender, receiver):
    reduction.send_handle(sender, file, None)
    os.close(reduction.recv_handle(receiver))


def module_one(module):
    module.sendfd(left, file)
    os.close(module.recvfd(right))


def module_many(module):
    module.sendfds(left, files)
    close_all(module.recvfds(right, MANY))


def owner_one(module):
    module.sendfd(left, file)
    module.recv_descriptor(right).close()


def functions_one(library, sender, receiver):
    if library.sendfd(sender, file) != 1:
        raise OSError(ctypes.get_errno(), "sendfd")
    slots = array.array("i", (-1,))
    if library.recvfds(receiver, slots.buffer_info()[0], 1) != 1:
        raise OSError(ctypes.get_errno(), "recvfds")
    os.close(slots[0])


def functions_many(library, sender, receiver):
    numbers = array.array("i", files)
    if library.sendfds(sender, numbers.buffer_info()[0], MANY) != MANY:
        raise OSError(ctypes.get_errno(), "sendfds")
    slots = array.array("i", bytes(4 * MANY))
    count = library.recvfds(receiver, slots.buffer_info()[0], MANY)
    if count < 0:
        raise OSError(ctypes.get_errno(), "recvfds")
    close_all(slots[:count])


def own():
    """The contenders that come with Python, the first of which is the baseline."""
    connections = [connection.Connection(os.dup(end.fileno())) for end in (left, right)]
    one = {
        "socket.send_fds and recv_fds": sockets_one,
        "multiprocessing": functools.partial(multiprocessing_one, *connections),
    }
    many = {
        "socket.send_fds and recv_fds": sockets_many,
        "multiprocessing": multiprocessing_many,
    }
    return one, many


def load(core):
    """The package, with its core in C or without."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sendfd"]:
        del sys.modules[name]
    if not core:
        sys.modules["sendfd._core"] = None
    return importlib.import_module("sendfd")


def add_package(one, many):
    module = load(core=True)
    if "sendfd._core" in sys.modules:
        one["libsendfd"] = functools.partial(module_one, module)
        one["libsendfd; a Descriptor"] = functools.partial(owner_one, module)
        many["libsendfd"] = functools.partial(module_many, module)
    else:
        skip("libsendfd with its core in C", "it is not built")
    module = load(core=False)
    one["libsendfd by ctypes"] = functools.partial(module_one, module)
    many["libsendfd by ctypes"] = functools.partial(module_many, module)
    library = module._library.library
    ends = left.fileno(), right.fileno()
    name = "libsendfd by ctypes; its functions alone"
    one[name] = functools.partial(functions_one, library, *ends)
    many[name] = functools.partial(functions_many, library, *ends)


def timed(work, count):
    start = time.perf_counter_ns()
    for _ in range(count):
        work()
    return (time.perf_counter_ns() - start) / count


def measure(case, contenders, seconds):
    """Each contender in its turn, in each round from the next one on."""
    names = list(contenders)
    first = contenders[names[0]]
    first()
    count = max(1, int(SLICE * 1e9 / timed(first, 3)))
    for work in contenders.values():
        timed(work, count)
    end = time.monotonic() + seconds
    turn = 0
    while turn < 3 or time.monotonic() < end:
        shift = turn % len(names)
        figures = {name: timed(contenders[name], count) for name in names[shift:] + names[:shift]}
        for name in names:
            print(case, name, "ns", turn, round(figures[name]), sep=",")
        turn += 1


def main(seconds):
    one, many = own()
    add_package(one, many)
    measure("Python: one descriptor", one, seconds)
    measure("Python: 253 in a message", many, seconds)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
main(float(sys.argv[1]))

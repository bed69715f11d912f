#!/usr/bin/python3
"""What Python itself has to pass descriptors, and libsendfd by the modules of
examples/python: one descriptor, or 253 in a message, sent, received and closed over
a socketpair. Prints a line for each contender in each round, for rounds.awk.

    python.py SECONDS    to spend on each case
"""

import array
import functools
import importlib
import os
import resource
import socket
import sys
import time
from multiprocessing import connection, reduction

sys.dont_write_bytecode = True
here = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(here, "../../examples/python"))

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


def functions_one(library, sender, receiver):
    if library.sendfd(sender, file) != 1:
        raise OSError(library.get_errno(), "sendfd")
    fd = library.recvfd(receiver)
    if fd < 0:
        raise OSError(library.get_errno(), "recvfd")
    os.close(fd)


def functions_many(library, sender, receiver):
    numbers = array.array("i", files)
    if library.sendfds(sender, library.ints(numbers), MANY) != MANY:
        raise OSError(library.get_errno(), "sendfds")
    slots = array.array("i", bytes(4 * MANY))
    count = library.recvfds(receiver, library.ints(slots), MANY)
    if count < 0:
        raise OSError(library.get_errno(), "recvfds")
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


def add_binding(binding, one, many):
    os.environ["SENDFD_BINDING"] = binding
    sys.modules.pop("sendfd", None)
    try:
        module = importlib.import_module("sendfd")
    except ImportError as missing:
        skip(f"libsendfd by {binding}", missing)
        return
    library = module._library
    ends = left.fileno(), right.fileno()
    name = f"libsendfd by {binding}"
    one[name] = functools.partial(module_one, module)
    many[name] = functools.partial(module_many, module)
    name += "; its functions alone"
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
    for binding in "ctypes", "cffi":
        add_binding(binding, one, many)
    measure("Python: one descriptor", one, seconds)
    measure("Python: 253 in a message", many, seconds)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
main(float(sys.argv[1]))

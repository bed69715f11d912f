"""Exceptions at any time in the package, or in what it calls, lose nothing: a timer
interrupts at random times, and a profiler at every step.

STORM_ROUNDS is how many times each function is called.
"""

import contextlib
import gc
import os
import random
import signal
import socket
import sys
import time

import pytest

import sendfd
from support import RECEIVES, Raised, pair

ROUNDS = int(os.environ.get("STORM_ROUNDS", 2000))
#: Before 3.11 handlers run between the return of a function and the assignment of what
#: it returns.
NUMBERS_ARE_SAFE = sys.version_info >= (3, 11)


def close(received):
    if isinstance(received, sendfd.Message):
        received = received.fds
    elif isinstance(received, tuple):
        received = received[1]
    for one in received if isinstance(received, list) else [received]:
        if isinstance(one, int):
            os.close(one)
        else:
            one.close()


def takes_two(name):
    return name.endswith("s") or "fds" in name


class Storm:
    """Raises an exception when a timer is over, if it interrupts the package or what it
    calls."""

    def __init__(self):
        self.rages = False

    def handle(self, _, frame):
        if self.rages and frame.f_globals["__name__"] not in ("support", __name__):
            raise Raised

    def begin(self, seconds, interval):
        self.rages = True
        signal.setitimer(signal.ITIMER_REAL, seconds, interval)

    def end(self):
        self.rages = False
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def storm():
    storm = Storm()
    signal.signal(signal.SIGALRM, storm.handle)
    yield storm
    storm.end()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def no_collector():
    """It would run finalizers of others, and what is raised there is no fault of ours."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def duration(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.parametrize("again", [False, True], ids=["once", "repeatedly"])
@pytest.mark.parametrize("name", RECEIVES)
def test_nothing_is_lost(name, again, storm):
    if name.startswith("recvfd") and not NUMBERS_ARE_SAFE:
        pytest.skip("numbers can be lost in Python 3.9 and 3.10")
    receive = RECEIVES[name]
    with pair() as (left, right):
        right.setblocking(False)  # recvfds_all may have half of what it wants

        def send():
            sendfd.sendfds(left, [left, left] if takes_two(name) else [left])

        def measured():
            send()
            return duration(lambda: close(receive(right)))

        typical = sorted(measured() for _ in range(20))[10]
        before = os.listdir("/proc/self/fd")
        interrupted = 0
        for _ in range(ROUNDS):
            send()
            received = None
            delay = random.uniform(1e-6, 1e-5 + 1.2 * typical)
            storm.begin(delay, random.uniform(1e-5, 1e-4) * again)
            try:
                received = receive(right)
            except Raised:
                interrupted += 1
            except BlockingIOError:
                pass
            storm.end()
            if received is not None:
                close(received)
            else:
                with contextlib.suppress(BlockingIOError):
                    right.recv(100)  # which closes the descriptors
            after = os.listdir("/proc/self/fd")
            assert len(after) == len(before), (after, before)
        assert interrupted


@pytest.mark.parametrize("name", RECEIVES)
def test_at_every_step(name):
    """An exception when a function is called, or returns, as a handler can raise it.

    None can be raised when a function of Python returns, before what it returns is
    stored: from 3.11 on. That matters to numbers only.
    """
    receive = RECEIVES[name]
    events = {"call", "c_call", "c_return", "c_exception"}
    if not name.startswith("recvfd"):
        events.add("return")
    with pair() as (left, right):
        before = len(os.listdir("/proc/self/fd"))
        steps = 0
        done = False
        while not done:
            left_to_go = steps

            def profile(frame, event, _):
                nonlocal left_to_go
                if event in events and frame.f_globals["__name__"] not in ("support", __name__):
                    left_to_go -= 1
                    if left_to_go < 0:
                        raise Raised

            sendfd.sendfds(left, [left, left] if takes_two(name) else [left])
            sys.setprofile(profile)
            try:
                received = receive(right)
                sys.setprofile(None)
                close(received)
                done = True
            except Raised:
                sys.setprofile(None)
            with contextlib.suppress(BlockingIOError):
                right.recv(100, socket.MSG_DONTWAIT)  # which closes the descriptors
            assert len(os.listdir("/proc/self/fd")) == before, steps
            steps += 1
        assert steps > 4

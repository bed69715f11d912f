"""Every test counts the open descriptors before and after. If one hangs, all end, with
the stack that hangs."""

import faulthandler
import os
import signal
import sys

import pytest

LIMIT = int(os.environ.get("TEST_TIMEOUT", 300))  # seconds for all, on a machine that is busy


def pytest_addoption(parser):
    parser.addoption("--without-core", action="store_true", help="test the calls by ctypes")


def pytest_configure(config):
    if config.getoption("--without-core"):
        sys.modules["sendfd._core"] = None
    # Python leaves SIGINT alone if it is ignored, as in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Once, and not for each test: its thread blocks all signals, but in its first
    # moment it would take one that is meant to interrupt the main thread.
    stderr = os.fdopen(os.dup(2), "w")
    config.add_cleanup(stderr.close)
    config.add_cleanup(faulthandler.cancel_dump_traceback_later)
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=stderr)


@pytest.fixture(autouse=True)
def descriptors_are_closed():
    before = sorted(os.listdir("/proc/self/fd"), key=int)
    yield
    assert sorted(os.listdir("/proc/self/fd"), key=int) == before


@pytest.fixture(autouse=True)
def nothing_is_raised_in_a_finalizer(monkeypatch):
    """What is raised there is printed and forgotten, a timeout too."""
    forgotten = []
    monkeypatch.setattr(sys, "unraisablehook", forgotten.append)
    yield
    assert not forgotten

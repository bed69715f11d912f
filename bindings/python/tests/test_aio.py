"""sendfd.aio: what it sends and receives, what waits, and what is cancelled.

STORM_ROUNDS is how many times each function is cancelled.
"""

import asyncio
import contextlib
import errno
import functools
import gc
import itertools
import os
import random
import resource
import socket
import sys
from array import array

import pytest

import sendfd
from sendfd import aio
from support import Raised, close_all, files, names, nothing_was_sent, pair, raises

ROUNDS = int(os.environ.get("STORM_ROUNDS", 2000))

#: Each way to receive two descriptors, or one.
RECEIVES = {
    "recv_descriptor": lambda fr: aio.recv_descriptor(fr),
    "recv_descriptors": lambda fr: aio.recv_descriptors(fr, 2),
    "recv_file": lambda fr: aio.recv_file(fr, "r", encoding="ascii"),
    "recv_files": lambda fr: aio.recv_files(fr, 2),
    "recv_socket": lambda fr: aio.recv_socket(fr, timeout=None),
    "recv_sockets": lambda fr: aio.recv_sockets(fr, 2),
    "recvfds_all": lambda fr: aio.recvfds_all(fr, 2),
    "recvfds_msg": lambda fr: aio.recvfds_msg(fr, 2, 10),
    "recvfds_msghdr": lambda fr: aio.recvfds_msghdr(fr, 2, iter([bytearray(10)])),
}
#: Each way to send descriptors; of generators, which can be read once.
SENDS = {
    "sendfd": lambda to, fd: aio.sendfd(to, fd),
    "sendfds": lambda to, fd: aio.sendfds(to, iter([fd])),
    "sendfds_all": lambda to, fd: aio.sendfds_all(to, iter([fd])),
    "sendfds_msg": lambda to, fd: aio.sendfds_msg(to, iter([fd]), b"\1"),
    "sendfds_msghdr": lambda to, fd: aio.sendfds_msghdr(to, iter([fd]), iter([b"\1"]), iter([])),
}
every_receive = pytest.mark.parametrize("name", RECEIVES)
every_send = pytest.mark.parametrize("name", SENDS)


def in_a_loop(test):
    @functools.wraps(test)
    def run(*arguments, **named):
        unhandled = []

        async def main():
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: unhandled.append(context)
            )
            await test(*arguments, **named)

        asyncio.run(main())
        assert not any(aio._waiting.values())
        assert not unhandled

    return run


@contextlib.contextmanager
def non_blocking_pair(kind=socket.SOCK_STREAM):
    with pair(kind) as (left, right):
        left.setblocking(False)
        right.setblocking(False)
        yield left, right
        loop = asyncio._get_running_loop()
        for one in (left, right) if loop else ():
            if one.fileno() != -1:
                assert not loop.remove_reader(one) and not loop.remove_writer(one)


async def started(coroutine):
    """A task that has made its first step."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


def send_for(name, to):
    """Sends what the function receives."""
    sendfd.sendfds(to, [to, to] if name.endswith("s") or "fds" in name else [to])


def owners(received):
    """The objects in what was received."""
    if isinstance(received, aio.Message):
        received = received.fds
    elif isinstance(received, tuple):
        received = received[1]
    return received if isinstance(received, list) else [received]


def close(received):
    for one in owners(received):
        one.close()


def fill(sender):
    """Sends until nothing more goes; how many."""
    for count in itertools.count():
        try:
            sendfd.sendfd(sender, sender)
        except BlockingIOError:
            return count


def receive_all(receiver):
    """How many descriptors are in the socket."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            fds = sendfd.recvfds(receiver, 253)
            close_all(fds)
            count += len(fds)
    return count


async def all_done():
    """Until tasks have done what they can: one is woken in a step, and runs in the next."""
    for _ in range(5):
        await asyncio.sleep(0)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


# --- the usual -------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waits"])
@every_receive
@in_a_loop
async def test_receive(name, waits):
    with non_blocking_pair() as (left, right):
        if waits:
            task = await started(RECEIVES[name](right))
            assert not task.done()
            send_for(name, left)
        else:
            send_for(name, left)
            task = await started(RECEIVES[name](right))
            assert task.done()
        received = owners(await task)
        for one in received:
            assert os.path.sameopenfile(one.fileno(), left.fileno())
            assert not isinstance(one, int)
        assert len(received) == (2 if name.endswith("s") or "fds" in name else 1)
        close(await task)
        nothing_was_sent(right)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waits"])
@every_send
@in_a_loop
async def test_send(name, waits):
    with non_blocking_pair() as (left, right), files(1) as (file,):
        if waits:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            fill(left)
        task = await started(SENDS[name](left, file))
        assert task.done() is not waits
        if waits:
            assert receive_all(right)
        result = await task
        assert result == (1 if "msg" in name else None)
        with await aio.recv_file(right, "r") as received:
            assert os.path.sameopenfile(received.fileno(), file.fileno())
        nothing_was_sent(right)


@in_a_loop
async def test_content():
    """files with a mode, data, credentials, and numbers as sockets"""
    with non_blocking_pair() as (left, right), files(3) as opened:
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        await aio.sendfds(left.fileno(), opened)
        for file, name in zip(await aio.recv_files(right.fileno(), 3, mode="r"), names(3)):
            with file:
                file.seek(0)
                assert file.read() == name
        await aio.sendfds_msg(left, opened[:1], b"data")
        buffer = bytearray(10)
        message = await aio.recvfds_msghdr(right, 1, [buffer], 64)
        assert (message.length, buffer[:5]) == (4, b"data\0")
        assert message.credentials == sendfd.Credentials.own()
        assert (message.flags & socket.MSG_CTRUNC, message.address) == (0, None)
        close(message)
        assert await aio.sendfds_msg(left, [], b"data", socket.MSG_NOSIGNAL) == 4
        assert await aio.recvfds_msg(right, 0, 10) == (b"data", [])


@in_a_loop
async def test_both_directions():
    """of the same socket, by tasks that wait at the same time"""
    with non_blocking_pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        fill(left)
        sends = await started(aio.sendfd(left, left))
        receives = await started(aio.recv_descriptor(left))
        await aio.sendfd(right, right)
        (await receives).close()
        assert not sends.done()
        assert receive_all(right)
        await sends
        assert receive_all(right) == 1


@in_a_loop
async def test_several_tasks():
    """share a socket: each gets one message, and each message goes once"""
    with non_blocking_pair() as (left, right), files(10) as opened:
        receives = [asyncio.ensure_future(aio.recv_file(right, "r")) for _ in range(10)]
        await asyncio.sleep(0)
        for file in opened:
            await aio.sendfd(left, file)
            await asyncio.sleep(0)
        received = await asyncio.gather(*receives)
        assert {os.fstat(file.fileno()).st_ino for file in received} == {
            os.fstat(file.fileno()).st_ino for file in opened
        }
        for file in received:
            file.close()
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        fill(left)
        sends = [asyncio.ensure_future(aio.sendfd(left, left)) for _ in range(100)]
        await asyncio.sleep(0)
        receive_all(right)
        for _ in sends:
            (await aio.recv_descriptor(right)).close()
        await asyncio.gather(*sends)
        nothing_was_sent(right)


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 10], ids=["blocking", "timeout"])
@pytest.mark.parametrize("name", [*RECEIVES, *SENDS])
@in_a_loop
async def test_socket_that_blocks(name, timeout):
    """is an error at once; nothing is sent or received"""
    with pair() as (left, right):
        left.settimeout(timeout)
        sendfd.sendfd(right, right)
        for one in (left, left.fileno()) if timeout is None else (left,):
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await (SENDS[name](one, 0) if name in SENDS else RECEIVES[name](one))
        nothing_was_sent(right)
        left.setblocking(False)
        assert receive_all(left) == 1


@in_a_loop
async def test_socket_that_others_made_blocking():
    with non_blocking_pair() as (left, right):
        os.set_blocking(right.fileno(), True)
        with pytest.raises(ValueError, match="the socket must be non-blocking"):
            await aio.recv_descriptor(right)


@every_receive
@in_a_loop
async def test_end_of_file(name):
    with non_blocking_pair() as (left, right):
        task = await started(RECEIVES[name](right))
        left.close()
        with raises(EOFError):
            await task
        with raises(EOFError):
            await RECEIVES[name](right)


@every_send
@in_a_loop
async def test_peer_closes(name):
    with non_blocking_pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        fill(left)
        task = await started(SENDS[name](left, 0))
        right.close()
        with raises(BrokenPipeError, errno.EPIPE):
            await task


@pytest.mark.parametrize("name", [*RECEIVES, *SENDS])
@in_a_loop
async def test_bad_sockets(name):
    call = RECEIVES.get(name) or (lambda to: SENDS[name](to, 0))
    for bad, kind in ((True, TypeError), (None, TypeError), (2**31, OverflowError)):
        with raises(kind):
            await call(bad)
    with raises(OSError, errno.EBADF):
        await call(-1)
    closed = socket.socket()
    closed.close()
    with raises(OSError, errno.EBADF):
        await call(closed)


@in_a_loop
async def test_bad_arguments():
    with non_blocking_pair() as (left, right):
        for call in (
            aio.sendfd(left, True),
            aio.sendfds(left, [0, None]),
            aio.sendfds_all(left, [0, "0"]),
            aio.recvfds_all(right, None),
        ):
            with raises(TypeError):
                await call
        with raises(OSError, errno.EINVAL):
            await aio.recvfds_all(right, 0)
        with raises(ValueError):
            await aio.recv_file(right, "x+")
        nothing_was_sent(right)


def test_refused_descriptor():
    """of a partial message is a closed one"""
    refused, one = sendfd._objects.separate(array("i", [-1, os.dup(0)]))
    with one:
        assert refused.closed and not one.closed


# --- many, in parts --------------------------------------------------------------


@in_a_loop
async def test_many_in_parts():
    """Both sides have to wait, and go on where they stopped."""
    with non_blocking_pair() as (left, right), files(23) as opened:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        sends = await started(aio.sendfds_all(left, iter(opened * 253)))  # 23 messages
        assert not sends.done()
        inodes = []
        while len(inodes) < 23 * 253:
            for descriptor in await aio.recvfds_all(right, 253):
                with descriptor:
                    inodes.append(os.fstat(descriptor.fileno()).st_ino)
        assert inodes == [os.fstat(file.fileno()).st_ino for file in opened] * 253
        assert await sends is None

        receives = await started(aio.recvfds_all(right, 4))
        for part in (opened[:1], opened[1:3], opened[3:4]):
            assert not receives.done()
            await aio.sendfds(left, part)
            await all_done()
        for descriptor, file in zip(await receives, opened):
            with descriptor:
                assert os.path.sameopenfile(descriptor.fileno(), file.fileno())


@in_a_loop
async def test_send_is_cancelled_part_way():
    """The exception says how many went."""
    with non_blocking_pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        sends = await started(aio.sendfds_all(left, [0] * 253 * 50))
        went = [receive_all(right)]
        await all_done()
        sends.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await sends
        went.append(receive_all(right))
        assert all(went)
        assert of_cancelled(caught.value, "sent") == sum(went)


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "left"])
@pytest.mark.parametrize("end", ["cancelled", "timeout", "closed"])
@in_a_loop
async def test_receive_ends_part_way(end, taken):
    """The exception owns what came: nobody need look at it."""
    with non_blocking_pair() as (left, right), files(3) as opened:
        before = open_descriptors()
        receives = aio.recvfds_all(right, 5)
        early = 1
        if end == "timeout":
            receives = asyncio.wait_for(receives, 0.01)
            early = 3
        await aio.sendfds(left, opened[:early])
        receives = await started(receives)
        for file in opened[early:]:
            await all_done()
            await aio.sendfd(left, file)
        await all_done()
        if end == "cancelled":
            receives.cancel()
        elif end == "closed":
            left.shutdown(socket.SHUT_RDWR)
        try:
            await receives
        except EOFError as error:
            assert end == "closed"
            received = error.received
        except asyncio.CancelledError as error:
            assert end == "cancelled"
            received = of_cancelled(error, "received")
        except asyncio.TimeoutError as error:
            assert end == "timeout"
            received = of_cancelled(error.__cause__, "received")
        assert open_descriptors() == before + 3
        assert len(received) == 3
        if taken:
            for descriptor, file in zip(received, opened):
                with descriptor:
                    assert os.path.sameopenfile(descriptor.fileno(), file.fileno())
            del descriptor
        del receives, received
        await all_done()  # the step that ends here holds the task
        if end == "timeout":
            gc.collect()  # wait_for() makes a cycle
        assert open_descriptors() == before


def of_cancelled(error, attribute):
    """In Python 3.9 and 3.10 a task makes another CancelledError of that which it got."""
    return getattr(error if hasattr(error, attribute) else error.__context__, attribute)


@in_a_loop
async def test_too_many_in_flight():
    """is an error at once, as without aio"""
    with non_blocking_pair() as (left, right), contextlib.ExitStack() as stack:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        if os.geteuid() == 0:  # whom the limit does not bind
            stack.callback(os.seteuid, 0)
            os.seteuid(65534)
        with raises(OSError, errno.ETOOMANYREFS) as caught:
            await aio.sendfds_all(left, [0] * 253 * 4)
        assert caught.value.sent == receive_all(right)


# --- cancelling ------------------------------------------------------------------


@every_receive
@in_a_loop
async def test_receive_is_cancelled(name):
    """The message stays in the socket."""
    with non_blocking_pair() as (left, right):
        task = await started(RECEIVES[name](right))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        send_for(name, left)
        close(await RECEIVES[name](right))


@every_send
@in_a_loop
async def test_send_is_cancelled(name):
    """Nothing goes."""
    with non_blocking_pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        fill(left)
        task = await started(SENDS[name](left, 0))
        receive_all(right)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        nothing_was_sent(right)


@in_a_loop
async def test_one_of_several_is_cancelled():
    """when it has been woken, but has not run yet: the other gets the message"""
    for steps in range(5):
        with non_blocking_pair() as (left, right):
            one = await started(aio.recv_descriptor(right))
            other = await started(aio.recv_descriptor(right))
            await aio.sendfd(left, left)
            for _ in range(steps):
                await asyncio.sleep(0)
            if one.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await one
                (await other).close()
            else:
                (await one).close()
                await aio.sendfd(left, left)
                (await other).close()


async def some_steps():
    for _ in range(random.randrange(5)):
        await asyncio.sleep(0)


@every_receive
@in_a_loop
async def test_storm(name):
    """of cancellations: each message is received, or stays in the socket"""
    with non_blocking_pair() as (left, right):
        before = open_descriptors()
        cancelled = 0
        for _ in range(ROUNDS):
            task = asyncio.ensure_future(RECEIVES[name](right))
            await some_steps()
            if random.random() < 0.1:
                task.cancel()
            send_for(name, left)
            await some_steps()
            task.cancel()
            try:
                close(await task)
            except asyncio.CancelledError:
                cancelled += 1
                assert right.recv(100)  # which closes the descriptors
            nothing_was_sent(right)
            assert open_descriptors() == before
        assert 0 < cancelled < ROUNDS


@every_receive
@in_a_loop
async def test_storm_of_timeouts(name):
    loop = asyncio.get_running_loop()
    with non_blocking_pair() as (left, right):
        before = open_descriptors()
        timed_out = 0

        def send(done):
            send_for(name, left)
            done.set_result(None)

        for _ in range(ROUNDS):
            done = loop.create_future()
            loop.call_later(random.uniform(0, 3e-4), send, done)
            try:
                close(await asyncio.wait_for(RECEIVES[name](right), random.uniform(0, 3e-4)))
            except asyncio.TimeoutError:
                timed_out += 1
                await done
                assert right.recv(100)  # which closes the descriptors
            nothing_was_sent(right)
            assert open_descriptors() == before
        assert 0 < timed_out < ROUNDS


@in_a_loop
async def test_storm_of_sends():
    """What is sent and what is not, the tasks say."""
    with non_blocking_pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        cancelled = 0
        for _ in range(ROUNDS):
            filled = fill(left)
            tasks = [asyncio.ensure_future(aio.sendfd(left, 0)) for _ in range(3)]
            await some_steps()
            assert receive_all(right) == filled
            await some_steps()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert receive_all(right) == results.count(None)
            cancelled += 3 - results.count(None)
        assert 0 < cancelled < 3 * ROUNDS


@every_receive
def test_at_every_step(name):
    """an exception, as a signal handler can raise it"""
    with non_blocking_pair() as (left, right):
        before = open_descriptors()
        steps = 0
        received = None
        while received is None:
            left_to_go = steps

            def profile(frame, event, _):
                nonlocal left_to_go
                if frame.f_globals["__name__"] != __name__:
                    left_to_go -= 1
                    if left_to_go < 0:
                        raise Raised

            send_for(name, left)
            call = RECEIVES[name](right)
            sys.setprofile(profile)
            try:
                call.send(None)  # which does not have to wait
            except StopIteration as done:
                sys.setprofile(None)
                received = done.value
            except Raised:
                sys.setprofile(None)
            with contextlib.suppress(BlockingIOError):
                right.recv(100)  # which closes the descriptors
            del call
            steps += 1
            assert received is not None or open_descriptors() == before, steps
        close(received)
        assert steps > 10


def test_loop_that_is_left():
    """with a task that waits: the task goes, and with it what it holds"""
    with non_blocking_pair() as (_, right):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        task = loop.create_task(aio.recv_descriptor(right))
        loop.run_until_complete(asyncio.sleep(0))
        assert aio._waiting
        loop.close()
        del loop, task
        gc.collect()
        assert not aio._waiting

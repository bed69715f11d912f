#!/usr/bin/python3
"""Two processes that are no relatives of each other pass an open file over a
socket in the file system. In two terminals, in any order:

    ./unrelated.py server PATH [CLIENTS]     until Ctrl-C, or CLIENTS were served
    ./unrelated.py client PATH FILE

The server reads the client's file through the descriptor that it is sent. PATH
has one owner at a time, the process that holds a lock on PATH.lock: a second
server is refused, and the socket that a killed one left is replaced. The other
end may be the example of another language, and so may the other server.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import stat
import struct
import sys
import time
from contextlib import closing, suppress

import sendfd

SERVER_LIMIT = 10  # seconds a client waits for a server to come up
ANSWER_LIMIT = 60  # and for its answer: others may be before it
CLIENT_LIMIT = 5  # seconds a server waits for what a client sends
PATH_LIMIT = 107  # bytes in the path of a socket


class Failure(Exception):
    """What ends the program, in words for its user."""


class NotServed(Exception):
    """Why one client gets no answer; the next one may."""


def say(text):
    print(text, flush=True)


def check_path(path):
    length = len(os.fsencode(path))
    if not 1 <= length <= PATH_LIMIT:
        raise Failure(
            f"the path of a socket has 1 to {PATH_LIMIT} bytes, "
            f"this one has {length}: {path}"
        )


# --- the server: owning the path ---------------------------------------------


def is_still(path, file):
    try:
        return os.path.samestat(os.lstat(path), file)
    except OSError:
        return False


class Place:
    """The path of a socket, owned and listened on from start to close()."""

    def __init__(self, path):
        check_path(path)
        self.path = path
        self.lock_path = path + ".lock"
        self.lock()
        try:
            self.clear()
            self.listen()
        except BaseException:
            self.unlock()
            raise

    def close(self):
        self.remove_if_still(self.path, self.socket_file)
        self.listener.close()
        self.unlock()

    def lock(self):
        """Takes the lock; the kernel releases it when this process ends, however
        that is."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self.lock_descriptor = os.open(self.lock_path, flags, 0o600)
            try:
                fcntl.flock(self.lock_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.lock_file = os.fstat(self.lock_descriptor)
                # It will be removed: it had better not be somebody's data.
                if not stat.S_ISREG(self.lock_file.st_mode) or self.lock_file.st_size:
                    raise Failure(
                        f"{self.lock_path} is not a lock file, leaving it alone"
                    )
                # A server that ended between open and flock has removed the file:
                # the lock is on one that nobody else will find.
                if is_still(self.lock_path, self.lock_file):
                    return
            except BlockingIOError:
                os.close(self.lock_descriptor)
                raise Failure(f"another server is running on {self.path}") from None
            except BaseException:
                os.close(self.lock_descriptor)
                raise
            os.close(self.lock_descriptor)

    def clear(self):
        """Removes the socket of a killed server, and nothing else."""
        try:
            file = os.lstat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(file.st_mode):
            raise Failure(f"{self.path} exists and is not a socket, leaving it alone")

        # Servers of this program hold the lock, those of others may not. A
        # blocking socket would wait for one whose queue is full.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            refused = probe.connect_ex(self.path)
        if refused in (0, errno.EAGAIN, errno.EPROTOTYPE):
            raise Failure(f"another program is listening on {self.path}")
        if refused != errno.ECONNREFUSED:
            raise Failure(
                f"{self.path} is a socket, but whose? {os.strerror(refused)}"
            )
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        say(f"server {os.getpid()}: took over {self.path}, which a server left")

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bound = False
        try:
            self.listener.setblocking(False)
            # For its owner only, from its first moment on.
            mask = os.umask(0o177)
            try:
                self.listener.bind(self.path)
                bound = True
            finally:
                os.umask(mask)
            self.socket_file = os.lstat(self.path)
            self.listener.listen(socket.SOMAXCONN)
        except BaseException:
            if bound:
                os.unlink(self.path)
            self.listener.close()
            raise

    def unlock(self):
        # The file goes while it is locked: whoever opened it may now get the lock.
        self.remove_if_still(self.lock_path, self.lock_file)
        os.close(self.lock_descriptor)

    @staticmethod
    def remove_if_still(path, file):
        with suppress(FileNotFoundError):
            if is_still(path, file):
                os.unlink(path)


# --- the server: serving -------------------------------------------------------


class Stop(Exception):
    """SIGINT or SIGTERM has come."""


class Signals:
    """From here on SIGINT and SIGTERM interrupt nothing, but are seen by wait()."""

    def __init__(self):
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        # The byte is written by the handler in C, at the very moment.
        signal.set_wakeup_fd(self.writer.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def wait(self, file, seconds=None):
        """Whether the file is readable in that time."""
        files = [self.reader] if file is None else [self.reader, file]
        readable, _, _ = select.select(files, [], [], seconds)
        if self.reader in readable:
            raise Stop
        return bool(readable)


def check_peer(connection):
    """The peer may be served if it is the same user, or root."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, user, _ = struct.unpack("iII", peer)
    welcome = user in (os.geteuid(), 0)
    refused = "" if welcome else ": refused, it is another user"
    say(f"server {os.getpid()}: process {pid} of user {user} connects{refused}")
    return welcome


def receive_file(connection):
    try:
        return sendfd.recv_descriptor(connection)
    except EOFError:
        raise NotServed("the client closed the connection and sent nothing") from None
    except OSError as error:
        reasons = {
            errno.ENOMSG: "the client sent a message without a descriptor",
            errno.EMSGSIZE: "the client sent more than one descriptor",
        }
        raise NotServed(reasons.get(error.errno, error.strerror)) from None


def print_file(fd, signals):
    """Prints a file from its beginning, wherever the client has its offset, which
    pread does not move."""
    file = os.fstat(fd)
    if not stat.S_ISREG(file.st_mode):
        raise NotServed("the client sent something that is not a regular file")
    say(
        f"server {os.getpid()}: received a file of {file.st_size} bytes, "
        f"here it is descriptor {fd}"
    )
    say("----- content begins")
    last, offset, why_not = b"\n", 0, "the file cannot be read to its end"
    try:
        while offset < file.st_size:
            signals.wait(None, 0)
            block = os.pread(fd, min(file.st_size - offset, 65536), offset)
            if not block:
                break
            sys.stdout.buffer.write(block)
            last, offset = block[-1:], offset + len(block)
    except Stop:
        why_not = "told to stop"
    except OSError:
        sys.stdout.flush()  # if it is the output that failed, it fails again
    say(("" if last == b"\n" else "\n") + "----- content ends")
    if offset < file.st_size:
        raise NotServed(why_not)


def serve(connection, signals):
    """Serves one client: true if it got its answer."""
    if not check_peer(connection):
        return False
    try:
        if not signals.wait(connection, CLIENT_LIMIT):
            raise NotServed("the client sent nothing in time")
        with receive_file(connection) as descriptor:
            print_file(descriptor.fileno(), signals)
        try:
            connection.send(b"!")
        except OSError:
            raise NotServed("the client did not wait for the answer") from None
        return True
    except Stop:
        say(f"server {os.getpid()}: not served: told to stop")
    except NotServed as reason:
        say(f"server {os.getpid()}: not served: {reason}")
    return False


def server(path, clients):
    """Serves one client after another; clients is 0 for no limit."""
    signals = Signals()
    with closing(Place(path)) as place:
        say(f"server {os.getpid()}: listening on {path}")
        served = 0
        try:
            while clients == 0 or served < clients:
                signals.wait(place.listener)
                try:
                    connection, _ = place.listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue
                with connection:
                    served += serve(connection, signals)
        except Stop:
            pass
    say(f"server {os.getpid()}: ends")


# --- the client ------------------------------------------------------------------


def connect_in_time(connection, path):
    """Connects, and waits for a server that is not up yet."""
    give_up = time.monotonic() + SERVER_LIMIT
    waiting = False
    while True:
        try:
            return connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            pass  # BlockingIOError: its queue is full
        except OSError as error:
            raise Failure(f"connecting to {path}: {error.strerror}") from None
        if time.monotonic() >= give_up:
            raise Failure(f"no server on {path} in {SERVER_LIMIT} seconds")
        if not waiting:
            say(f"client {os.getpid()}: no server on {path} yet, waiting")
        waiting = True
        time.sleep(0.02)


def client(path, name):
    check_path(path)
    with open(name, "rb") as file, socket.socket(socket.AF_UNIX) as connection:
        me = f"client {os.getpid()}"
        say(f"{me}: opened {name} as descriptor {file.fileno()}")
        connection.settimeout(ANSWER_LIMIT)
        connect_in_time(connection, path)

        sendfd.sendfd(connection, file)
        say(f"{me}: sent descriptor {file.fileno()}")
        try:
            answer = connection.recv(1)
        except OSError as error:
            raise Failure(f"the server did not answer: {error}") from None
        if not answer:
            raise Failure("the server did not answer: it closed the connection")
        say(f"{me}: the server has read it")


USAGE = """\
usage: unrelated server PATH [CLIENTS]
       unrelated client PATH FILE"""


def task(role=None, *arguments):
    """What the arguments ask for, or None."""
    if role == "client" and len(arguments) == 2:
        return lambda: client(*arguments)
    if role == "server" and len(arguments) == 1:
        return lambda: server(*arguments, clients=0)
    if role == "server" and len(arguments) == 2:
        with suppress(ValueError):
            clients = int(arguments[1])
            return (lambda: server(arguments[0], clients)) if clients > 0 else None
    return None


def main(*arguments):
    sys.stdout.reconfigure(errors="surrogateescape")
    run = task(*arguments)
    if not run:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        run()
        return 0
    except Failure as error:
        print(f"unrelated: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"unrelated: {where}{error.strerror or error}", file=sys.stderr)
        # If it was the output that failed, it need not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

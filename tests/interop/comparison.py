#!/usr/bin/python3
"""Prints the measured table of docs/COMPARISON.md, one row for each receiver of
descriptors: what it does when a message brings a second descriptor, when credentials
come too, and whether what it receives is close-on-exec. A receiver that is not
installed gets no row, but a line on standard error.

The receivers are the peers of the matrix. Each is asked for one descriptor. The
descriptors that are sent are the reading ends of pipes: when the receiver has read a byte
from one, /proc shows which of them it has open, and how. strace shows whether the flag
was set as they arrived."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

BUILD = os.environ.get("O", "build")
PEERS = "tests/interop/peers"
LIMIT = 20  # seconds
# Name in the table, command, function, and the byte that it expects with n descriptors.
RECEIVERS = [
    ("libsendfd `recvfd`", [f"{BUILD}/tests/interop/c"], "recvfd", lambda n: 0),
    ("the classic snippet", [f"{BUILD}/tests/interop/classic"], "-", lambda n: 0),
    ("Python `socket.recv_fds`", [f"{PEERS}/python_socket"], "-", lambda n: 0),
    ("Python `multiprocessing` `recvfds`", [f"{PEERS}/python_multiprocessing"], "recvfds",
     lambda n: n),
    ("Perl IO::FDPass", [f"{PEERS}/perl_fdpass"], "-", lambda n: 0),
    ("Perl Socket::MsgHdr", [f"{PEERS}/perl_msghdr"], "-", lambda n: 0),
    ("Ruby `recv_io`", [f"{PEERS}/ruby_send_io"], "-", lambda n: 0),
    ("Ruby `recvmsg`", [f"{PEERS}/ruby_ancillary"], "-", lambda n: 0),
] + [
    (f"Rust {crate}", [f"{BUILD}/tests/interop/rust", crate], "-", lambda n: 0)
    for crate in ("sendfd", "passfd", "uds", "nix", "rustix", "unix-ancillary")
]


class Missing(Exception):
    """The receiver is not installed."""


def flags_of_open_pipes(pid, inodes):
    """The O_ flags of each descriptor of the process that is one of the pipes."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.stat(f"/proc/{pid}/fd/{number}").st_ino not in inodes:
                continue
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as info:
                found.append(int(info.read().split("flags:")[1].split()[0], 8))
        except FileNotFoundError:
            pass  # closed in the meantime
    return found


def unread(fd):
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]


def receive(command, function, byte, nfds, passcred=False):
    """Has nfds descriptors received. Returns the exit status, the output, the O_ flags of
    those that were open when the first was read, and the receiving system calls."""
    ours, theirs = socket.socketpair()
    if passcred:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    pipes = [os.pipe() for _ in range(nfds)]
    inodes = [os.fstat(read).st_ino for read, _ in pipes]
    for i, (_, write) in enumerate(pipes):
        os.write(write, b"%d" % i)
    socket.send_fds(ours, [bytes([byte])], [read for read, _ in pipes])
    ours.shutdown(socket.SHUT_WR)  # who asks for another message finds the end of file
    with tempfile.NamedTemporaryFile() as log:
        child = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", "trace=recvmsg", "-o", log.name,
             *command, "receive", function, "1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: os.dup2(theirs.fileno(), 3), pass_fds=[3])
        theirs.close()
        flags, calls = [], ""
        deadline = time.monotonic() + LIMIT
        while child.poll() is None and time.monotonic() < deadline:
            if unread(pipes[0][0]) == 0:
                with open(log.name, encoding="utf-8") as lines:
                    flags = flags_of_open_pipes(lines.read().split()[0], inodes)
                break
            time.sleep(0.002)
        for pair in pipes:
            for fd in pair:
                os.close(fd)
        try:
            output, errors = child.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
        with open(log.name, encoding="utf-8") as lines:
            calls = "".join(line for line in lines if "SCM_RIGHTS" in line)
    ours.close()
    if child.returncode == 77:
        raise Missing(b" ".join(errors.split()).decode())
    return child.returncode, output, flags, calls


def row(name, command, function, byte):
    if not os.access(command[0], os.X_OK):
        raise Missing(f"{command[0]} is not built")
    status, output, flags, calls = receive(command, function, byte(1), 1)
    if (status, output) != (0, b"0") or len(flags) != 1:
        raise RuntimeError(f"{name} does not receive one: {status} {output} {flags}")
    if "MSG_CMSG_CLOEXEC" in calls.split("}, ")[-1]:
        close_on_exec = "as it arrives"
    else:
        close_on_exec = "**later**" if flags[0] & os.O_CLOEXEC else "**no**"

    status, output, flags, _ = receive(command, function, byte(2), 2)
    if output == b"01":
        surplus = "is returned too"
    elif not flags:
        surplus = "is an error"
    elif len(flags) == 2:
        surplus = "**leaks**"
    else:
        surplus = "**is lost, no error**" if status == 0 else "is an error"

    status, output, _, _ = receive(command, function, byte(1), 1, passcred=True)
    credentials = "received" if (status, output) == (0, b"0") else "**lost**"
    return f"| {name} | {close_on_exec} | {surplus} | {credentials} |"


for receiver in RECEIVERS:
    try:
        print(row(*receiver))
    except Missing as missing:
        print(f"{receiver[0]}: {missing}", file=sys.stderr)

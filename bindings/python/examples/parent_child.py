#!/usr/bin/python3
"""A parent passes an open file to its child over a socketpair. The file is opened
after the fork, so that the child cannot have inherited it. What the child gets is
a descriptor for the same open file description: when it has read to the end, the
parent's offset is at the end too.

    ./parent_child.py /etc/hosts
"""

import os
import socket
import struct
import sys

import sendfd


class Failure(Exception):
    pass


def say(text):
    print(text, flush=True)


def print_content(file):
    """Prints all that can be read; returns the offset after that."""
    say("----- content begins")
    last, length = b"\n", 0
    while block := file.read(65536):
        sys.stdout.buffer.write(block)
        last, length = block[-1:], length + len(block)
    say(("" if last == b"\n" else "\n") + "----- content ends")

    size = os.fstat(file.fileno()).st_size
    if length != size:
        raise Failure(f"child: read {length} bytes, but the size is {size}")
    return file.tell()


def child(connection):
    me = f"child {os.getpid()}"
    byte = connection.recv(1)
    if not byte:
        raise Failure("child: no byte came: end of file")
    say(f"{me}: the byte '{byte.decode()}' came")

    # Unbuffered: a buffer would read further than is asked for, and the offset
    # is the parent's too.
    with sendfd.recv_file(connection, "rb", buffering=0) as file:
        say(f"{me}: the file came, here it is descriptor {file.fileno()}")
        offset = print_content(file)
    say(f"{me}: read it to the end, final offset {offset}")
    connection.sendall(struct.pack("q", offset))


def parent(connection, path):
    me = f"parent {os.getpid()}"
    with open(path, "rb", buffering=0) as file:
        say(
            f"{me}: opened {path} as descriptor {file.fileno()}, offset 0; "
            "sending a byte, then it"
        )
        # A byte of the program's own protocol: recvfd() leaves such bytes alone, as
        # long as the receiver reads them, and no more, before it calls it.
        connection.sendall(b"!")
        sendfd.sendfd(connection, file)

        told = connection.recv(8, socket.MSG_WAITALL)
        if len(told) != 8:
            raise Failure("parent: the child told no offset: end of file")
        (of_child,) = struct.unpack("q", told)
        offset = file.tell()
        if offset != of_child:
            raise Failure(f"parent: the offset is {offset} here, {of_child} there")
    say(f"{me}: read nothing, yet its offset is {offset} too: it is shared")


def succeeds(part, *arguments):
    try:
        part(*arguments)
        return True
    except Failure as error:
        reason = error
    except EOFError:
        reason = f"{part.__name__}: no descriptor came: end of file"
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        reason = f"{part.__name__}: {what}{error.strerror or error}"
    print(f"parent_child: {reason}", file=sys.stderr)
    return False


def main(path="/etc/hosts", *_):
    sys.stdout.reconfigure(errors="surrogateescape")
    parents, childs = socket.socketpair()
    pid = os.fork()

    # Each closes the other's end: else it would never see the end of file.
    if pid == 0:
        parents.close()
        with childs:
            status = 0 if succeeds(child, childs) else 1
        os._exit(status)  # what is buffered has been printed: say() flushes
    childs.close()
    with parents:
        passed = succeeds(parent, parents, path)

    _, status = os.waitpid(pid, 0)
    if status != 0:
        sys.exit("parent_child: the child failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Takes bulk data from `bulk_daemon` and from a bare socket; prints what each way took, as JSON.

    bulk_client.py PATH BYTES

Prints `bare_s` and `upgraded_s`, the seconds for all bytes, and `lent_s` and `lent_small_s`, the seconds
until all of a lent file, or a page of it, is mapped and its ends were read.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import sys
import time

from bulk_daemon import Bulk, send_file_pieces

from daemonry import Client


def drain(sock: socket.socket, size_bytes: int, early: bytes = b"") -> None:
    """Take that many bytes from a socket into one buffer."""
    buffer = bytearray(1 << 18)
    left_bytes = size_bytes - len(early)
    while left_bytes:
        left_bytes -= sock.recv_into(buffer)


def bare(size_bytes: int) -> float:
    """Return how long a process that only sends takes to one that only receives."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        theirs.recv(1)
        send_file_pieces(size_bytes, theirs.sendall)
        os._exit(0)
    theirs.close()
    ours.send(b"g")
    began_s = time.perf_counter()
    drain(ours, size_bytes)
    took_s = time.perf_counter() - began_s
    os.waitpid(pid, 0)
    ours.close()
    return took_s


def upgraded(path: str, size_bytes: int) -> float:
    """Return how long the same takes on an upgraded connection, the call included."""
    client = Client.connect(f"unix:{path}")
    began_s = time.perf_counter()
    told_bytes, stream = client.proxy(Bulk).pour(size_bytes)
    early = stream.take_early()
    sock = socket.socket(fileno=stream.take_socket().detach())
    sock.setblocking(True)
    drain(sock, told_bytes, early)
    took_s = time.perf_counter() - began_s
    sock.close()
    return took_s


def lent(path: str, size_bytes: int) -> float:
    """Return how long it takes to be lent a file, to map `size_bytes` of it, and to read both ends."""
    with Client.connect(f"unix:{path}") as client:
        bulk = client.proxy(Bulk)
        bulk.lend().close()
        began_s = time.perf_counter()
        with bulk.lend() as file, mmap.mmap(file.fileno(), size_bytes, prot=mmap.PROT_READ) as mapped:
            assert mapped[0] == mapped[-1] == 0
            return time.perf_counter() - began_s


def main() -> None:
    """Measure each way once."""
    path, size_bytes = sys.argv[1], int(sys.argv[2])
    took = {
        "bare_s": bare(size_bytes),
        "upgraded_s": upgraded(path, size_bytes),
        "lent_s": lent(path, size_bytes),
        "lent_small_s": lent(path, mmap.PAGESIZE),
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main()

"""Takes bulk data from `bulk_daemon` and from `bulk_bare`; prints what each way took, as JSON.

    bulk_client.py PATH BARE_PATH BYTES ROUND

Each way is gone once before it is timed, for a part of the bytes; the order changes with the round.

Prints `bare_s` and `upgraded_s`, the seconds for all bytes, and `lent_s` and `lent_small_s`, the seconds
until all of a lent file, or a page of it, is mapped and its ends were read.
"""

from __future__ import annotations

import json
import mmap
import socket
import sys
import time

from bulk_daemon import Bulk

from daemonry import Client

# A sixteenth.
WARM_UP_SHIFT = 4


def drain(sock: socket.socket, size_bytes: int, early: bytes = b"") -> None:
    """Take that many bytes from a socket into one buffer."""
    buffer = bytearray(1 << 18)
    left_bytes = size_bytes - len(early)
    while left_bytes:
        left_bytes -= sock.recv_into(buffer)


def bare(path: str, size_bytes: int) -> float:
    """Return how long a process that only sends takes to one that only receives."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        began_s = time.perf_counter()
        sock.sendall(size_bytes.to_bytes(8, "little"))
        drain(sock, size_bytes)
        return time.perf_counter() - began_s


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
    path, bare_path, size_bytes, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    ways = [
        ("bare_s", lambda count: bare(bare_path, count)),
        ("upgraded_s", lambda count: upgraded(path, count)),
    ]
    took = {}
    for name, way in ways if number % 2 else reversed(ways):
        way(size_bytes >> WARM_UP_SHIFT)
        took[name] = way(size_bytes)
    took["lent_s"] = lent(path, size_bytes)
    took["lent_small_s"] = lent(path, mmap.PAGESIZE)
    print(json.dumps(took))


if __name__ == "__main__":
    main()

"""A daemon that gives bulk data in both ways: on an upgraded connection, and by a descriptor.

bulk_daemon.py PATH BYTES
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

from daemonry import Daemon
from daemonry.service.interface.declare import Interface
from daemonry.service.interface.handler import Upgrade
from daemonry.transport.ancillary import Fd

PIECE = bytes(1 << 18)


class Bulk(Interface, name="org.example.bulk"):
    """Gives bytes."""

    def __init__(self, size_bytes: int) -> None:
        self._filled = os.memfd_create("bulk", os.MFD_CLOEXEC)
        send_file_pieces(size_bytes, lambda piece: os.write(self._filled, piece))

    def pour(self, size_bytes: int) -> Upgrade[int]:
        """Send that many bytes behind the reply."""

        def speak(sock: socket.socket, _early: bytes) -> None:
            send_file_pieces(size_bytes, sock.sendall)

        return Upgrade(size_bytes, speak)

    def lend(self) -> Fd:
        """Return a file in memory that is filled already."""
        return Fd.copy(self._filled)


def send_file_pieces(size_bytes: int, take: Any) -> None:
    """Give `size_bytes` to `take` in pieces."""
    for _ in range(size_bytes // len(PIECE)):
        take(PIECE)


def main() -> None:
    """Be the daemon until it is ended."""
    from daemonry.runtime.runner import run

    daemon = Daemon("bulk", endpoint=f"unix:{sys.argv[1]}", target="bulk_daemon:daemon")
    daemon.serve(Bulk(int(sys.argv[2])))

    @daemon.work
    async def idle(_run: Any) -> None:
        await asyncio.Event().wait()

    run(daemon, log_level="error")


if __name__ == "__main__":
    main()

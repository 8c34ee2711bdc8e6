"""A process that only sends: what a socket gives where nobody asks for anything else.

bulk_bare.py PATH

Whoever connects says how many bytes it wants, in eight bytes, and is sent them.
"""

from __future__ import annotations

import socket
import sys

from bulk_daemon import send_file_pieces


def main() -> None:
    """Send until it is ended."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        while True:
            peer, _ = listener.accept()
            with peer:
                send_file_pieces(int.from_bytes(peer.recv(8), "little"), peer.sendall)


if __name__ == "__main__":
    main()

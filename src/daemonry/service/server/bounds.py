"""The bounds on a server's clients: how many, how much, how slowly.

Owns the numbers that a program may set for its own server, and their defaults.  Who counts and who
acts is said beside each.
"""

from __future__ import annotations

from typing import Final

import msgspec

from daemonry.limits import FIRST_BYTE_TIMEOUT_S
from daemonry.wire.varlink import MAX_FRAME_BYTES


class Bounds(msgspec.Struct, frozen=True):
    """The bounds of one server.

    Attributes:
        connections: at the same time; None for three quarters of the descriptors that the process
            may have.  Counted by `server`.
        connections_per_uid: of one user; None for all of them.  Root and the daemon's own user are
            the only ones who get in, so that one of the two cannot lock the other out.
        first_byte_s: for a client to send its line, or the first byte of a call.
        frame_s: for a call that has begun to arrive to bring `frame_progress_bytes` more.
        stall_s: for a client to take any byte of a reply that waits for it.
        frame_bytes: of one call or reply.
        waiting_bytes: that wait for a client before its stream is not asked for more.
        ahead_bytes: that a client may send ahead of its answers before it is not read any more.
    """

    connections: int | None = None
    connections_per_uid: int | None = None
    first_byte_s: float = FIRST_BYTE_TIMEOUT_S
    # nginx's client_body_timeout is 60 s, Apache's RequestReadTimeout 20 s and more for each 500 bytes.
    frame_s: float = 30.0
    frame_progress_bytes: int = 1 << 16
    # nginx's send_timeout is 60 s; systemd's varlink has 45 s, for the other direction.
    stall_s: float = 30.0
    frame_bytes: int = MAX_FRAME_BYTES
    # asyncio's own mark is 64 KiB, HTTP/2's window too; a Unix socket holds some 200 KiB more.
    waiting_bytes: int = 1 << 18
    ahead_bytes: int = 1 << 20


DEFAULT: Final = Bounds()

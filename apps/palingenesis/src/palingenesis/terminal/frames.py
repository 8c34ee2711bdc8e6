"""Messages between a window and the process that holds a terminal.

Owns the form: one letter, four bytes of length, the bytes.  An arbitrary chopping of bytes in, whole
messages out.  No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

# To the holder: hello (JSON), input, window size, a signal for the program, go on after a stop.
HELLO: Final = b"H"
INPUT: Final = b"I"
SIZE: Final = b"S"
SIGNAL: Final = b"G"
CONTINUE: Final = b"C"
# From the holder: output, the program was stopped by a signal, it ended (JSON), you are detached (words).
OUTPUT: Final = b"O"
STOPPED: Final = b"T"
ENDED: Final = b"E"
DETACHED: Final = b"D"

# Neither end sends more in one piece.
MAX_BYTES: Final = 4 * 2**20
_HEAD: Final = struct.Struct(">cI")
_SIZE: Final = struct.Struct(">HHHH")


class FrameTooLarge(ValueError):
    """The other end announced more than `MAX_BYTES`: it does not speak this protocol."""


def frame(kind: bytes, data: bytes = b"") -> bytes:
    """Return one message."""
    return _HEAD.pack(kind, len(data)) + data


def size(rows: int, columns: int, width: int = 0, height: int = 0) -> bytes:
    """Return a window's size as a message has it: cells, then pixels."""
    return _SIZE.pack(*(max(0, min(one, 0xFFFF)) for one in (rows, columns, width, height)))


def size_of(data: bytes) -> tuple[int, int, int, int] | None:
    """Return rows, columns, and the size in pixels; None for bytes that are not a size."""
    return _SIZE.unpack(data) if len(data) == _SIZE.size else None


class Decoder:
    """Collects bytes and gives messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the messages that are whole now, as kind and bytes.

        Raises:
            FrameTooLarge: a message is announced that is over the bound.
        """
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer)
            if length > MAX_BYTES:
                raise FrameTooLarge(f"a message of {length} bytes was announced")
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            found = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield kind, found

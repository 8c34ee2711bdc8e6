"""The words for a kept connection at its control socket: OpenSSH's PROTOCOL.mux.

Owns the packets for one purpose: a socket of this machine whose connections go on to a Unix socket of the
other one.  Each packet is its length and its content; numbers have 32 bits, the highest byte first.
No I/O.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# The longest answer that is read, in bytes: a reason is one line.
MAX_ANSWER: Final = 1 << 12
# Each packet's length, in bytes.
LENGTH_BYTES: Final = 4

_HELLO: Final = 0x00000001
_VERSION: Final = 4
_OPEN_FORWARD: Final = 0x10000006
_CLOSE_FORWARD: Final = 0x10000007
_OK: Final = 0x80000001
_LOCAL: Final = 1
# In a port's place: the address is a path.
_PATH: Final = 0xFFFFFFFE
# Which of our requests is answered; each connection has one at a time.
_REQUEST: Final = 1


def hello() -> bytes:
    """Return the first packet of a connection, on both sides."""
    return _packet(_number(_HELLO) + _number(_VERSION))


def open_forward(path: str, there: str) -> bytes:
    """Return the request to listen at `path`, and to connect each comer to `there` on the other machine."""
    return _packet(_number(_OPEN_FORWARD) + _forward(path, there))


def close_forward(path: str, there: str) -> bytes:
    """Return the request to listen no more.  Open connections stay, and the file remains."""
    return _packet(_number(_CLOSE_FORWARD) + _forward(path, there))


def length(head: bytes) -> int:
    """Return how many bytes follow the first four of an answer."""
    return int.from_bytes(head, "big")


def is_hello(answer: bytes) -> bool:
    """Whether an answer is a hello of the version that we speak."""
    return answer[:8] == _number(_HELLO) + _number(_VERSION)


def is_ok(answer: bytes) -> bool:
    """Whether an answer says that the request was done."""
    return answer[:8] == _number(_OK) + _number(_REQUEST)


def _forward(path: str, there: str) -> bytes:
    return (
        _number(_REQUEST)
        + _number(_LOCAL)
        + b"".join(_packet(one.encode("utf-8", "surrogateescape")) + _number(_PATH) for one in (path, there))
    )


def _packet(content: bytes) -> bytes:
    return _number(len(content)) + content


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")

"""Which digests a server names blobs by, and how they are made: SHA-256, or BLAKE3 as here.

Owns the choice among the functions that a server's Capabilities list.  Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

from blake3 import blake3

from vx.remote.failures import RemoteFailed

# Their numbers in remote_execution.proto.
SHA256: Final = 1
BLAKE3: Final = 9


class RemoteDigest(NamedTuple):
    """A blob's name there.

    Attributes:
        hash: lower-case hexadecimal digits.
        size: in bytes.
    """

    hash: str
    size: int


class Hasher(Protocol):
    """As hashlib's."""

    def update(self, data: bytes, /) -> object:
        """Take more of the content."""

    def hexdigest(self) -> str:
        """Return the digest."""


class DigestFunction(NamedTuple):
    """A function that server and client both have.

    Attributes:
        number: in the messages: an integer, which protobuf gives a type of its own.
        part: what stands before the hash in a ByteStream resource's name.
    """

    number: Any
    part: str

    @property
    def is_ours(self) -> bool:
        """Whether a blob has the same digest there and in cass."""
        return bool(self.number == BLAKE3)

    def hasher(self) -> Hasher:
        """Return a new hasher."""
        return blake3() if self.is_ours else hashlib.sha256()

    def of(self, data: bytes) -> RemoteDigest:
        """Return the digest of `data`."""
        hasher = self.hasher()
        hasher.update(data)
        return RemoteDigest(hasher.hexdigest(), len(data))


def chosen(offered: Iterable[int]) -> DigestFunction:
    """Return BLAKE3 where the server has it, else SHA-256.

    Raises:
        RemoteFailed: it has neither.
    """
    known = set(offered)
    if BLAKE3 in known:
        return DigestFunction(BLAKE3, "blake3/")
    if SHA256 in known or not known:  # those of before 2.2 say nothing, and mean SHA-256
        return DigestFunction(SHA256, "")
    raise RemoteFailed("names blobs by neither SHA-256 nor BLAKE3")


def is_hash(text: str) -> bool:
    """Whether a text has the form of either function's digest."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")

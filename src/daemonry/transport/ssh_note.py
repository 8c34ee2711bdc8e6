"""What a dial told, as it is kept for the next connections.

Owns the file's content: fields with NUL between them, and last the words that it is about.  The native
launcher reads it, too (far_note.h).  No I/O.
"""

from __future__ import annotations

from daemonry.transport.ssh_words import FarSocket
from daemonry.values import Value
from daemonry.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Self

# Of the file, with the version of its writer: the launcher prints the same as that version.
_FORMAT: Final = f"2 {__version__}"
_FIELDS: Final = 4
# The largest prime below 2**24; see `daemonry.process.environment` for why no module's checksum.
_PRIME: Final = 16_777_213


def tag(words: tuple[str, ...]) -> str:
    """Return six characters for words: what belongs to them has these in its name."""
    text = "\0".join(words).encode("utf-8", "surrogateescape")
    return f"{int.from_bytes(text, 'big') % _PRIME:06x}"


class FarNote(Value):
    """What a dial told, and of which kept connection.

    Attributes:
        master: the name of its control socket.
        identity: of that socket's file.
        refusals: how often this connection gave no channel to the socket.
        far: the daemon's socket.
    """

    __slots__ = ("far", "identity", "master", "refusals")
    far: FarSocket
    identity: str
    master: str
    refusals: int

    def __init__(self, master: str, identity: str, refusals: int, far: FarSocket) -> None:
        self._set(master=master, identity=identity, refusals=refusals, far=far)

    @classmethod
    def read(cls, data: bytes, words: tuple[str, ...]) -> Self | None:
        """Return what a file of ours holds; None if it is another format's, or about other words.

        Raises:
            ValueError: it was not written whole.
        """
        form, *fields = data.decode("utf-8", "surrogateescape").split("\0")
        if form != _FORMAT or tuple(fields[_FIELDS:]) != words:
            return None
        master, identity, refusals, told = fields[:_FIELDS]
        far = FarSocket.read(told)
        return None if far is None else cls(master, identity, int(refusals), far)

    def to_bytes(self, words: tuple[str, ...]) -> bytes:
        """Return the file's content: about a daemon that these words name."""
        told = (self.master, self.identity, str(self.refusals), str(self.far))
        return "\0".join((_FORMAT, *told, *words)).encode("utf-8", "surrogateescape")

    def refused_again(self) -> FarNote:
        """The same, with one refusal more."""
        return FarNote(self.master, self.identity, self.refusals + 1, self.far)

r"""Proof on TCP: what both sides say before anything else, so that each knows that the other has the token.

A Unix socket tells the peer; TCP does not.  So a TCP daemon has a token in a file that
only its user can read, and a connection begins with one of these:

    client  PROVE <32 hex digits: the client's nonce>\n
    server  PROOF <32 hex digits: the server's nonce> <64: its MAC>\n
    client  PROOF <64: the client's MAC>\n
    server  OK\n

    client  TOKEN <the token>\n               for a person with `nc`, who cannot compute a MAC
    server  OK\n

A MAC is HMAC-SHA256 of the role ("server" or "client") and both nonces, by the token.  So the token is
never sent by a client of ours: who listens at the port in the daemon's stead, and who listens on the
way, does not learn it, and is known by not having it.  (Tor's control port came to the same,
SAFECOOKIE, after clients had been tricked into giving away the contents of their files.)  Everything else is
refused in the words of the text dialect, and the connection ends.

Nothing is hidden or signed afterwards: over a network that others can write to, use ssh's forwarding.

Owns the words and the decision.  No I/O and no randomness: nonces are given.  `service.server.gate`
serves it, and `transport.tcp` is its client.
"""

from __future__ import annotations

from daemonry.transport.endpoint import PROOF_WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NONCE_BYTES: Final = 16
_NONCE_DIGITS: Final = 2 * NONCE_BYTES
_MAC_DIGITS: Final = 64

_VERB_BYTES: Final = len("TOKEN ")
# The longest line from the server: an `ERR:` with its reason.
SERVER_LINE_MOST_BYTES: Final = 512

WRONG: Final = "Permission denied: that is not the token"
OK_LINE: Final = b"OK\n"


def mac(token: str, role: str, client_nonce: str, server_nonce: str) -> str:
    """Return what proves that `role` knows the token, for this exchange only."""
    # Not before: with what it loads, it takes as long as twenty modules of a daemon that asks for no proof.
    import hmac

    message = f"daemonry {role} {client_nonce} {server_nonce}"
    return hmac.digest(token.encode("ascii"), message.encode("ascii"), "sha256").hex()


def _are_same(given: str, meant: str) -> bool:
    """Compare in a time that says nothing of where they differ."""
    import hmac

    return hmac.compare_digest(given.encode("utf-8"), meant.encode("utf-8"))


class Served:
    """The server's side of one exchange.

    `wants_bytes` says how much may be read at most: never a byte of what follows the proof, which is
    somebody else's to read.

    Args:
        token: the token.
        nonce: hexadecimal digits that are used once.

    Attributes:
        done: the client has proved that it knows the token.
        refused: why the connection ends; None while it does not.
        wrong: it ends because the client presented a proof that is wrong.
    """

    __slots__ = ("_client_nonce", "_line", "_nonce", "_token", "done", "refused", "wrong")

    def __init__(self, token: str, nonce: str) -> None:
        self._token = token
        self._nonce = nonce
        self._client_nonce = ""
        self._line = b""
        self.done: bool = False
        self.refused: str | None = None
        self.wrong: bool = False

    @property
    def begun(self) -> bool:
        """Whether the client has said anything."""
        return bool(self._line or self._client_nonce)

    @property
    def wants_bytes(self) -> int:
        """How many further bytes the line has at least; 0 when it is over."""
        if self.done or self.refused is not None:
            return 0
        if len(self._line) < _VERB_BYTES:
            return _VERB_BYTES - len(self._line)
        missing = self._line_bytes() - len(self._line)
        if missing == 0 and self._line.endswith(b"\r"):
            return 1  # `nc -C` and telnet end a line with \r\n
        return max(missing, 0)

    def receive(self, data: bytes) -> bytes:
        """Take the bytes that were read, `b""` for the end; return the bytes to send."""
        if not data:
            return self._refuse(PROOF_WANTED)
        self._line += data
        if not self._expected().startswith(self._line[:_VERB_BYTES]) and not self._may_be_token():
            return self._refuse(PROOF_WANTED)
        if self.wants_bytes and b"\n" not in self._line:
            return b""
        if self.wants_bytes or not self._line.endswith(b"\n"):
            return self._refuse(WRONG, wrong=True)
        verb, _, word = self._line.decode("ascii", "replace").rstrip("\r\n").partition(" ")
        self._line = b""
        return self._decide(verb, word)

    def _expected(self) -> bytes:
        return b"PROOF " if self._client_nonce else b"PROVE "

    def _may_be_token(self) -> bool:
        return not self._client_nonce and b"TOKEN ".startswith(self._line[:_VERB_BYTES])

    def _line_bytes(self) -> int:
        word_chars = len(self._token)
        if not self._line.startswith(b"TOKEN "):
            word_chars = _MAC_DIGITS if self._client_nonce else _NONCE_DIGITS
        return _VERB_BYTES + word_chars + 1

    def _decide(self, verb: str, word: str) -> bytes:
        if verb == "PROVE":
            if not _is_hex(word):
                return self._refuse(WRONG, wrong=True)
            self._client_nonce = word
            ours = mac(self._token, "server", word, self._nonce)
            return f"PROOF {self._nonce} {ours}\n".encode("ascii")
        meant = self._token
        if verb == "PROOF":
            meant = mac(self._token, "client", self._client_nonce, self._nonce)
        if not _are_same(word, meant):
            return self._refuse(WRONG, wrong=True)
        self.done = True
        return OK_LINE

    def _refuse(self, why: str, *, wrong: bool = False) -> bytes:
        self.refused, self.wrong = why, wrong
        return f"ERR: {why}\n".encode("ascii")


def hello(nonce: str) -> bytes:
    """Return a client's first line."""
    return f"PROVE {nonce}\n".encode("ascii")


def answer_to(line: bytes, token: str, nonce: str) -> bytes | None:
    """Return what a client sends when the server has answered its first line with `line`.

    Returns:
        The client's proof; None when the server has none of its own: it is not who knows the token.
    """
    verb, _, rest = line.decode("ascii", "replace").rstrip("\r\n").partition(" ")
    server_nonce, _, theirs = rest.partition(" ")
    if verb != "PROOF" or not _is_hex(server_nonce) or server_nonce == nonce:
        return None
    meant = mac(token, "server", nonce, server_nonce)
    if not _are_same(theirs, meant):
        return None
    return f"PROOF {mac(token, 'client', nonce, server_nonce)}\n".encode("ascii")


def _is_hex(word: str) -> bool:
    return len(word) == _NONCE_DIGITS and all(char in "0123456789abcdef" for char in word)

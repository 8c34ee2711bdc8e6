r"""Which dialect do a connection's first bytes speak: text, Varlink or HTTP.

Owns that decision and nothing else; the bytes stay where they are, for whoever speaks the
dialect.  The three share one socket, so that `nc -U`, `varlinkctl` and `curl --unix-socket` all
reach the same daemon:

    text      STATUS\n                  whatever is neither of the others
    varlink   {"method":...}\0          first byte `{`, or one that only a broken frame begins with
    http      GET /status HTTP/1.1\r\n  a method of RFC 9110 or 5789 and a blank

Blanks in front of the first byte count for none of them: JSON allows them before a call, RFC 9112
(2.2) asks a server to skip an empty line before a request.

The first bytes that can be told apart decide, so the answer does not depend on how the bytes were
cut: no longer piece of the same stream is ever answered otherwise.
"""

from __future__ import annotations

from daemonry.limits import MAX_COMMAND_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TEXT: Final = "text"
VARLINK: Final = "varlink"
HTTP: Final = "http"

# What may stand in front: the blanks of JSON, which are also those of a text line and of HTTP.
_BLANKS: Final = b" \t\r\n"
# A call begins with `{`.  An array, a string, a NUL and a byte order mark begin no command and no
# request either: as Varlink they are refused at once, as text they would be waited for.
_VARLINK_STARTS: Final = b'{["\0\xef'
_HTTP_STARTS: Final = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",  # HTTP/2 with prior knowledge (RFC 9113, 3.4): the HTTP side is the one to refuse it
)


def detect(head: bytes, *, ended: bool = False) -> str | None:
    """Return what the connection speaks, or None until more of its bytes are here.

    Args:
        head: all that has been read so far, not only the last piece.
        ended: the peer will send no more, so that undecided bytes are text: a last line counts
            without its end there.

    Returns:
        `TEXT`, `VARLINK` or `HTTP`; None is never returned for more than `MAX_COMMAND_BYTES`.
    """
    if head.startswith(b"{"):
        return VARLINK
    word = head[:MAX_COMMAND_BYTES].lstrip(_BLANKS)
    if word and word[0] in _VARLINK_STARTS:
        return VARLINK
    if word.startswith(_HTTP_STARTS):
        return HTTP
    undecided = any(start.startswith(word) for start in _HTTP_STARTS)
    # Only blanks can be that long without a decision; the reader of commands refuses them.
    if undecided and not ended and len(head) < MAX_COMMAND_BYTES:
        return None
    return TEXT

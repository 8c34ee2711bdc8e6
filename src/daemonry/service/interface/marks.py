"""The lines of a method's description that say what a client may assume of it.

A client that has the Python class reads the marks of `declare`; one that has only the description that
a daemon sends, as the command line has, reads these lines.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# The line of a method's description by which an interface declares it idempotent, for
# those who have no more than the description.
IDEMPOTENT: Final = "[Idempotent]"
# The line that says that a method changes nothing: it is answered in a paused daemon too, and to read
# twice is harmless.
READS: Final = "[Reads]"

# The line that says that a method gives several replies, to callers that ask for `more`: systemd's words.
STREAMS: Final = "[Requires 'more' flag]"
_STREAMS: Final = (STREAMS, "[Supports 'more' flag]")


def is_idempotent(doc: str) -> bool:
    """Return whether a method's description declares it idempotent."""
    return any(line.strip() in (IDEMPOTENT, READS) for line in doc.splitlines())


def only_reads(doc: str) -> bool:
    """Say whether a method's description says that it changes nothing."""
    return any(line.strip() == READS for line in doc.splitlines())


def is_stream(doc: str) -> bool:
    """Say whether a method's description says that it gives several replies."""
    return any(line.strip() in _STREAMS for line in doc.splitlines())


def without_marks(doc: str) -> str:
    """Return a description's prose, without these lines."""
    marks = (IDEMPOTENT, READS, *_STREAMS)
    return "\n".join(line for line in doc.splitlines() if line.strip() not in marks).strip()

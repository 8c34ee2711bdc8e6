"""Whether a call that failed is made again: one rule for callers that block and for those on asyncio.

Owns the decision.  Before the next attempt the caller gives the daemon the server's definition again; after
`Draining` it first has the daemon that comes next.
"""

from __future__ import annotations

from daemonry import errors
from mcp_cli.names import NOT_CONFIGURED

MOST = 3


def never_ran(error: errors.DaemonryError) -> bool:
    """Whether the daemon certainly did nothing: it is ending, knows no such server, or was never asked."""
    if isinstance(error, (errors.ConnectionLost, errors.Draining)):
        return error.ran == "no"
    return isinstance(error, errors.CallFailed) and error.error == NOT_CONFIGURED


class CallAttempts:
    """The attempts at one call.

    Attributes:
        begun: whether something of an answer came; set by the caller, who cannot take that back.
    """

    def __init__(self) -> None:
        self.begun = False
        self._made = 0

    def again(self, error: errors.DaemonryError) -> bool:
        """Return whether another attempt is due after one that failed."""
        self._made += 1
        return self._made < MOST and not self.begun and never_ran(error)

"""Which questions of a server this command can put to its user.

Owns that one decision; `questions` asks them.  On the path of every warm call.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcp_cli.client.options import Options

ELICITATION = "elicitation/create"
SAMPLING = "sampling/createMessage"


def answered(options: Options) -> list[str]:
    """Return the methods that are answered: those that a person at a terminal can."""
    if options.json or options.raw or options.quiet:
        return []
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        return []
    return [ELICITATION, SAMPLING]

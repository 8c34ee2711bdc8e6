"""How a command ends: as the library's commands do.  A test holds these against its table.

They stand here once more because the library's come with all its errors, which would cost a
quick command that has none.
"""

from __future__ import annotations

DONE = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
DENIED = 4
NO_ANSWER = 5
UNKNOWN_OUTCOME = 6
INTERRUPTED = 130

"""Which typed bytes are a person's: terminals answer questions, and report focus and the mouse, themselves.

Owns the patterns (xterm's control sequences).  No I/O.
"""

from __future__ import annotations

import re
from typing import Final

_BY_ITSELF: Final = re.compile(
    rb"\x1b\[[IO]"  # focus came, focus went
    rb"|\x1b\[<[0-9;]*[Mm]"  # the mouse, in the form of 1006
    rb"|\x1b\[M..."  # the mouse, in the older form
    rb"|\x1b\[[?>=]?[0-9;]*[cRntyx]"  # device attributes, the cursor's place, the window's size
    rb"|\x1b\[\?[0-9;]*u"  # the keyboard protocol's flags
    rb"|\x1b[P\]_].*?(?:\x1b\\|\x07)",  # colours, names, capabilities
    re.DOTALL,
)


def by_a_person(data: bytes) -> bool:
    """Whether some of the bytes were typed."""
    return bool(_BY_ITSELF.sub(b"", data))

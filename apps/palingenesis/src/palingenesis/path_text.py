"""Names of files as JSON, a log and a terminal can hold them: they need not be UTF-8.

Owns the two forms.  Loads nothing: every command imports it.
"""

from __future__ import annotations

import os


def shown(path: str) -> str:
    r"""Return a path as JSON, a log and a terminal can hold it: bytes that are not UTF-8 become `\xHH`."""
    try:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which no file system has given us
        return ascii(path)


def listed(name: str) -> str:
    """Return a name of the system as the listings have it: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")

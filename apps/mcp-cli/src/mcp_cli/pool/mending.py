"""A line that is nearly JSON, made JSON.

Owns the few faults that servers have without meaning harm, and what each is called.  A server that cuts a
text in the middle of an emoji, or prints a float that is not a number, has carried out its call all the
same, and its user wants the answer.  Pure: bytes in, bytes out.
"""

from __future__ import annotations

import re
from typing import Final

_BOM: Final = b"\xef\xbb\xbf"
# Strings are matched so that nothing in them is taken for a number.
_WORD: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b', re.DOTALL)
# Half of a surrogate pair: a high one without its low one, or a low one alone.  The first alternative
# takes the correct ones: an escaped backslash, a whole pair.
_HALF: Final = re.compile(
    rb"(\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_ID: Final = re.compile(rb'"id"\s*:\s*("?)(\d+)\1')
# How far from either end of a line its id is looked for.
_NEAR_BYTES: Final = 200


def mended(line: bytes) -> tuple[bytes, str]:
    """Return a line with its faults replaced, and a description of them, for people; "" if there are none."""
    faults: dict[str, None] = {}  # each once, in this order
    if line.startswith(_BOM):
        line = line[len(_BOM) :]
        faults["a byte order mark"] = None
    text = line.decode("utf-8", "replace").encode()
    if text != line:
        faults["bytes that are not UTF-8"] = None

    def replaced(match: re.Match[bytes]) -> bytes:
        word = match.group()
        if word[:1] != b'"':
            faults["a number that is not valid JSON"] = None
            return b"null"
        whole = _HALF.sub(lambda half: half.group(1) or b"\\ufffd", word) if b"\\u" in word else word
        if whole != word:
            faults["half a surrogate pair"] = None
        return whole

    return _WORD.sub(replaced, text), " and ".join(faults)


def is_answer(line: bytes) -> bool:
    """Whether a line that is not a message was meant to be an answer, if one with nothing but an id."""
    if b'"jsonrpc"' not in line:
        return False
    if b'"result"' in line or b'"error"' in line:
        return True
    return b'"method"' not in line and likely_id(line) is not None


def likely_id(line: bytes) -> int | None:
    """Return the id that stands at the beginning or the end of a line; None if none does."""
    found = _ID.search(line[:_NEAR_BYTES]) or _ID.search(line[-_NEAR_BYTES:])
    return int(found.group(2)) if found else None

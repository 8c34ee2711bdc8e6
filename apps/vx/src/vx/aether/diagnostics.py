"""What compilers say, as people read it.

Owns reading rustc's JSON lines, and colours.  Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from vx.interfaces import Done
from vx.project.action import Action

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\)")
_UNREAD: Final = re.compile(r"(?:couldn't read `?|cannot open linker script file )([^`\n]+?)`?: No such file")


def rendered(kind: str, text: str) -> str:
    """Return the diagnostics in what a tool wrote to standard error, with colours.

    Args:
        kind: of the action: rustc writes JSON, a line each; others write text for people.
        text: its standard error.
    """
    if kind != "rustc":
        return text
    return "".join(_of_line(line) for line in text.splitlines() if line)


def without_colours(text: str) -> str:
    """Return a text as a file should have it."""
    return _COLOURS.sub("", text)


def first_error(text: str) -> str:
    """Return the line of diagnostics that says most, for where only one is shown."""
    lines = [line.strip() for line in without_colours(text).splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")


def is_file_missing(text: str) -> bool:
    """Whether diagnostics say that something that was included is not there."""
    plain = without_colours(text)
    return "No such file or directory" in plain or "file not found" in plain


def unread(text: str) -> list[str]:
    """Return the paths that rustc (`include_str!`) or a linker (INCLUDE) could not read, as named."""
    return list(dict.fromkeys(_UNREAD.findall(without_colours(text))))


def of_cut_output(text: str, done: Done) -> str:
    """Return the line behind a tool's output that says how much of it is not there; "" for none."""
    if not text or not done.cut_bytes:
        return ""
    own_line = "" if text.endswith("\n") else "\n"
    return f"{own_line}warning: {done.cut_bytes} more bytes of its output are left out\n"


def of_refused_writes(action: Action, done: Done) -> str:
    """Return the warnings about a procedural macro's writes that were refused; "" for none.

    git, which some macros ask for a commit, takes a lock where it can, and answers the same where it cannot.
    """
    if not action.reads_all:
        return ""
    refused = [path for path in done.refused if "/.git/" not in path]
    text = "a procedural macro would write {path!r}, and may not, as it may with cargo"
    return "".join(f"warning: {action.title}: {text.format(path=path)}\n" for path in refused)


def _of_line(line: str) -> str:
    if not line.startswith("{"):
        return line + "\n"
    try:
        message: dict[str, Any] = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return line + "\n"
    shown = message.get("rendered")
    return shown if isinstance(shown, str) else ""

"""What an earlier session left for the one that takes over: `Next-step.md` there, or its last answer.

Owns reading it: regular files only, and bounded.
"""

from __future__ import annotations

import os
from typing import Final

from daemonry import open_regular
from palingenesis.resume.prompt import MAX_NOTES_CHARS, fresh_prompt

NAME: Final = "Next-step.md"


def prompt_from_notes(cwd: str, summary: str) -> str:
    """Return the prompt of a new session in `cwd`.

    Args:
        cwd: where the earlier one worked.
        summary: its last answer; "" if it gave none.
    """
    notes = _read_text(os.path.join(cwd, NAME))
    if notes.strip():
        return fresh_prompt(notes, NAME)
    return fresh_prompt(summary or "(it left none)", "its last answer")


def _read_text(path: str) -> str:
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(4 * MAX_NOTES_CHARS).decode("utf-8", "replace")
    except OSError:
        return ""

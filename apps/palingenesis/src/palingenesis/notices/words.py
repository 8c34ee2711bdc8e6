"""Which entries are worth a notice, and its words.

Owns the choice: a stop that needs somebody.  A session that goes on by itself needs no notice.  No I/O.
"""

from __future__ import annotations

import os.path
from typing import Final

from daemonry.cli.kit import printable
from palingenesis.resume.entry import ALIVE, SERVED, SessionEntry
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.reasons import NEEDS_A_HUMAN

MAX_CHARS: Final = 500


def worth_telling(entry: SessionEntry) -> bool:
    """Whether a notice should tell the user how a session stands."""
    if entry.state is State.GAVE_UP or (entry.state is State.HELD and entry.note != Happened.HOLD.value):
        return True
    if entry.state is State.STOPPED and entry.reason in NEEDS_A_HUMAN:
        return True
    return entry.state is State.WAITING_INSIDE and " overrun" in entry.observed


def name_of(entry: SessionEntry) -> str:
    """Name a stop: the same stop has the same name however often it is looked at."""
    return f"{entry.key} {entry.state.value} {entry.observed.removesuffix(ALIVE).removesuffix(SERVED)}"


def sentence(entry: SessionEntry) -> str:
    """Return one line about a stop; foreign text is bounded, and safe to show."""
    project = os.path.basename(entry.cwd) or entry.id[:8]
    note = f": {entry.note}" if entry.note else ""
    text = f"{entry.agent} in {project}: {entry.state.value} ({entry.reason.value}){note}"
    return printable(text.encode("utf-8", "replace").decode())[:MAX_CHARS]

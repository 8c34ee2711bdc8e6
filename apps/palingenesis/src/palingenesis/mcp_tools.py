"""What an agent may ask palingenesis about itself, and ask of it: the four tools of `mcp serve`.

Owns their answers.  An agent is not a user: it sees sessions, writes its own notes, and may ask to be resumed
later; it cannot end, hold or begin anything now.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from typing import Any, Final

from daemonry import Client, DaemonryError, Instance, write_atomically
from palingenesis import NAME
from palingenesis.evidence.survey import Session
from palingenesis.overview import as_fields, kept_entries, survey
from palingenesis.resume import notes
from palingenesis.resume.prompt import MAX_NOTES_CHARS
from palingenesis.resume.service import Asked, CannotBeDone, Sessions
from palingenesis.spans import seconds_of

MAX_SESSIONS: Final = 50
MAX_AHEAD_S: Final = 8 * 86400.0
TIMEOUT_S: Final = 30.0


class CannotAnswer(Exception):
    """It was not done; its words are for the agent."""


def status(session: str = "") -> dict[str, Any]:
    """Return one session, or those of the last days, the newest first, as `sessions --json` has them."""
    found, kept = survey().look(), kept_entries()
    chosen = _fitting(found, session) if session else found[:MAX_SESSIONS]
    return {"sessions": [as_fields(one, kept.get(one.key)) for one in chosen]}


def when_does_my_limit_reset(session: str, cwd: str) -> dict[str, Any]:
    """Return when the limit of a session ends: of the newest one of `cwd`, where none is named."""
    one = _one(session, cwd)
    verdict = one.verdict
    if verdict.resets_at_s is None:
        return {"session": one.key, "reason": verdict.reason.value, "resets_at_s": None, "seconds_left": None}
    left_s = max(0.0, verdict.resets_at_s - time.time())
    return {
        "session": one.key,
        "reason": verdict.reason.value,
        "resets_at_s": verdict.resets_at_s,
        "seconds_left": round(left_s),
    }


def schedule_resume(span: str, session: str, cwd: str) -> dict[str, Any]:
    """Have the daemon resume a session so much later, once its turn has ended and nobody lives in it.

    Raises:
        CannotAnswer: the span cannot be read, the daemon does not run, or the session cannot be resumed.
    """
    after_s = seconds_of(span)
    if not 0 < after_s <= MAX_AHEAD_S:
        raise CannotAnswer(f"{span!r} is not a time of at most 8 days: try 90s, 30m, 5h, 2d")
    key = _one(session, cwd).key
    at_s = time.time() + after_s
    try:
        with Client.connect(Instance.named(NAME).endpoint()) as client:
            proxy: Any = client.proxy(Sessions, timeout_s=TIMEOUT_S)
            asked: Asked = proxy.resume_at(key, at_s)
    except CannotBeDone as error:
        raise CannotAnswer(error.reason) from None
    except DaemonryError as error:
        raise CannotAnswer(f"the daemon does not answer: {error}") from None
    return {"session": asked.session, "state": asked.state, "at_s": at_s}


def write_next_step(text: str, cwd: str) -> dict[str, Any]:
    """Write `Next-step.md` in `cwd`, from which a new session takes over when the context is full.

    Raises:
        CannotAnswer: it is too long, or something else is in its place.
    """
    path = os.path.join(cwd, notes.NAME)
    if not text.strip() or len(text) > MAX_NOTES_CHARS:
        raise CannotAnswer(f"notes have 1 to {MAX_NOTES_CHARS} characters")
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise CannotAnswer(f"{path} is not a regular file, and stays as it is")
    except FileNotFoundError:
        mode = 0o644
    except OSError as error:
        raise CannotAnswer(f"{path}: {error.strerror}") from None
    try:
        write_atomically(path, text.rstrip().encode("utf-8", "replace") + b"\n", mode=stat.S_IMODE(mode))
    except OSError as error:
        raise CannotAnswer(f"{path} cannot be written: {error.strerror}") from None
    return {"path": path, "characters": len(text)}


def _fitting(found: Sequence[Session], words: str) -> list[Session]:
    exact = [one for one in found if words in (one.key, one.id, one.path)]
    return exact or [one for one in found if one.id.startswith(words) or one.key.startswith(words)]


def _one(words: str, cwd: str) -> Session:
    found = survey().look()
    if words:
        fitting = _fitting(found, words)
        if len(fitting) != 1:
            raise CannotAnswer(f"{words!r} fits {len(fitting)} sessions")
        return fitting[0]
    here = os.path.realpath(cwd)
    for one in found:
        if one.cwd and os.path.realpath(one.cwd) == here:
            return one
    raise CannotAnswer(f"no session of the last days works in {cwd}: name one")

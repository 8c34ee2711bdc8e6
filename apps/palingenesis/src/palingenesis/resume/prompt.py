"""The prompts of a resumed session, and of one that takes over from a full one.

Owns the words.  Text of the project and of the session is bounded, and marked as theirs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from palingenesis.verdict.reasons import Reason

if TYPE_CHECKING:
    from palingenesis.resume.entry import SessionEntry

MAX_NOTES_CHARS: Final = 12_000

_INTERRUPTED: Final = {
    Reason.TRANSIENT: "a temporary error of the service",
    Reason.CRASHED: "the end of its process",
    Reason.MACHINE: "a restart of the machine",
}


def resume_prompt(entry: SessionEntry, now_s: float) -> str:
    """Return the prompt of a session that is resumed now."""
    return interrupted_prompt(entry.reason, entry.since_s, entry.resets_at_s, now_s)


def interrupted_prompt(reason: Reason, since_s: float, resets_at_s: float | None, now_s: float) -> str:
    """Return the prompt of a session that stopped.

    Args:
        reason: why.
        since_s: when.
        resets_at_s: when its limit ends; None where that is not known, or there is no limit.
        now_s: when the session goes on: its user may ask for that before the reset.
    """
    cause = _INTERRUPTED.get(reason, "an interruption")
    if reason is Reason.RATE_LIMIT:
        cause = f"a usage limit{_reset(resets_at_s, now_s)}"
    return (
        f"This session was interrupted at {_when(since_s)} by {cause}. Continue the task that you were "
        "working on. First check what is already done, and do not repeat it: a command that was running may "
        "have finished, or stopped half way."
    )


def fresh_prompt(notes: str, origin: str) -> str:
    """Return the prompt of a new session that takes over.

    Args:
        notes: what the earlier session left; foreign text, cut to `MAX_NOTES_CHARS`.
        origin: where that is from.
    """
    return (
        "This session takes over the task of an earlier one, which does not go on. Continue it; check what "
        "is already done, and do not repeat it. These are the earlier session's notes, from "
        f"{origin}:\n\n{notes[:MAX_NOTES_CHARS]}"
    )


def _reset(resets_at_s: float | None, now_s: float) -> str:
    """Return the known facts about a limit's reset, as the end of a clause."""
    if resets_at_s is None:
        return ""
    if resets_at_s <= now_s:
        return ", which has been reset"
    return f", whose reset is announced for {_when(resets_at_s)}"


def _when(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")

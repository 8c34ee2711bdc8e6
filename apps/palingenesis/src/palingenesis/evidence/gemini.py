"""Gemini CLI's chat file as facts.

Owns the meaning of its lines (checked with the version that the profile names).  In its window it writes
what ended a turn.  Without one it writes no errors: a question without an answer is all that a failed turn
leaves, and what follows from that is `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from palingenesis.agents.profile import Profile
from palingenesis.evidence.json_lines import instant, table, text
from palingenesis.evidence.transcript import MAX_SUMMARY_CHARS, LastMinute, Transcript
from palingenesis.verdict.facts import Fact, Sign, Source


def read(backwards: Iterator[dict[str, Any]], head: dict[str, Any], profile: Profile) -> Transcript:
    """Return what a chat file tells (see `evidence.transcript.Reader`)."""
    del profile
    fact: Fact | None = None
    progress_at_s: float | None = None
    summary = ""
    minute = LastMinute()
    for line in backwards:
        at_s = instant(line.get("timestamp"))
        if at_s is None or line.get("type") not in ("user", "gemini", "error"):
            continue
        fact = fact or _fact(line, at_s)
        minute.line(at_s)
        if line.get("type") != "user":
            minute.request(at_s, text(line.get("id")), failed=line.get("type") == "error")
        if line.get("type") == "gemini" and progress_at_s is None:
            progress_at_s, summary = at_s, _words(line.get("content"))[:MAX_SUMMARY_CHARS]
        if progress_at_s is not None and minute.is_over:
            break
    return Transcript(
        id=text(head.get("sessionId")),
        facts=(fact,) if fact else (),
        progress_at_s=progress_at_s,
        summary=summary,
        requests_at_s=tuple(minute.requests_at_s),
        errors_at_s=tuple(minute.errors_at_s),
        is_main=head.get("kind", "main") == "main",
    )


def _fact(line: dict[str, Any], at_s: float) -> Fact:
    kind = line.get("type")
    if kind == "error":
        return Fact(Sign.FAILED, Source.TRANSCRIPT, at_s, text=_words(line.get("content")))
    if kind == "user":
        return Fact(Sign.PROMPTED, Source.TRANSCRIPT, at_s)
    calls = line.get("toolCalls")
    return Fact(Sign.ANSWERING if calls else Sign.COMPLETED, Source.TRANSCRIPT, at_s)


def _words(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(text(table(part).get("text")) for part in content)
    return text(content)

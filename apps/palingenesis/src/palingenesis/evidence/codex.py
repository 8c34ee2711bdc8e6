"""Codex's rollout as facts.

Owns the meaning of its lines (checked with the version that the profile names).  `task_complete` ends a
turn, with or without an error; `turn_aborted` is the user; `task_started` with neither behind it is a turn
that goes on, or whose process is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from palingenesis.agents.profile import Profile
from palingenesis.evidence.json_lines import instant, number, table, text
from palingenesis.evidence.transcript import MAX_MORE_LINES, MAX_SUMMARY_CHARS, LastMinute, Transcript
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.reasons import Reason

_LOGIN_STATUS: Final = (401, 403)
_ITEMS_OF_THE_MODEL: Final = ("function_call", "custom_tool_call", "local_shell_call", "reasoning")


def read(backwards: Iterator[dict[str, Any]], head: dict[str, Any], profile: Profile) -> Transcript:
    """Return what a rollout tells (see `evidence.transcript.Reader`)."""
    reading = _CodexReading(profile)
    more = MAX_MORE_LINES
    for line in backwards:
        reading.take(line)
        if reading.is_decided:
            more -= 1
            if (more <= 0 or reading.is_complete) and reading.minute.is_over:
                break
    return reading.transcript(head)


class _CodexReading:
    """One pass over the lines, backwards."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._facts: list[Fact] = []  # backwards
        self._turn_began_s: float | None = None
        self._last_item_at_s: float | None = None
        self._progress_at_s: float | None = None
        self._cwd = self._permission = self._summary = ""
        self.is_decided = False
        self.minute = LastMinute()

    @property
    def is_complete(self) -> bool:
        """Whether nothing more can be learned from earlier lines."""
        return bool(self._turn_began_s and self._progress_at_s and self._cwd)

    def take(self, line: dict[str, Any]) -> None:
        """Learn from the line before those that were taken."""
        payload = table(line.get("payload"))
        at_s = instant(line.get("timestamp"))
        kind = line.get("type")
        if kind == "turn_context":
            self._cwd = self._cwd or text(payload.get("cwd"))
            self._permission = self._permission or _sandbox(payload.get("sandbox_policy"))
        if at_s is None:
            return
        self.minute.line(at_s)
        if kind == "response_item":
            self._take_item(payload, at_s)
        elif kind == "event_msg":
            self._take_event(payload, at_s)

    def transcript(self, head: dict[str, Any]) -> Transcript:
        """Return the facts found."""
        if not self.is_decided and self._last_item_at_s is not None:
            self._settle(Sign.ANSWERING, self._last_item_at_s)
        meta = table(head.get("payload")) if head.get("type") == "session_meta" else {}
        source = meta.get("source")
        return Transcript(
            id=text(meta.get("id")),
            cwd=self._cwd or text(meta.get("cwd")),
            facts=tuple(reversed(self._facts)),
            version=text(meta.get("cli_version")),
            progress_at_s=self._progress_at_s,
            permission=self._permission,
            summary=self._summary,
            requests_at_s=tuple(self.minute.requests_at_s),
            errors_at_s=tuple(self.minute.errors_at_s),
            is_main=not (isinstance(source, dict) or source == "subagent"),
            turn_began_s=self._turn_began_s,
        )

    def _take_item(self, payload: dict[str, Any], at_s: float) -> None:
        self._last_item_at_s = self._last_item_at_s or at_s
        kind = payload.get("type")
        is_answer = kind == "message" and payload.get("role") == "assistant"
        if is_answer or kind in _ITEMS_OF_THE_MODEL:
            self._progress_at_s = self._progress_at_s or at_s
        if is_answer and not self._summary:
            self._summary = _words(payload)[:MAX_SUMMARY_CHARS]

    def _take_event(self, payload: dict[str, Any], at_s: float) -> None:
        kind = payload.get("type")
        if kind == "token_count" and table(payload.get("info")):  # one for each answer of the model
            self.minute.request(at_s)
        elif kind == "task_complete" and table(payload.get("error")):
            self.minute.request(at_s, failed=True)
        if kind == "token_count" and self._turn_began_s is None:
            self._take_quota(table(payload.get("rate_limits")), at_s)
        elif kind == "task_started":
            if not self.is_decided:
                self._settle(Sign.PROMPTED, self._last_item_at_s or at_s)
            self._turn_began_s = self._turn_began_s or at_s
        elif self.is_decided:
            return
        elif kind == "task_complete":
            self._take_end(payload, at_s)
        elif kind == "turn_aborted" and payload.get("reason") == "interrupted":
            self._settle(Sign.INTERRUPTED, at_s)

    def _take_end(self, payload: dict[str, Any], at_s: float) -> None:
        error = table(payload.get("error"))
        if not error:
            self._settle(Sign.COMPLETED, at_s)
            return
        reason = _reason(error.get("codex_error_info"), self._profile)
        self._settle(Sign.FAILED, at_s, text=text(error.get("message")), reason=reason)

    def _take_quota(self, limits: dict[str, Any], at_s: float) -> None:
        if any(fact.sign is Sign.QUOTA for fact in self._facts):
            return  # a later one of the same turn was taken
        for name in ("primary", "secondary"):
            window = table(limits.get(name))
            used, until_s = number(window.get("used_percent")), instant(number(window.get("resets_at")))
            if used is not None:
                fact = Fact(Sign.QUOTA, Source.QUOTA, at_s, text=name, until_s=until_s, used=used / 100)
                self._facts.append(fact)

    def _settle(self, sign: Sign, at_s: float, **more: Any) -> None:
        self._facts.append(Fact(sign, Source.TRANSCRIPT, at_s, **more))
        self.is_decided = True


def _reason(info: Any, profile: Profile) -> Reason | None:
    """Return what `codex_error_info` means: a word, or an object of one word and its details."""
    if isinstance(info, str):
        return profile.errors.get(info)
    for kind, details in table(info).items():
        if table(details).get("http_status_code") in _LOGIN_STATUS:
            return Reason.LOGIN
        return profile.errors.get(kind, Reason.TRANSIENT if kind.startswith("http_") else None)
    return None


def _sandbox(policy: Any) -> str:
    return text(policy) or text(table(policy).get("type")) or text(table(policy).get("mode"))


def _words(payload: dict[str, Any]) -> str:
    content = payload.get("content")
    blocks = content if isinstance(content, list) else []
    return "\n".join(text(table(block).get("text")) for block in blocks)

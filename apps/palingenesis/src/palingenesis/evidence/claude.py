"""Claude Code's transcript as facts.

Owns the meaning of its lines (checked with the version that the profile names).  The file's last line
says nothing by itself: bookkeeping follows the last real one, so the last line of `user`, `assistant` or
`system` that has a meaning decides.  An error is a line that is marked as one; its `stop_reason` and what
a model's answer quotes say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from palingenesis.agents.profile import Profile
from palingenesis.evidence.json_lines import instant, number, table, text
from palingenesis.evidence.transcript import MAX_MORE_LINES, MAX_SUMMARY_CHARS, LastMinute, Transcript
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.messages import normal

_INTERRUPTED: Final = "[Request interrupted by user"
_LOCAL: Final = ("<command-name>", "<local-command", "<bash-")
# Claude Code's first retry comes about half a second after an error, the next ones after twice as long each.
FIRST_RETRY_MS: Final = 400
_TURN_ENDS: Final = ("stop_hook_summary", "turn_duration")


def read(backwards: Iterator[dict[str, Any]], head: dict[str, Any], profile: Profile) -> Transcript:
    """Return what a transcript tells (see `evidence.transcript.Reader`)."""
    reading = _ClaudeReading(profile)
    more = MAX_MORE_LINES
    for line in backwards:
        reading.take(line)
        if reading.is_decided:
            more -= 1
            if (reading.is_complete or more <= 0) and reading.minute.is_over:
                break
    return reading.transcript(head)


class _ClaudeReading:
    """One pass over the lines, backwards."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._facts: list[Fact] = []  # backwards
        self._meta: dict[str, Any] = {}
        self._turn_ended = self._native_over = False
        self._summary_at_s: float | None = None  # of a compaction's summary whose trigger is not seen yet
        self._progress_at_s: float | None = None
        self._permission = self._summary = ""
        self.is_decided = False
        self.minute = LastMinute()

    @property
    def is_complete(self) -> bool:
        """Whether nothing more can be learned from earlier lines."""
        return bool(self._progress_at_s and self._permission and self._meta)

    def take(self, line: dict[str, Any]) -> None:
        """Learn from the line before those that were taken."""
        kind = line.get("type")
        if kind in ("permission-mode", "user"):
            self._permission = self._permission or text(line.get("permissionMode"))
        if kind not in ("user", "assistant", "system") or line.get("isSidechain") is True:
            return
        if not self._meta and text(line.get("sessionId")):
            self._meta = line
        self._note_request(kind, line)
        if kind == "assistant":
            self._note_progress(line)
        if not self.is_decided:
            self._decide(kind, line)

    def transcript(self, head: dict[str, Any]) -> Transcript:
        """Return the facts found."""
        if not self.is_decided and self._summary_at_s is not None:
            self._settle(Sign.PROMPTED, self._summary_at_s)
        meta = self._meta or head
        return Transcript(
            id=text(meta.get("sessionId")),
            cwd=text(meta.get("cwd")),
            facts=tuple(reversed(self._facts)),
            version=text(meta.get("version")),
            progress_at_s=self._progress_at_s,
            permission=self._permission,
            registers=meta.get("entrypoint") == "cli",
            summary=self._summary,
            requests_at_s=tuple(self.minute.requests_at_s),
            errors_at_s=tuple(self.minute.errors_at_s),
        )

    def _note_request(self, kind: str, line: dict[str, Any]) -> None:
        at_s = instant(line.get("timestamp"))
        if at_s is None:
            return
        self.minute.line(at_s)
        message = table(line.get("message"))
        if line.get("isApiErrorMessage") is True:
            self.minute.request(at_s, failed=True)
        elif kind == "assistant" and message.get("model") not in ("<synthetic>", None):
            self.minute.request(at_s, text(message.get("id")) or text(line.get("uuid")))
        elif kind == "system" and line.get("subtype") == "api_error":
            # Its own retries wait longer each time; those that do not are errors without a pause.
            self.minute.request(at_s, failed=(number(line.get("retryInMs")) or 0.0) < FIRST_RETRY_MS)

    def _note_progress(self, line: dict[str, Any]) -> None:
        message = table(line.get("message"))
        if line.get("isApiErrorMessage") is True or message.get("model") in ("<synthetic>", None):
            return
        self._progress_at_s = self._progress_at_s or instant(line.get("timestamp"))
        self._summary = self._summary or _words(message)[:MAX_SUMMARY_CHARS]

    def _add(self, sign: Sign, at_s: float, **more: Any) -> None:
        self._facts.append(Fact(sign, Source.TRANSCRIPT, at_s, **more))

    def _settle(self, sign: Sign, at_s: float, **more: Any) -> None:
        self._add(sign, at_s, **more)
        self.is_decided = True

    def _decide(self, kind: str, line: dict[str, Any]) -> None:
        at_s = instant(line.get("timestamp"))
        if at_s is None:
            return  # a line without its time cannot be put in order
        if kind == "system":
            self._decide_system(line, at_s)
        elif self._summary_at_s is not None and kind != "system" and not line.get("isCompactSummary"):
            self._settle(Sign.PROMPTED, self._summary_at_s)
        elif kind == "user":
            self._decide_user(line, at_s)
        else:
            self._decide_assistant(line, at_s)

    def _decide_system(self, line: dict[str, Any], at_s: float) -> None:
        subtype = line.get("subtype")
        if subtype in _TURN_ENDS:
            self._turn_ended = True
        elif subtype == "compact_boundary" and self._summary_at_s is not None:
            by_user = table(line.get("compactMetadata")).get("trigger") == "manual"
            self._settle(Sign.COMPLETED if by_user else Sign.PROMPTED, self._summary_at_s)
        elif subtype == "informational":
            words = normal(text(line.get("content"))).lower()
            self._native_over |= any(map(words.__contains__, self._profile.waits_no_more))
            if any(map(words.__contains__, self._profile.waits)) and not self._native_over:
                self._add(Sign.NATIVE_WAIT, at_s, text=text(line.get("content")))
        elif subtype == "api_error":
            self._settle(Sign.RETRYING, at_s, **_retry(line, at_s))

    def _decide_user(self, line: dict[str, Any], at_s: float) -> None:
        words = _words(table(line.get("message")))
        if line.get("isCompactSummary") is True:
            self._summary_at_s = at_s
            self._summary = words[:MAX_SUMMARY_CHARS]
        elif words.startswith(_INTERRUPTED):
            self._settle(Sign.INTERRUPTED, at_s, text=words[:100])
        elif words.startswith(self._profile.user_exits):
            self._settle(Sign.ENDED_BY_USER, at_s)
        elif line.get("turnOrigin") == "auto_continuation":
            self._settle(Sign.PROMPTED, at_s)
        elif line.get("isMeta") is not True and not words.startswith(_LOCAL):
            answered = any(block.get("type") == "tool_result" for block in _blocks(line))
            self._settle(Sign.ANSWERING if answered else Sign.PROMPTED, at_s)

    def _decide_assistant(self, line: dict[str, Any], at_s: float) -> None:
        message = table(line.get("message"))
        if line.get("isApiErrorMessage") is True:
            self._settle(Sign.FAILED, at_s, **self._error(line, message))
        elif message.get("model") == "<synthetic>":
            return  # "No response requested." and its like: not the model's
        elif message.get("stop_reason") == "tool_use":
            self._settle(Sign.TOOL_RUNNING, at_s)
        elif self._turn_ended or message.get("stop_reason") in ("end_turn", "stop_sequence", "refusal"):
            self._settle(Sign.COMPLETED, at_s)
        else:
            self._settle(Sign.ANSWERING, at_s)

    def _error(self, line: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        quota = table(line.get("quotaLimits")) or table(
            table(line.get("apiErrorParams")).get("rate_limit_info")
        )
        details = text(line.get("errorDetails"))
        return {
            "text": f"{_words(message)} {details}".strip(),
            "reason": self._profile.errors.get(text(line.get("error"))),
            "until_s": instant(number(quota.get("resetsAt"))),
        }


def _retry(line: dict[str, Any], at_s: float) -> dict[str, Any]:
    error = table(line.get("error"))
    wait_ms = number(line.get("retryInMs")) or 0.0
    resets_at_s = instant(number(table(error.get("rateLimits")).get("resetsAt")))
    said = text(error.get("formatted")) or text(error.get("message"))
    return {"text": said, "until_s": resets_at_s or at_s + max(0.0, wait_ms) / 1000}


def _blocks(line: dict[str, Any]) -> list[dict[str, Any]]:
    content = table(line.get("message")).get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _words(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = (block for block in content if isinstance(block, dict) and block.get("type") == "text")
    return "\n".join(found for block in blocks if isinstance(found := block.get("text"), str))

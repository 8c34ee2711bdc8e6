"""The output of headless agents, line by line: the session's id, and the error that ended it.

Owns the meaning of their lines (checked with Claude Code 2.1.332 `stream-json` and `json`, Codex 0.171.0
`--json`, opencode 1.18.33 `--format json`, Gemini CLI 0.61.0 `-o stream-json`).  Unknown lines are passed
over.  No I/O.
"""

from __future__ import annotations

from typing import Any, Final

from palingenesis.evidence.json_lines import instant, line_of, number, table, text
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.reasons import Reason

# An answer with a picture in it is a line of megabytes; longer ones are passed over.
MAX_LINE_BYTES: Final = 4 * 2**20
# Of what it writes to standard error: Gemini CLI's last error, with the stack of its calls, has two of these.
MAX_ERRORS_BYTES: Final = 16 * 2**10
_IDS: Final = ("session_id", "thread_id", "sessionID")
_BY_STATUS: Final = {401: Reason.LOGIN, 402: Reason.CREDIT, 403: Reason.LOGIN, 429: Reason.RATE_LIMIT}


class Printed:
    """What a run has printed so far.

    Attributes:
        session_id: the session's id; "" while none was printed.
        failure: the error that ended it; None if there is none.
        errors: the last of its standard error, where that is read.
        errors_at_s: when that came.
    """

    def __init__(self) -> None:
        self.session_id = ""
        self.failure: Fact | None = None
        self.errors = b""
        self.errors_at_s = 0.0
        self._line = bytearray()
        self._skip = False
        self._resets_at_s: float | None = None

    def feed(self, data: bytes, now_s: float) -> None:
        """Take a piece of output."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if not self._skip:
                self._take(bytes(self._line + piece), now_s)
            self._line.clear()
            self._skip = False
        self._skip |= len(self._line) + len(rest) > MAX_LINE_BYTES
        if self._skip:
            self._line.clear()
        else:
            self._line += rest

    def feed_errors(self, data: bytes, now_s: float) -> None:
        """Take a piece of its standard error."""
        self.errors = (self.errors + data)[-MAX_ERRORS_BYTES:]
        self.errors_at_s = now_s

    def end(self, now_s: float) -> None:
        """Nothing follows: the last line need not have an end."""
        self.feed(b"\n", now_s)

    def _take(self, line: bytes, now_s: float) -> None:
        found = line_of(line.strip()) if line.lstrip().startswith(b"{") else None
        if found is None:
            return
        for name in _IDS:
            self.session_id = text(found.get(name)) or self.session_id
        kind = found.get("type")
        if kind == "rate_limit_event":
            info = table(found.get("rate_limit_info"))
            if info.get("status") == "rejected":
                self._resets_at_s = instant(number(info.get("resetsAt")))
        elif kind == "result":
            self._take_result(found, now_s)
        elif kind == "turn.failed":
            self._fail(text(table(found.get("error")).get("message")), None, now_s)
        elif kind in ("turn.completed", "turn.started"):
            self.failure = None
        elif found.get("error") and kind in ("error", None):
            self._take_error(table(found.get("error")), now_s)

    def _take_result(self, found: dict[str, Any], now_s: float) -> None:
        if found.get("status") == "error":  # Gemini CLI's
            self._take_error(table(found.get("error")), now_s)
            return
        if found.get("is_error") is not True:
            self.failure = None
            return
        reason = _BY_STATUS.get(int(number(found.get("api_error_status")) or 0))
        if found.get("terminal_reason") == "prompt_too_long":
            reason = Reason.CONTEXT
        self._fail(text(found.get("result")), reason, now_s)

    def _take_error(self, error: dict[str, Any], now_s: float) -> None:
        data = table(error.get("data"))
        status = number(data.get("statusCode")) or number(error.get("code")) or 0
        self._fail(
            text(data.get("message")) or text(error.get("message")), _BY_STATUS.get(int(status)), now_s
        )

    def _fail(self, words: str, reason: Reason | None, now_s: float) -> None:
        self.failure = Fact(
            Sign.FAILED, Source.OUTPUT, now_s, text=words, reason=reason, until_s=self._resets_at_s
        )

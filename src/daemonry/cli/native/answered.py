"""A quick command that the native launcher has sent, and whose answer it does not print itself.

Owns printing it as if Python had asked.  Nothing is sent here: a command such as `pause` must not run twice.

    daemonry _answered reply|lost|late VERB NAME [--json]       the answer's bytes are on standard input
"""

from __future__ import annotations

import os

from daemonry import faults
from daemonry.cli import kit
from daemonry.daemon.instance import Instance
from daemonry.limits import MAX_REPLY_BYTES, REQUEST_TIMEOUT_S
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from daemonry.wire.text import TextReply

OUTCOMES: Final = ("reply", "lost", "late")


class _Answered(Instance):
    """A daemon that was asked already, and what came of it."""

    __slots__ = ("outcome",)
    outcome: str

    def request(self, word: str, timeout_s: float = REQUEST_TIMEOUT_S) -> TextReply:
        """Return the answer that came, or raise what its absence means; nothing is sent."""
        if self.outcome == "late":
            raise self._silent("reply", timeout_s, "no" if text.COMMANDS[word].idempotent else "maybe")
        if self.outcome == "lost":
            raise faults.ConnectionLost(str(self.endpoint()), "maybe")
        return text.read_reply(_input())


def _input() -> bytes:
    data = piece = os.read(0, MAX_REPLY_BYTES)
    while piece and len(data) <= MAX_REPLY_BYTES:
        piece = os.read(0, MAX_REPLY_BYTES)
        data += piece
    if len(data.partition(b"\n")[0]) >= MAX_REPLY_BYTES:
        raise faults.FrameTooLarge(MAX_REPLY_BYTES)
    return data


def perform(arguments: list[str]) -> int | None:
    """Print what came of a command and return its exit code; None where the words are not the launcher's."""
    if len(arguments) < 3 or arguments[0] not in OUTCOMES or arguments[1] not in kit.VERBS:
        return None
    parsed = kit.parse(arguments[2:])
    if parsed is None or len(parsed[0]) != 1:
        return None
    instance = _Answered.named(parsed[0][0])
    instance.outcome = arguments[0]
    return kit.perform(arguments[1], instance, parsed[1])

"""A quick command that the native launcher has sent, with the answer that it does not print itself.

Owns doing the command with that answer, as if Python had asked.  It is not sent again: a command such as
`pause` must not run twice.

    PROGRAM _answered reply|lost|late WORD WORDS       the answer's bytes are on standard input

WORD is what was sent, such as PAUSE; WORDS are the command line as it was given to the launcher.
"""

from __future__ import annotations

import os

from daemonry import faults
from daemonry.daemon.instance import Instance
from daemonry.limits import MAX_REPLY_BYTES
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from daemonry.errors import Ran
    from daemonry.wire.text import TextReply

OUTCOMES: Final = ("reply", "lost", "late")


def _input() -> bytes:
    data = piece = os.read(0, MAX_REPLY_BYTES)
    while piece and len(data) <= MAX_REPLY_BYTES:
        piece = os.read(0, MAX_REPLY_BYTES)
        data += piece
    if len(data.partition(b"\n")[0]) >= MAX_REPLY_BYTES:
        raise faults.FrameTooLarge(MAX_REPLY_BYTES)
    return data


def run(arguments: list[str], program: Callable[[list[str]], int]) -> int:
    """Do a program's command with the answer that came to it, and return its exit code.

    Args:
        arguments: the words behind `_answered`.
        program: runs the program's command line.
    """
    if len(arguments) < 3 or arguments[0] not in OUTCOMES or arguments[1] not in text.COMMANDS:
        return program(["_answered", *arguments])  # which says that it knows no such command
    outcome, sent, *words = arguments

    def answer(instance: Instance, word: str, timeout_s: float) -> TextReply | None:
        if word != sent:
            return None
        Instance.came = None  # one command was sent, and one is answered so
        if outcome == "late":
            ran: Ran = "no" if text.COMMANDS[word].idempotent else "maybe"
            raise faults.DeadlineExceeded("reply", timeout_s, ran, instance.name)
        if outcome == "lost":
            raise faults.ConnectionLost(str(instance.endpoint()), "maybe")
        return text.read_reply(_input())

    Instance.came = answer
    return program(words)

"""A session in plain text: what its last lines say, by the profile's own signs.

Owns nothing but that search.  Without signs such a session tells that it changed, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from palingenesis.agents.profile import Profile
from palingenesis.evidence.transcript import Transcript
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.messages import normal
from palingenesis.verdict.reasons import Reason

# A limit's message is among the last lines, or is history.
MAX_LINES: Final = 40

_SIGNS: Final = {
    Reason.COMPLETED: Sign.COMPLETED,
    Reason.USER_EXIT: Sign.ENDED_BY_USER,
    Reason.RUNNING: Sign.ANSWERING,
    Reason.PERMISSION: Sign.ASKS_PERMISSION,
}


def read(backwards: Iterator[bytes], name: str, changed_at_s: float, profile: Profile) -> Transcript:
    """Return what the last lines tell.

    Args:
        backwards: the lines, the last first.
        name: the session's id: its file's name.
        changed_at_s: when the file changed last; the lines have no time of their own.
        profile: the agent's table.
    """
    patterns = [(re.compile(sign.pattern, re.IGNORECASE), sign.reason) for sign in profile.signs]
    for _, data in zip(range(MAX_LINES), backwards, strict=False) if patterns else ():
        line = normal(data.decode("utf-8", "replace"))
        for pattern, reason in patterns:
            if pattern.search(line):
                sign = _SIGNS.get(reason, Sign.FAILED)
                fact = Fact(sign, Source.TRANSCRIPT, changed_at_s, text=line, reason=reason)
                return Transcript(id=name, facts=(fact,))
    return Transcript(id=name)

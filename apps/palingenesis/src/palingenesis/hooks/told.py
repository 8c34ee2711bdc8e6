"""What agents told by their hooks, as facts, kept over a restart.

Owns the meaning of events and the file `hooks/told.json`.  A hook adds evidence and decides nothing: a
session must be in the agent's own records to be seen at all, and each field is bounded and doubted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from daemonry import read_regular, write_atomically
from palingenesis import names_json
from palingenesis.agents.profile import Profile
from palingenesis.evidence.json_lines import line_of, text
from palingenesis.hooks import script
from palingenesis.verdict.facts import Fact, Sign, Source

MAX_FACTS: Final = 8  # of one session: the last turn and its end
MAX_SESSIONS: Final = 1_000
MAX_ID_CHARS: Final = 200
MAX_BYTES: Final = 16 * 2**20

_PLAIN: Final = {
    "UserPromptSubmit": Sign.PROMPTED,
    "BeforeAgent": Sign.PROMPTED,
    "Stop": Sign.COMPLETED,
    "AfterAgent": Sign.COMPLETED,
    "Interrupt": Sign.INTERRUPTED,
}
# `other` is a terminal that was closed, a signal, and the end of a run without a terminal.
_BY_USER: Final = frozenset({"prompt_input_exit", "logout", "clear", "resume"})
_NOTIFICATIONS: Final = {
    "permission_prompt": Sign.ASKS_PERMISSION,
    "ToolPermission": Sign.ASKS_PERMISSION,
    "elicitation_dialog": Sign.ASKS_PERMISSION,
    "quota_auto_resume_fired": Sign.PROMPTED,
}

Kept = dict[str, list[Fact]]


def fact_of(event: Mapping[str, Any], profile: Profile, at_s: float) -> Fact | None:
    """Return what an event says; None for one that says nothing about the turn."""
    name = text(event.get("hook_event_name"))
    if name in _PLAIN:
        return Fact(_PLAIN[name], Source.HOOK, at_s)
    if name == "StopFailure":
        reason = profile.errors.get(text(event.get("error")))
        return Fact(
            Sign.FAILED, Source.HOOK, at_s, text=text(event.get("last_assistant_message")), reason=reason
        )
    if name == "SessionEnd":
        reason_told = text(event.get("reason"))
        sign = Sign.ENDED_BY_USER if reason_told in _BY_USER else Sign.ENDED
        return Fact(sign, Source.HOOK, at_s, text=reason_told[:MAX_ID_CHARS])
    if name == "Notification":
        found = _NOTIFICATIONS.get(text(event.get("notification_type")))
        return Fact(found, Source.HOOK, at_s, text=text(event.get("message"))) if found else None
    return None


class HookFacts:
    """Facts by session, in the file of one state directory.

    Attributes:
        facts: by AGENT:ID.
    """

    def __init__(self, state_dir: str) -> None:
        self.facts = read(state_dir)
        self._state_dir = state_dir

    def take_in(self, profiles: Mapping[str, Profile], now_s: float) -> list[str]:
        """Take in the events that wait, and return the sessions that they are of.

        Raises:
            OSError: their facts could not be kept; they wait for another time.
        """
        events = script.waiting(self._state_dir)
        changed: dict[str, None] = {}
        taken: list[str] = []
        for path, agent, at_s in events:
            event = line_of(script.read(path))
            if event is None and now_s - script.WRITING_S < at_s <= now_s:
                continue  # it is still being written
            taken.append(path)
            event = event or {}
            session = text(event.get("session_id"))
            fact = fact_of(event, profiles[agent], min(at_s, now_s)) if agent in profiles else None
            if fact is not None and 0 < len(session) <= MAX_ID_CHARS:
                changed[f"{agent}:{session}"] = None
                self._add(f"{agent}:{session}", fact)
        if changed:
            data = names_json.encode(self.facts)
            write_atomically(_path(self._state_dir), data)
        for path in taken:
            _remove(path)
        return list(changed)

    def _add(self, key: str, fact: Fact) -> None:
        known = self.facts.pop(key, [])
        if fact not in known:  # taken in before, and kept, but not removed
            known = [*known, fact][-MAX_FACTS:]
        self.facts[key] = known  # at the end: the newest facts are forgotten last
        while len(self.facts) > MAX_SESSIONS:
            del self.facts[next(iter(self.facts))]


def read(state_dir: str) -> Kept:
    """Return the facts that are kept; none where they cannot be read: hooks are not needed."""
    try:
        return names_json.decode(read_regular(_path(state_dir), MAX_BYTES), Kept)
    except (OSError, ValueError):
        return {}


def _path(state_dir: str) -> str:
    return os.path.join(script.directory(state_dir), "told.json")


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass

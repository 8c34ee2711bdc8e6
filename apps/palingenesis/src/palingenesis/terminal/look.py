"""The session in a terminal: which one it is, and why it stands as it does.

Owns the finding.  The id is on the command line, in what a headless agent prints, or that of the session in
which one of the terminal's own processes lives; else it is the newest of the directory that changed since.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from palingenesis.agents.profile import Profile
from palingenesis.evidence.survey import Session, Survey
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.judge import judge

# Whether a process is one of the terminal's own.
Owns = Callable[[int], bool]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|ses_[A-Za-z0-9]{8,}")


class Seen(NamedTuple):
    """The findings of one look.

    Attributes:
        session: the session; None where none was found.
        lives_elsewhere: the process that lives in it and is not this terminal's; 0 if there is none.
    """

    session: Session | None
    lives_elsewhere: int


class Look:
    """Looks at the session of one terminal again and again.

    Args:
        agent: the agent's name.
        profile: its table.
        environment: the variables that its places depend on.
        words: the program's words.
        cwd: its directory.
    """

    def __init__(
        self, agent: str, profile: Profile, environment: Mapping[str, str], words: Sequence[str], cwd: str
    ) -> None:
        self._survey = Survey({agent: profile}, environment)
        self._agent = agent
        self._cwd = os.path.realpath(cwd)
        self._path = ""
        self._profile = profile
        self._told: Fact | None = None
        self.session_id = next((word for word in words[1:] if _ID.fullmatch(word)), "")

    @property
    def account(self) -> str:
        """What names the sessions that share a limit with this one."""
        return self._survey.account(self._agent)

    def begin_new(self, session_id: str) -> None:
        """Look for another session from now on."""
        self.session_id, self._path = session_id, ""

    def hear(self, session_id: str, failure: Fact | None, code: int | None) -> None:
        """Take what a run printed, and its exit code, for the looks that follow.

        Both count where the session's own record does not tell why the turn failed.
        """
        self.session_id = self.session_id or session_id
        reason = None if code is None else self._profile.exits.get(str(code))
        self._told = failure
        if failure is None and reason is not None:
            self._told = Fact(Sign.FAILED, Source.OUTPUT, time.time(), reason=reason)

    def look(self, since_s: float, owns: Owns) -> Seen:
        """Look now, and return the findings.

        Args:
            since_s: when the program began.
            owns: whether a process is one of its own.
        """
        found = self._found(since_s, owns)
        if found is None:
            return Seen(None, 0)
        self.session_id, self._path = found.id, found.path
        if self._told is not None:
            evidence = msgspec.structs.replace(
                found.evidence, facts=(*found.transcript.facts, self._told, *found.evidence.facts)
            )
            found = msgspec.structs.replace(found, evidence=evidence, verdict=judge(evidence))
        pid = found.verdict.alive_pid
        return Seen(found, pid if pid is not None and not owns(pid) else 0)

    def _found(self, since_s: float, owns: Owns) -> Session | None:
        if self._path:
            at = self._survey.look_at([(self._agent, self._path)])
            if known := next((one for one in at if one.id == self.session_id), None):
                return known
        changed = self._survey.look(since_s - 1.0)  # file systems round their times
        if self.session_id:
            return next((one for one in changed if one.id == self.session_id), None)
        for one in changed:
            if one.verdict.alive_pid is not None and owns(one.verdict.alive_pid):
                return one
        here = (one for one in changed if one.cwd and os.path.realpath(one.cwd) == self._cwd)
        return next((one for one in here if one.verdict.alive_pid is None), None)

"""The session in a terminal: which one it is, and why it stands as it does.

Owns the finding.  The id is on the command line, in what a headless agent prints, or that of the session in
which one of the terminal's own processes lives; else it is the newest of the directory that changed since.
Where a server of the agent writes the record, the terminal's own process must be the only one in the
directory, and the session's turn must have begun in this run.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from palingenesis.agents.profile import Profile
from palingenesis.evidence.living import ONE_OF
from palingenesis.evidence.survey import Session, Survey, with_facts
from palingenesis.terminal.events import Printed
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.run_end import failure_of

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
        self._dead: Fact | None = None
        self.session_id = next((word for word in words[1:] if _ID.fullmatch(word)), "")

    @property
    def account(self) -> str:
        """What names the sessions that share a limit with this one."""
        return self._survey.account(self._agent)

    def begin_new(self, session_id: str) -> None:
        """Look for another session from now on."""
        self.session_id, self._path = session_id, ""

    def hear(self, printed: Printed, code: int | None, *, killed: bool = False) -> None:
        """Take what a run printed, its exit code, and whether it was killed, for the looks that follow.

        These count where the session's own record does not tell why the turn failed.
        """
        self._dead = Fact(Sign.DEAD, Source.OUTPUT, time.time()) if killed else None
        self.session_id = self.session_id or printed.session_id
        said, at_s = printed.errors.decode("utf-8", "replace"), printed.errors_at_s or time.time()
        self._told = printed.failure or failure_of(code, said, at_s, self._profile.exits)

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
        if more := [one for one in (self._told, self._dead) if one is not None]:
            found = with_facts(found, more)
        pid = found.verdict.alive_pid
        elsewhere = pid is not None and not found.verdict.served and not owns(pid)
        return Seen(found, pid if pid is not None and elsewhere else 0)

    def _found(self, since_s: float, owns: Owns) -> Session | None:
        known = None
        if self._path:
            at = self._survey.look_at([(self._agent, self._path)])
            known = next((one for one in at if one.id == self.session_id), None)
            if known is not None and known.verdict.alive_pid is not None:
                return known
        changed = self._survey.look(since_s - 1.0)  # file systems round their times
        if self.session_id and known is None:
            return next((one for one in changed if one.id == self.session_id), None)
        # Nobody lives in the known one: it has ended, or its user began another in the same window.
        return self._own(changed, since_s, owns) or known or self._newest_here(changed, since_s)

    def _own(self, changed: Sequence[Session], since_s: float, owns: Owns) -> Session | None:
        """Return the session in which one of the terminal's own processes lives, and surely that one."""
        for one in changed:
            living = _living(one)
            if living is None or living.pid is None or living.text.startswith(ONE_OF):
                continue
            if owns(living.pid) and _is_of_this_run(one, since_s):
                return one
        return None

    def _newest_here(self, changed: Sequence[Session], since_s: float) -> Session | None:
        for one in changed:
            is_here = one.cwd and os.path.realpath(one.cwd) == self._cwd
            if is_here and _living(one) is None and _is_of_this_run(one, since_s):
                return one
        return None


def _living(session: Session) -> Fact | None:
    signs = (Sign.ALIVE, Sign.MAYBE_ALIVE)
    return next((one for one in reversed(session.evidence.facts) if one.sign in signs), None)


def _is_of_this_run(session: Session, since_s: float) -> bool:
    """Whether a session can be that of a run: a server goes on with a turn of a window that is gone."""
    if not any(one.sign is Sign.SERVED for one in session.evidence.facts):
        return True
    return (session.transcript.turn_began_s or 0.0) >= since_s - 1.0

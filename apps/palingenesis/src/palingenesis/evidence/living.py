"""Who lives in a session: the agent's registry, the processes of this moment, the terminals that are held.

Owns what of them concerns one session.  A process that names the session, or has its record open, lives
in it.  One in the same directory that no other session accounts for may live in it, and that is enough to
leave it alone.  A server of the agent that has the record open lives in no session: it keeps those of all
windows open, and longer than these.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from palingenesis.agents.profile import Profile
from palingenesis.evidence import places, processes, tail
from palingenesis.evidence.json_lines import instant, line_of, number, text
from palingenesis.evidence.processes import Process
from palingenesis.evidence.terminals import Terminal
from palingenesis.verdict.facts import Fact, Sign, Source

MAX_REGISTRY_BYTES: Final = 64 * 2**10
MAX_REGISTERED: Final = 1_000
# How the text of a fact begins where several processes may live in one session.
ONE_OF: Final = "one of"

# What agents call a session on a command line.
_SESSION_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|ses_[A-Za-z0-9]{8,}")


class Registered(NamedTuple):
    """An entry of an agent's registry of living sessions.

    Attributes:
        session: the session's id.
        pid: its process.
        at_s: when the entry was written last.
        alive: whether that very process is there.
        status: what the agent says that it does ("busy", "idle"), or "".
    """

    session: str
    pid: int
    at_s: float
    alive: bool
    status: str


class Living:
    """What lives on this machine at one moment, of all agents.

    Args:
        profiles: the agents.
        registries: the pattern of each agent's registry, where it has one.
        held: the terminals that `palingenesis run` holds.
    """

    def __init__(
        self, profiles: dict[str, Profile], registries: dict[str, str], held: Sequence[Terminal] = ()
    ) -> None:
        self.held = held
        self.now = processes.running({name for one in profiles.values() for name in one.programs})
        self.registered = {agent: list(_registered(where)) for agent, where in registries.items()}
        self.booted_at_s = processes.booted_at_s()
        self._profiles = profiles

    def facts(self, agent: str, session: str, path: str, cwd: str, now_s: float) -> tuple[Fact, ...]:
        """Return what lives in one session, and when the machine started."""
        facts = []
        if self.booted_at_s is not None:
            facts.append(Fact(Sign.BOOTED, Source.MACHINE, self.booted_at_s))
        profile = self._profiles[agent]
        if not profile.programs:
            return tuple(facts)
        of_agent = [one for one in self.now if one.program in profile.programs]
        servers = [one for one in of_agent if any(word in profile.servers for word in one.words[1:3])]
        others = [one for one in of_agent if one not in servers]
        server = next((one for one in servers if path in one.files), None)
        living = self._about(agent, others, session, path, cwd, now_s)
        if server is not None:
            facts.append(Fact(Sign.SERVED, Source.PROCESS, now_s, pid=server.pid))
        if server is None or living.sign in (Sign.ALIVE, Sign.MAYBE_ALIVE):
            facts.append(living)
        return tuple(facts)

    def _about(
        self, agent: str, of_agent: Sequence[Process], session: str, path: str, cwd: str, now_s: float
    ) -> Fact:
        entries = [one for one in self.registered.get(agent, ()) if one.session == session]
        for entry in entries:
            if entry.alive:
                return Fact(Sign.ALIVE, Source.PROCESS, now_s, pid=entry.pid, text=entry.status)
        for process in of_agent:
            if _names(process, session) or path in process.files:
                return Fact(Sign.ALIVE, Source.PROCESS, now_s, pid=process.pid)
        if terminal := self._held(agent, session=session):
            return Fact(Sign.ALIVE, Source.PROCESS, now_s, pid=terminal.pid, text=f"in {terminal.name}")
        taken = {one.pid for one in self.registered.get(agent, ()) if one.alive}
        taken |= {one.pid for one in of_agent if any(map(_SESSION_ID.fullmatch, one.words[1:]))}
        near = [one for one in of_agent if one.pid not in taken and _is_in(one, cwd, path)]
        if near:
            # A program that starts itself again, or is started by a script of its name, is one.
            count = len(near) if len(near) == 1 else len(_without_children(near))
            many = f"{ONE_OF} {count}" if count > 1 else ""
            return Fact(Sign.MAYBE_ALIVE, Source.PROCESS, now_s, pid=near[0].pid, text=many)
        if terminal := self._held(agent, session="", cwd=cwd):  # of which the session is not known yet
            return Fact(Sign.MAYBE_ALIVE, Source.PROCESS, now_s, pid=terminal.pid)
        if entries:
            return Fact(Sign.DEAD, Source.PROCESS, entries[-1].at_s, pid=entries[-1].pid)
        return Fact(Sign.NOBODY, Source.PROCESS, now_s)

    def _held(self, agent: str, session: str, cwd: str | None = None) -> Terminal | None:
        for one in self.held:
            if one.agent == agent and one.session == session and cwd in (None, one.cwd):
                return one
        return None


def _without_children(near: Sequence[Process]) -> list[Process]:
    numbers = {one.pid for one in near}
    return [one for one in near if processes.parent_of(one.pid) not in numbers]


def _names(process: Process, session: str) -> bool:
    return bool(session) and any(session in word for word in process.words[1:])


def _is_in(process: Process, cwd: str, path: str) -> bool:
    if not process.cwd:
        return True  # a process whose directory cannot be seen may be anywhere
    if cwd and process.cwd in (cwd, os.path.realpath(cwd)):
        return True
    # A session that went to another directory still belongs to the one that its transcript is named for.
    return re.sub(r"[^A-Za-z0-9]", "-", process.cwd) == os.path.basename(os.path.dirname(path))


def _registered(pattern: str) -> Iterable[Registered]:
    for _, found in zip(range(MAX_REGISTERED), places.find(pattern), strict=False):
        entry = _entry(found.path)
        pid = number(entry.get("pid"))
        if pid is None or not 0 < pid < 2**31 or not text(entry.get("sessionId")):
            continue
        start = processes.start_of(int(pid))
        told = entry.get("procStart")
        alive = bool(start) and (told is None or str(told) == start)
        at_s = instant(number(entry.get("updatedAt"))) or found.modified_ns / 1e9
        yield Registered(text(entry["sessionId"]), int(pid), at_s, alive, text(entry.get("status")))


def _entry(path: str) -> dict[str, Any]:
    try:
        with open(tail.open_regular(path), "rb") as file:
            return line_of(file.read(MAX_REGISTRY_BYTES)) or {}
    except OSError:
        return {}

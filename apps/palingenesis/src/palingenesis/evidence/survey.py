"""All sessions of all agents, each with its evidence and its verdict.

Owns the look: which files there are, which of them changed since the last look and have to be read again,
and who lives where.  Nothing is written, anywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from palingenesis import session_files
from palingenesis.agents.profile import Profile, place
from palingenesis.evidence import claude, codex, gemini, markdown, opencode, places, tail, terminals
from palingenesis.evidence.json_lines import line_of
from palingenesis.evidence.living import Living
from palingenesis.evidence.places import Found
from palingenesis.evidence.transcript import Transcript
from palingenesis.verdict.facts import Evidence, Fact, Sign, Source
from palingenesis.verdict.judge import Verdict, judge

# The longest limit is a week: a session unchanged for longer is history.
RECENT_S: Final = 8 * 86400.0
# Transcripts that are read in one look, the newest first.
MAX_READ: Final = 20_000

_JSON_READERS: Final = {"claude": claude.read, "codex": codex.read, "gemini": gemini.read}


class Session(msgspec.Struct, frozen=True):
    """One session at one moment.

    Attributes:
        agent: the profile's name.
        id: the agent's own id of it.
        path: its record's file.
        changed_at_s: when that changed last.
        transcript: the facts of its record.
        evidence: all that the verdict was made from.
        verdict: why it is as it is.
    """

    agent: str
    id: str
    path: str
    changed_at_s: float
    transcript: Transcript
    evidence: Evidence
    verdict: Verdict

    @property
    def key(self) -> str:
        """What names it among all sessions of this machine."""
        return f"{self.agent}:{self.id}"

    @property
    def cwd(self) -> str:
        """Where it works; "" if not known."""
        return self.transcript.cwd


class Survey:
    """Looks at the sessions of some agents, again and again.

    Args:
        profiles: the agents.
        environment: the variables that their places depend on.
        told: what their hooks told, by AGENT:ID; read at each look.
        state_dir: where `palingenesis run` records its terminals; "" to look at none.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        environment: Mapping[str, str],
        told: Mapping[str, Sequence[Fact]] | None = None,
        state_dir: str = "",
    ) -> None:
        self._state_dir = state_dir
        self.profiles = dict(profiles)
        self._told = {} if told is None else told
        self.zone = local_zone(environment)
        self.patterns = {
            name: [where for one in profile.sessions if (where := place(one, environment))]
            for name, profile in profiles.items()
        }
        self._registries = {
            name: where for name, one in profiles.items() if (where := place(one.registry, environment))
        }
        self._read: dict[str, tuple[Found, list[Transcript]]] = {}

    def roots(self) -> list[str]:
        """Return the directories that all sessions are below."""
        return sorted({places.base(one) for patterns in self.patterns.values() for one in patterns})

    def account(self, agent: str) -> str:
        """Return what names the sessions that share a limit: the agent, and where its sessions are."""
        patterns = self.patterns[agent]
        return f"{agent}:{os.path.realpath(places.base(patterns[0])) if patterns else ''}"

    def find(self, agent: str) -> Iterator[Found]:
        """Yield the files of one agent's sessions."""
        for pattern in self.patterns[agent]:
            yield from places.find(pattern)

    def look(self, since_s: float | None = None) -> list[Session]:
        """Return the sessions that changed after `since_s` (by default `RECENT_S` ago), the newest first."""
        now_s = time.time()
        since_s = now_s - RECENT_S if since_s is None else since_s
        candidates = [
            (agent, found)
            for agent in self.profiles
            for found in self.find(agent)
            if _changed_at_s(found) >= since_s
        ]
        candidates.sort(key=lambda one: one[1].modified_ns, reverse=True)
        candidates = candidates[:MAX_READ]
        kept = {found.path for _, found in candidates}
        self._read = {path: known for path, known in self._read.items() if path in kept}
        return self._judged(candidates, since_s, now_s)

    def look_at(self, files: Collection[tuple[str, str]]) -> list[Session]:
        """Return the sessions in some files, given as agent and path; those that are gone are left out."""
        candidates = [(agent, found) for agent, path in files if (found := places.look(path)) is not None]
        now_s = time.time()
        return self._judged(candidates, now_s - RECENT_S, now_s)

    def _judged(self, candidates: list[tuple[str, Found]], since_s: float, now_s: float) -> list[Session]:
        held = terminals.living(self._state_dir) if candidates and self._state_dir else ()
        living = Living(self.profiles, self._registries, held) if candidates else None
        sessions = [
            self._session(agent, found, transcript, living, now_s)
            for agent, found in candidates
            for transcript in self._transcripts(agent, found, since_s)
            if transcript.is_main and transcript.id and living is not None
        ]
        sessions.sort(key=lambda one: one.changed_at_s, reverse=True)
        return sessions

    def _session(
        self, agent: str, found: Found, transcript: Transcript, living: Living, now_s: float
    ) -> Session:
        around = living.facts(agent, transcript.id, found.path, transcript.cwd, now_s)
        evidence = Evidence(
            facts=(*_in_order(transcript.facts, self._told.get(f"{agent}:{transcript.id}", ())), *around),
            now_s=now_s,
            zone=self.zone,
            tells_errors=self.profiles[agent].tells_errors,
            registers=transcript.registers and agent in self._registries,
        )
        at_s = transcript.at_s or _changed_at_s(found)
        return Session(agent, transcript.id, found.path, at_s, transcript, evidence, judge(evidence))

    def _transcripts(self, agent: str, found: Found, since_s: float) -> list[Transcript]:
        profile = self.profiles[agent]
        if profile.reader == "opencode":
            return _from_database(found, since_s, profile, self._read)
        known = self._read.get(found.path)
        if known is not None and known[0] == found:
            return known[1]
        transcripts = [_from_file(found, profile)]
        self._read[found.path] = (found, transcripts)
        return transcripts


def with_facts(session: Session, facts: Sequence[Fact]) -> Session:
    """Return a session with further facts, and the verdict on all of them."""
    evidence = msgspec.structs.replace(session.evidence, facts=(*session.evidence.facts, *facts))
    return msgspec.structs.replace(session, evidence=evidence, verdict=judge(evidence))


def _in_order(read: Sequence[Fact], told: Sequence[Fact]) -> list[Fact]:
    """Return the facts of the record and those of hooks, by their times; the record's own order stays."""
    merged: list[Fact] = []
    later = sorted(told, key=lambda fact: fact.at_s)
    for fact in read:
        while later and later[0].at_s < fact.at_s:
            merged.append(later.pop(0))
        merged.append(fact)
    return merged + later


def _changed_at_s(found: Found) -> float:
    modified_ns = found.modified_ns
    log = places.look(found.path + "-wal") if found.path.endswith(".db") else None
    return max(modified_ns, log.modified_ns if log else 0) / 1e9


def _from_database(
    found: Found, since_s: float, profile: Profile, known: dict[str, tuple[Found, list[Transcript]]]
) -> list[Transcript]:
    """Return a database's sessions; while it cannot be read, those of the last time, else why."""
    before = known.get(found.path)
    lock_wait_s = opencode.LOCK_WAIT_S if before else opencode.FIRST_LOCK_WAIT_S
    try:
        transcripts = opencode.read(found.path, since_s, profile, lock_wait_s)
    except opencode.OpencodeUnreadable as error:
        return before[1] if before else [_unreadable(found, error.reason)]
    known[found.path] = (found, transcripts)
    return transcripts


def _from_file(found: Found, profile: Profile) -> Transcript:
    try:
        fd = tail.open_regular(found.path)
    except OSError as error:
        return _unreadable(found, f"it cannot be read: {error.strerror}")
    try:
        if profile.reader == "markdown" and not session_files.judge(found.path).is_session:
            return Transcript()
        if profile.reader in ("markdown", "text"):
            lines = tail.lines_backwards(fd, found.size)
            return markdown.read(lines, _name(found), _changed_at_s(found), profile)
        return _from_json_lines(fd, found, profile)
    finally:
        os.close(fd)


def _from_json_lines(fd: int, found: Found, profile: Profile) -> Transcript:
    head = line_of(tail.first_line(fd)) or {}
    backwards = (line for data in tail.lines_backwards(fd, found.size) if (line := line_of(data)) is not None)
    transcript = _JSON_READERS[profile.reader](backwards, head, profile)
    changes: dict[str, Any] = {}
    if not transcript.id:
        changes["id"] = _name(found)
    if profile.reader == "gemini" and not transcript.cwd:
        changes["cwd"] = _project_root(found.path)
    return msgspec.structs.replace(transcript, **changes) if changes else transcript


def _project_root(path: str) -> str:
    """Return the directory that a Gemini project's folder says that it is of; "" where it says none."""
    marker = os.path.join(os.path.dirname(os.path.dirname(path)), ".project_root")
    try:
        with open(tail.open_regular(marker), "rb") as file:
            root = os.fsdecode(file.read(4096)).strip()
    except OSError:
        return ""
    return root if root.startswith("/") else ""


def _unreadable(found: Found, reason: str) -> Transcript:
    fact = Fact(Sign.UNREADABLE, Source.TRANSCRIPT, _changed_at_s(found), text=reason)
    return Transcript(id=_name(found), facts=(fact,))


def _name(found: Found) -> str:
    return os.path.splitext(os.path.basename(found.path))[0]


def local_zone(environment: Mapping[str, str]) -> str:
    """Return the name of this machine's zone, as `TZ` or the link /etc/localtime tells it; "" for UTC."""
    candidates = [environment.get("TZ", "").removeprefix(":")]
    target = os.path.realpath("/etc/localtime")
    candidates.append(target.partition("/zoneinfo/")[2])
    for name in filter(None, candidates):
        try:
            return ZoneInfo(name).key
        except (OSError, ValueError, LookupError):
            continue
    return ""

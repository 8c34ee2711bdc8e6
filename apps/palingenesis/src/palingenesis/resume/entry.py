"""The entry of a session, and how a new observation changes it.

Owns the entry and the rules: which sessions are resumed, which are left alone, and from when on.  No clock
and no files: `now_s` is given, and each function returns a new entry.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from palingenesis.resume import schedule
from palingenesis.resume.schedule import Delays
from palingenesis.resume.states import Happened, State, after
from palingenesis.verdict.facts import Source
from palingenesis.verdict.judge import Verdict
from palingenesis.verdict.reasons import RESUMABLE, Confidence, Reason

if TYPE_CHECKING:
    from palingenesis.agents.profile import Profile
    from palingenesis.evidence.survey import Session

# An id becomes an argument: one that could be read as an option is not taken.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

# Begun runs that are kept of a session, for its bound a day.
MAX_BEGUN: Final = 1_000

# The note of a session whose record was removed.
RECORD_GONE: Final = "its record is gone"

_USUAL_DELAYS: Final = Delays()
# The end of an observation's name while somebody lives in the session: their end makes it another one.
ALIVE: Final = " alive"
SERVED: Final = " served"
_OVERRUN: Final = " overrun"

_SEEN: Final = {
    Reason.RUNNING: Happened.SEEN_AT_WORK,
    Reason.WAITING_INSIDE: Happened.SEEN_WAITING,
    Reason.COMPLETED: Happened.SEEN_DONE,
    Reason.USER_EXIT: Happened.SEEN_LEFT,
}


class AgentRun(msgspec.Struct, frozen=True):
    """One run of an agent, written down before it is begun.

    Attributes:
        token: names it; in its environment and in its files' names.
        argv: its words.
        began_s: when it was written down.
        boot: the boot in which that was.
        pid: its process; 0 until that is known.
        start: what tells that process from a later one of its number.
        progressed: whether the model has answered in it.
        new_id: the id of the new session that it begins; "" for one that resumes.
        is_handed: whether it hands the prompt to a server of the agent, which goes on after its end.
        gate: the file that it makes before it becomes the agent; "" in entries of earlier versions.
    """

    token: str
    argv: tuple[str, ...]
    began_s: float
    boot: str = ""
    pid: int = 0
    start: str = ""
    progressed: bool = False
    new_id: str = ""
    is_handed: bool = False
    gate: str = ""


class SessionEntry(msgspec.Struct, frozen=True):
    """The lasting facts about one session.

    Attributes:
        key: AGENT:ID.
        agent, id, path, cwd: whose and where it is.
        account: those that share a limit.
        state: how it stands.
        since_s: since when.
        observed: names the observation that led here; the same one again changes nothing.
        reason: why it stopped.
        resets_at_s: when its limit ends.
        at_s: when a try is due, while it is scheduled.
        attempt: tries that brought nothing since it made progress last.
        note: a sentence for its user.
        run: its latest run.
        resumes: how often it went on by a run of ours.
        continued_by: the session that took over, when its context was full.
        begun_at_s: when its last runs were begun.
        same_error, same_error_times: the words of its last failure, and how often they came in a row.
        wanted_at_s: when its user wants it resumed although its turn has ended; 0 for never.
        frozen: the process that was stopped when it was held, and what tells it from a later one.
        released_at_s: when its user released it last: requests before that do not hold it again.
        accounted: the claim of another process that was counted last.
    """

    key: str
    agent: str
    id: str
    path: str
    cwd: str
    account: str
    state: State
    since_s: float
    observed: str = ""
    reason: Reason = Reason.UNKNOWN
    resets_at_s: float | None = None
    at_s: float = 0.0
    attempt: int = 0
    note: str = ""
    run: AgentRun | None = None
    resumes: int = 0
    continued_by: str = ""
    begun_at_s: tuple[float, ...] = ()
    same_error: str = ""
    same_error_times: int = 0
    wanted_at_s: float = 0.0
    frozen: tuple[int, str] | None = None
    released_at_s: float = 0.0
    accounted: str = ""


def observe(
    entry: SessionEntry | None,
    session: Session,
    profile: Profile,
    account: str,
    watching_since_s: float,
    delays: Delays = _USUAL_DELAYS,
) -> SessionEntry | None:
    """Return the entry of a session after a look at it; the same entry where nothing is new.

    A session that had ended when it was first seen, or of which nothing is known, gets no entry: None.

    Args:
        entry: its entry so far; None for a session that is new.
        session: the observation.
        profile: its agent.
        account: those that share its limit.
        watching_since_s: when palingenesis first watched: earlier stops are not resumed by themselves.
        delays: how long a try waits.
    """
    name = name_of(session)
    if entry is not None and (entry.observed == name or entry.state in (State.RESUMING, State.HELD)):
        return entry
    if entry is not None and _is_over(entry, session):
        return entry
    happened, note = _what_happened(session, profile, watching_since_s, is_new=entry is None)
    if entry is None and happened in (Happened.SEEN_DONE, Happened.SEEN_LEFT):
        return None
    is_new_stop = entry is None and happened is Happened.SEEN_STOPPED
    if is_new_stop and (session.verdict.reason is Reason.UNKNOWN or session.changed_at_s < watching_since_s):
        return None
    return settled(entry or begun(session, account), session, happened, note, delays)


def settled(
    entry: SessionEntry, session: Session, happened: Happened, note: str = "", delays: Delays = _USUAL_DELAYS
) -> SessionEntry:
    """Return the entry after `happened`, with the observation written into it."""
    verdict, now_s = session.verdict, session.evidence.now_s
    # Somebody who looks into it, or its own run that ends, leaves the same stop behind.
    attempt = entry.attempt if stop_in(entry.observed) == stop_in(name_of(session)) else 0
    if entry.wanted_at_s and happened in (Happened.SEEN_DONE, Happened.SEEN_STOPPED):
        happened = Happened.SEEN_RESUMABLE
    state = after(entry.state, happened)
    if state is None:
        return entry
    at_s = 0.0
    if state is State.SCHEDULED and verdict.reason in (Reason.COMPLETED, Reason.UNKNOWN):
        at_s = max(now_s, entry.wanted_at_s)
    elif state is State.SCHEDULED:
        at_s = schedule.due_at_s(entry.key, verdict.reason, verdict.resets_at_s, attempt, now_s, delays)
    return msgspec.structs.replace(
        entry,
        state=state,
        since_s=now_s if state is not entry.state else entry.since_s,
        observed=name_of(session),
        reason=verdict.reason,
        resets_at_s=verdict.resets_at_s,
        cwd=session.cwd or entry.cwd,
        at_s=at_s,
        attempt=attempt,
        note=note or _note(session),
    )


def failed(
    entry: SessionEntry,
    now_s: float,
    note: str,
    session: Session | None = None,
    tries: int = schedule.MAX_TRIES,
    delays: Delays = _USUAL_DELAYS,
    told: Verdict | None = None,
) -> SessionEntry:
    """Return the entry after a try that brought nothing: the next one is due later, or it is given up.

    Args:
        entry: the entry so far.
        now_s: when that was found.
        note: a sentence about it.
        session: what the session is now, if it was looked at: its limit may have a new end.
        tries: how many there are.
        delays: how long the next one waits.
        told: why it failed, where the run tells that and the session's record does not.
    """
    attempt = entry.attempt + 1
    happened = Happened.TRIES_SPENT if attempt >= tries else Happened.TRY_FAILED
    state = after(entry.state, happened)
    assert state is not None
    if session is not None:
        verdict = told or session.verdict
        entry = msgspec.structs.replace(
            entry, reason=verdict.reason, resets_at_s=verdict.resets_at_s, observed=name_of(session)
        )
    resets_at_s = entry.resets_at_s
    at_s = schedule.due_at_s(entry.key, entry.reason, resets_at_s, attempt, now_s, delays)
    return msgspec.structs.replace(
        entry,
        state=state,
        since_s=now_s,
        attempt=attempt,
        at_s=at_s if state is State.SCHEDULED else 0.0,
        resets_at_s=resets_at_s,
        note=note,
    )


def asked(entry: SessionEntry, happened: Happened, now_s: float, at_s: float = 0.0) -> SessionEntry | None:
    """Return the entry after a user's word; None where that cannot be done in its state.

    Args:
        entry: the entry so far.
        happened: the request.
        now_s: when.
        at_s: for which instant; 0 for now.
    """
    state = after(entry.state, happened)
    if state is None:
        return None
    return msgspec.structs.replace(
        entry,
        state=state,
        since_s=now_s,
        at_s=max(now_s, at_s) if state is State.SCHEDULED else 0.0,
        wanted_at_s=at_s,
        attempt=0,
        reason=Reason.CONTEXT if happened is Happened.RENEW else entry.reason,
        observed="" if happened is Happened.RELEASE else entry.observed,
        note=happened.value,
    )


def what_ended(session: Session, profile: Profile) -> tuple[Happened, str]:
    """Return what the end of a run that made progress comes to."""
    return _what_happened(session, profile, 0.0, is_new=False)


def begun(session: Session, account: str) -> SessionEntry:
    """Return the entry of a session that nothing was kept of."""
    return SessionEntry(
        key=session.key,
        agent=session.agent,
        id=session.id,
        path=session.path,
        cwd=session.cwd,
        account=account,
        state=State.RUNNING,
        since_s=session.changed_at_s,
    )


def with_run(entry: SessionEntry, **changes: Any) -> SessionEntry:
    """Return an entry with other fields of its run."""
    assert entry.run is not None
    return msgspec.structs.replace(entry, run=msgspec.structs.replace(entry.run, **changes))


def with_clock_back(entry: SessionEntry, back_s: float) -> SessionEntry:
    """Return an entry after the clock was set back: a wait of 30 s stays one, and a reset is an instant."""
    if entry.state is not State.SCHEDULED or entry.wanted_at_s:
        return entry
    reset_s = entry.resets_at_s + schedule.MARGIN_S if entry.resets_at_s is not None else 0.0
    return msgspec.structs.replace(entry, at_s=min(entry.at_s, max(entry.at_s - back_s, reset_s)))


def name_of(session: Session) -> str:
    """Name an observation: the same stop has the same name at each look."""
    verdict = session.verdict
    turn = verdict.basis[0] if verdict.basis else None
    overrun = _OVERRUN if verdict.overrun else ""
    alive = "" if verdict.alive_pid is None else SERVED if verdict.served else ALIVE
    return f"{verdict.reason.value}@{turn.at_s if turn else 0:.3f}{overrun}{alive}"


def stop_in(observed: str) -> str:
    """Return the part of an observation's name that says which stop it is, without who lives in it."""
    return observed.removesuffix(ALIVE).removesuffix(SERVED).removesuffix(_OVERRUN)


def _is_over(entry: SessionEntry, session: Session) -> bool:
    """Whether a look finds nothing but the stop that was skipped, left or given up before.

    A restart of the machine stops what ran, and nothing that had stopped before it.
    """
    if _instant_in(entry.observed) != _instant_in(name_of(session)):
        return False
    if session.verdict.reason is Reason.MACHINE:
        return entry.state in (State.STOPPED, State.LEFT_TO_USER, State.GAVE_UP)
    by_its_users_word = entry.reason is not Reason.USER_EXIT
    return entry.state is State.LEFT_TO_USER and by_its_users_word


def _instant_in(observed: str) -> str:
    return stop_in(observed).partition("@")[2]


def _what_happened(
    session: Session, profile: Profile, watching_since_s: float, *, is_new: bool
) -> tuple[Happened, str]:
    verdict = session.verdict
    if verdict.reason in _SEEN:
        return _SEEN[verdict.reason], ""
    why_not = _why_not(session, profile)
    if why_not:
        return Happened.SEEN_STOPPED, why_not
    if is_new and _is_old(session, watching_since_s):
        return Happened.SEEN_STOPPED, "it stopped before palingenesis watched; `palingenesis now` resumes it"
    if is_new and verdict.reason is Reason.MACHINE and verdict.confidence is not Confidence.SURE:
        return Happened.SEEN_STOPPED, "it may have been left before a restart; `palingenesis now` resumes it"
    return Happened.SEEN_RESUMABLE, ""


def _why_not(session: Session, profile: Profile) -> str:
    """Return why a stopped session is not resumed by itself; "" where it may be."""
    verdict = session.verdict
    command = command_for(session, profile)
    if verdict.confidence is Confidence.NONE or verdict.reason not in {*RESUMABLE, Reason.CONTEXT}:
        return _note(session)
    if verdict.served and not command:
        return f"{session.agent}'s server (process {verdict.alive_pid}) has it open: go on in a window"
    if verdict.alive_pid is not None and not verdict.served:
        return f"process {verdict.alive_pid} lives in it: go on there"
    if not command:
        return f"{session.agent} has no command for that"
    return not_to_run(session.id, session.cwd)


def not_to_run(session_id: str, cwd: str) -> str:
    """Return why no command may be made for a session, whoever asks; "" where one may.

    Args:
        session_id: which is an argument of the command, and the name of a file that anybody may have made.
        cwd: where it would run; "" where that is not known.
    """
    if not _ID.fullmatch(session_id):
        return "its id cannot be an argument"
    return "" if cwd else "its directory is not known"


def command_for(session: Session, profile: Profile) -> tuple[str, ...]:
    """Return the argument list of a session's next run; empty where there is no such command."""
    if session.verdict.reason is Reason.CONTEXT:
        return profile.fresh
    return profile.served if session.verdict.served else profile.resume


def _is_old(session: Session, watching_since_s: float) -> bool:
    resets_at_s = session.verdict.resets_at_s
    told_s = max((one.at_s for one in session.verdict.basis if one.source is Source.HOOK), default=0.0)
    stopped_s = max(session.changed_at_s, told_s)
    return stopped_s < watching_since_s and (resets_at_s is None or resets_at_s < watching_since_s)


def _note(session: Session) -> str:
    verdict = session.verdict
    if verdict.overrun:
        return "its own wait is over, and it has not gone on: look at it"
    return _NOTES.get(verdict.reason, "")


_NOTES: Final = {
    Reason.CREDIT: "it needs you: credit",
    Reason.LOGIN: "it needs you: login",
    Reason.PERMISSION: "it needs you: a permission",
    Reason.UNKNOWN: "nothing decides why it stopped",
}

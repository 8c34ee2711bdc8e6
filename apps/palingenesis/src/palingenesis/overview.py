"""The commands that show sessions and change nothing: agents, sessions, why, and the live table.

Owns their output.  They look by themselves, so they work without a daemon.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from daemonry import DaemonryError, Instance, load_config
from daemonry.cli import kit, terminal
from palingenesis import NAME
from palingenesis.agents.known import configured
from palingenesis.definition import daemon
from palingenesis.evidence.survey import RECENT_S, Session, Survey
from palingenesis.hooks.told import read as read_told
from palingenesis.path_text import listed
from palingenesis.resume import ledger
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import State
from palingenesis.settings import Settings
from palingenesis.verdict.facts import Fact
from palingenesis.verdict.reasons import AT_WORK, NEEDS_A_HUMAN, RESUMABLE, Reason

# What an id is shortened to in tables; the whole one is in --json and `why`.
SHORT_ID_CHARS: Final = 8
REDRAW_S: Final = 2.0
_HEADS: Final = ("AGENT", "SESSION", "PROJECT", "STATE", "WHY", "RESUMES IN")

_HOME_AND_CLEAR_LINE: Final = "\x1b[H"
_OTHER_SCREEN: Final = ("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l")


def survey() -> Survey:
    """Return a survey of the configured agents.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    path = daemon.config_path()
    state_dir = daemon.place().state_path
    return Survey(configured(load_config(path, Settings), path), os.environ, read_told(state_dir), state_dir)


# --- agents ---------------------------------------------------------------------------------------


def agents(*, as_json: bool) -> int:
    """Print which agents are known, installed, and what of them can be seen."""
    found = survey()
    rows = [_agent(name, found) for name in found.profiles]
    if as_json:
        kit.say_json({"agents": rows})
        return kit.DONE
    for row in rows:
        program = row["program"] or ("not in PATH" if row["programs"] else "no program")
        kit.say(f"{row['name']}: {kit.printable(program)}; sessions: {row['sessions']}")
        for place in row["places"]:
            kit.say(f"    {kit.printable(listed(place))}")
        for sentence in row["limits"]:
            kit.say(f"    {sentence}")
    return kit.DONE


def _agent(name: str, found: Survey) -> dict[str, Any]:
    profile = found.profiles[name]
    program = next(filter(None, (shutil.which(one) for one in profile.programs)), None)
    return {
        "name": name,
        "program": program,
        "programs": list(profile.programs),
        "checked_with": profile.checked_with or None,
        "places": [listed(one) for one in found.patterns[name]],
        "sessions": sum(1 for _ in found.find(name)),
        "limits": list(_limits(name, found)),
    }


def _limits(name: str, found: Survey) -> Iterator[str]:
    """Yield what cannot be seen or done, one sentence each."""
    profile = found.profiles[name]
    if not found.patterns[name]:
        yield "no place to look: a variable that its table needs is not set"
    if profile.reader == "opencode":
        yield "files of sessions are counted, not sessions; a wait for a retry is seen as running"
    if not profile.tells_errors:
        yield "without a window it writes no errors: why a turn failed is unknown"
    if profile.reader in ("markdown", "text") and not profile.signs:
        yield "plain text without signs: a change is seen, a reason is not"
    if not profile.resume:
        yield "no resume command"


# --- sessions -------------------------------------------------------------------------------------


def sessions(*, as_json: bool, everything: bool) -> int:
    """Print the sessions of the last days, the newest first."""
    if as_json:
        kit.say_json(shown_sessions(everything=everything))
        return kit.DONE
    found = survey().look(0.0 if everything else None)
    kept = kept_entries()
    if not found:
        days = int(RECENT_S // 86400)
        kit.say("no session" if everything else f"no session has changed in the last {days} days")
        kit.say(f"try {NAME} agents, which shows where it looks for them, or {NAME} --help")
        return kit.DONE
    for line in table(found, kept, time.time(), None):
        kit.say(line)
    return kit.DONE


def shown_sessions(*, everything: bool = False) -> dict[str, Any]:
    """Return the sessions of the last days, or all, as JSON has them, the newest first."""
    kept = kept_entries()
    return {
        "sessions": [as_fields(one, kept.get(one.key)) for one in survey().look(0.0 if everything else None)]
    }


def kept_entries() -> dict[str, SessionEntry]:
    """Return what the daemon keeps of sessions, by key; nothing while none runs."""
    try:
        if Instance.named(NAME).pid() is None:
            return {}
        kept = ledger.read(ledger.path_in(daemon.place().state_path))
    except (DaemonryError, OSError, ValueError):
        return {}
    return {entry.key: entry for entry in kept.entries}


def as_fields(session: Session, entry: SessionEntry | None) -> dict[str, Any]:
    """Return a session as JSON has it."""
    verdict = session.verdict
    kept = None if entry is None else _entry_fields(entry)
    return {
        "agent": session.agent,
        "session": listed(session.id),
        "path": listed(session.path),
        "cwd": listed(session.cwd),
        "changed_at": _iso(session.changed_at_s),
        "state": state_of(verdict.reason) if entry is None else entry.state.value,
        "reason": verdict.reason.value,
        "confidence": verdict.confidence.value,
        "resets_at": None if verdict.resets_at_s is None else _iso(verdict.resets_at_s),
        "alive_pid": verdict.alive_pid,
        "overrun": verdict.overrun,
        "said": verdict.said,
        "basis": [fact_fields(fact) for fact in verdict.basis],
        "kept": kept,
    }


def _entry_fields(entry: SessionEntry) -> dict[str, Any]:
    return {
        "since": _iso(entry.since_s),
        "due_at": _iso(entry.at_s) if entry.state is State.SCHEDULED else None,
        "attempt": entry.attempt,
        "note": listed(entry.note),
        "resumes": entry.resumes,
        "continued_by": listed(entry.continued_by) or None,
    }


def fact_fields(fact: Fact) -> dict[str, Any]:
    """Return a fact as JSON has it."""
    fields: dict[str, Any] = {
        "source": fact.source.value,
        "at": _iso(fact.at_s),
        "sign": fact.sign.value,
    }
    if fact.text:
        fields["text"] = fact.text
    if fact.until_s is not None:
        fields["until"] = _iso(fact.until_s)
    if fact.pid is not None:
        fields["pid"] = fact.pid
    return fields


def state_of(reason: Reason) -> str:
    """Return the state of a session that nobody keeps: what its reason comes to."""
    if reason in AT_WORK:
        return reason.value
    if reason is Reason.COMPLETED:
        return "done"
    if reason is Reason.USER_EXIT:
        return "left to its user"
    return "unknown" if reason is Reason.UNKNOWN else "stopped"


def table(
    found: Sequence[Session], kept: Mapping[str, SessionEntry], now_s: float, width: int | None
) -> list[str]:
    """Return the lines of a table of sessions, each at most `width` columns wide."""
    rows = [_HEADS, *(_row(one, kept.get(one.key), now_s) for one in found)]
    return terminal.aligned(rows, width, mark="")


def _row(session: Session, entry: SessionEntry | None, now_s: float) -> tuple[str, ...]:
    verdict = session.verdict
    project = os.path.basename(session.cwd) or "-"
    is_ours = entry is not None and entry.state is State.RESUMING
    return (
        kit.printable(session.agent),
        kit.printable(listed(_short(session.id))),
        kit.printable(listed(project)),
        state_of(verdict.reason) if entry is None else entry.state.value,
        _shown_reason(session, is_ours=is_ours),
        "" if is_ours else _next_in(session, entry, now_s),
    )


def _next_in(session: Session, entry: SessionEntry | None, now_s: float) -> str:
    """Return when a session goes on; in brackets, when its limit ends, if nobody resumes it."""
    resets_at_s = session.verdict.resets_at_s
    if entry is not None and entry.state is State.SCHEDULED:
        return _left(entry.at_s - now_s)
    if resets_at_s is None or session.verdict.reason is Reason.COMPLETED:
        return ""
    return f"(reset: {_left(resets_at_s - now_s)})"


def _short(session_id: str) -> str:
    return session_id if session_id.startswith("ses_") else session_id[:SHORT_ID_CHARS]


def _shown_reason(session: Session, *, is_ours: bool) -> str:
    """Return why a session is as it is; and who else has a stopped one open, unless that is our own run."""
    verdict = session.verdict
    if verdict.reason in NEEDS_A_HUMAN:
        return f"{verdict.reason.value}: needs you"
    if verdict.overrun:
        return "its own wait has overrun"
    other_pid = None if is_ours else verdict.alive_pid
    alive = f" (open in pid {other_pid})" if other_pid is not None else ""
    return verdict.reason.value + (alive if verdict.reason not in AT_WORK else "")


def _left(left_s: float) -> str:
    return kit.span(int(left_s)) if left_s > 0 else "now"


# --- why ------------------------------------------------------------------------------------------


def why(words: str, *, as_json: bool) -> int:
    """Print why one session is as it is, and what that rests on."""
    session = chosen(survey().look(0.0), words)
    if session is None:
        return kit.FAILED
    entry = kept_entries().get(session.key)
    if as_json:
        kit.say_json(as_fields(session, entry))
        return kit.DONE
    for line in _explained(session, entry, time.time()):
        kit.say(line)
    return kit.DONE


def chosen(found: Iterable[Session], words: str) -> Session | None:
    """Return the one session that `words` name: `AGENT:ID`, an id, the beginning of one, or a path.

    Where none or several fit, says so and returns None.
    """
    path = words
    with contextlib.suppress(FileNotFoundError):  # this directory is gone: then it is no path
        path = os.path.abspath(words)
    exact, begun = [], []
    for one in found:
        if words in (one.key, one.id) or one.path == path:
            exact.append(one)
        elif words and (one.id.startswith(words) or one.key.startswith(words)):
            begun.append(one)
    fitting = exact or begun
    if len(fitting) == 1:
        return fitting[0]
    shown = f"'{kit.printable(listed(words))}'"
    if not fitting:
        kit.complain(f"palingenesis: no session {shown}: `palingenesis sessions --all` lists them")
    else:
        keys = ", ".join(kit.printable(listed(one.key)) for one in fitting[:5])
        kit.complain(f"palingenesis: {shown} fits {len(fitting)} sessions: {keys}")
    return None


def _explained(session: Session, entry: SessionEntry | None, now_s: float) -> Iterator[str]:
    verdict = session.verdict
    yield f"Session: {kit.printable(listed(session.key))}"
    yield f"Directory: {kit.printable(listed(session.cwd)) or 'unknown'}"
    yield f"Record: {kit.printable(listed(session.path))}"
    yield f"State: {state_of(verdict.reason) if entry is None else entry.state.value}"
    yield f"Why: {verdict.reason.value} ({_SURE[verdict.confidence.value]})"
    if verdict.said:
        yield f"It said: {kit.printable(' '.join(verdict.said.split()))[:500]}"
    if verdict.resets_at_s is not None:
        yield f"Resets at: {_iso(verdict.resets_at_s)} ({_relative(verdict.resets_at_s - now_s)})"
    if verdict.overrun:
        yield "Overrun: its own wait is over, and it has not gone on"
    for fact in verdict.basis:
        yield f"Rests on: {_fact_line(fact)}"
    if entry is not None and entry.note:
        yield f"Note: {kit.printable(listed(entry.note))}"
    if entry is not None and entry.state is State.SCHEDULED:
        tries = f", after {entry.attempt} without progress" if entry.attempt else ""
        yield f"Next: a try at {_iso(entry.at_s)} ({_relative(entry.at_s - now_s)}){tries}"
    else:
        kept = _KEPT_FOLLOWS.get(entry.state) if entry is not None else None
        if entry is not None and entry.state is State.DONE and entry.continued_by:
            kept = f"nothing: {kit.printable(entry.continued_by)} goes on with it"
        yield f"Next: {kept or _what_follows(session)}"


_KEPT_FOLLOWS: Final[Mapping[State, str]] = {
    State.GAVE_UP: "nothing by itself: `palingenesis now` tries again",
    State.HELD: "nothing before `palingenesis release`",
    State.LEFT_TO_USER: "nothing: it is left to its user",
    State.RESUMING: "its run goes on; `palingenesis abort` ends it",
}


_SURE: Final[Mapping[str, str]] = {
    "sure": "sure",
    "likely": "likely",
    "none": "nothing decides it",
}


def _fact_line(fact: Fact) -> str:
    pid = f" (pid {fact.pid})" if fact.pid is not None else ""
    return f"{fact.source.value}, {_iso(fact.at_s)}: {fact.sign.value}{pid}"


def _what_follows(session: Session) -> str:
    """Return what may be done about it, by the rules of resuming."""
    reason = session.verdict.reason
    if session.verdict.alive_pid is not None and not session.verdict.served and reason in RESUMABLE:
        return "a process lives in it: it is never resumed beside that"
    if reason is Reason.RATE_LIMIT:
        return "it can be resumed after the reset" if session.verdict.resets_at_s else "it can be tried again"
    if reason in RESUMABLE:
        return "it can be resumed"
    return _FOLLOWS.get(reason, "nothing: an unknown state is left alone")


_FOLLOWS: Final[Mapping[Reason, str]] = {
    Reason.RUNNING: "nothing: it is at work",
    Reason.WAITING_INSIDE: "nothing: the agent goes on by itself",
    Reason.CONTEXT: "a new session can go on from its summary",
    Reason.CREDIT: "it needs you: pay, or use another account",
    Reason.LOGIN: "it needs you: log in again",
    Reason.PERMISSION: "it needs you: answer its question",
    Reason.USER_EXIT: "nothing: its user ended it",
    Reason.COMPLETED: "nothing: it is done",
}


def _relative(left_s: float) -> str:
    return f"in {kit.span(int(left_s))}" if left_s > 0 else f"{kit.span(int(-left_s))} ago"


# --- the live table -------------------------------------------------------------------------------


def live() -> int:
    """Draw the table again and again until Ctrl-C; where the output is not a terminal, print it once."""
    found = survey()
    if not os.isatty(1):
        return sessions(as_json=False, everything=False)
    os.write(1, _OTHER_SCREEN[0].encode())
    try:
        while True:
            os.write(1, _screen(found).encode("utf-8", "replace"))
            time.sleep(REDRAW_S)
    except KeyboardInterrupt:
        return kit.DONE
    finally:
        os.write(1, _OTHER_SCREEN[1].encode())


def _screen(found: Survey) -> str:
    width, height = terminal.size(1)
    now_s = time.time()
    rows = table(found.look(), kept_entries(), now_s, width)
    title = f"palingenesis  {time.strftime('%H:%M:%S')}  {len(rows) - 1} sessions  (Ctrl-C ends)"
    lines = [terminal.cut(title, width, ""), *rows]
    if len(lines) > height - 1:
        more = f"... {len(lines) - height + 2} more: {NAME} sessions"
        lines = [*lines[: height - 2], terminal.cut(more, width, "")]
    return _HOME_AND_CLEAR_LINE + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"


def _iso(at_s: float) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return "unknown"

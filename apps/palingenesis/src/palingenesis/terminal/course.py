"""What a terminal does when its program stops: looks at the session, asks `next_step`, and waits.

Owns the course from one run to the next: tries and their count, the wait and what ends it.  Looks are made
in a thread of its own, so that no key waits for one; all else is the holder's thread's.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from palingenesis.agents.profile import Profile
from palingenesis.resume import schedule
from palingenesis.resume.audit import Audit
from palingenesis.resume.backup import keep_backup
from palingenesis.resume.entry import not_to_run
from palingenesis.resume.notes import prompt_from_notes
from palingenesis.resume.prompt import interrupted_prompt
from palingenesis.resume.turns import Wait
from palingenesis.terminal.events import Printed
from palingenesis.terminal.look import Look, Owns, Seen
from palingenesis.terminal.next_step import (
    Allowance,
    GivenUp,
    Later,
    Over,
    after_end,
    was_killed,
    while_alive,
)
from palingenesis.terminal.permit import Permit
from palingenesis.terminal.words import next_words
from palingenesis.verdict.reasons import Reason

# Between looks at a session whose program lives.
LOOK_EVERY_S: Final = 5.0
# From asking a program to end to killing it.
GRACE_S: Final = 5.0
_ENTER: Final = (b"\r", b"\n")
_LEAVE: Final = (b"\x03", b"\x04")


class Order(NamedTuple):
    """What the holder is to do now.

    Attributes:
        session: the session's id, once it is known.
        say: what the window shows.
        wait_until_s, why: until when it waits, and what for.
        end_program: the signal that ends the program, which is to go on in a new run.
        words: of the run to begin.
        is_over: whether the terminal is over.
        code: its exit code then; None for the program's own.
    """

    session: str = ""
    say: str = ""
    wait_until_s: float = 0.0
    why: str = ""
    end_program: int = 0
    words: list[str] | None = None
    is_over: bool = False
    code: int | None = None


class _Question(NamedTuple):
    """A look that is asked for: why, since when its run goes on, whose processes it has, and of which try."""

    why: str
    since_s: float
    owns: Owns
    decided_s: float
    limited: bool


class Agent(NamedTuple):
    """The agent in a terminal.

    Attributes:
        name: of its profile.
        profile: its table.
        look: what looks at its session.
        backups: how many backups of full sessions are kept.
        permit: says whether a try may begin; None where nothing holds one up.
    """

    name: str
    profile: Profile
    look: Look
    backups: int = 10
    permit: Permit | None = None


class Course:
    """The course of one terminal.

    Args:
        words, cwd: of the first run.
        agent: what its program is; None for a program that is not an agent.
        allowance: how long and how often.
        state_dir: for the audit and for backups.

    Attributes:
        notices: a descriptor that can be read when a look has seen something.
        is_waiting: whether it waits for a try.
    """

    def __init__(
        self, words: Sequence[str], cwd: str, agent: Agent | None, allowance: Allowance, state_dir: str
    ) -> None:
        self._words, self._cwd = list(words), cwd
        self._agent = agent
        self._allowance = allowance
        self._state_dir = state_dir
        self._audit = Audit(os.path.join(state_dir, "audit.jsonl"))
        self.notices, self._notify = os.pipe()
        os.set_blocking(self.notices, False)
        self._asked: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._seen: queue.SimpleQueue[tuple[str, Seen, Wait | None]] = queue.SimpleQueue()
        self._orders: list[Order] = []
        self._looking = False
        self._look_at_s = 0.0
        self._began_s = time.time()
        self._owns: Owns = lambda _: False
        self._typed_at_s = 0.0
        self._attempt, self._is_retry = 0, False
        self._status: int | None = None
        self._later: Later | None = None
        self._decided_s = 0.0  # when the try that it waits for was decided on
        self._ending: tuple[float, bool] | None = None  # since when the program is asked to end
        self._postponed = ""  # why it waits longer than it first said
        self.is_waiting = False
        if agent is not None:
            threading.Thread(target=self._look_when_asked, name="look", daemon=True).start()

    # --- what the holder tells ------------------------------------------------------------------

    def begun(self, owns: Owns) -> None:
        """A run has begun; `owns` tells which processes are its own."""
        self._began_s, self._owns = time.time(), owns
        self._status, self._later, self._ending = None, None, None
        self.is_waiting = False
        self._look_at_s = time.monotonic() + LOOK_EVERY_S

    def ended(self, status: int, printed: Printed | None = None) -> None:
        """The run has ended, and has printed this, if that was read."""
        self._status = status
        if self._agent is None:
            self._orders.append(Order(is_over=True))
            return
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self._agent.look.hear(printed or Printed(), code, killed=was_killed(status))
        self._ask("ended")

    def typed(self) -> None:
        """Somebody types."""
        self._typed_at_s = time.time()

    def key(self, data: bytes) -> None:
        """Somebody types while it waits: Enter tries at once, Ctrl-C leaves."""
        if any(one in data for one in _LEAVE):
            self._write("left")
            self._orders.append(Order(say="left: it is not resumed here", is_over=True))
        elif any(one in data for one in _ENTER) and self._later is not None:
            self._later = msgspec.structs.replace(self._later, at_s=time.time())
            self._decided_s = time.time()

    # --- what the holder is to do ---------------------------------------------------------------

    def next_order(self, program_lives: bool) -> Order:
        """Return the next action; called twice a second, and after each event."""
        if self._orders:
            return self._orders.pop(0)
        if self._agent is None:
            return Order()
        if program_lives:
            return self._while_it_lives()
        if self._later is not None and time.time() >= self._later.at_s and not self._looking:
            self._ask("due")
        return Order()

    def look_for_progress(self) -> None:
        """Let others of the account begin once the model has answered; called while a headless run lives."""
        permit = self._agent.permit if self._agent is not None else None
        is_due = not self._looking and time.monotonic() >= self._look_at_s
        if permit is not None and permit.is_scout and is_due:
            self._ask("progress")

    def _while_it_lives(self) -> Order:
        if self._ending is not None:
            since_s, killed = self._ending
            if not killed and time.monotonic() > since_s + GRACE_S:
                self._ending = since_s, True
                return Order(end_program=signal.SIGKILL)
            return Order()
        if time.monotonic() >= self._look_at_s and not self._looking:
            self._ask("alive")
        return Order()

    def take_notices(self) -> None:
        """Take in what looks have seen."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.notices, 4096)
        while not self._seen.empty():
            self._looking = False
            why, seen, wait = self._seen.get()
            self._look_at_s = time.monotonic() + LOOK_EVERY_S
            if seen.session is not None:
                self._orders.append(Order(session=seen.session.id))
                if (seen.session.transcript.progress_at_s or 0.0) > self._began_s:
                    self._attempt, self._is_retry = 0, False
                    self._let_others(None)
            if why != "progress":
                told = {"alive": self._seen_alive, "ended": self._seen_ended, "due": self._seen_due}
                told[why](seen, wait)

    def _let_others(self, limit_until_s: float | None) -> None:
        """Let other sessions of the account begin; after a limit that this one has met."""
        if self._agent is not None and self._agent.permit is not None:
            self._agent.permit.over(limit_until_s)

    def _seen_alive(self, seen: Seen, _: Wait | None) -> None:
        if seen.session is None or self._status is not None or self._ending is not None:
            return
        basis = seen.session.verdict.basis
        if basis and basis[0].at_s <= self._began_s:
            return  # the stop that this run goes on from: its agent is still starting
        step = while_alive(
            seen.session.key,
            seen.session.verdict,
            self._typed_at_s,
            self._attempt,
            self._allowance,
            time.time(),
        )
        if isinstance(step, Later) and time.time() >= step.at_s and self._next_words(seen, step.reason):
            self._later, self._decided_s = step, time.time()
            self._ending = time.monotonic(), False
            self._write("ends its program, to go on", seen)
            self._orders.append(Order(end_program=signal.SIGTERM))
        elif isinstance(step, Later):
            self._orders.append(Order(wait_until_s=step.at_s, why=step.reason.value))

    def _seen_ended(self, seen: Seen, _: Wait | None) -> None:
        if self._ending is not None and self._later is not None:
            self._ending = None
            self._ask("due")
            return
        if self._is_retry:
            self._attempt += 1
        session, status = seen.session, self._status
        assert status is not None
        verdict = session.verdict if session is not None else None
        key = session.key if session is not None else ""
        step = after_end(key, status, verdict, self._attempt, self._allowance, time.time())
        limit_until_s = None
        if isinstance(step, Later) and step.reason is Reason.RATE_LIMIT:
            limit_until_s = (verdict.resets_at_s if verdict is not None else None) or step.at_s
        self._let_others(limit_until_s)
        self._follow(step, seen)

    def _follow(self, step: Over | Later | GivenUp, seen: Seen) -> None:
        if isinstance(step, Later) and not self._next_words(seen, step.reason):
            step = Over()
        if isinstance(step, Later):
            self._later, self.is_waiting, self._decided_s = step, True, time.time()
            if self._agent is not None and self._agent.permit is not None and seen.session is not None:
                self._agent.permit.reservation.hold(seen.session)
            self._write("waits", seen, due_at_s=round(step.at_s, 3), reason=step.reason.value)
            say = f"{step.reason.value}: it goes on at {_clock(step.at_s)} (Enter: now; Ctrl-C: leave)"
            self._orders.append(Order(say=say, wait_until_s=step.at_s, why=step.reason.value))
        elif isinstance(step, GivenUp):
            self._write("gave up", seen, why=step.why)
            self._orders.append(Order(say=f"given up: {step.why}", is_over=True, code=step.code))
        else:
            self._orders.append(Order(is_over=True))

    def _seen_due(self, seen: Seen, wait: Wait | None) -> None:
        later = self._later
        if later is None or self._status is None:
            return
        if seen.lives_elsewhere:
            self._postpone(f"process {seen.lives_elsewhere} lives in it", time.time() + schedule.POSTPONE_S)
        elif wait is not None:
            self._postpone(wait.why, wait.at_s)
        elif seen.session is None:
            self._orders.append(Order(say="its record is gone", is_over=True))
        elif seen.session.verdict.reason in (Reason.COMPLETED, Reason.USER_EXIT):
            self._orders.append(Order(say="somebody went on with it elsewhere", is_over=True))
        else:
            words = self._next_words(seen, later.reason, for_use=True)
            self._later, self.is_waiting, self._is_retry, self._postponed = None, False, True, ""
            self._write("begins", seen, argv=words)
            self._orders.append(Order(words=words))

    def _postpone(self, why: str, at_s: float) -> None:
        self._later = Later(at_s, self._later.reason if self._later else Reason.UNKNOWN)
        self.is_waiting = True
        told = "" if why == self._postponed else f"{why}: it waits until {_clock(at_s)}"
        self._postponed = why
        self._orders.append(Order(say=told, wait_until_s=at_s, why=why))

    def _next_words(self, seen: Seen, reason: Reason, *, for_use: bool = False) -> list[str]:
        """Return the words of the next run; none where there is no command for it."""
        agent, session = self._agent, seen.session
        if agent is None or session is None or not_to_run(session.id, self._cwd):
            return []
        fresh = reason is Reason.CONTEXT
        new_id = str(uuid.uuid4()) if fresh else ""
        if fresh and for_use:
            keep_backup(session.path, os.path.join(self._state_dir, "backups"), agent.backups)
            agent.look.begin_new(new_id if _gives_id(agent.profile) else "")
        if fresh:
            prompt = prompt_from_notes(self._cwd, session.transcript.summary)
        else:
            at_s = session.verdict.basis[0].at_s if session.verdict.basis else session.changed_at_s
            prompt = interrupted_prompt(reason, at_s, session.verdict.resets_at_s, time.time())
        values = {"id": session.id, "cwd": self._cwd, "prompt": prompt, "new_id": new_id}
        # A server has the session with its permissions; options of its own make Codex start without it.
        permission = "" if session.verdict.served and not fresh else session.transcript.permission
        return next_words(self._words, agent.profile, values, permission, fresh=fresh)

    # --- looks ----------------------------------------------------------------------------------

    def _ask(self, why: str) -> None:
        self._looking = True
        limited = self._later is not None and self._later.reason is Reason.RATE_LIMIT
        self._asked.put(_Question(why, self._began_s, self._owns, self._decided_s, limited))

    def _look_when_asked(self) -> None:
        agent = self._agent
        assert agent is not None
        while (asked := self._asked.get()) is not None:
            wait = None
            try:
                seen = agent.look.look(asked.since_s, asked.owns)
                session = seen.session
                if asked.why == "due" and agent.permit and session is not None and _may_go_on(seen):
                    wait = agent.permit.wait(session, asked.decided_s, limited=asked.limited)
            except Exception as error:  # noqa: BLE001  # a look that fails ends no program
                self._audit.write("look failed", time.time(), error=f"{type(error).__name__}: {error}")
                seen = Seen(None, 0)
            self._seen.put((asked.why, seen, wait))
            with contextlib.suppress(OSError):
                os.write(self._notify, b".")

    def close(self) -> None:
        """End the thread; others of the account need not wait."""
        self._let_others(None)
        if self._agent is not None and self._agent.permit is not None:
            self._agent.permit.reservation.close()
        self._asked.put(None)

    def _write(self, what: str, seen: Seen | None = None, **fields: Any) -> None:
        key = f"{self._agent.name}:{self._agent.look.session_id}" if self._agent else ""
        verdict: Mapping[str, Any] = {}
        if seen is not None and seen.session is not None:
            verdict = {"verdict": msgspec.to_builtins(seen.session.verdict)}
        shown = os.fsencode(key).decode("utf-8", "replace")
        self._audit.write(f"terminal: {what}", time.time(), session=shown, **verdict, **fields)


def _may_go_on(seen: Seen) -> bool:
    """Whether nothing but the account holds up a try."""
    if seen.session is None or seen.lives_elsewhere:
        return False
    return seen.session.verdict.reason not in (Reason.COMPLETED, Reason.USER_EXIT)


def _gives_id(profile: Profile) -> bool:
    return any("{new_id}" in word for word in (*profile.run.terminal_fresh, *profile.run.headless_fresh))


def _clock(at_s: float) -> str:
    """Return an instant as a user's clock shows it; with the day, when that is not today."""
    then = datetime.fromtimestamp(at_s).astimezone()
    today = datetime.now().astimezone().date()
    return then.strftime("%H:%M:%S" if then.date() == today else "%a %d %b %H:%M:%S")

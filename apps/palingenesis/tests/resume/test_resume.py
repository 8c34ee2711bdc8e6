"""Resuming: the rules by calls, and the daemon with a stand-in agent, which counts each of its starts."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from daemonry.testing import wait_until
from palingenesis import overview
from palingenesis.agents.known import profiles
from palingenesis.evidence import processes, quota
from palingenesis.evidence.quota_answer import Quota
from palingenesis.evidence.survey import Session, Survey
from palingenesis.evidence.transcript import Transcript
from palingenesis.resume import audit as audit_module
from palingenesis.resume import engine as engine_module
from palingenesis.resume import launch, run_watch, schedule, turns
from palingenesis.resume import ledger as ledger_module
from palingenesis.resume.context import ResumeLimits
from palingenesis.resume.engine import ResumeEngine
from palingenesis.resume.entry import AgentRun, SessionEntry, asked, failed, observe, settled
from palingenesis.resume.ledger import Ledger, path_in, read
from palingenesis.resume.prompt import fresh_prompt, resume_prompt
from palingenesis.resume.scouts import Scouts
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.facts import Evidence, Fact, Sign, Source
from palingenesis.verdict.judge import Verdict, judge
from palingenesis.verdict.reasons import Confidence, Reason

STAND_IN = Path(__file__).parents[1] / "stand_in.py"
# Its own in each process: a session counts as alive when any process of this user names it.
ID = str(uuid.uuid4())
KEY = f"claude:{ID}"


class World:
    """A home with a stand-in agent, and an engine over it."""

    def __init__(self, path):
        self.home = path / "home"
        self.project = self.home / "proj"
        self.project.mkdir(parents=True)
        self.state = path / "state"
        self.state.mkdir(mode=0o700)
        program = self.home / "bin/claude"
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text().partition("\n")[2])
        program.chmod(0o700)
        self.environment = {"HOME": str(self.home), "PATH": f"{program.parent}:{os.environ['PATH']}"}
        self.engine = None
        self.dead = []  # engines whose daemons were killed: their runs are still our children

    def steps(self, *steps):
        (self.home / "steps").write_text("".join(f"{step}\n" for step in steps))

    def agent(self, session=ID, cwd=None, prompt="do the work"):
        """Run the agent to its end, as a user does."""
        words = [self.home / "bin/claude", "--session-id", session, "-p", prompt]
        subprocess.run(words, cwd=cwd or self.project, env=self.environment, check=False, timeout=60)

    def requests(self):
        try:
            return [json.loads(line) for line in (self.home / "requests").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def start(self, **limits):
        """Begin with an engine, as a daemon does."""
        survey = Survey(profiles({}, "c"), self.environment)
        ledger = Ledger(str(self.state), time.time())
        self.engine = ResumeEngine(survey, ledger, str(self.state), self.environment, ResumeLimits(**limits))
        self.engine.recover()
        return self.engine

    def stop(self):
        """Forget the engine, as a kill -9 of the daemon does: its runs go on."""
        if self.engine is not None:
            self.engine.ledger.close()
            self.dead.append(self.engine)
        self.engine = None

    def entry(self, key=KEY):
        return self.engine.ledger.entries[key]

    def due(self, key=KEY):
        """Let the scheduled time of a session come."""
        entry = self.entry(key)
        assert entry.state is State.SCHEDULED, entry
        self.engine.ledger.keep(msgspec.structs.replace(entry, at_s=time.time() - 1))

    def until(self, what, key=KEY):
        """Tick until `what(entry)` holds, and return the entry."""

        def there():
            self.engine.tick()
            entry = self.engine.ledger.entries.get(key)
            return entry if entry is not None and what(entry) else None

        try:
            return wait_until(there, what=key)
        except AssertionError as error:
            told = "\n".join(json.dumps(line)[:300] for line in self.audited())
            raise AssertionError(f"{error}\n{told}") from None

    def until_state(self, state, key=KEY):
        return self.until(lambda entry: entry.state is state, key)

    def audited(self):
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.stop()
    for request in world.requests():
        with_start = processes.start_of(request["pid"])
        if with_start:
            os.kill(request["pid"], signal.SIGKILL)
            wait_until(lambda pid=request["pid"]: not processes.start_of(pid))
    for engine in world.dead:
        for child in engine._context.runs._children.values():
            child.wait(20)


# --- the pure rules -------------------------------------------------------------------------------


def entry_of(number=0, state=State.SCHEDULED, account="a", **more):
    fields = {"cwd": "/", "since_s": 0.0, "at_s": 100.0, "reason": Reason.RATE_LIMIT} | more
    return SessionEntry(
        f"claude:{number}", "claude", str(number), "/x", account=account, state=state, **fields
    )


def test_a_limit_is_tried_after_its_reset_and_never_before():
    for number in range(200):
        at_s = schedule.due_at_s(f"claude:{number}", Reason.RATE_LIMIT, 5000.0, 0, 100.0)
        assert 5000 + schedule.MARGIN_S <= at_s < 5000 + schedule.MARGIN_S + schedule.JITTER_S
    past = schedule.due_at_s("claude:1", Reason.RATE_LIMIT, 50.0, 0, 100.0)
    assert past < 100


def test_delays_double_from_30_to_300_seconds():
    delays = [
        schedule.due_at_s("k", Reason.TRANSIENT, None, attempt, 0.0) - schedule.jitter_s("k", attempt)
        for attempt in range(7)
    ]
    assert delays == [30, 60, 120, 240, 300, 300, 300]


def test_twenty_sessions_of_one_account_begin_with_a_scout():
    entries = [entry_of(number) for number in range(20)]
    (scout,) = turns.may_begin(entries, 200.0)
    running = msgspec.structs.replace(entries[0], state=State.RESUMING, run=AgentRun("t", (), 200.0))
    assert scout == entries[0].key
    assert turns.may_begin([running, *entries[1:]], 9999.0) == []
    answered = msgspec.structs.replace(running, run=msgspec.structs.replace(running.run, progressed=True))
    assert turns.may_begin([answered, *entries[1:]], 200.0 + turns.STAGGER_S - 1) == []
    assert len(turns.may_begin([answered, *entries[1:]], 200.0 + turns.STAGGER_S + 1)) == 1
    other = entry_of(99, account="b")
    assert turns.may_begin([running, *entries[1:], other], 200.0) == [other.key]


def test_a_run_begun_by_a_clock_that_was_an_hour_ahead_holds_up_nobody():
    done = entry_of(1, State.DONE, run=AgentRun("t", (), 3800.0, progressed=True))
    assert turns.may_begin([done, entry_of(2)], 200.0) == [entry_of(2).key]
    assert turns.may_begin([done, entry_of(2)], 3800.0 - turns.STAGGER_S + 1) == []


def test_ten_tries_without_progress_give_up():
    entry = entry_of(state=State.RESUMING, reason=Reason.TRANSIENT)
    for attempt in range(1, 10):
        entry = failed(msgspec.structs.replace(entry, state=State.RESUMING), 0.0, "")
        assert (entry.state, entry.attempt) == (State.SCHEDULED, attempt)
    entry = failed(msgspec.structs.replace(entry, state=State.RESUMING), 0.0, "")
    assert entry.state is State.GAVE_UP
    again = asked(entry, Happened.NOW, 7.0)
    assert (again.state, again.at_s, again.attempt) == (State.SCHEDULED, 7.0, 0)


def test_what_a_user_may_ask_in_which_state():
    assert asked(entry_of(), Happened.SKIP, 1.0).state is State.LEFT_TO_USER
    assert asked(entry_of(), Happened.ABORT, 1.0) is None
    assert asked(entry_of(state=State.RESUMING), Happened.ABORT, 1.0).state is State.LEFT_TO_USER
    assert asked(entry_of(state=State.DONE), Happened.NOW, 1.0) is None
    assert asked(entry_of(state=State.DONE), Happened.RENEW, 1.0).reason is Reason.CONTEXT
    assert asked(entry_of(state=State.HELD), Happened.RELEASE, 1.0).observed == ""


def test_the_prompt_says_what_interrupted_and_not_to_repeat():
    told = resume_prompt(entry_of(since_s=1_795_845_421.0), 1_795_900_000.0)
    assert "2026-11-28 05:57 UTC" in told
    assert "a usage limit" in told
    assert "do not repeat it" in told
    fresh = fresh_prompt("x" * 10**6, "Next-step.md")
    assert len(fresh) < 20_000
    assert "context" not in fresh, "`new-session` is asked for after any stop"


def test_the_prompt_says_of_the_reset_what_is_true():
    """`now` resumes before the reset too, and some limits name none."""
    limited = entry_of(since_s=1_795_845_421.0, resets_at_s=1_795_850_000.0)
    assert "a usage limit, which has been reset." in resume_prompt(limited, 1_795_850_000.0)
    early = resume_prompt(limited, 1_795_849_999.0)
    assert "a usage limit, whose reset is announced for 2026-11-28 07:13 UTC." in early
    assert "has been reset" not in early
    unknown = msgspec.structs.replace(limited, resets_at_s=None)
    assert "by a usage limit. Continue" in resume_prompt(unknown, 1_795_900_000.0)


# --- the engine with a stand-in -------------------------------------------------------------------


def test_a_limit_is_resumed_once_after_its_reset(world):
    reset = time.time() + 1
    world.steps(f"limit {reset}", "ok")
    world.start()
    world.agent()
    entry = world.until_state(State.SCHEDULED)
    assert entry.at_s >= reset + schedule.MARGIN_S
    world.engine.tick()
    assert len(world.requests()) == 1
    world.due()
    entry = world.until_state(State.DONE)
    _, second = world.requests()
    assert second["argv"][:3] == ["--resume", ID, "-p"]
    assert "a usage limit" in second["argv"][3]
    assert second["cwd"] == str(world.project)
    assert entry.resumes == 1
    for _ in range(3):
        world.engine.tick()
    assert len(world.requests()) == 2
    assert [line["what"] for line in world.audited()] == ["seen", "intended", "begun", "progress", "ended"]
    assert world.audited()[-1]["exit"] == 0
    assert list((world.state / "runs").iterdir()) == []


def test_the_counts_of_status(world):
    world.start()
    world.engine.tick()
    world.steps("ok")
    world.agent()
    saved = []
    wait_until(lambda: saved.extend(world.engine.tick().saved) or saved)
    assert saved[-1].endswith(f"{ID}.jsonl")


@pytest.mark.parametrize("step", ["ok", "credit"])
def test_what_is_done_or_needs_a_human_is_not_resumed(world, step):
    world.start()
    world.steps(step)
    world.agent()
    wait_until(lambda: world.engine.tick().saved or world.engine.ledger.entries or step == "ok")
    for _ in range(3):
        world.engine.tick()
    entry = world.engine.ledger.entries.get(KEY)
    assert entry is None if step == "ok" else entry.state is State.STOPPED
    assert len(world.requests()) == 1


@pytest.mark.slow
def test_a_run_that_brings_nothing_is_tried_again_and_given_up(world):
    world.steps("overloaded", "nothing", "overloaded", "nothing")
    world.start(tries=3)
    world.agent()
    for attempt in (1, 2):
        world.until_state(State.SCHEDULED)
        world.due()
        entry = world.until(lambda entry, wanted=attempt: entry.attempt == wanted)
        assert (entry.state, entry.at_s > time.time() + 25) == (State.SCHEDULED, True)
    world.due()
    entry = world.until_state(State.GAVE_UP)
    assert "ended with 1" in entry.note
    assert "nothing was done" in world.audited()[-1]["said"]
    for _ in range(3):
        world.engine.tick()
    assert len(world.requests()) == 4


def test_a_limit_that_the_output_of_a_run_alone_tells_is_waited_for(world):
    """Gemini CLI writes no errors into its record: without the words, its tries are over before the limit."""
    record = world.home / f".gemini/tmp/p/chats/session-1-{ID[:8]}.jsonl"
    program = world.home / "bin/gemini"
    asked = '{"type":"user","id":"u","timestamp":"%s","content":[]}'
    program.write_text(
        f"#!/bin/sh\nprintf '{asked}\\n' \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\" >>{record}\n"
        "echo 'Error: You exceeded your current quota. Please retry in 5h.' >&2; exit 173\n"
    )
    program.chmod(0o700)
    world.start()
    world.engine.tick()
    record.parent.mkdir(parents=True)
    (record.parent.parent / ".project_root").write_text(str(world.project))
    stopped = {"type": "error", "id": "e", "content": "You exceeded your current quota. Please retry in 1s."}
    stopped["timestamp"] = datetime.now(UTC).isoformat()
    record.write_text(f"{json.dumps({'sessionId': ID, 'kind': 'main'})}\n{json.dumps(stopped)}\n")
    key = f"gemini:{ID}"
    world.until_state(State.SCHEDULED, key)
    world.due(key)
    entry = world.until(lambda entry: entry.attempt == 1, key)
    assert (entry.state, entry.reason) == (State.SCHEDULED, Reason.RATE_LIMIT)
    assert 5 * 3600 - 60 < entry.at_s - time.time() < 5 * 3600 + 60
    world.engine.tick()
    assert world.entry(key) == entry, "the record still tells less than the run did"


@pytest.mark.slow
def test_progress_begins_the_count_anew(world):
    world.steps("overloaded", "nothing", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    world.until(lambda entry: entry.attempt == 1)
    world.due()
    assert world.until_state(State.DONE).attempt == 0


def test_a_silent_run_is_ended_and_a_failed_try(world):
    world.steps("overloaded", "silent")
    engine = world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    # A busy machine takes longer to start it than it may be silent here.
    world.until(lambda _: len(world.requests()) == 2)
    engine._context.limits = ResumeLimits(silence_s=0.1)
    entry = world.until(lambda entry: entry.attempt == 1)
    assert "wrote nothing" in entry.note
    assert not processes.start_of(world.requests()[1]["pid"])


@pytest.mark.slow
def test_silent_runs_are_counted_and_given_up(world):
    """Each ends a try, though its process was seen in the session until then."""
    world.steps("overloaded", "silent", "silent")
    world.start(silence_s=0.5, tries=2)
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    world.until(lambda entry: entry.attempt == 1)
    world.engine._living_at_s = 0.0
    for _ in range(3):
        world.engine.tick()
    assert world.entry().attempt == 1
    world.due()
    assert world.until_state(State.GAVE_UP).attempt == 2


def stopped_session(at_s=1_000.0, alive_pid=None):
    """Return a session that an overload stopped."""
    error = Fact(Sign.FAILED, Source.TRANSCRIPT, at_s)
    verdict = Verdict(Reason.TRANSIENT, Confidence.SURE, (error,), alive_pid=alive_pid)
    return Session("claude", ID, "/x", at_s, Transcript(id=ID), Evidence((error,), at_s), verdict)


def test_who_looks_into_a_stopped_session_and_leaves_resets_no_count():
    session = stopped_session()
    entry = failed(entry_of(state=State.RESUMING), 0.0, "", session)
    looked = settled(entry, stopped_session(alive_pid=7), Happened.SEEN_STOPPED)
    again = settled(looked, session, Happened.SEEN_RESUMABLE)
    assert (again.state, again.attempt) == (State.SCHEDULED, 1)
    other = settled(again, stopped_session(at_s=2_000.0), Happened.SEEN_RESUMABLE)
    assert other.attempt == 0


def test_a_run_that_slept_with_the_machine_is_not_silent(world, monkeypatch):
    world.steps("overloaded", "silent")
    world.start(silence_s=600.0)
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    world.until(lambda entry: entry.state is State.RESUMING and len(world.requests()) == 2)
    slept_s = 8 * 3600.0
    real = time.time
    monkeypatch.setattr(engine_module.time, "time", lambda: real() + slept_s)
    for _ in range(3):
        world.engine.tick()
    assert world.entry().state is State.RESUMING
    monkeypatch.setattr(run_watch, "GAP_S", 3600.0)
    slept_s += 601
    for _ in range(2):
        world.engine.tick()
    assert "wrote nothing" in world.entry().note


def test_an_agent_that_is_ended_is_asked_first(world):
    runs = launch.Runs(str(world.state / "runs"), world.environment)
    words = ("sh", "-c", 'trap "echo asked; exit 3" TERM; echo ready; while :; do sleep 0.05; done')
    run = AgentRun("token", words, time.time())
    pid, start = runs.begin(run, str(world.home))
    run = msgspec.structs.replace(run, pid=pid, start=start)
    wait_until(lambda: "ready" in runs.tail(run))
    runs.end(run)
    assert (runs.exit_code(run), "asked" in runs.tail(run)) == (3, True)


def test_a_command_that_is_not_there_is_a_failed_try(world):
    world.steps("overloaded")
    world.start(tries=1)
    world.agent()
    world.until_state(State.SCHEDULED)
    (world.home / "bin/claude").unlink()
    world.due()
    entry = world.until_state(State.GAVE_UP)
    assert "claude is not in the daemon's PATH" in entry.note


def test_a_directory_that_is_gone_is_a_failed_try(world):
    world.steps("overloaded")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    shutil.rmtree(world.project)
    world.due()
    assert "is not there" in world.until(lambda entry: entry.attempt == 1).note


def test_a_crash_in_a_turn_is_resumed_once(world):
    world.steps("working", "ok")
    world.start()
    child = subprocess.Popen(
        [world.home / "bin/claude", "--session-id", ID, "-p", "x"], cwd=world.project, env=world.environment
    )
    world.until_state(State.RUNNING)
    child.kill()
    child.wait()
    assert world.until_state(State.SCHEDULED).reason is Reason.CRASHED
    world.due()
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_it_never_resumes_beside_a_living_process(world):
    world.steps("overloaded", "silent", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    beside = subprocess.Popen(
        [world.home / "bin/claude", "--resume", ID, "-p", "x"], cwd=world.project, env=world.environment
    )
    try:
        wait_until(lambda: len(world.requests()) == 2)
        world.due()
        entry = world.until(lambda entry: "lives in it" in entry.note)
        assert f"process {beside.pid} lives in it" in entry.note
        assert entry.at_s > time.time() + 20
        world.due()
        world.engine.tick()
        assert len(world.requests()) == 2
    finally:
        beside.kill()
        beside.wait()
    world.due()
    world.until_state(State.DONE)
    assert len(world.requests()) == 3


def test_a_process_of_the_agent_in_the_same_directory_is_enough(world):
    world.steps("overloaded", "silent")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    beside = subprocess.Popen([world.home / "bin/claude", "x"], cwd=world.project, env=world.environment)
    try:
        wait_until(lambda: len(world.requests()) == 2)
        world.due()
        world.until(lambda entry: "lives in it" in entry.note)
    finally:
        beside.kill()
        beside.wait()


def test_a_session_that_somebody_else_went_on_with_is_looked_at_anew(world):
    world.steps("overloaded", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.agent()
    world.due()
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_what_stopped_before_it_watched_is_left_alone_until_asked(world):
    world.steps("overloaded", "ok")
    world.agent()
    path = next((world.home / ".claude/projects").rglob("*.jsonl"))
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    world.start()
    for _ in range(3):
        world.engine.tick()
    assert world.engine.ledger.entries == {}
    after = world.engine.ask(ID[:6], Happened.NOW)
    assert after.state is State.SCHEDULED
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_a_limit_that_is_not_over_when_it_begins_to_watch_is_resumed(world):
    world.steps(f"limit {time.time() + 3600}")
    world.agent()
    path = next((world.home / ".claude/projects").rglob("*.jsonl"))
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    world.start()
    assert world.until_state(State.SCHEDULED).at_s > time.time() + 3500


def test_a_record_whose_name_is_not_utf8_is_named_by_its_path_as_it_is_shown(world):
    world.steps("overloaded")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    odd = msgspec.structs.replace(world.entry(), path="/home/\udcff\x1b.jsonl")
    world.engine.ledger.entries[KEY] = odd
    assert world.engine.ask("/home/\\xff\x1b.jsonl", Happened.HOLD).state is State.HELD
    assert world.engine.ask("/home/\ufffd\x1b.jsonl", Happened.RELEASE).state is not State.HELD


def test_hold_release_skip_and_abort(world):
    world.steps("overloaded", "silent")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    assert world.engine.ask(KEY, Happened.HOLD).state is State.HELD
    world.engine.tick()
    assert world.entry().state is State.HELD
    kept = len(world.audited())
    assert world.engine.ask(KEY, Happened.HOLD).state is State.HELD  # already so
    assert len(world.audited()) == kept
    assert world.engine.ask(KEY, Happened.NOW) == f"{KEY} is held: it cannot be done now"
    world.engine.ask(KEY, Happened.RELEASE)
    next((world.home / ".claude/projects").rglob("*.jsonl")).touch()
    world.until_state(State.SCHEDULED)
    world.engine.ask(KEY, Happened.NOW)
    world.until(lambda entry: entry.state is State.RESUMING and len(world.requests()) == 2)
    assert world.engine.ask(KEY, Happened.ABORT).state is State.LEFT_TO_USER
    assert world.engine.ask(KEY, Happened.SKIP).state is State.LEFT_TO_USER  # already so
    assert not processes.start_of(world.requests()[1]["pid"])
    for _ in range(3):
        world.engine.tick()
    assert world.entry().state is State.LEFT_TO_USER
    assert len(world.requests()) == 2


@pytest.mark.parametrize("before", ["skip", "given up", "left"])
def test_a_restart_of_the_machine_is_no_new_stop_of_what_had_stopped_before(world, monkeypatch, before):
    """The record of a turn that nobody is in looks the same before a restart and after it."""
    world.steps("working", "ok")
    world.start()
    words = [world.home / "bin/claude", "--session-id", ID, "-p", "work"]
    agent = subprocess.Popen(words, cwd=world.project, env=world.environment)
    world.until_state(State.RUNNING)
    agent.kill()
    agent.wait()
    entry = world.until_state(State.SCHEDULED)
    if before == "skip":
        world.engine.ask(KEY, Happened.SKIP)
    else:
        state, reason = {
            "given up": (State.GAVE_UP, Reason.CRASHED),
            "left": (State.LEFT_TO_USER, Reason.USER_EXIT),
        }[before]
        world.engine.ledger.keep(msgspec.structs.replace(entry, state=state, reason=reason))
    kept = world.entry()
    monkeypatch.setattr(processes, "boot_id", lambda: "another")
    monkeypatch.setattr(processes, "booted_at_s", time.time)
    looked_at_again(world)
    assert world.entry() == kept


@pytest.mark.parametrize("was_seen", [True, False])
def test_a_turn_that_may_have_been_left_before_a_restart_is_resumed_only_if_it_was_seen_at_work(was_seen):
    """Gemini CLI writes no error down: in its record a turn that failed looks like one that still runs."""
    now_s = time.time()
    turn = Fact(Sign.PROMPTED, Source.TRANSCRIPT, now_s - 100)
    alive = Fact(Sign.ALIVE, Source.PROCESS, now_s - 90, pid=7)
    booted = Fact(Sign.BOOTED, Source.MACHINE, now_s - 50)
    nobody = Fact(Sign.NOBODY, Source.PROCESS, now_s)

    def seen(*facts):
        evidence = Evidence(facts, now_s, tells_errors=False)
        return Session(
            "gemini", "1-a", "/r.jsonl", now_s - 100, Transcript(cwd="/p"), evidence, judge(evidence)
        )

    profile = profiles({}, "")["gemini"]
    before = observe(None, seen(turn, alive), profile, "a", now_s - 1000) if was_seen else None
    after = observe(before, seen(turn, booted, nobody), profile, "a", now_s - 1000)
    assert after.reason is Reason.MACHINE
    assert after.state is (State.SCHEDULED if was_seen else State.STOPPED)
    assert was_seen or "may have been left" in after.note


def test_a_skipped_stop_stays_skipped_when_its_window_is_closed(world):
    world.steps("silent", "overloaded")
    world.start()
    window = subprocess.Popen([world.home / "bin/claude"], cwd=world.project, env=world.environment)
    wait_until(lambda: len(world.requests()) == 1)
    world.agent()
    world.until_state(State.STOPPED)
    world.engine.ask(KEY, Happened.SKIP)
    window.kill()
    window.wait()
    looked_at_again(world)
    assert world.entry().state is State.LEFT_TO_USER


def test_a_run_that_was_aborted_at_work_is_left_to_its_user(world):
    world.steps("overloaded", "working", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    world.until(lambda entry: entry.state is State.RESUMING and entry.run.progressed)
    assert world.engine.ask(KEY, Happened.ABORT).state is State.LEFT_TO_USER
    looked_at_again(world)
    assert world.entry().state is State.LEFT_TO_USER


def test_the_session_that_an_aborted_run_began_is_left_to_its_user_too(world):
    world.steps("context", "working", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    run = world.until_state(State.RESUMING).run
    new = f"claude:{run.new_id}"
    world.until_state(State.RUNNING, new)
    assert world.engine.ask(KEY, Happened.ABORT).state is State.LEFT_TO_USER
    looked_at_again(world)
    assert world.entry(new).state is State.LEFT_TO_USER


def looked_at_again(world):
    """Have all sessions looked at, as the daemon does when it starts."""
    world.stop()
    world.start()
    world.engine.tick()


def test_a_project_s_file_that_was_mended_lets_its_session_go_on(world):
    world.steps("overloaded", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    own = world.project / ".palingenesis.toml"
    own.write_text("resume = maybe")
    for _ in range(3):
        world.due()
        world.engine.tick()
    assert (world.entry().state, len(world.requests())) == (State.SCHEDULED, 1)
    assert f"{own}:1:10:" in world.entry().note
    assert [one["what"] for one in world.audited()].count("postponed") == 1
    own.unlink()
    world.due()
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_a_full_context_is_taken_over_by_a_new_session(world):
    world.steps("context", "ok")
    (world.project / "Next-step.md").write_text("Port the lexer next.")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    entry = world.until_state(State.DONE)
    _, second = world.requests()
    assert second["argv"][0] == "--session-id"
    assert "Port the lexer next." in second["argv"][3]
    assert entry.continued_by == f"claude:{second['argv'][1]}"
    assert world.audited()[-1]["continued_by"] == entry.continued_by
    told = list(overview._explained(world.engine._context.look(entry), entry, time.time()))
    assert told[-1] == f"Next: nothing: {entry.continued_by} goes on with it"
    assert len(list((world.state / "backups").iterdir())) == 1


def test_permissions_are_those_that_the_session_had_and_never_skipped(world):
    for mode, words in (("acceptEdits", ["--permission-mode", "acceptEdits"]), ("bypassPermissions", [])):
        world.steps("overloaded", "ok")
        session = str(uuid.uuid4())
        world.agent(session)
        path = next((world.home / ".claude/projects").rglob(f"{session}.jsonl"))
        lines = [json.loads(line) | {"permissionMode": mode} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        world.stop()
        world.start()
        assert world.engine.ask(session, Happened.NOW).state is State.SCHEDULED
        world.until_state(State.DONE, f"claude:{session}")
        argv = world.requests()[-1]["argv"]
        assert argv[argv.index("json") + 1 :] == words
        assert "bypass" not in json.dumps(argv)


def test_an_id_that_looks_like_an_option_is_never_an_argument(world):
    world.steps("overloaded")
    world.start()
    world.agent("--dangerously-skip-permissions")
    entry = world.until_state(State.STOPPED, "claude:--dangerously-skip-permissions")
    assert entry.note == "its id cannot be an argument"
    for happened in (Happened.NOW, Happened.RENEW, Happened.WANTED):
        assert world.engine.ask(entry.key, happened) == f"{entry.key}: its id cannot be an argument"
    assert len(world.requests()) == 1


def test_a_session_of_an_unknown_directory_is_not_tried_by_request(world):
    """It was tried, and failed, and was tried again."""
    world.steps("overloaded")
    world.agent()
    (path,) = (world.home / ".claude/projects").rglob(f"{ID}.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "cwd": ""}) + "\n" for line in lines))
    world.start()
    assert world.engine.ask(ID, Happened.NOW) == f"{KEY}: its directory is not known"


# --- kill -9 --------------------------------------------------------------------------------------


def test_killed_while_it_waits_it_resumes_on_time_and_once(world):
    world.steps("overloaded", "ok")
    world.start()
    world.agent()
    due = world.until_state(State.SCHEDULED).at_s
    world.stop()
    world.start()
    assert world.entry().at_s == due
    world.due()
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_killed_between_the_intent_and_the_process_it_begins_once(world, monkeypatch):
    world.steps("overloaded", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    monkeypatch.setattr(launch.Runs, "begin", _killed)
    with pytest.raises(Killed):
        world.until_state(State.DONE)
    monkeypatch.undo()
    world.stop()
    assert read(path_in(str(world.state))).entries[0].state is State.RESUMING
    world.start()
    assert world.entry().state is State.SCHEDULED
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_killed_after_the_process_began_its_run_is_found_again(world, monkeypatch):
    """The run goes on without the daemon; the next one takes it up, whatever of it was written down."""
    world.steps("overloaded", "working")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    begin = launch.Runs.begin
    monkeypatch.setattr(launch.Runs, "begin", lambda *given: begin(*given) and _killed())
    with pytest.raises(Killed):
        world.until_state(State.DONE)
    monkeypatch.undo()
    world.stop()
    wait_until(lambda: len(world.requests()) == 2)
    world.start()
    entry = world.until(lambda entry: entry.run.progressed)
    assert (entry.state, entry.run.pid) == (State.RESUMING, world.requests()[1]["pid"])
    for _ in range(3):
        world.engine.tick()
    assert len(world.requests()) == 2


def test_a_run_that_a_dead_daemon_had_not_begun_can_never_begin_late(world):
    runs = launch.Runs(str(world.state / "runs"), world.environment)
    run = AgentRun("token", ("touch", str(world.home / "begun")), time.time())
    assert not runs.has_begun(run)
    runs.begin(run, str(world.home))
    wait_until(lambda: not runs.lives(run))
    assert runs.exit_code(run) == 75
    assert not (world.home / "begun").exists()


@pytest.mark.slow
def test_a_run_of_another_boot_is_over(world, monkeypatch):
    world.steps("overloaded", "working", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()
    world.until(lambda entry: entry.state is State.RESUMING and entry.run.progressed)
    world.stop()
    os.kill(world.requests()[1]["pid"], signal.SIGKILL)
    monkeypatch.setattr(processes, "boot_id", lambda: "another")
    monkeypatch.setattr(processes, "booted_at_s", time.time)
    world.start()
    entry = world.until_state(State.SCHEDULED)
    assert entry.reason is Reason.MACHINE
    world.due()
    world.until_state(State.DONE)
    assert len(world.requests()) == 3


class Killed(BaseException):
    """Stands for a kill -9: nothing is done any more."""


def _killed(*_):
    raise Killed


# --- the files ------------------------------------------------------------------------------------


def test_two_daemons_on_one_state(world):
    world.start()
    with pytest.raises(BlockingIOError):
        Ledger(str(world.state), 0.0)


def test_a_damaged_ledger_is_set_aside(world):
    Path(path_in(str(world.state))).write_text('{"version": 1, "entries": 7}')
    world.start()
    assert world.engine.ledger.entries == {}
    assert Path(path_in(str(world.state)) + ".bak").exists()


def test_a_session_that_a_server_has_open_is_handed_to_it_once(world):
    """Codex's windows leave their sessions to a server, which lets no other process write them."""
    stand_in = (STAND_IN.parent / "codex_stand_in.py").read_text().partition("\n")[2]
    program = world.home / "bin/codex"
    program.write_text(f"#!{sys.executable}\n" + stand_in)
    program.chmod(0o700)
    world.start()
    world.engine.tick()
    world.steps(f"limit {time.time() + 1}", "slow")
    key = "codex:01a220bb-1869-7302-8fe3-8a2ee1346d19"

    def asked():
        return [json.loads(line) for line in (world.home / "asked").read_text().splitlines()]

    try:
        # Its window is closed once the answer is there.
        words = [program, "work"]
        subprocess.run(
            words, cwd=world.project, env=world.environment, stdin=subprocess.DEVNULL, check=False,
            capture_output=True,
        )  # fmt: skip
        world.until_state(State.SCHEDULED, key)
        world.due(key)
        done = world.until_state(State.DONE, key)
        assert (done.resumes, done.attempt) == (1, 0)
        first, second = asked()
        assert second["argv"][:3] == ["queue", "--thread", key.partition(":")[2]]
        assert second["cwd"] == first["cwd"]
        told = [line["what"] for line in world.audited()]
        assert told.count("begun") == 1
        assert "failed" not in told
    finally:
        (world.home / "end").touch()


def test_after_the_clock_is_set_back_a_wait_stays_as_long_as_it_was(world, monkeypatch):
    """A try in 30 s is not one in a day and 30 s; the reset of a limit is an instant, and stays it."""
    world.start()
    world.steps("overloaded")
    world.agent()
    entry = world.until_state(State.SCHEDULED)
    limited = msgspec.structs.replace(
        entry, key="claude:other", reason=Reason.RATE_LIMIT, resets_at_s=entry.at_s - 20
    )
    world.engine.ledger.keep(limited)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 86400)
    world.engine.tick()
    assert world.entry().at_s == pytest.approx(entry.at_s - 86400, abs=60)
    assert world.entry("claude:other").at_s == pytest.approx(entry.at_s - 20 + schedule.MARGIN_S, abs=1)
    monkeypatch.undo()


def test_the_ledger_stays_small_enough_to_be_read_again(tmp_path, monkeypatch):
    """A longer file could not be read at the next start: intents and counts would be lost with it."""
    monkeypatch.setattr(ledger_module, "MAX_ENDED", 3)
    ledger = Ledger(str(tmp_path), 0.0)
    given_up = entry_of(0, State.GAVE_UP)
    ended = [entry_of(number, State.STOPPED, since_s=float(number)) for number in range(1, 6)]
    at_work = [entry_of(number, State.RUNNING) for number in range(6, 12)]
    ledger.keep(given_up, *ended, *at_work)
    ledger.forget(10.0)
    assert set(ledger.entries.values()) == {given_up, *ended[-2:], *at_work}
    ledger.close()


def test_a_session_of_which_nothing_is_known_gets_no_entry(world):
    """100,000 empty files in a directory of sessions would else be 58 MB of entries."""
    world.start()
    world.engine.tick()
    record = world.home / f".claude/projects/-x/{ID}.jsonl"
    record.parent.mkdir(parents=True)
    record.write_text("")
    world.engine.tick()
    world.engine.attention.look_at_everything()
    world.engine.tick()
    assert world.engine.ledger.entries == {}
    world.steps("overloaded")
    world.agent()
    world.until_state(State.SCHEDULED)


def test_what_cannot_be_written_down_is_not_done(world, monkeypatch):
    world.steps("overloaded", "ok")
    world.start()
    world.agent()
    world.until_state(State.SCHEDULED)
    world.due()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("palingenesis.resume.ledger.write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        world.engine.tick()
    assert len(world.requests()) == 1
    monkeypatch.undo()
    world.until_state(State.DONE)
    assert len(world.requests()) == 2


def test_the_audit_is_rotated(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "MAX_BYTES", 300)
    log = audit_module.Audit(str(tmp_path / "audit.jsonl"))
    for number in range(100):
        log.write("x", 0.0, number=number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit.jsonl", *(f"audit.jsonl.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 300 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])["number"] == 99
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_many_sessions_of_one_account_meet_the_limit_again_once(world, monkeypatch):
    """The scout is refused: the nineteen others wait for the new reset, and ask nothing."""
    monkeypatch.setattr(turns, "STAGGER_S", 0.0)
    reset = time.time() + 3600
    world.start()
    sessions = [str(uuid.uuid4()) for _ in range(20)]
    world.steps(*[f"limit {time.time() + 600}"] * 20, f"limit {reset}")
    for session in sessions:
        world.agent(session)
    world.until_state(State.SCHEDULED, f"claude:{sessions[-1]}")
    for session in sessions:
        world.due(f"claude:{session}")
    wait_until(lambda: world.engine.tick() and len(world.requests()) == 21)
    world.until(
        lambda _: all(one.at_s > reset for one in world.engine.ledger.entries.values()),
        KEY.replace(ID, sessions[0]),
    )
    for _ in range(3):
        world.engine.tick()
    assert len(world.requests()) == 21


def test_a_try_of_a_terminal_is_the_scout_of_the_daemon_s_sessions_too(world, monkeypatch):
    monkeypatch.setattr(turns, "STAGGER_S", 0.0)
    monkeypatch.setattr(turns, "ASK_AGAIN_S", 0.1)
    world.steps("overloaded", "ok")
    world.start()
    world.agent()
    account = world.until_state(State.SCHEDULED).account
    elsewhere = Scouts(str(world.state))
    assert elsewhere.claim(account, "claude:other", time.time()) is None
    world.due()
    entry = world.until(lambda entry: "claude:other of the same account goes first" in entry.note)
    assert entry.state is State.SCHEDULED
    for _ in range(5):
        world.due()
        world.engine.tick()
    assert len(world.requests()) == 1
    elsewhere.let_others(account, "claude:other")
    world.until_state(State.DONE)
    assert len(world.requests()) == 2
    assert [one["what"] for one in world.audited()].count("postponed") == 1


def test_one_asks_for_the_quota_of_all(world, monkeypatch):
    """Five sessions are due, and the agent says that its limit goes on for ten minutes: it is asked once."""
    monkeypatch.setattr(turns, "STAGGER_S", 0.0)
    sessions = [str(uuid.uuid4()) for _ in range(5)]
    world.steps(*[f"limit {time.time() + 600}"] * 5)
    world.start()
    for session in sessions:
        world.agent(session)
    world.until_state(State.SCHEDULED, f"claude:{sessions[-1]}")
    asked, resets_at_s = [], time.time() + 700
    monkeypatch.setattr(quota, "ask", lambda *_: asked.append(1) or Quota(False, resets_at_s))
    for session in sessions:
        world.due(f"claude:{session}")
    for _ in range(8):
        world.engine.tick()
    assert len(asked) == 1
    assert all(one.at_s >= resets_at_s for one in world.engine.ledger.entries.values())
    assert len(world.requests()) == 5


def test_it_is_held_to_its_lock_file(world):
    world.start()
    fd = os.open(world.state / "sessions.lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    assert engine_module.TICK_S <= 5


# --- the daemon -----------------------------------------------------------------------------------


@pytest.fixture
def night(app):
    """The command in its sandbox, with the stand-in in PATH."""
    home = app.sandbox.path / "home"
    program = home / "bin/claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text().partition("\n")[2])
    program.chmod(0o700)
    app.sandbox.env["PATH"] = f"{program.parent}:{app.sandbox.env['PATH']}"
    app.project = home / "proj"
    app.project.mkdir()

    def agent(*steps):
        (home / "steps").write_text("".join(f"{step}\n" for step in steps))
        words = [program, "--session-id", ID, "-p", "x"]
        subprocess.run(words, cwd=app.project, env=app.sandbox.env, check=False, timeout=60)

    def requests():
        return [json.loads(line) for line in (home / "requests").read_text().splitlines()]

    app.agent, app.requests = agent, requests
    return app


def state_in(app):
    (fields,) = app("sessions", "--json").json()["sessions"]
    return fields


def test_the_daemon_resumes_what_stopped_and_counts_it(night):
    night.done("daemon", "start")
    night.agent("overloaded", "ok")
    fields = wait_until(lambda: (found := state_in(night))["state"] == "scheduled" and found)
    assert fields["kept"]["due_at"] is not None
    assert "a try at" in night.done("why", ID)
    assert night.done("now", ID[:8]) == f"{KEY}: scheduled\n"
    wait_until(lambda: state_in(night)["state"] == "done")
    status = night.wait_status(total_resumes=1)
    assert status["saves_count"] > 0
    assert status["current_session"].endswith(f"{ID}.jsonl")
    assert len(night.requests()) == 2
    night.done("daemon", "restart")
    assert night.status()["total_resumes"] == 1


def test_a_run_of_the_daemon_is_shown_as_its_own(night):
    night.done("daemon", "start")
    night.agent("overloaded", "silent")
    wait_until(lambda: state_in(night)["state"] == "scheduled")
    night.done("now", ID)
    wait_until(lambda: len(night.requests()) == 2)
    assert "Next: its run goes on; `palingenesis abort` ends it\n" in night.done("why", ID)
    assert "open in pid" not in night.done("sessions")
    assert night.done("abort", ID) == f"{KEY}: left to its user\n"


@pytest.mark.slow
def test_paused_it_sees_and_resumes_nothing(night):
    night.done("daemon", "start")
    night.agent("overloaded", "ok")
    wait_until(lambda: state_in(night)["state"] == "scheduled")
    night.done("pause")
    assert night("now", ID).code == 1
    night.done("resume")
    assert night.done("resume", ID) == f"{KEY}: scheduled\n"
    wait_until(lambda: state_in(night)["state"] == "done")
    assert len(night.requests()) == 2


@pytest.mark.slow
def test_the_words_of_a_user(night):
    assert night("now", ID).code == 3
    night.done("daemon", "start")
    ended = night("now", "nope")
    assert (ended.code, ended.err) == (1, "palingenesis: no session 'nope'\n")
    ended = night("hold", "no\udcffpe")
    assert (ended.code, ended.err) == (1, "palingenesis: no session 'no\\xffpe'\n")
    night.agent("overloaded", "ok")
    wait_until(lambda: state_in(night)["state"] == "scheduled")
    assert night.done("hold", ID) == f"{KEY}: held\n"
    assert "Next: nothing before `palingenesis release`\n" in night.done("why", ID)
    assert night("now", ID).err == f"palingenesis: {KEY} is held: it cannot be done now\n"
    assert night("release", ID, "--json").json() == {"session": KEY, "state": "stopped"}
    wait_until(lambda: state_in(night)["state"] == "scheduled")
    assert night.done("skip", ID) == f"{KEY}: left to its user\n"
    assert len(night.requests()) == 1


def test_resuming_can_be_switched_off(night):
    night.config("resume.enabled = false\n")
    night.done("daemon", "start")
    night.agent("overloaded", "ok")
    wait_until(lambda: state_in(night)["state"] == "scheduled")
    assert night("now", ID).err == "palingenesis: resume.enabled is false in the configuration\n"
    assert len(night.requests()) == 1

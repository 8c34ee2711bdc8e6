"""Holding: what a session may cost, and a project's own file, which can only lower it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime

import msgspec
import pytest

from daemonry.testing import wait_until
from palingenesis.agents.known import profiles
from palingenesis.clock_hours import Hours, hours_of
from palingenesis.evidence import processes
from palingenesis.evidence.survey import Survey
from palingenesis.resume import freezer, guard, project
from palingenesis.resume.context import ResumeLimits
from palingenesis.resume.engine import ResumeEngine
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.guard import HoldingBounds, Project, lowered
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.reasons import Reason


def entry_of(**more):
    fields = {"cwd": "/", "since_s": 0.0, "reason": Reason.TRANSIENT, "state": State.RESUMING} | more
    return SessionEntry("claude:i", "claude", "i", "/x", account="a", **fields)


def test_a_project_can_lower_a_bound_and_never_raise_one():
    ours = HoldingBounds(60, 5, 5, 0)
    assert lowered(
        ours, Project(requests_per_minute=9999, same_error_times=9, resumes_per_day=7)
    ) == HoldingBounds(60, 5, 5, 7, (Hours(),))
    assert lowered(ours, Project(requests_per_minute=10)).requests_per_minute == 10
    assert lowered(msgspec.structs.replace(ours, enabled=False), Project(resume=True)).enabled is False
    assert lowered(ours, Project(resume=False)).enabled is False


def test_a_project_s_file_is_doubted(tmp_path):
    bounds, path = HoldingBounds(), tmp_path / project.NAME
    assert project.bounds_of(str(tmp_path), bounds) == bounds
    path.write_text("resumes_per_day = 3\n")
    assert project.bounds_of(str(tmp_path), bounds).resumes_per_day == 3
    for text, told in (
        ("resume = 'no'", "resume"), ("urls = ['x']", "urls"), ("quiet_hours = 'late'", "22:00-07:00"),
        ("[", ":1:"), ("x = " + "9" * project.MAX_BYTES, "is not a file of at most"),
    ):  # fmt: skip
        path.write_text(text)
        found = project.bounds_of(str(tmp_path), bounds)
        assert isinstance(found, str), text
        assert told in found
    path.unlink()
    os.mkfifo(path)
    assert "is not a file" in project.bounds_of(str(tmp_path), bounds)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "is not a file" in project.bounds_of(str(tmp_path), bounds)


def test_when_a_try_may_not_begin():
    now = datetime(2026, 11, 28, 23, 0).astimezone()
    now_s = now.timestamp()
    assert guard.not_before(entry_of(), HoldingBounds(), now) is None
    quiet = HoldingBounds(quiet=(hours_of("22:00-07:00"),))
    at_s, why = guard.not_before(entry_of(), quiet, now)
    assert (at_s - now_s, why) == (8 * 3600, "quiet hours")
    often = entry_of(begun_at_s=(now_s - 90_000, now_s - 7200, now_s - 3600))
    assert guard.not_before(often, HoldingBounds(resumes_per_day=3), now) is None
    at_s, why = guard.not_before(often, HoldingBounds(resumes_per_day=2), now)
    assert at_s == now_s - 7200 + 86400
    assert "2 runs" in why


def test_the_same_error_again_and_again_is_given_up():
    entry, bounds = entry_of(), HoldingBounds(same_error_times=3)
    for times in (1, 2, 3):
        failed = msgspec.structs.replace(entry, state=State.SCHEDULED, attempt=times)
        found = guard.same_again(entry, failed, "API Error:  500", bounds)
        assert found.state is (State.GAVE_UP if times == 3 else State.SCHEDULED)
        entry = msgspec.structs.replace(found, state=State.RESUMING)
    assert found.note == "the same error 3 times: API Error: 500"
    other = guard.same_again(entry, failed, "API Error: 502", bounds)
    assert (other.state, other.same_error_times) == (State.SCHEDULED, 1)
    limit = msgspec.structs.replace(failed, reason=Reason.RATE_LIMIT)
    assert guard.same_again(entry, limit, "API Error: 500", bounds) == limit, (
        "a limit says the same each time"
    )
    assert (
        guard.same_again(entry, failed, "API Error: 500", HoldingBounds(same_error_times=0)).state
        is State.SCHEDULED
    )


class Runaway:
    """opencode's database with a session that sends requests, and a process that does."""

    def __init__(self, path):
        self.cwd = path / "project"
        self.cwd.mkdir()
        place = path / ".local/share/opencode/opencode.db"
        place.parent.mkdir(parents=True)
        self.database = sqlite3.connect(place, isolation_level=None)
        self.database.executescript(
            "CREATE TABLE session (id, parent_id, directory, time_updated);"
            "CREATE TABLE message (id INTEGER PRIMARY KEY, session_id, data);"
        )
        now_ms = int(time.time() * 1000)
        self.database.execute(
            "INSERT INTO session VALUES ('ses_12345678', NULL, ?, ?)", (str(self.cwd), now_ms)
        )
        program = path / "opencode"
        shutil.copy(shutil.which("sleep"), program)
        program.chmod(0o700)
        self.process = subprocess.Popen([program, "600"], cwd=self.cwd)
        wait_until(lambda: any(one.pid == self.process.pid for one in processes.running({"opencode"})))
        environment = {"HOME": str(path), "PATH": os.environ["PATH"]}
        (path / "state").mkdir(mode=0o700)
        ledger = Ledger(str(path / "state"), time.time() - 1)
        survey = Survey(profiles({}, "c"), environment)
        self.engine = ResumeEngine(survey, ledger, str(path / "state"), environment, ResumeLimits())

    def send(self, count, finish="tool-calls"):
        now_ms = int(time.time() * 1000)
        message = {"role": "assistant", "time": {"created": now_ms, "completed": now_ms}, "finish": finish}
        for _ in range(count):
            self.database.execute(
                "INSERT INTO message (session_id, data) VALUES ('ses_12345678', ?)", (json.dumps(message),)
            )
        self.database.execute("UPDATE session SET time_updated = ?", (now_ms + count,))

    def entry(self):
        self.engine.tick()
        return self.engine.ledger.entries.get("opencode:ses_12345678")

    def is_stopped(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def runaway(tmp_path):
    if not os.path.isdir("/proc/self") or not sys.platform.startswith("linux"):
        pytest.skip("needs procfs")
    runaway = Runaway(tmp_path)
    yield runaway
    runaway.process.kill()
    runaway.process.wait()
    runaway.engine.ledger.close()
    runaway.database.close()


def test_a_session_that_runs_away_is_held_and_nothing_of_it_is_lost(runaway):
    runaway.send(60)
    assert runaway.entry().state is State.RUNNING
    runaway.send(1)
    held = runaway.entry()
    assert held.state is State.HELD
    assert held.note.startswith("61 requests in a minute, more than 60")
    wait_until(runaway.is_stopped)
    released = runaway.engine.ask("opencode:ses_12345678", Happened.RELEASE)
    assert released.frozen is None
    wait_until(lambda: not runaway.is_stopped())


def test_a_session_whose_answers_break_off_again_and_again_is_held_early(runaway):
    """Opencode sends the next request at once after a torn stream: 142 in 26 s were seen."""
    runaway.send(2, finish="unknown")
    assert runaway.entry().state is State.RUNNING
    runaway.send(1, finish="unknown")
    held = runaway.entry()
    assert held.state is State.HELD
    assert held.note.startswith("3 errors in a row within 10 s")


@pytest.mark.parametrize(
    ("requests", "errors", "why"),
    [
        ([1, 2, 3], [1, 2, 3], "3 errors in a row within 10 s"),
        ([1, 2, 3, 4], [1, 2, 3], "3 errors in a row within 10 s"),  # the fourth is under way
        ([1, 2, 3, 4, 5], [1, 2, 3], ""),  # it has recovered
        ([1, 2, 2.5, 3], [1, 2, 3], ""),  # a good one between
        ([1, 7, 12], [1, 7, 12], ""),  # not at once
        ([0, 8, 16, 24, 32, 40], [0, 8, 16, 24, 32, 40], "6 errors in a minute, more than 5"),
        ([1, 2], [1, 2], ""),
    ],
)
def test_errors_one_right_after_the_other_hold_a_session_before_the_minute_s_bound(requests, errors, why):
    assert guard.runs_away(requests, errors, HoldingBounds(), -1.0).startswith(why or "")
    assert bool(guard.runs_away(requests, errors, HoldingBounds(), -1.0)) is bool(why)
    assert not guard.runs_away(requests, errors, HoldingBounds(errors_per_minute=0), -1.0)
    loose = guard.runs_away(requests, errors, HoldingBounds(errors_per_minute=50), -1.0)
    assert not loose


@pytest.mark.slow
def test_a_session_that_was_released_is_not_held_for_the_same_requests(runaway):
    runaway.send(61)
    assert runaway.entry().state is State.HELD
    time.sleep(0.01)
    runaway.engine.ask("opencode:ses_12345678", Happened.RELEASE)
    wait_until(lambda: runaway.entry().state is State.RUNNING)
    time.sleep(0.01)
    runaway.send(61)
    wait_until(lambda: runaway.entry().state is State.HELD)


def lines_of(agent, times, cwd, *, failed):
    """Return an agent's record of requests at some times, as that agent writes it."""
    yield {
        "claude": {"type": "user", "sessionId": ID, "cwd": cwd, "message": {"content": "x"}},
        "codex": {"type": "session_meta", "payload": {"id": ID, "cwd": cwd}},
        "gemini": {"sessionId": ID, "kind": "main"},
    }[agent] | {"timestamp": iso(times[0] - 1)}
    for number, at_s in enumerate(times):
        if agent == "claude":
            message = {"id": f"m{number}", "model": "x", "stop_reason": "tool_use", "content": []}
            if failed:
                yield {
                    "type": "system", "subtype": "api_error", "retryInMs": 1, "sessionId": ID, "cwd": cwd,
                    "timestamp": iso(at_s), "entrypoint": "sdk-cli",
                }  # fmt: skip
            for _ in range(0 if failed else 2):  # one line for each block of one answer
                yield {
                    "type": "assistant", "message": message, "sessionId": ID, "cwd": cwd,
                    "timestamp": iso(at_s), "entrypoint": "sdk-cli",
                }  # fmt: skip
        elif agent == "codex":
            kind = {"type": "token_count", "info": {"total_token_usage": {}}}
            if failed:
                kind = {"type": "task_complete", "error": {"message": "x", "codex_error_info": "other"}}
            yield {"type": "event_msg", "payload": {"type": "task_started"}, "timestamp": iso(at_s)}
            yield {"type": "event_msg", "payload": kind, "timestamp": iso(at_s)}
        else:
            kind = "error" if failed else "gemini"
            yield {"type": kind, "id": f"g{number}", "content": "x", "toolCalls": [1], "timestamp": iso(at_s)}
    if agent == "codex":
        yield {"type": "event_msg", "payload": {"type": "task_started"}, "timestamp": iso(times[-1])}


def iso(at_s):
    return datetime.fromtimestamp(at_s, UTC).isoformat()


ID = "0b0b0b0b-0000-4000-8000-000000000001"
PLACES = {
    "claude": f".claude/projects/-p/{ID}.jsonl",
    "codex": f".codex/sessions/2026/11/28/rollout-2026-11-28T00-00-00-{ID}.jsonl",
    "gemini": f".gemini/tmp/p/chats/session-2026-{ID[:8]}.jsonl",
}


@pytest.mark.parametrize("agent", PLACES)
@pytest.mark.parametrize("failed", [False, True])
def test_requests_are_counted_in_each_agent_s_record(tmp_path, agent, failed):
    path = tmp_path / PLACES[agent]
    path.parent.mkdir(parents=True)
    now_s = time.time()
    times = [now_s - 300, now_s - 200, *(now_s - 50 + number for number in range(40))]
    lines = lines_of(agent, times, str(tmp_path), failed=failed)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (session,) = Survey(profiles({}, "c"), {"HOME": str(tmp_path)}).look()
    seen = session.transcript
    assert len(seen.requests_at_s) == 40
    assert len(seen.errors_at_s) == (40 if failed else 0)
    assert guard.runs_away(seen.requests_at_s, seen.errors_at_s, HoldingBounds(39, 0), now_s - 60)
    assert not guard.runs_away(seen.requests_at_s, seen.errors_at_s, HoldingBounds(40, 0), now_s - 60)
    assert bool(guard.runs_away(seen.requests_at_s, seen.errors_at_s, HoldingBounds(), now_s - 60)) is failed


def test_claude_code_s_own_retries_are_no_errors_without_a_pause(tmp_path):
    """Ten tries, half a second apart at first, twice as long each time."""
    path = tmp_path / PLACES["claude"]
    path.parent.mkdir(parents=True)
    now_s = time.time()
    lines = [
        {
            "type": "system", "subtype": "api_error", "retryInMs": 500 * 2**number, "sessionId": ID,
            "timestamp": iso(now_s - 40 + 0.5 * 2**number), "retryAttempt": number,
        }
        for number in range(7)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (session,) = Survey(profiles({}, "c"), {"HOME": str(tmp_path)}).look()
    assert len(session.transcript.requests_at_s) == 7
    assert session.transcript.errors_at_s == ()


@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_a_runaway_of_any_agent_is_held(tmp_path, agent):
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs procfs")
    path, program, project_path = tmp_path / PLACES[agent], tmp_path / agent, tmp_path / "project"
    path.parent.mkdir(parents=True)
    project_path.mkdir()
    shutil.copy(shutil.which("sleep"), program)
    (tmp_path / "state").mkdir(mode=0o700)
    ledger = Ledger(str(tmp_path / "state"), time.time() - 1)
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    engine = ResumeEngine(
        Survey(profiles({}, "c"), environment), ledger, str(tmp_path / "state"), environment, ResumeLimits()
    )
    process = subprocess.Popen([program, "600"], cwd=project_path)
    try:
        times = [time.time() - 30 + number / 10 for number in range(61)]
        lines = lines_of(agent, times, str(project_path), failed=False)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        wait_until(lambda: any(one.pid == process.pid for one in processes.running({agent})))
        engine.tick()
        (entry,) = ledger.entries.values()
        assert entry.state is State.HELD, entry
        assert entry.note.startswith("61 requests in a minute")
        assert entry.frozen[0] == process.pid
    finally:
        process.kill()
        process.wait()
        ledger.close()


def test_a_project_s_lower_bound_holds_earlier(runaway):
    (runaway.cwd / project.NAME).write_text("requests_per_minute = 5\n")
    runaway.send(6)
    assert runaway.entry().state is State.HELD


def test_a_later_process_of_the_same_number_is_left_alone():
    child = subprocess.Popen(["sleep", "600"])
    try:
        frozen = freezer.freeze(child.pid)
        assert frozen == (child.pid, processes.start_of(child.pid))
        freezer.thaw((child.pid, "another start"))
        os.waitpid(child.pid, os.WUNTRACED)
        freezer.thaw(frozen)
        assert os.WIFCONTINUED(os.waitpid(child.pid, os.WCONTINUED)[1])
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert freezer.freeze(child.pid) is None
    assert freezer.freeze(os.getpid()) is None


def test_a_session_whose_id_the_agent_chose_is_found_by_its_directory(runaway):
    """Opencode takes no id: what took over is the newest session of the directory, not one made up."""
    runaway.send(1)
    entry = runaway.entry()
    now_ms = int(time.time() * 1000)
    took_over, since_s = runaway.engine._context.took_over, time.time() - 1
    assert took_over(entry, "", since_s) == ""
    runaway.database.execute(
        "INSERT INTO session VALUES (?, ?, ?, ?)", ("ses_another1", None, str(runaway.cwd), now_ms)
    )
    assert took_over(entry, "", since_s) == "", "no answer yet"
    message = {"role": "assistant", "tokens": {"output": 7}, "finish": "stop"}
    values = ("ses_another1", json.dumps(message))
    runaway.database.execute("INSERT INTO message (session_id, data) VALUES (?, ?)", values)
    assert took_over(entry, "", since_s) == "opencode:ses_another1"
    assert took_over(entry, "ses_another1", since_s) == "opencode:ses_another1"
    assert took_over(entry, "made-up", since_s) == ""

"""One session and several palingenesis: daemons and terminals with states of their own, as commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from daemonry.testing import wait_until

STAND_IN = Path(__file__).parents[1] / "stand_in.py"
# The command, with limits that end at once.
QUICK = """
import sys
from palingenesis.resume import schedule
schedule.MARGIN_S = schedule.JITTER_S = 0.0
sys.argv[0] = "palingenesis"
from palingenesis.cli import main
main()
"""


class Night:
    """A home with a stand-in agent, the daemon of the sandbox, and one of another state directory."""

    def __init__(self, app):
        self.app = app
        self.home = app.sandbox.path / "home"
        program = self.home / "bin/claude"
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text().partition("\n")[2])
        program.chmod(0o700)
        app.sandbox.env["PATH"] = f"{program.parent}:{app.sandbox.env['PATH']}"
        self.project = self.home / "proj"
        self.project.mkdir()
        self.session = str(uuid.uuid4())
        self.words = [str(program), "--session-id", self.session, "-p", "x"]
        self.env = app.sandbox.env
        other = app.sandbox.path / "other"
        places = {"PALINGENESIS_STATE": str(other / "state"), "PALINGENESIS_RUNTIME": str(other / "run")}
        self.other_env = {**self.env, **places}
        self.states = [app.state_dir, other / "state"]

    def steps(self, *steps):
        (self.home / "steps").write_text("".join(f"{step}\n" for step in steps))

    def agent(self):
        subprocess.run(self.words, cwd=self.project, env=self.env, check=False, timeout=60)

    def requests(self):
        return [json.loads(line) for line in (self.home / "requests").read_text().splitlines()]

    def command(self, env, *words):
        return subprocess.Popen([self.app.command, *words], env=env, stdout=subprocess.DEVNULL)

    def done(self, env, *words):
        return subprocess.run(
            [self.app.command, *words], env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=60
        ).stdout

    def kept(self, env):
        found = json.loads(self.done(env, "sessions", "--json"))["sessions"]
        return next((one for one in found if one["session"] == self.session), {})

    def wait_state(self, env, state):
        return wait_until(lambda: (one := self.kept(env)).get("state") == state and one, timeout_s=40)

    def audited(self):
        lines = [(one / "audit.jsonl").read_text().splitlines() for one in self.states]
        return [json.loads(line) for one in lines for line in one]


@pytest.fixture
def night(app):
    night = Night(app)
    app.done("daemon", "start")
    night.done(night.other_env, "daemon", "start")
    yield night
    night.done(night.other_env, "daemon", "stop")


@pytest.mark.slow
def test_two_daemons_that_are_both_asked_resume_it_once(night):
    night.steps("overloaded", "slow 2")
    night.agent()
    for env in (night.env, night.other_env):
        night.wait_state(env, "scheduled")
    asked = [night.command(env, "now", night.session) for env in (night.env, night.other_env)]
    assert [one.wait(60) for one in asked] == [0, 0]
    for env in (night.env, night.other_env):
        night.wait_state(env, "done")
    assert len(night.requests()) == 2
    assert [one["what"] for one in night.audited()].count("begun") == 1


@pytest.mark.slow
def test_a_headless_run_keeps_its_session_from_a_daemon_of_another_state(night):
    """It waits in a process that only its own daemon knows; the resume comes out of it all the same."""
    reset_s = time.time() + 20
    night.steps(f"limit {reset_s}", "ok")
    third = {**night.env, "PALINGENESIS_STATE": str(night.app.sandbox.path / "third")}
    held = subprocess.Popen(
        [sys.executable, "-c", QUICK, "run", "--", *night.words],
        cwd=night.project, env=third, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for env in (night.env, night.other_env):
            night.wait_state(env, "scheduled")
            night.command(env, "now", night.session).wait(60)
        held.wait(90)
        assert len(night.requests()) == 2
        assert night.requests()[1]["at"] >= reset_s
        notes = {one.get("note", "") for one in night.audited()}
        assert any(f"another palingenesis has it: process {held.pid}" in note for note in notes), notes
    finally:
        held.kill()
        held.communicate()

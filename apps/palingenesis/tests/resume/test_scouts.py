"""One session of an account goes first, whichever process begins it: the daemon, or a terminal."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from palingenesis.evidence import processes
from palingenesis.evidence.quota_answer import UNKNOWN, Quota
from palingenesis.evidence.survey import Session
from palingenesis.evidence.transcript import Transcript
from palingenesis.resume import claims, scouts, turns
from palingenesis.resume.scouts import Scouts
from palingenesis.resume.turns import Claim, Limit, wait_for_others
from palingenesis.terminal.permit import Permit
from palingenesis.terminal.reservation import Reservation
from palingenesis.verdict.facts import Evidence
from palingenesis.verdict.judge import judge

STAND_IN = Path(__file__).parents[1] / "stand_in.py"
PALINGENESIS = [sys.executable, "-m", "palingenesis"]
NOW_S = 1000.0


def claim(key="claude:a", began_s=NOW_S, account="A", *, is_scout=True):
    return Claim(account, key, began_s, 1, "s", is_scout)


def wait(claims=(), limits=(), since_s=0.0, *, lives=True):
    return wait_for_others(claims, limits, claim("claude:me"), since_s, lambda _: lives)


def test_a_try_waits_for_the_scout_of_its_account():
    found = wait([claim(began_s=NOW_S - 60)])
    assert found.at_s == NOW_S + turns.ASK_AGAIN_S
    assert "claude:a of the same account goes first" in found.why
    assert wait([claim(account="B")]) is None
    assert wait([claim("claude:me")]) is None, "its own earlier try"
    assert wait([claim(began_s=NOW_S - 60)], lives=False) is None
    assert wait([claim(began_s=NOW_S - 60, is_scout=False)]) is None
    assert wait([claim(began_s=NOW_S - turns.MAX_SCOUT_S - 1)]) is None
    assert wait([claim(began_s=NOW_S + 60)]) is None, "the clock was set back"


def test_two_do_not_begin_in_the_same_seconds():
    found = wait([claim(began_s=NOW_S - 1, is_scout=False)])
    assert found.at_s == NOW_S - 1 + turns.STAGGER_S
    assert wait([claim(began_s=NOW_S - turns.STAGGER_S, is_scout=False)]) is None
    assert wait([claim(began_s=NOW_S - 1)], lives=False) is not None


def test_a_limit_that_was_met_again_holds_for_what_was_decided_before():
    limit = Limit("A", NOW_S + 600, NOW_S - 5)
    found = wait(limits=[limit], since_s=NOW_S - 10)
    assert (found.at_s, found.is_limit) == (NOW_S + 600, True)
    assert wait(limits=[limit], since_s=NOW_S - 1) is None, "a user has asked for it since"
    assert wait(limits=[Limit("B", NOW_S + 600, NOW_S)]) is None
    assert wait(limits=[Limit("A", NOW_S + 9 * 86400, NOW_S)]) is None
    assert wait(limits=[Limit("A", NOW_S - 1, NOW_S - 60)]) is None


def test_what_holds_up_nobody_any_more_is_forgotten():
    claims, limits = turns.still_of_use(
        [claim(began_s=NOW_S - 60), claim(began_s=NOW_S - 60, is_scout=False), claim(began_s=0.0)],
        [Limit("A", NOW_S - 1, 0.0), Limit("B", NOW_S + 1, 0.0)],
        NOW_S,
    )
    assert [one.began_s for one in claims] == [NOW_S - 60]
    assert [one.account for one in limits] == ["B"]


# --- the file -------------------------------------------------------------------------------------

CLAIMS = """\
import sys, time
from palingenesis.resume.scouts import Scouts
wait = Scouts(sys.argv[1]).claim("A", sys.argv[2], 0.0)
print("begins" if wait is None else "waits", flush=True)
sys.stdin.read()
"""


def test_of_many_processes_that_ask_at_once_one_begins(tmp_path):
    """Twelve terminals of one account, one reset: the same instant for all."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, str(tmp_path), f"claude:{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(12)
    ]  # fmt: skip
    told = [child.stdout.readline().strip() for child in children]
    assert sorted(told) == ["begins"] + ["waits"] * 11
    first = told.index("begins")
    mine = Scouts(str(tmp_path))
    assert "goes first" in mine.claim("A", "claude:me", 0.0).why
    for child in children:
        child.kill()
        child.communicate()
    found = mine.claim("A", "claude:me", 0.0)
    assert found is None or "has just begun" in found.why, f"claude:{first} is gone"


def test_a_scout_lets_others_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "STAGGER_S", 0.0)
    mine = Scouts(str(tmp_path))
    assert mine.claim("A", "claude:a", 0.0) is None
    assert mine.claim("A", "claude:b", 0.0) is not None
    assert mine.claim("B", "claude:c", 0.0) is None
    mine.let_others("A", "claude:a")
    assert mine.claim("A", "claude:b", 0.0) is None
    mine.let_others("A", "claude:b", time.time() + 600)
    assert mine.claim("A", "claude:d", 0.0).is_limit
    assert mine.claim("B", "claude:c", 0.0) is None


def test_a_try_belongs_to_its_process_when_the_daemon_is_gone(tmp_path):
    mine = Scouts(str(tmp_path))
    child = subprocess.Popen(["sleep", "600"])
    try:
        mine.belongs_to("A", "claude:a", child.pid)
        assert "goes first" in mine.claim("A", "claude:b", 0.0).why
    finally:
        child.kill()
        child.wait()
    assert processes.start_of(child.pid) == ""
    assert "has just begun" in mine.claim("A", "claude:b", 0.0).why


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"claims": 7}', b"x" * (scouts.MAX_BYTES + 1)])
def test_a_damaged_file_is_begun_anew(tmp_path, data):
    (tmp_path / "scouts.json").write_bytes(data)
    assert Scouts(str(tmp_path)).claim("A", "claude:a", 0.0) is None
    assert "goes first" in Scouts(str(tmp_path)).claim("A", "claude:b", 0.0).why


def test_a_lock_that_is_not_given_back_holds_a_try_up_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(scouts, "LOCK_WAIT_S", 0.1)
    fd = os.open(tmp_path / "scouts.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        assert "is held" in Scouts(str(tmp_path)).claim("A", "claude:a", 0.0).why
        Scouts(str(tmp_path)).let_others("A", "claude:a")
    finally:
        os.close(fd)
    assert Scouts(str(tmp_path)).claim("A", "claude:a", 0.0) is None


# --- a terminal -----------------------------------------------------------------------------------


def session_in(directory, name):
    evidence = Evidence((), time.time())
    path = str(directory / f"{name}.jsonl")
    return Session("claude", name, path, time.time(), Transcript(id=name), evidence, judge(evidence))


def test_a_terminal_holds_its_session_for_all_and_begins_each_run_of_it_once(tmp_path):
    one, other = Reservation(600.0), Reservation(600.0)
    session = session_in(tmp_path, "a")
    one.hold(session)
    other.hold(session)
    assert other.begin(session).why == "another palingenesis has it"
    assert one.begin(session) is None
    one.hold(session)  # it waits for the next limit
    assert one.begin(session) is None
    assert other.begin(session).why == "another palingenesis has it"
    one.close()
    assert other.begin(session).why == "another palingenesis has tried it"
    assert other.begin(session) is None
    other.close()
    one.hold(session)
    one.close()
    third = Reservation(600.0)
    assert third.begin(session) is None, "the last one had only waited"
    third.close()


def test_a_terminal_that_was_refused_its_beginning_waits(tmp_path):
    one = Reservation(600.0)
    session = session_in(tmp_path, "a")
    one.hold(session)
    assert claims.refuse(claims.gate_of(session.path, "a", claims.last(session.path, "a")))
    assert one.begin(session).why == "another palingenesis was first"
    assert one.begin(session) is None
    (tmp_path / ".palingenesis").chmod(0o777)
    assert "cannot be claimed" in one.begin(session).why
    one.close()


def test_a_terminal_asks_for_quota_only_when_it_is_its_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "STAGGER_S", 0.0)
    asked = []

    def ask(answer):
        return lambda: asked.append(1) or answer

    full = Quota(False, time.time() + 600)
    first = Permit(Scouts(str(tmp_path)), "A", "codex", ask(full), Reservation(600.0))
    second = Permit(Scouts(str(tmp_path)), "A", "codex", ask(UNKNOWN), Reservation(600.0))
    one, other = session_in(tmp_path, "a"), session_in(tmp_path, "b")
    found = first.wait(one, 0.0, limited=True)
    assert found.at_s == full.resets_at_s
    assert not first.is_scout
    assert second.wait(other, 0.0, limited=True).is_limit, "one has asked for all of the account"
    assert len(asked) == 1
    assert second.wait(other, time.time(), limited=True) is None, "its user pressed Enter"
    assert second.is_scout
    second.over()
    assert first.wait(one, time.time(), limited=False) is None
    assert len(asked) == 2
    first.over()


def test_the_claim_of_a_terminal_ends_with_it(tmp_path):
    permit = Permit(Scouts(str(tmp_path)), "A", "claude", lambda: UNKNOWN, Reservation(600.0))
    assert permit.wait(session_in(tmp_path, "a"), 0.0, limited=True) is None
    permit.over()
    wait_until(lambda: "just begun" in (Scouts(str(tmp_path)).claim("A", "claude:b", 0.0).why))


# --- all of it ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_twenty_sessions_of_one_account_in_terminals_and_without_make_no_burst(app):
    """Ten in terminals, ten that the daemon resumes, one reset: one scout, then one after the other."""
    home = app.sandbox.path / "home"
    program = home / "bin/claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text().partition("\n")[2])
    program.chmod(0o700)
    app.sandbox.env["PATH"] = f"{program.parent}:{app.sandbox.env['PATH']}"
    ids = [str(uuid.uuid4()) for _ in range(20)]
    reset_s = time.time() + 75
    (home / "steps").write_text(f"limit {reset_s}\n" * 20 + "slow 12\n")
    app.done("daemon", "start")
    held = []
    try:
        for number, session in enumerate(ids):
            directory = home / f"p{number}"
            directory.mkdir()
            words = [program, "--session-id", session, "-p", "x"]
            if number % 2:
                words = [*PALINGENESIS, "run", "--", *words]
            child = subprocess.Popen(
                words, cwd=directory, env=app.sandbox.env, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            held.append(child)

        def requests():
            return [json.loads(line) for line in (home / "requests").read_text().splitlines()]

        wait_until(lambda: (home / "requests").exists() and len(requests()) == 20, timeout_s=70)
        assert time.time() < reset_s, "too slow a machine for this test"
        wait_until(lambda: len(requests()) == 40, timeout_s=300)
        wait_until(lambda: all(child.poll() is not None for child in held), timeout_s=60)
        resumed = sorted(one["at"] for one in requests()[20:])
        assert resumed[0] > reset_s
        assert resumed[1] >= resumed[0] + 12, "the scout has not answered yet"
        assert min(after - before for before, after in itertools.pairwise(resumed)) > turns.STAGGER_S - 1
        names = [one["argv"][one["argv"].index("--resume") + 1] for one in requests()[20:]]
        assert sorted(names) == sorted(ids), "each one once"
    finally:
        for child in held:
            child.kill()
            child.wait()

"""Claims of a session: one try at a time among all that can write its record, and each is seen by all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from palingenesis.evidence import places
from palingenesis.resume import claims, shared_place
from palingenesis.resume.claim_rules import (
    BEGIN_S,
    ClaimEnd,
    KnownClaim,
    Lives,
    Outcome,
    SessionClaim,
    Standing,
    standing,
)
from palingenesis.resume.entry import AgentRun
from palingenesis.resume.launch import Runs
from palingenesis.resume.scouts import Scouts

STAND_IN = Path(__file__).parents[1] / "stand_in.py"
RACING = Path(__file__).parent / "racing.py"
SILENCE_S = 600.0


# --- the decision ---------------------------------------------------------------------------------


def means(known, stop="limit@100", stop_at_s=100.0, accounted=(), now_s=1000.0, moved_s=0.0):
    return standing(known, stop, stop_at_s, frozenset(accounted), now_s, moved_s, SILENCE_S)


def known(began_s=990.0, stop="limit@100", in_terminal=False, **more):
    claim = SessionClaim("claude:a", "token", stop, began_s, "boot", "here", 7, "s", in_terminal)
    return KnownClaim(1, claim, **more)


def test_without_a_claim_a_session_is_free():
    assert means(None) is Standing.FREE


@pytest.mark.parametrize("owner", [Lives.YES, Lives.UNKNOWN])
def test_one_that_has_just_claimed_is_waited_for_and_then_refused(owner):
    assert means(known(owner=owner)) is Standing.WAIT
    assert means(known(1000.0 - BEGIN_S, owner=owner)) is Standing.REFUSE
    assert means(known(owner=Lives.NO)) is Standing.REFUSE
    assert means(known(99_999.0, owner=owner)) is Standing.REFUSE, "the clock was set back"


def test_a_terminal_holds_its_session_as_long_as_it_lives():
    assert means(known(1.0, in_terminal=True, owner=Lives.YES)) is Standing.WAIT
    assert means(known(in_terminal=True, owner=Lives.NO)) is Standing.REFUSE
    assert means(known(in_terminal=True, owner=Lives.UNKNOWN)) is Standing.WAIT
    assert means(known(1.0, in_terminal=True, owner=Lives.UNKNOWN)) is Standing.REFUSE


def test_a_run_that_lives_is_waited_for_also_when_it_is_of_another_stop():
    assert means(known(1.0, "other", is_begun=True, run=Lives.YES)) is Standing.WAIT
    assert means(known(is_begun=True, run=Lives.YES), accounted=["token"]) is Standing.WAIT


def test_a_run_that_cannot_be_seen_is_over_when_it_is_silent():
    unseen = known(10.0, "other", is_begun=True, run=Lives.UNKNOWN)
    assert means(unseen, moved_s=900.0) is Standing.WAIT
    assert means(unseen, moved_s=1000.0 - SILENCE_S) is Standing.FREE, "and of an earlier stop"
    assert means(unseen, stop_at_s=1.0, moved_s=20.0) is Standing.MADE


def test_a_try_of_this_stop_counts_once():
    for over in (known(is_begun=True), known(is_begun=True, end=ClaimEnd(Outcome.TRIED))):
        assert means(over) is Standing.MADE
        assert means(over, accounted=["token"]) is Standing.FREE
    assert means(known(50.0, "other", is_begun=True)) is Standing.FREE
    assert means(known(50.0, is_begun=True)) is Standing.MADE, "the clock was set back after the stop"
    assert means(known(150.0, "told by a hook", is_begun=True)) is Standing.MADE


def test_what_never_began_does_not_count():
    assert means(known(is_void=True)) is Standing.FREE
    assert means(known(end=ClaimEnd(Outcome.NOT_TRIED), owner=Lives.YES)) is Standing.FREE


# --- the files ------------------------------------------------------------------------------------


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "projects/p/a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("")
    return str(path)


def taken(record, token="t", after=None, session_id="a", **more):
    claim = claims.new_claim(f"claude:{session_id}", token, "stop", **more)
    return claims.take(record, session_id, claim, after)


def test_only_one_makes_the_next_claim(record):
    gate = taken(record)
    assert gate
    assert taken(record) == ""
    first = claims.last(record, "a")
    assert (first.number, first.claim.token, first.owner, first.is_begun) == (1, "t", Lives.YES, False)
    assert gate == claims.gate_of(record, "a", first)
    assert taken(record, "u", first)
    assert taken(record, "v", first) == ""
    assert claims.last(record, "a").claim.token == "u"
    assert claims.last(record, "b") is None
    place = Path(record).parent / ".palingenesis"
    assert sorted(os.listdir(place)) == ["a.2"], "earlier claims and what lost are removed"
    assert place.stat().st_mode & 0o777 == 0o700


def test_one_that_slept_while_others_went_on_has_not_claimed(record):
    """Its number was free again, as earlier claims are removed."""
    taken(record)
    first = claims.last(record, "a")
    for number in range(3):
        assert taken(record, str(number), claims.last(record, "a"))
    assert taken(record, "late", first) == ""
    assert claims.last(record, "a").claim.token == "2"


def test_a_gate_is_passed_once_or_refused_for_ever(record, tmp_path):
    runs = Runs(str(tmp_path / "runs"), {"PATH": os.environ["PATH"]})

    def begun(gate, name):
        run = AgentRun(name, ("touch", str(tmp_path / name)), time.time(), gate=gate)
        runs.begin(run, str(tmp_path))
        runs._children[name].wait(20)
        return run, (tmp_path / name).exists()

    gate = taken(record)
    run, there = begun(gate, "first")
    assert there
    assert not runs.was_refused(run)
    assert not begun(gate, "second")[1]
    assert not claims.refuse(gate)
    assert not claims.begin_here(gate)
    gate = taken(record, "u", claims.last(record, "a"))
    assert claims.refuse(gate)
    assert claims.refuse(gate)
    run, there = begun(gate, "third")
    assert not there
    assert runs.was_refused(run)
    assert not claims.begin_here(gate)
    assert claims.last(record, "a").is_void


def test_a_run_is_found_by_its_mark(record, tmp_path):
    runs = Runs(str(tmp_path / "runs"), {"PATH": os.environ["PATH"]})
    run = AgentRun("marked", ("sleep", "600"), time.time(), gate=taken(record, "marked"))
    pid, _ = runs.begin(run, str(tmp_path))
    try:
        while not (seen := claims.last(record, "a")).run_pid:
            pass
        assert (seen.run_pid, seen.run) == (pid, Lives.YES)
        Path(run.gate).write_text("1\n")  # a process, and not this run
        assert claims.last(record, "a").run is Lives.NO
    finally:
        runs._children["marked"].kill()
        runs._children["marked"].wait()


def test_what_became_of_it_is_seen_by_others(record):
    gate = taken(record)
    claims.end(gate, Outcome.TOOK_OVER, "claude:b")
    assert claims.last(record, "a").end == ClaimEnd(Outcome.TOOK_OVER, "claude:b")
    claims.end("/nowhere/begun", Outcome.TRIED)


def test_processes_of_another_boot_are_gone_and_those_of_another_machine_unknown(record, monkeypatch):
    taken(record)
    monkeypatch.setattr(claims.processes, "boot_id", lambda: "another")
    assert claims.last(record, "a").owner is Lives.NO
    monkeypatch.setattr(claims, "machine", lambda: "another")
    assert claims.last(record, "a").owner is Lives.UNKNOWN


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"pid": []}', b"x" * (claims.MAX_BYTES + 1), None])
def test_a_damaged_claim_is_one_of_which_nothing_is_known(record, data):
    taken(record)
    path = Path(record).parent / ".palingenesis/a.1/claim.json"
    path.unlink()
    if data is None:
        path.symlink_to("/etc/passwd")
    else:
        path.write_bytes(data)
    seen = claims.last(record, "a")
    assert (seen.owner, seen.claim.machine, seen.end) == (Lives.UNKNOWN, "", None)
    assert taken(record, "u", seen)


@pytest.mark.parametrize("session_id", ["../../x", "a/b", "", ".", "\udcff", "x" * 300, "-n", "a b"])
def test_an_id_is_never_a_path(record, session_id):
    gate = taken(record, session_id=session_id)
    assert os.path.dirname(os.path.dirname(gate)) == os.path.join(os.path.dirname(record), ".palingenesis")
    assert claims.last(record, session_id).claim.token == "t"


def test_a_record_is_the_same_by_all_its_paths(record, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "projects")
    (tmp_path / "file.jsonl").symlink_to(record)
    taken(record)
    assert claims.last(str(tmp_path / "link/p/a.jsonl"), "a").claim.token == "t"
    assert claims.last(str(tmp_path / "file.jsonl"), "a").claim.token == "t"


def test_what_others_prepare_is_refused(record, monkeypatch):
    place = Path(record).parent / ".palingenesis"
    place.symlink_to("/tmp")
    with pytest.raises(OSError, match="is not a directory"):
        claims.last(record, "a")
    place.unlink()
    place.mkdir(0o777)
    place.chmod(0o777)
    with pytest.raises(OSError, match="can be written by others"):
        taken(record)
    place.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(OSError, match="belongs to user"):
        claims.last(record, "a")


def test_in_a_public_directory_each_user_has_a_place(tmp_path, monkeypatch):
    tmp_path.chmod(0o1777)
    ours = shared_place.path_in(str(tmp_path))
    assert ours == f"{tmp_path}/.palingenesis-{os.geteuid()}"
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert shared_place.path_in(str(tmp_path)) != ours


def test_old_claims_and_unfinished_ones_are_swept(record, monkeypatch):
    taken(record, session_id="old")
    place = Path(record).parent / ".palingenesis"
    (place / ".new-x").mkdir()
    (place / "notes").write_text("a user's own")
    taken(record)
    assert sorted(os.listdir(place)) == [".new-x", "a.1", "notes", "old.1"]
    now_s = time.time()
    monkeypatch.setattr(claims.time, "time", lambda: now_s + claims.KEEP_S + 9)
    taken(record, "u", claims.last(record, "a"))
    assert sorted(os.listdir(place)) == ["a.2", "notes"]


def test_no_session_is_looked_for_among_claims(record, tmp_path):
    taken(record)
    found = [one.path for one in places.find(f"{tmp_path}/projects/*/*")]
    found += [one.path for one in places.find(f"{tmp_path}/projects/*/*/*/*")]
    assert found == [record]


def test_scouts_of_two_state_directories_are_one(tmp_path):
    sessions = tmp_path / "projects"
    sessions.mkdir()
    account = f"claude:{sessions}"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = Scouts(str(tmp_path / "one")), Scouts(str(tmp_path / "two"))
    assert one.claim(account, "claude:a", 0.0) is None
    assert "goes first" in two.claim(account, "claude:b", 0.0).why
    assert os.listdir(tmp_path / "one") == []
    (sessions / ".palingenesis").chmod(0o777)  # not to be used: they have one each again
    assert two.claim(account, "claude:b", 0.0) is None


# --- real daemons ---------------------------------------------------------------------------------


class Race:
    """A home with a counting stand-in, and daemons of two state directories."""

    def __init__(self, path):
        self.home = path
        (path / "bin").mkdir()
        program = path / "bin/claude"
        program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text().partition("\n")[2])
        program.chmod(0o700)
        (path / "proj").mkdir()

    def run(self, steps, count=2, kill_at=0):
        """Return the requests of one session that stopped, and whether the first daemon was killed."""
        session = str(uuid.uuid4())
        (self.home / "steps").write_text("".join(f"{step}\n" for step in steps))
        (self.home / "requests").unlink(missing_ok=True)
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        words = [str(self.home / "bin/claude"), "--session-id", session, "-p", "x"]
        subprocess.run(words, cwd=self.home / "proj", env=environment, check=False, timeout=60)
        racing = subprocess.run(
            [sys.executable, str(RACING), str(self.home), session, str(count), str(kill_at)],
            env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert racing.returncode == 0, racing
        requests = [json.loads(line) for line in (self.home / "requests").read_text().splitlines()]
        return requests, racing.stdout.strip() == "killed"

    def audited(self):
        found = sorted(self.home.glob("state*/audit.jsonl"))
        return [json.loads(line)["what"] for one in found for line in one.read_text().splitlines()]


@pytest.fixture
def race(tmp_path):
    return Race(tmp_path)


@pytest.mark.slow
def test_daemons_of_one_home_with_states_of_their_own_resume_once(race):
    """All of them find the session due in the same moment, five times; one of them resumes it."""
    for _ in range(5):
        requests, _ = race.run(["overloaded", "slow 0.3"], count=3)
        assert len(requests) == 2, requests
    assert race.audited().count("begun") == 5


def test_a_full_session_is_taken_over_once(race):
    requests, _ = race.run(["context", "slow 0.3"])
    assert [one["step"] for one in requests] == ["context", "slow 0.3"]
    assert race.audited().count("took over") == 1


@pytest.mark.parametrize("kill_at", [1, 9, 14, 17, 20, 24])
def test_one_of_two_daemons_is_killed(race, kill_at):
    assert len(race.run(["overloaded", "slow 0.3"], kill_at=kill_at)[0]) == 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("step", ["overloaded", "context"])
def test_one_of_two_daemons_is_killed_at_each_of_its_acts(race, step):
    """From the moment at which the session is due, until the first daemon has accounted for it."""
    kill_at, was_killed = 0, True
    while was_killed:
        # Behind the run's beginning most acts are looks at it, more of them on a slow machine.
        kill_at += 1 if kill_at < 200 else 7
        requests, was_killed = race.run([step, "slow 0.3"], kill_at=kill_at)
        assert len(requests) == 2, (kill_at, requests)
        assert kill_at < 5000
    assert kill_at > 20

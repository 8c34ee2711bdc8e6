"""A daemon's jobs: run, followed, canceled, tried again, bounded, and found again after kill -9."""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import threading

import pytest

from daemonry.cli import jobs
from daemonry.errors import CallFailed, DeadlineExceeded
from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

# --- a job's way ----------------------------------------------------------------------------------


def test_a_job_runs_and_its_caller_sees_result_progress_and_log(jobd):
    jobd.start()
    job = jobd.submit("add", a=2, b=3)
    info = jobd.wait(job)
    assert (info["state"], info["result"], info["attempts"], info["progress"]) == ("succeeded", 5, 1, 1.0)
    assert info["message"] == "half"
    assert info["submitted_s"] <= info["started_s"] <= info["ended_s"]
    assert [line.partition(" ")[2] for line in jobd.log(job)] == ["adding 2"]


def test_a_job_that_raises_is_tried_as_often_as_its_task_says(jobd):
    jobd.start()
    info = jobd.wait(jobd.submit("fail"))
    assert (info["state"], info["attempts"], info["error"]) == ("failed", 3, "ValueError: attempt 3")
    log = "\n".join(jobd.log(info["job"]))
    assert "ValueError: attempt 1" in log
    assert "runner.py" not in log  # a trace begins at the task's own frame


def test_a_job_has_its_time(jobd):
    jobd.start()
    info = jobd.wait(jobd.submit("slow"))
    assert (info["state"], info["error"].partition(":")[0]) == ("failed", "TimeoutError")


@pytest.mark.parametrize(
    ("task", "parameters", "error", "word"),
    [
        ("ad", {}, "NoSuchTask", "known"),
        ("add", {}, "UnfitParameters", "missing a required argument: 'a'"),
        ("add", {"a": "x"}, "UnfitParameters", "a: Expected `int`, got `str`"),
        ("add", {"a": 1, "c": 1}, "UnfitParameters", "unexpected keyword argument 'c'"),
        ("hold", {"name": "x" * 70_000}, "UnfitParameters", "longer than"),
    ],
)
def test_what_no_task_can_take_is_refused_when_it_is_submitted(jobd, task, parameters, error, word):
    jobd.start()
    with pytest.raises(CallFailed, match=error) as caught:
        jobd.submit(task, **parameters)
    assert word in str(caught.value) or word in caught.value.parameters
    assert jobd.ask("List") == []


def test_a_shell_gets_a_line_about_the_word_that_no_task_can_take(jobd):
    jobd.start()
    unknown, bare, unfit = (jobd.cli("submit", *words.split()) for words in ("ad a:=1", "add", "add a=x"))
    assert unknown.err == "ad: is not a task: did you mean 'add'?\n"
    assert bare.err == "add: missing a required argument: 'a'\n"
    assert unfit.err == "add: a: Expected `int`, got `str`\n"
    assert unknown.code == bare.code == unfit.code == 2


def test_waiting_without_a_limit_for_a_daemon_that_does_not_answer_names_its_own_limit(jobd, monkeypatch):
    """It said "within 0 s", the limit that nobody had set."""
    jobd.start()
    job = jobd.submit("hold", name="x")

    def silent(instance, timeout_s):
        raise DeadlineExceeded("reply", 5.0, "maybe", "jobd")

    monkeypatch.setattr(jobs, "connected", silent)
    for timeout_s, words in ((None, "from jobd within 5 s"), (0.5, f"from job {job} of jobd within 0.5 s")):
        options = argparse.Namespace(action="wait", words=[str(job)], timeout=timeout_s, json=False)
        with pytest.raises(DeadlineExceeded, match=words):
            jobs.jobs(options, jobd.instance)
    jobd.tell("go")  # a stop would wait for it


def test_the_command_loads_nothing_that_it_can_do_without():
    """A submission took twice the time, for the parser of descriptions that only `call` needs."""
    script = "import sys, daemonry.cli.jobs; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert loaded & {"asyncio", "dataclasses", "inspect", "msgspec", "daemonry.wire.idl"} == set()


def test_a_key_makes_a_submission_idempotent(jobd):
    jobd.start()
    first = jobd.submit("add", "k", a=1)
    assert jobd.submit("add", "k", a=1) == first
    jobd.wait(first)
    assert jobd.submit("add", "k", a=1) == first  # after it has ended, too
    with pytest.raises(CallFailed, match="KeyTaken"):
        jobd.submit("add", "k", a=2)
    with pytest.raises(CallFailed, match="KeyTaken"):
        jobd.submit("add", "k" * 201, a=1)
    assert len(jobd.ask("List")) == 1


def test_one_key_by_many_callers_at_once_is_one_job(jobd):
    jobd.start()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(jobd.submit("hold", "k", name="one"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    jobd.tell("go")
    jobd.wait(found[0])
    assert jobd.runs("one") == 1


# --- cancel and retry -----------------------------------------------------------------------------


def test_a_running_job_and_a_queued_one_are_canceled(jobd):
    jobd.start(queue="concurrency=1")
    running, queued = jobd.submit("hold", name="a"), jobd.submit("hold", name="b")
    jobd.wait_ran("a")
    assert jobd.ask("Cancel", job=queued)["state"] == "canceled"
    assert jobd.ask("Cancel", job=running)["state"] in ("canceling", "canceled")
    assert jobd.wait(running)["state"] == "canceled"
    assert jobd.ask("Cancel", job=running)["state"] == "canceled"  # asking twice is not an error
    assert jobd.runs("b") == 0
    assert jobd.ask("Retry", job=queued)["state"] == "queued"
    jobd.tell("go")
    assert jobd.wait(queued)["state"] == "succeeded"
    with pytest.raises(CallFailed, match="NotRetryable"):
        jobd.ask("Retry", job=queued)


def test_a_plain_task_sees_that_it_is_canceled(jobd):
    jobd.start()
    job = jobd.submit("plain", name="a")
    jobd.wait_ran("a")
    jobd.ask("Cancel", job=job)
    assert jobd.wait(job)["state"] == "canceled"


def test_a_canceled_job_ends_its_command_with_all_that_it_started(jobd):
    jobd.start()
    job = jobd.submit("shell", line="echo here; setsid -f sleep 61; sleep 61")
    wait_until(lambda: "here" in jobd.log(job), what="the command runs")
    jobd.ask("Cancel", job=job)
    assert jobd.wait(job)["state"] == "canceled"
    wait_until(lambda: not any("sleep 61" in one for one in processes_marked(str(jobd.sandbox.path))))


# --- bounds ---------------------------------------------------------------------------------------


def test_as_many_run_at_once_as_the_queue_and_the_task_allow(jobd):
    jobd.start(queue="concurrency=3")
    for name in "abcde":
        jobd.submit("plain" if name in "ab" else "hold", name=name)
    jobd.wait_ran("d")
    wait_until(lambda: len(jobd.ask("List", state="running")) == 3)
    assert [jobd.runs(name) for name in "abcde"] == [1, 0, 1, 1, 0]
    jobd.tell("go")
    assert {jobd.wait(job)["state"] for job in range(1, 6)} == {"succeeded"}


def test_what_has_not_ended_and_what_has_is_bounded(jobd):
    jobd.start(queue="concurrency=1, most_open=3, keep=10, log_bytes=100")
    jobs = [jobd.submit("hold", name=name) for name in "abc"]
    with pytest.raises(CallFailed, match=r"QueueFull.*3"):
        jobd.submit("hold", name="d")
    jobd.tell("go")
    for job in jobs:
        jobd.wait(job)
    for _ in range(60):
        last = jobd.submit("add", a=1)
        jobd.wait(last)
    assert len(jobd.ask("List")) < 40
    directory = jobd.instance.place.state_path + "/jobs"
    assert len([name for name in os.listdir(directory) if name.endswith(".log")]) < 40
    noisy = jobd.submit("shell", line="yes | head -c 5000")
    jobd.wait(noisy)
    assert "the log is full" in jobd.log(noisy)[-1]


def test_changes_are_a_topic_that_is_resumed(jobd):
    jobd.start()
    jobd.wait(jobd.submit("add", a=1))
    with jobd.client() as client:
        stream = client.stream("org.daemonry.Jobs.Changes", {"last": 100}, idle_s=10)
        states = [next(stream) for _ in range(3)]
        assert [one["state"] for one in states] == ["queued", "running", "succeeded"]
        after = {"after": states[1]["cursor"]}
    with jobd.client() as client:
        again = next(client.stream("org.daemonry.Jobs.Changes", after, idle_s=10))
        assert (again["state"], again["missed"]) == ("succeeded", 0)


# --- the end of the daemon ------------------------------------------------------------------------


def test_after_kill_9_nothing_is_forgotten_and_nothing_runs_twice(jobd):
    jobd.start(queue="concurrency=2")
    held, repeated = jobd.submit("hold", name="held"), jobd.submit("again", name="again")
    queued, ended = jobd.submit("hold", name="queued"), jobd.submit("add", a=1)
    jobd.wait_ran("held")
    jobd.wait_ran("again")
    jobd.kill()
    jobd.tell("go")
    jobd.start_again()
    states = [jobd.wait(job)["state"] for job in (held, repeated, queued, ended)]
    assert states == ["lost", "succeeded", "succeeded", "succeeded"]
    assert [jobd.runs(name) for name in ("held", "again", "queued")] == [1, 2, 1]
    assert jobd.show(repeated)["result"] == 2
    assert jobd.show(held)["error"] == "the daemon ended while it ran"


def test_the_command_of_a_job_ends_with_a_killed_daemon(jobd):
    jobd.start()
    job = jobd.submit("shell", line="echo here; sleep 61")
    wait_until(lambda: "here" in jobd.log(job), what="the command runs")
    jobd.kill()
    wait_until(lambda: not any("sleep 61" in one for one in processes_marked(str(jobd.sandbox.path))))
    jobd.start_again()
    assert jobd.wait(job)["state"] == "lost"


def test_a_stop_waits_for_what_runs(jobd):
    jobd.start(daemon="drain_timeout_s=20")
    job = jobd.submit("hold", name="a")
    jobd.wait_ran("a")
    stopping = threading.Thread(target=lambda: jobd.sandbox.daemonry("stop", "jobd"))
    stopping.start()
    wait_until(lambda: jobd.instance.status()["state"] == "draining")
    jobd.tell("go")
    stopping.join(30)
    jobd.start_again()
    assert jobd.show(job)["state"] == "succeeded"


def test_a_stop_ends_what_does_not_end_in_the_drains_time(jobd):
    jobd.start(daemon="drain_timeout_s=1")
    lost, repeated = jobd.submit("hold", name="a"), jobd.submit("again", name="b")
    jobd.wait_ran("a")
    jobd.wait_ran("b")
    assert jobd.sandbox.daemonry("stop", "jobd").code == 0
    jobd.tell("go")
    jobd.start_again()
    assert (jobd.wait(lost)["state"], jobd.wait(repeated)["state"]) == ("lost", "succeeded")
    assert (jobd.runs("a"), jobd.runs("b")) == (1, 2)


def test_an_upgrade_loses_no_job(jobd):
    """The old process ends what it runs while the new one has begun with the rest."""
    jobd.start(daemon="drain_timeout_s=20", queue="concurrency=1")
    jobs = [jobd.submit("hold", name=name) for name in "ab"]
    jobd.wait_ran("a")
    old_pid = jobd.instance.pid()
    assert jobd.sandbox.daemonry("upgrade", "jobd").code == 0
    jobd.wait_ran("b")
    jobd.tell("go")
    assert [jobd.wait(job)["state"] for job in jobs] == ["succeeded"] * 2
    wait_until(lambda: not os.path.exists(f"/proc/{old_pid}"))  # it ends behind its last job
    assert [jobd.runs(name) for name in "ab"] == [1, 1]


def test_a_file_that_is_no_table_is_named_and_left(jobd, sandbox):
    jobd.start()
    assert sandbox.daemonry("stop", "jobd").code == 0
    path = jobd.instance.place.state_path + "/jobs/jobs.db"
    with open(path, "wb") as file:
        file.write(b"no table" * 1000)
    started = sandbox.daemonry("start", sandbox.path / "jobd.py")
    assert started.code == 1
    assert f"the jobs in {path} cannot be used: file is not a database" in started.err
    with open(path, "rb") as file:
        assert file.read() == b"no table" * 1000


def test_jobs_keep_a_daemon_from_ending_as_idle(jobd):
    jobd.start(daemon="idle_timeout_s=0.3")
    job = jobd.submit("hold", name="a")
    jobd.wait_ran("a")
    submitted_s = jobd.show(job)["submitted_s"]
    with jobd.client() as client:
        wait_until(lambda: client.call("org.daemonry.Jobs.Show", {"job": job})["job"] == job)
    assert jobd.instance.lock_held()
    wait_until(lambda: __import__("time").time() > submitted_s + 1.0, what="the idle time is over")
    assert jobd.instance.lock_held()
    jobd.tell("go")
    wait_until(lambda: not jobd.instance.lock_held(), what="it ends once the job has")


# --- many, and at any moment ------------------------------------------------------------------------


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_nothing_and_repeats_nothing(jobd):
    """Each acknowledged job ends; it ran at most once, or, where its task allows it, at most four times."""
    jobd.start(queue="concurrency=4")
    jobd.tell("go")
    dice = random.Random(int(os.environ.get("DAEMONRY_SEED", "1")))
    known = {}
    for number in range(12):
        for one in range(8):
            name = f"{number}-{one}"
            task = dice.choice(["hold", "again"])
            known[jobd.submit(task, name=name)] = (task, name)
        if dice.random() < 0.7:
            threading.Event().wait(dice.random() * 0.05)
        jobd.kill()
        jobd.start_again()
    for job, (task, name) in known.items():
        info = jobd.wait(job)
        assert info["state"] in (("succeeded", "lost") if task == "hold" else ("succeeded",)), info
        assert jobd.runs(name) <= (1 if task == "hold" else 4)
        if info["state"] == "succeeded":
            assert jobd.runs(name) >= 1
    assert len(jobd.ask("List", limit=1000)) == len(known)


@pytest.mark.slow
def test_a_thousand_jobs(jobd):
    jobd.start(queue="concurrency=8, keep=2000")
    with jobd.client() as client:
        for number in range(1000):
            client.call("org.daemonry.Jobs.Submit", {"task": "add", "parameters": {"a": number}, "key": ""})
    wait_until(lambda: not jobd.ask("List", state="queued", limit=1), timeout_s=100, what="all have begun")
    wait_until(lambda: not jobd.ask("List", state="running", limit=1), timeout_s=100, what="all have ended")
    found = jobd.ask("List", limit=2000)
    assert [(one["state"], one["result"]) for one in found] == [("succeeded", n) for n in range(1000)]
    with sqlite3.connect(jobd.instance.place.state_path + "/jobs/jobs.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)

"""A new process takes the daemon over: nobody is refused, no call lost; one that fails changes nothing."""

import contextlib
import os
import threading
import time

import pytest

import daemonry
from daemonry import errors
from daemonry.testing import wait_until

PROGRAM = """
from daemonry import Interface
class Who(Interface, name="org.example.who"):
    def pid(self) -> int:
        return os.getpid()
    async def slow(self, seconds: float) -> int:
        note("slow")
        await asyncio.sleep(seconds)
        return os.getpid()
daemon.serve(Who())
"""


class Hammer:
    """Clients that connect, call once or twice, and close, as fast as they can."""

    def __init__(self, endpoint, threads=3):
        self.failures = []
        self.answers = []
        self._endpoint = endpoint
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._strike) for _ in range(threads)]

    def _strike(self):
        while not self._over.is_set():
            try:
                with daemonry.Client.connect(self._endpoint) as client:
                    self.answers.append(client.call("org.example.who.Pid", timeout_s=20)["result"])
                    self.answers.append(client.call("org.example.who.Pid", timeout_s=20)["result"])
            except errors.DaemonryError as error:
                self.failures.append(error)
            time.sleep(0.002)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_no_connection_is_refused_and_no_call_lost(probe, rounds):
    instance = probe.start(PROGRAM)
    pids = [instance.pid()]
    with Hammer(instance.endpoint()) as hammer:
        for _ in range(rounds):
            upgraded = probe.cli("upgrade")
            assert upgraded.code == 0, upgraded.err
            pids.append(instance.pid())
            wait_until(lambda: pids[-1] in hammer.answers[-20:], 20, "the new one answers")
    assert hammer.failures == []
    assert len(set(pids)) == rounds + 1
    assert set(hammer.answers) == set(pids)
    wait_until(lambda: not any(alive(pid) for pid in pids[:-1]), 20, "the old ones have ended")
    assert instance.lock_held()


@pytest.mark.parametrize("method", ["Pid", "Slow"])
def test_a_client_that_calls_without_a_pause_loses_no_call(probe, method):
    """Its connection is never quiet, and is not to be cut at the drain's end, in the middle of a call."""
    instance = probe.start(PROGRAM)
    old = instance.pid()
    parameters = {"seconds": 0.1} if method == "Slow" else None
    answers, failures, over = [], [], threading.Event()

    def strike():
        with daemonry.Client.connect(instance.endpoint()) as client:
            while not over.is_set() and not failures:
                try:
                    answers.append(client.call(f"org.example.who.{method}", parameters)["result"])
                except errors.DaemonryError as error:
                    failures.append(error)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        wait_until(lambda: answers, 10, "an answer")
        assert probe.cli("upgrade").code == 0
        new = instance.pid()
        # Well before the ten seconds of the drain.
        wait_until(lambda: failures or new in answers[-5:], 6, "the new one answers")
        wait_until(lambda: not alive(old), 10, "the old one has ended")
    finally:
        over.set()
        striker.join()
    assert failures == []
    assert set(answers) == {old, new}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_lock_is_held_and_the_record_there_at_each_moment(probe):
    instance = probe.start(PROGRAM)
    old, seen = instance.pid(), []
    over = threading.Event()

    def watch():
        while not over.is_set():
            record = instance.record()
            seen.append((instance.lock_held(), record is not None and not record.draining))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert probe.cli("upgrade").code == 0
    finally:
        over.set()
        watcher.join()
    assert set(seen) == {(True, True)}
    wait_until(lambda: not alive(old), 10, "the old one has ended")


def test_a_call_that_runs_is_answered_by_the_one_that_has_it(probe):
    instance = probe.start(PROGRAM)
    old = instance.pid()
    with daemonry.Client.connect(instance.endpoint()) as client:
        answers = []
        caller = threading.Thread(
            target=lambda: answers.append(client.call("org.example.who.Slow", {"seconds": 1.5}))
        )
        caller.start()
        wait_until(lambda: probe.noted("slow") is not None, 10, "the call runs")
        assert probe.cli("upgrade").code == 0
        assert instance.pid() != old
        caller.join()
        assert answers == [{"result": old}]
        # The connection is the old one's.  It is closed, so that the client knows that nothing was sent,
        # and asks the new one.
        wait_until(lambda: not alive(old), 10, "the old one has ended")
        assert client.call("org.example.who.Pid") == {"result": instance.pid()}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("raise RuntimeError('broken today')\n", id="import"),
        pytest.param("@daemon.setup\ndef set_up(run):\n    raise RuntimeError('broken today')\n", id="setup"),
        pytest.param("@daemon.setup\ndef set_up(run):\n    os.kill(os.getpid(), 9)\n", id="killed"),
    ],
)
def test_a_new_one_that_fails_leaves_the_old_one_serving(probe, broken):
    instance = probe.start(PROGRAM)
    old = instance.pid()
    probe.write(PROGRAM + broken)
    with Hammer(instance.endpoint(), threads=1) as hammer:
        failed = probe.cli("upgrade")
        count = len(hammer.answers)
        wait_until(lambda: len(hammer.answers) > count + 4, 10, "more answers")
    assert failed.code == 1
    assert "broken today" in failed.err or "killed by SIGKILL" in failed.err
    assert f"goes on (pid {old})" in failed.err
    assert hammer.failures == []
    assert set(hammer.answers) == {old}
    assert instance.pid() == old
    probe.write(PROGRAM)
    assert probe.cli("upgrade").code == 0  # and the next one works
    assert instance.pid() != old
    wait_until(lambda: not alive(old), 10, "the old one has ended")


def test_a_paused_daemon_stays_paused(probe):
    instance = probe.start(PROGRAM)
    old = instance.pid()
    assert probe.cli("pause").code == 0
    assert probe.cli("upgrade").code == 0
    assert instance.status()["state"] == "paused"
    wait_until(lambda: not alive(old), 10, "the old one has ended")


def test_one_that_does_not_run_is_started(probe):
    probe.start(PROGRAM)
    assert probe.cli("stop").code == 0
    assert probe.cli("upgrade").code == 0
    assert probe.instance.lock_held()


def test_the_new_one_looks_after_the_socket_and_ends_clean(probe):
    instance = probe.start(PROGRAM)
    assert probe.cli("upgrade", "--json").json()["result"] == "upgraded"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(probe.place.socket_path)
    wait_until(lambda: os.path.exists(probe.place.socket_path), 10, "the socket file is back")
    assert instance.status()["state"] == "running"
    assert probe.cli("stop").code == 0
    assert probe.left() == []

"""The idle end: when it comes, what holds it off, and that nobody is lost by it."""

import asyncio
import random
import threading
import time

import pytest

import daemonry
from daemonry import errors
from daemonry.testing import wait_until

PROGRAM = """
from collections.abc import AsyncIterator
from daemonry import Interface
class Who(Interface, name="org.example.who"):
    def pid(self) -> int:
        return os.getpid()
    async def slow(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return os.getpid()
    async def watch(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(3600)
    async def begin(self, seconds: float) -> None:
        async def job():
            with RUN.busy():
                await asyncio.sleep(seconds)
        self.job = asyncio.create_task(job())
daemon.serve(Who())
@daemon.setup
def set_up(run):
    global RUN
    RUN = run
"""
PID = "org.example.who.Pid"


def gone(probe, within_s):
    wait_until(lambda: probe.instance.lock_held() is False, within_s, "the idle end")


def stays(probe, for_s):
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        assert probe.instance.lock_held()
        time.sleep(0.05)


def test_it_ends_clean_when_nobody_needs_it(probe):
    probe.start(PROGRAM, "idle_timeout_s=0.5")
    gone(probe, 10)
    assert probe.left() == []
    assert probe.logged("idle for 0.5 s")


def test_it_is_shown(probe):
    probe.start(PROGRAM, "idle_timeout_s=60")
    status = probe.instance.status()
    assert status["idle_timeout_secs"] == 60
    assert status["in_flight"] == 0
    assert status["idle_secs"] in {0, 1}
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        stream = client.stream("org.example.who.Watch")
        next(stream)
        assert probe.instance.status()["in_flight"] == 1
        stream.close()


def test_asking_how_it_is_does_not_keep_it(probe):
    probe.start(PROGRAM, "idle_timeout_s=0.8")
    began_s = time.monotonic()
    while probe.instance.lock_held():
        try:
            probe.instance.status()
        except errors.DaemonryError:
            pass
        assert time.monotonic() - began_s < 15
        time.sleep(0.1)


def test_calls_streams_and_jobs_hold_it(probe):
    probe.start(PROGRAM, "idle_timeout_s=0.4")
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        pid = client.call("org.example.who.Slow", {"seconds": 1.5})["result"]
        assert pid == probe.instance.pid()
        client.call("org.example.who.Begin", {"seconds": 1.5})
    stays(probe, 1.2)
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        stream = client.stream("org.example.who.Watch")
        next(stream)
        stays(probe, 1.2)
        stream.close()
    gone(probe, 10)


def test_a_paused_one_stays(probe):
    probe.start(PROGRAM, "idle_timeout_s=0.3")
    assert probe.cli("pause").code == 0
    stays(probe, 1.0)
    assert probe.cli("resume").code == 0
    gone(probe, 10)


def test_an_open_connection_does_not_hold_it_and_its_next_call_finds_the_next_daemon(probe, monkeypatch):
    """What the client sends fails before anything is sent, so it may ask another, started for it."""
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    probe.start(PROGRAM, "idle_timeout_s=0.4")
    with (
        daemonry.ensure("probe") as client,
        daemonry.Client.connect(probe.instance.endpoint()) as other,
    ):
        first = client.call(PID)["result"]
        other.call(PID)
        gone(probe, 10)
        with pytest.raises(errors.NotListening):
            other.call(PID)
        assert client.call(PID)["result"] not in {first, None}


def test_the_same_with_asyncio(probe, monkeypatch):
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    probe.start(PROGRAM, "idle_timeout_s=0.4")

    async def ask():
        client = await daemonry.ensure_async("probe")
        try:
            first = await client.call(PID)
            await asyncio.to_thread(gone, probe, 10)
            return first, await client.call(PID)
        finally:
            client.close()

    first, second = asyncio.run(ask())
    assert first != second


def test_a_suspend_gives_the_whole_time_again(probe):
    body = PROGRAM + (
        "import daemonry.daemon.idle as idle\n"
        "idle.suspended_s = lambda: float(noted) if (noted := read()) else 0.0\n"
        "def read():\n"
        "    try:\n"
        "        return open(f'{BOX}/suspended').read()\n"
        "    except OSError:\n"
        "        return ''\n"
    )
    probe.start(body, "idle_timeout_s=2.0")
    began_s = time.monotonic()
    time.sleep(1.5)
    probe.tell("suspended", "3600")
    time.sleep(1.0)
    assert probe.instance.lock_held()  # without the suspend it would have ended at 2.0
    gone(probe, 10)
    assert time.monotonic() - began_s >= 3.5


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_who_comes_at_the_very_moment_is_served_or_refused_unsent(probe, rounds, monkeypatch):
    """Clients aim at the moment of the end; each call is answered, by this daemon or by the next."""
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    program = str(probe.write(PROGRAM, "idle_timeout_s=0.3"))
    pids = set()
    failures = []

    def ask():
        try:
            with daemonry.ensure("probe", timeout=30) as client:
                pids.add(client.call(PID)["result"])
        except errors.DaemonryError as error:
            failures.append(error)

    with daemonry.ensure(program) as client:
        client.call(PID)
    dice = random.Random(5)
    for _ in range(rounds):
        time.sleep(0.3 + dice.uniform(-0.03, 0.08))
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert pids
    gone(probe, 10)


def test_who_waits_in_the_queue_as_it_ends_is_taken_in(probe):
    """The moment itself: a connection between the decision and the refusal."""
    body = PROGRAM + (
        "import daemonry.service.server as servers, socket\n"
        "refuse_more = servers.Server.refuse_more\n"
        "def with_a_late_client(self):\n"
        "    if not told('came'):\n"
        "        note('came')\n"
        "        self.late = socket.socket(socket.AF_UNIX)\n"
        "        self.late.connect(self.path)\n"
        '        self.late.sendall(b\'{"method":"org.example.who.Pid"}\\0\')\n'
        "        threading.Thread(target=lambda: note('answer', self.late.recv(999).decode())).start()\n"
        "    return refuse_more(self)\n"
        "servers.Server.refuse_more = with_a_late_client\n"
    )
    probe.start(body, "idle_timeout_s=0.3")
    pid = probe.instance.pid()
    wait_until(lambda: probe.noted("answer"), 10, "an answer")
    assert f'"result":{pid}' in probe.noted("answer")
    assert probe.logged("somebody came as the idle end began")
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        assert client.call(PID)["result"] == pid
    gone(probe, 10)

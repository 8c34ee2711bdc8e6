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
    global RUN, HOLDING
    RUN = run
    if told("hold"):
        HOLDING = asyncio.ensure_future(hold())
async def hold():
    with RUN.busy():
        await wait_told("free")
import daemonry.runtime.idle_shutdown as idle
def suspended():  # asked at each look whether the time is over
    note("looks", ".")
    return 3600.0 if told("suspended") else 0.0
idle.suspended_s = suspended
"""
LOOKS_PER_TIMEOUT = 10
PID = "org.example.who.Pid"


def gone(probe, within_s):
    wait_until(lambda: probe.instance.lock_held() is False, within_s, "the idle end")


def looks(probe):
    """How often the daemon has looked whether its time is over."""
    return len(probe.noted("looks") or "")


def stays(probe, timeouts):
    """Wait until the daemon has looked as often as in so many of its timeouts; it must not have ended."""
    enough = looks(probe) + timeouts * LOOKS_PER_TIMEOUT
    wait_until(lambda: looks(probe) >= enough or not probe.instance.lock_held(), 30, "looks")
    assert probe.instance.lock_held()


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
    answers = 0

    def gone_though_asked():
        nonlocal answers
        try:
            probe.instance.status()
        except errors.DaemonryError:
            return not probe.instance.lock_held()
        answers += 1
        return False

    wait_until(gone_though_asked, 15)
    assert answers


def test_calls_streams_and_jobs_hold_it(probe):
    probe.tell("hold")  # the test's own commands may take longer than the timeout
    probe.start(PROGRAM, "idle_timeout_s=0.4")
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        probe.tell("free")
        pid = client.call("org.example.who.Slow", {"seconds": 1.5})["result"]
        assert pid == probe.instance.pid()
        client.call("org.example.who.Begin", {"seconds": 1.5})
    stays(probe, 3)
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        stream = client.stream("org.example.who.Watch")
        next(stream)
        stays(probe, 3)
        stream.close()
    gone(probe, 10)


def test_a_paused_one_stays(probe):
    probe.tell("hold")
    probe.start(PROGRAM, "idle_timeout_s=0.3")
    assert probe.cli("pause").code == 0
    probe.tell("free")
    stays(probe, 3)
    assert probe.cli("resume").code == 0
    gone(probe, 10)


def test_an_open_connection_does_not_hold_it_and_its_next_call_finds_the_next_daemon(probe, monkeypatch):
    """What the client sends fails before anything is sent, so it may ask another, started for it."""
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    probe.tell("hold")
    probe.start(PROGRAM, "idle_timeout_s=0.4")
    with (
        daemonry.ensure("probe") as client,
        daemonry.Client.connect(probe.instance.endpoint()) as other,
    ):
        first = client.call(PID)["result"]
        other.call(PID)
        probe.tell("free")
        gone(probe, 10)
        with pytest.raises((errors.NotListening, errors.ConnectionRefused)):
            other.call(PID)
        assert client.call(PID)["result"] not in {first, None}


def test_the_same_with_asyncio(probe, monkeypatch):
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    probe.tell("hold")
    probe.start(PROGRAM, "idle_timeout_s=0.4")

    async def ask():
        client = await daemonry.ensure_async("probe")
        try:
            first = await client.call(PID)
            probe.tell("free")
            await asyncio.to_thread(gone, probe, 10)
            return first, await client.call(PID)
        finally:
            client.close()

    first, second = asyncio.run(ask())
    assert first != second


@pytest.mark.slow
def test_a_suspend_gives_the_whole_time_again(probe):
    probe.start(PROGRAM, "idle_timeout_s=2.0")
    wait_until(lambda: looks(probe) == 2)  # as it began to be idle, and once more; then there is a timer
    probe.tell("suspended")
    began_s = time.monotonic()
    gone(probe, 30)
    assert time.monotonic() - began_s >= 2.0
    assert looks(probe) == 4  # without the suspend, the third one was the last


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
        time.sleep(0.3 + dice.uniform(-0.03, 0.08))  # the moment that is tried
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert pids
    gone(probe, 10)


@pytest.mark.parametrize("endpoint", ["", "tcp:127.0.0.1:0;open"], ids=["unix", "tcp"])
@pytest.mark.slow
def test_who_waits_in_the_queue_as_it_ends_is_taken_in(probe, endpoint):
    """The moment itself: a connection between the decision and the refusal.

    It listens where it did afterwards: over TCP it had another port, which its record did not name.
    """
    body = PROGRAM + (
        "import daemonry.service.server.server as servers, socket\n"
        "refuse_more = servers.Server.refuse_more\n"
        "def with_a_late_client(self):\n"
        "    if not told('came'):\n"
        "        note('came')\n"
        "        if self.path:\n"
        "            self.late = socket.socket(socket.AF_UNIX)\n"
        "            self.late.connect(self.path)\n"
        "        else:\n"
        "            self.late = socket.create_connection(('127.0.0.1', self.endpoint.number))\n"
        '        self.late.sendall(b\'{"method":"org.example.who.Pid"}\\0\')\n'
        "        threading.Thread(target=lambda: note('answer', self.late.recv(999).decode())).start()\n"
        "    return refuse_more(self)\n"
        "servers.Server.refuse_more = with_a_late_client\n"
    )
    probe.start(body, f"idle_timeout_s=1.0, endpoint={endpoint or None!r}")
    pid = probe.instance.pid()
    wait_until(lambda: probe.noted("answer"), 10, "an answer")
    assert f'"result":{pid}' in probe.noted("answer")
    assert probe.logged("somebody came as the idle end began")
    with daemonry.Client.connect(probe.instance.endpoint()) as client:
        assert client.call(PID)["result"] == pid
    gone(probe, 10)

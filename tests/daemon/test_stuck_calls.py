"""A handler that holds the loop: calls that come meanwhile wait for it, and none is lost.

The control plane is answered beside the loop (`test_stuck_loop`), by a thread that accepts connections.
What it accepts and is no command it gives to the loop, unread: whoever called is answered, and its call
runs once.  The handler writes down each call that it runs.
"""

import asyncio
import collections
import json
import socket
import threading
import time

import pytest

from daemonry import AsyncClient, Client, Endpoint
from daemonry.process import token_file
from daemonry.testing import wait_until

# More than the daemon is ever stuck, and than a busy machine adds to it.
CALL_TIMEOUT_S = 60.0

PROGRAM = """
from daemonry import Interface

class Work(Interface, name="org.example.Work"):
    def do(self, key: str) -> str:
        note("ran", key + "\\n")
        return key

    def hold(self, secs: float) -> None:
        note("holding", "x")
        time.sleep(secs)
        note("held", "x")

    async def do_later(self, key: str) -> str:
        note("ran", key + "\\n")
        return key

daemon.serve(Work())
"""


class Blocking:
    """Each call in a thread of its own, by a client of its own."""

    def __init__(self, endpoint):
        self._endpoint = endpoint

    def connect(self):
        return Client.connect(self._endpoint, CALL_TIMEOUT_S)

    def call(self, client, method, key):
        with client:
            return client.call(f"org.example.Work.{method}", {"key": key}, timeout_s=CALL_TIMEOUT_S)["result"]


class Raw:
    """What any program in any language does: connect, send a frame, read one."""

    def __init__(self, endpoint):
        self._endpoint = Endpoint.parse(str(endpoint))

    def connect(self):
        if self._endpoint.path is not None:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(CALL_TIMEOUT_S)
            sock.connect(self._endpoint.path)
            return sock
        sock = socket.create_connection((self._endpoint.address, self._endpoint.number), CALL_TIMEOUT_S)
        sock.sendall(f"TOKEN {token_file.read(self._endpoint.token_path)}\n".encode())
        assert sock.recv(3, socket.MSG_WAITALL) == b"OK\n"
        return sock

    def call(self, sock, method, key):
        with sock:
            frame = json.dumps({"method": f"org.example.Work.{method}", "parameters": {"key": key}}).encode()
            sock.sendall(frame[:10])
            sock.sendall(frame[10:] + b"\0")
            reply = b""
            while not reply.endswith(b"\0"):
                piece = sock.recv(4096)
                assert piece, f"the connection ended after {reply!r}"
                reply += piece
            return json.loads(reply[:-1])["parameters"]["result"]


class Asyncio:
    """One call after the other on a loop that runs in a thread."""

    def __init__(self, endpoint):
        self._endpoint = endpoint

    def connect(self):
        loop = asyncio.new_event_loop()
        return loop, loop.run_until_complete(AsyncClient.connect(self._endpoint, CALL_TIMEOUT_S))

    def call(self, made, method, key):
        loop, client = made
        try:
            answer = client.call(f"org.example.Work.{method}", {"key": key}, timeout_s=CALL_TIMEOUT_S)
            return loop.run_until_complete(answer)["result"]
        finally:
            client.close()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


CLIENTS = {"blocking": Blocking, "asyncio": Asyncio, "raw": Raw}


class Callers:
    """Threads that call, and what came of each call."""

    def __init__(self):
        self.outcomes = {}
        self._threads = []

    def begin(self, client, key, method="Do", connection=None, gate=None):
        """Call in a thread; on a connection that is there already, and not before `gate` is set."""
        thread = threading.Thread(target=self._call, args=(client, key, method, connection, gate))
        thread.start()
        self._threads.append(thread)

    def _call(self, client, key, method, connection, gate):
        try:
            connection = connection or client.connect()
            if gate is not None:
                assert gate.wait(CALL_TIMEOUT_S)
            self.outcomes[key] = client.call(connection, method, key)
        except Exception as error:  # noqa: BLE001  # the test shows it
            self.outcomes[key] = repr(error)

    def join(self):
        for thread in self._threads:
            thread.join(2 * CALL_TIMEOUT_S)
        return self.outcomes


def start(probe, endpoint):
    options = "endpoint='tcp:127.0.0.1:0'" if endpoint == "tcp" else ""
    probe.start(PROGRAM, options)
    return str(probe.instance.record().endpoint)


def hold(probe, where, secs):
    """Have the loop held, once, and return the thread that waits for the end of it."""
    with Client.connect(where) as client:
        client.oneway("org.example.Work.Hold", {"secs": secs})
    wait_until(lambda: probe.noted("holding") is not None, what="the loop is held")


def assert_each_ran_once(probe, outcomes):
    assert {key: outcome for key, outcome in outcomes.items() if outcome != key} == {}
    ran = collections.Counter(probe.noted("ran").split())
    assert ran == dict.fromkeys(outcomes, 1)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["unix", "tcp"])
@pytest.mark.parametrize("secs", [0.3, 0.5, 1.0, 3.0])
def test_no_call_is_lost_whenever_and_by_whatever_client_it_is_made(probe, endpoint, secs):
    """Connected before, while and just after; speaking at once, or only when the loop is back."""
    where = start(probe, endpoint)
    callers, back = Callers(), threading.Event()
    clients = {name: kind(where) for name, kind in CLIENTS.items()}
    before = {
        (name, n, late): client.connect()
        for name, client in clients.items()
        for n in range(3)
        for late in (False, True)
    }
    hold(probe, where, secs)
    for (name, n, late), connection in before.items():
        key = f"before-{name}-{n}{'-late' if late else ''}"
        callers.begin(clients[name], key, connection=connection, gate=back if late else None)
    for name, client in clients.items():
        for n in range(3):
            callers.begin(client, f"during-{name}-{n}")
            callers.begin(client, f"during-{name}-{n}-async", "DoLater")
            callers.begin(client, f"during-{name}-{n}-late", gate=back)
    while probe.noted("held") is None:  # new ones all the time, also as the loop comes back
        for name, client in clients.items():
            callers.begin(client, f"around-{name}-{len(callers.outcomes)}-{time.monotonic_ns()}")
        is_over(lambda: probe.noted("held") is not None, secs / 6)
    back.set()
    for name, client in clients.items():
        for n in range(3):
            callers.begin(client, f"after-{name}-{n}")
    assert_each_ran_once(probe, callers.join())
    assert not [entry for entry in probe.log() if entry["level"] == "error"]


def is_over(condition, timeout_s):
    """Wait for a condition, and say whether it came."""
    try:
        wait_until(condition, timeout_s)
    except AssertionError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["unix", "tcp"])
def test_hundreds_of_calls_at_once_wait_and_commands_pass_them(probe, endpoint):
    where = start(probe, endpoint)
    callers, client = Callers(), Raw(where)
    hold(probe, where, 3.0)
    for n in range(150):
        callers.begin(client, f"{n}")
    assert "stuck_at" in probe.instance.status()
    assert probe.noted("ran") is None
    assert_each_ran_once(probe, callers.join())


@pytest.mark.slow
def test_a_silent_client_of_a_daemon_stuck_for_longer_than_its_deadline_is_answered(probe):
    """Six seconds; a client has five for its first byte, which are the loop's to listen."""
    where = start(probe, "unix")
    client, callers, back = Raw(where), Callers(), threading.Event()
    callers.begin(client, "before", connection=client.connect(), gate=back)
    hold(probe, where, 6.0)
    callers.begin(client, "during", gate=back)
    assert "stuck_at" in probe.instance.status()
    wait_until(lambda: probe.noted("held") is not None, 30)
    back.set()
    assert_each_ran_once(probe, callers.join())


@pytest.mark.slow
def test_calls_that_wait_when_a_stuck_daemon_is_stopped_are_refused(probe):
    """The loop does not come back: whoever waits learns that the daemon ends, and that nothing ran."""
    where = start_with_short_drain(probe)
    client, callers = Raw(where), {}
    hold(probe, where, 60.0)
    for n in range(5):
        callers[n] = client.connect()
        callers[n].sendall(b'{"method":"org.example.Work.Do","parameters":{"key":"x"}}\0')
    assert probe.instance.command("STOP").kind == "ok"
    refused = b'{"parameters":{},"error":"org.daemonry.Control.Draining"}\0'
    assert [sock.recv(4096) for sock in callers.values()] == [refused] * 5
    for sock in callers.values():
        sock.close()
    probe.wait_gone()
    assert probe.noted("ran") is None
    assert probe.left() == []


def start_with_short_drain(probe):
    probe.start(PROGRAM, "drain_timeout_s=0.3")
    return str(probe.instance.record().endpoint)


@pytest.mark.slow
def test_calls_that_wait_when_a_stuck_daemon_is_stopped_and_comes_back_are_refused(probe):
    """The loop is back in time, and ends in peace."""
    where = start(probe, "unix")
    client, callers = Blocking(where), Callers()
    hold(probe, where, 1.5)
    for n in range(5):
        callers.begin(client, f"{n}")
    assert probe.instance.command("STOP").kind == "ok"
    outcomes = callers.join()
    assert all(
        outcome == key or "Draining" in outcome or "NotRunning" in outcome or "refused" in outcome.lower()
        for key, outcome in outcomes.items()
    ), outcomes
    probe.wait_gone()
    ran = (probe.noted("ran") or "").split()
    assert sorted(ran) == sorted(key for key, outcome in outcomes.items() if outcome == key)


@pytest.mark.slow
def test_an_upgrade_that_is_asked_while_it_is_stuck_loses_no_call(probe):
    """It waits for the loop like any call; what was held goes to the old process, which answers it."""
    where = start(probe, "unix")
    client, callers = Blocking(where), Callers()
    old = probe.instance.record().identity
    hold(probe, where, 2.0)
    for n in range(20):
        callers.begin(client, f"{n}")
    assert probe.cli("upgrade").code == 0
    assert probe.instance.pid() != old.pid
    assert_each_ran_once(probe, callers.join())
    wait_until(lambda: not old.alive(), what="the end of the old process")

"""The guardian's wait: who ends it, and who does not."""

import queue
import socket
import time

import pytest

from daemonry.runtime import watchdog
from daemonry.runtime.watchdog import Guardian, Wait
from daemonry.testing import wait_until

LONG_S = 60.0


class Looks:
    """Duties that note each look: when it was, and by which descriptors."""

    def __init__(self, wait):
        self.wait = wait
        self.seen = queue.SimpleQueue()

    def look(self, ready):
        self.seen.put((time.monotonic(), ready))
        return self.wait

    def next(self):
        return self.seen.get(timeout=30)


@pytest.fixture
def listener(sandbox):
    with socket.socket(socket.AF_UNIX) as one:
        path = sandbox.path / "s"
        one.bind(str(path))
        one.listen()
        yield one
        path.unlink()


@pytest.fixture
def watched(monkeypatch):
    """A function that starts a guardian with such a wait, and with such a tick; it has looked once."""
    guardians = []

    def start(wait, tick_s):
        monkeypatch.setattr(watchdog, "GUARDIAN_TICK_S", tick_s)
        looks = Looks(wait)
        guardian = Guardian()
        guardians.append(guardian)
        guardian.start(looks, lambda number: None)
        looks.next()
        return guardian, looks

    yield start
    for one in guardians:
        one.close()


def client_of(listener):
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    return client


def test_a_client_that_the_loop_takes_calls_for_no_look(watched, listener):
    began_s = time.monotonic()
    _, looks = watched(Wait(1.0, listener=listener.fileno()), LONG_S)
    with client_of(listener), listener.accept()[0]:
        at_s, ready = looks.next()
    assert ready == frozenset()
    assert at_s - began_s >= 1.0


def test_it_goes_on_waiting_for_the_next_client(watched, listener):
    _, looks = watched(Wait(None, listener=listener.fileno()), 0.05)
    for _ in range(3):
        with client_of(listener), listener.accept()[0]:
            pass
    with client_of(listener):
        _, ready = looks.next()
    assert ready == {listener.fileno()}


def test_a_client_that_nobody_takes_calls_for_a_look_after_a_tick(watched, listener):
    _, looks = watched(Wait(None, listener=listener.fileno()), 0.2)
    began_s = time.monotonic()
    with client_of(listener):
        at_s, ready = looks.next()
    assert ready == {listener.fileno()}
    assert at_s - began_s >= 0.2


def test_whatever_else_comes_while_a_client_waits_calls_at_once(watched, listener):
    other, ours = socket.socketpair()
    guardian, looks = watched(Wait(None, (ours.fileno(),), listener.fileno()), LONG_S)
    watches = guardian._selector.get_map()
    wait_until(lambda: listener.fileno() in watches, 30, "it waits for a client")
    with other, ours, client_of(listener):
        wait_until(lambda: listener.fileno() not in watches, 30, "it waits for the loop")
        guardian.wake()
        # Who is woken often must not begin to wait for it again each time.
        assert looks.next()[1] == {listener.fileno()}
        other.send(b"x")
        while ours.fileno() not in looks.next()[1]:
            pass


def test_a_listener_that_cannot_be_watched_is_looked_at_by_the_clock(watched):
    _, looks = watched(Wait(None, listener=999_999), 0.05)
    assert looks.next()[1] == frozenset()
    assert looks.next()[1] == frozenset()

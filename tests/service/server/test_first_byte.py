"""Clients who have said nothing yet: each is given on with its first byte, or at its own deadline."""

import asyncio
import socket
from types import SimpleNamespace

import pytest

from daemonry.service.server.fast_connection import FastConnection
from daemonry.service.server.first_byte import FirstByteWait

TIMEOUT_S = 5.0


class Loop:
    """A loop whose clock the test moves."""

    def __init__(self):
        self.now_s = 100.0
        self.timers = []

    def time(self):
        return self.now_s

    def call_later(self, delay_s, callback):
        handle = asyncio.TimerHandle(self.now_s + delay_s, callback, (), self)
        self.timers.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle):
        self.timers.remove(handle)

    def get_debug(self):
        return False

    def move_to(self, now_s):
        self.now_s = now_s
        for timer in [timer for timer in self.timers if timer.when() <= now_s]:
            self.timers.remove(timer)
            timer._run()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def heard():
    return []


@pytest.fixture
def wait(loop, heard):
    return FirstByteWait(loop, TIMEOUT_S, heard.append)


@pytest.fixture
def connections():
    owner = SimpleNamespace(ready={}, answer_at_once=None)
    made = [FastConnection(owner, socket.socket(socket.AF_UNIX), None) for _ in range(3)]
    yield made
    for one in made:
        one.sock.close()


def test_who_leaves_is_not_called_silent(loop, wait, heard, connections):
    wait.enter(connections[0])
    wait.enter(connections[1])
    assert list(wait) == connections[:2]
    wait.leave(connections[0])
    assert list(wait) == connections[1:2]
    loop.move_to(105.0)
    assert heard == connections[1:2]


def test_a_loop_that_was_stuck_gives_everybody_their_time_anew(loop, wait, heard, connections):
    """Nobody could be heard meanwhile; who speaks now is no slow client."""
    wait.enter(connections[0])
    loop.move_to(101.0)
    wait.enter(connections[1])
    loop.move_to(130.0)
    assert heard == []
    loop.move_to(134.9)
    assert heard == []
    loop.move_to(135.0)
    assert heard == connections[:2]


def test_each_has_its_own_deadline_by_one_timer(loop, wait, heard, connections):
    for n, connection in enumerate(connections):
        loop.move_to(100.0 + n)
        wait.enter(connection)
        assert len(loop.timers) == 1
    for n in range(3):
        loop.move_to(104.9 + n)
        assert heard == connections[:n]
        loop.move_to(105.0 + n)
        assert heard == connections[: n + 1]
    assert loop.timers == []
    assert len(wait) == 0


def test_a_timer_that_comes_a_little_early_does_not_turn_round_and_round(loop, wait, heard, connections):
    wait.enter(connections[0])
    loop.timers[0]._when -= 0.0005
    loop.move_to(104.9995)
    assert heard == connections[:1]


def test_an_empty_wait_that_fills_again_counts_from_the_new_one(loop, wait, heard, connections):
    wait.enter(connections[0])
    wait.leave(connections[0])
    loop.move_to(103.0)
    wait.enter(connections[1])
    loop.move_to(105.0)
    assert heard == []
    loop.move_to(108.0)
    assert heard == connections[1:2]


def test_a_closed_wait_calls_nobody(loop, wait, heard, connections):
    for connection in connections[:2]:
        wait.enter(connection)
    wait.close()
    loop.move_to(200.0)
    assert (loop.timers, heard, len(wait)) == ([], [], 0)

"""Clients who have said nothing yet: each is given on with its first byte, or at its own deadline."""

import asyncio
import socket

import pytest

from daemonry.service.lobby import Lobby
from daemonry.transport.credentials import Peer

TIMEOUT_S = 5.0
PEER = Peer(1, 2, 3)


class Loop:
    """A loop whose clock the test moves; it also watches, as where there is no epoll."""

    def __init__(self):
        self.now_s = 100.0
        self.timers = []
        self.readers = {}

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

    def add_reader(self, fd, callback):
        self.readers[fd] = callback

    def remove_reader(self, fd):
        self.readers.pop(fd, None)

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
def lobby(loop, heard):
    lobby = Lobby(
        loop,
        loop,
        TIMEOUT_S,
        lambda guest: heard.append(("speaks", guest.sock)),
        lambda guest: heard.append(("silent", guest.sock)),
    )
    yield lobby
    lobby.close()


@pytest.fixture
def socks():
    made = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    yield made
    for one in made:
        one.close()


def test_who_speaks_is_given_on_once_and_waits_no_more(loop, lobby, heard, socks):
    lobby.enter(socks[0], PEER)
    lobby.enter(socks[1], PEER)
    assert [guest.sock for guest in lobby] == socks[:2]
    loop.readers[socks[0].fileno()]()
    assert heard == [("speaks", socks[0])]
    assert [guest.sock for guest in lobby] == [socks[1]]
    loop.move_to(200.0)
    assert heard == [("speaks", socks[0]), ("silent", socks[1])]


def test_each_has_its_own_deadline_by_one_timer(loop, lobby, heard, socks):
    for n, sock in enumerate(socks):
        loop.move_to(100.0 + n)
        lobby.enter(sock, PEER)
        assert len(loop.timers) == 1
    for n, sock in enumerate(socks):
        loop.move_to(104.9 + n)
        assert len(heard) == n
        loop.move_to(105.0 + n)
        assert heard[n:] == [("silent", sock)]
    assert loop.timers == []
    assert len(lobby) == 0


def test_a_timer_that_comes_a_little_early_does_not_turn_round_and_round(loop, lobby, heard, socks):
    lobby.enter(socks[0], PEER)
    loop.timers[0]._when -= 0.0005
    loop.move_to(104.9995)
    assert heard == [("silent", socks[0])]


def test_an_empty_lobby_that_fills_again_times_anew(loop, lobby, heard, socks):
    lobby.enter(socks[0], PEER)
    loop.readers[socks[0].fileno()]()
    loop.move_to(103.0)
    lobby.enter(socks[1], PEER)
    loop.move_to(105.0)
    assert heard == [("speaks", socks[0])]
    loop.move_to(108.0)
    assert heard == [("speaks", socks[0]), ("silent", socks[1])]


def test_closing_ends_every_connection(loop, lobby, heard, socks):
    for sock in socks[:2]:
        lobby.enter(sock, PEER)
    lobby.close()
    assert [sock.fileno() for sock in socks[:2]] == [-1, -1]
    assert (loop.readers, loop.timers, heard, len(lobby)) == ({}, [], [], 0)


def test_a_forked_child_closes_its_copies_only(loop, lobby, socks):
    lobby.enter(socks[0], PEER)
    lobby.drop_in_child()
    assert socks[0].fileno() == -1
    assert len(loop.readers) == 1

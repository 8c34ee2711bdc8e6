"""What each command asks of a daemon, and what becomes of its answer.  No sockets, no loop."""

import asyncio
import logging
import os
from types import MappingProxyType

import pytest

from daemonry.errors import ConfigError, Refused
from daemonry.service.server import control
from daemonry.service.server.control import answer, encoded
from daemonry.transport.credentials import Peer
from daemonry.wire.text import COMMANDS, OWN_USER_ONLY, PERMISSION_DENIED, TextCommand, TextReply

OURS = Peer(os.getegid(), os.getpid(), os.geteuid())


class State:
    """Notes what was asked, and gives what the test set."""

    def __init__(self, **gives):
        self.gives = gives
        self.asked = []

    def _give(self, name):
        self.asked.append(name)
        given = self.gives.get(name)
        if isinstance(given, BaseException):
            raise given
        return given

    def get_status(self):
        return self._give("get_status")

    def pause(self):
        return self._give("pause")

    def resume(self):
        return self._give("resume")

    def reload_config(self):
        return self._give("reload_config")


class Stoppable(State):
    def stop(self):
        return self._give("stop")

    def version(self):
        return self._give("version")


@pytest.mark.parametrize(
    ("word", "asked", "gives", "reply"),
    [
        ("STATUS", ["get_status"], {"a": 1}, TextReply.status({"a": 1})),
        ("STATUS", ["get_status"], MappingProxyType({"a": 1}), TextReply.status({"a": 1})),
        ("PAUSE", ["pause"], None, TextReply.ok()),
        ("RESUME", ["resume"], None, TextReply.ok()),
        ("RELOAD", ["reload_config"], None, TextReply.ok()),
        ("RELOAD", ["reload_config"], "needs a restart: port", TextReply.ok("needs a restart: port")),
        ("RELOAD", ["reload_config"], "", TextReply.ok()),
        ("PAUSE", ["pause"], True, TextReply.ok()),
        ("STOP", ["stop"], None, TextReply.ok()),
        ("VERSION", ["version"], "1.2", TextReply.text("1.2")),
        ("PING", [], None, TextReply.text("PONG")),
        ("HELP", [], None, TextReply.text(" ".join(COMMANDS))),
    ],
)
def test_each_command_asks_its_method_and_no_other(word, asked, gives, reply):
    """P12: the state is injected, and mocked here."""
    state = Stoppable(**dict.fromkeys(asked, gives))
    assert answer(TextCommand(word), OURS, state) == reply
    assert state.asked == asked


@pytest.mark.parametrize("word", COMMANDS)
def test_every_word_has_an_answer(word):
    assert isinstance(answer(TextCommand(word), OURS, Stoppable(get_status={})), TextReply)


@pytest.mark.parametrize("word", sorted(OWN_USER_ONLY))
@pytest.mark.parametrize(
    "peer", [Peer(0, 1, os.geteuid() + 1), Peer(0, None, os.geteuid()), Peer(None, None, None)]
)
def test_what_is_for_the_own_user_only_is_denied_to_others_and_to_who_cannot_be_told(word, peer):
    assert answer(TextCommand(word), peer, State()) == TextReply.error(PERMISSION_DENIED)


@pytest.mark.parametrize("word", ["STOP", "VERSION"])
def test_what_a_state_does_not_offer_is_told(word):
    reply = answer(TextCommand(word), OURS, State())
    assert reply == TextReply.error(f"{word} is not supported by this daemon")


@pytest.mark.parametrize(
    ("raised", "told", "logged"),
    [
        (Refused("Daemon already paused"), "Daemon already paused", False),
        (ConfigError("x.toml", "port", "not a number"), "x.toml: port: not a number", False),
        (NotImplementedError("not here"), "not here", False),
        (ValueError("bad\nvalue"), "bad\nvalue", True),
        (RuntimeError(), "RuntimeError", True),
    ],
)
def test_what_a_state_raises_is_told_and_what_was_not_expected_is_logged(raised, told, logged, caplog):
    """A refusal is an answer; anything else is a bug that somebody must be able to find."""
    reply = answer(TextCommand("PAUSE"), OURS, State(pause=raised))
    assert reply == TextReply.error(told)
    assert [record.getMessage() for record in caplog.records] == (["PAUSE failed"] if logged else [])
    assert all(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_a_process_is_not_an_answer(raised):
    with pytest.raises(type(raised)):
        answer(TextCommand("PAUSE"), OURS, State(pause=raised))


async def given(value):
    if isinstance(value, BaseException):
        raise value
    return value


@pytest.mark.parametrize(
    ("word", "method", "value", "reply"),
    [
        ("STATUS", "get_status", {"a": 1}, TextReply.status({"a": 1})),
        ("PAUSE", "pause", None, TextReply.ok()),
        ("RELOAD", "reload_config", "note", TextReply.ok("note")),
        ("PAUSE", "pause", Refused("no"), TextReply.error("no")),
        ("STATUS", "get_status", 5, TextReply.error("'int' object is not iterable")),
    ],
)
def test_an_awaitable_is_answered_when_it_is_done(word, method, value, reply):
    later = answer(TextCommand(word), OURS, State(**{method: given(value)}))
    assert not isinstance(later, TextReply)
    assert asyncio.run(later) == reply


def test_a_status_that_is_no_mapping_is_told(caplog):
    assert answer(TextCommand("STATUS"), OURS, State(get_status=5)).kind == "error"
    assert [record.getMessage() for record in caplog.records] == ["STATUS failed"]


@pytest.mark.parametrize(
    "reply", [TextReply.ok(), TextReply.error("x\ny"), TextReply.status({"a": "ü"}), TextReply.text("PONG")]
)
def test_a_reply_is_sent_as_its_line(reply):
    assert encoded(reply) == reply.to_text().encode()


def circle():
    found = {}
    found["self"] = found
    return found


def deep():
    found = {}
    for _ in range(100_000):
        found = {"in": found}
    return found


@pytest.mark.parametrize(
    "fields", [{"x": object()}, {"x": float("nan")}, {"x": {1}}, circle(), deep()], ids=range(5)
)
def test_a_status_that_has_no_line_is_told_of_on_one(fields, caplog):
    caplog.set_level(logging.ERROR)
    line = encoded(TextReply.status(fields))
    assert line.startswith(b"ERR: the status cannot be sent: ")
    assert line.count(b"\n") == 1
    assert len(caplog.records) == 1


def test_the_interface_names_what_is_asked():
    """P12: anything with these methods will do."""
    methods = {name for name in vars(control.ControlState) if not name.startswith("_")}
    assert methods == {"get_status", "pause", "resume", "reload_config"}

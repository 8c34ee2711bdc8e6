"""Reload: validated aside, swapped at once, the old one kept on any error, and the sender told."""

import os
import signal

import pytest

from daemonry.testing import wait_until

SETTINGS = """
import dataclasses
from typing import Annotated
from daemonry import RESTART

@dataclasses.dataclass
class Net:
    port: Annotated[int, RESTART] = 1

@dataclasses.dataclass
class Settings:
    word: str = "default"
    times: int = 1
    socket: Annotated[str, RESTART] = "a"
    net: Net = dataclasses.field(default_factory=Net)

    def __post_init__(self):
        if self.times < 1:
            raise ValueError("times must be at least 1")

daemon.config_type = Settings
running = None

@daemon.setup
def remember(run):
    global running
    running = run

@daemon.status
def fields():
    config = running.config
    return {"word": config.word, "times": config.times, "socket": config.socket, "port": config.net.port}
"""


@pytest.fixture
def config(probe):
    """The configuration file at its usual path."""
    path = probe.sandbox.path / "home/.config/probe/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("word = 'first'\n")
    return path


@pytest.fixture
def live(probe, config):
    return probe.start(SETTINGS)


def in_force(instance, *names):
    status = instance.status()
    return tuple(status.get(name) for name in names or ("word", "times", "socket", "port"))


def test_it_starts_with_what_the_file_says(live):
    assert in_force(live) == ("first", 1, "a", 1)


def test_a_good_one_counts_at_once(live, probe, config):
    config.write_text("word = 'second'\ntimes = 2\n")
    assert probe.cli("reload") == (0, "probe: reloaded\n", "")
    assert in_force(live) == ("second", 2, "a", 1)
    assert "config_error" not in live.status()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word = 'x'\ntims = 2\n", ":2:1: tims: is not known: did you mean 'times'?"),
        ("word = 2\n", ":1:1: word: expected `str`, got `int`"),
        ("word = 'x'\ntimes = 0\n", ": times must be at least 1"),
        ("word = 'x'\nwo", ":2:3: not TOML: expected '=' after a key in a key/value pair"),
    ],
)
def test_a_broken_one_changes_nothing_and_the_reason_is_told(live, probe, config, text, reason):
    config.write_text(text)
    told = f"{config}{reason}"
    assert probe.cli("reload") == (1, "", f"{told}\n")
    assert live.request("RELOAD").to_text() == f"ERR: {told}\n"
    assert in_force(live) == ("first", 1, "a", 1)


def test_status_has_the_error_until_it_is_mended(live, probe, config):
    config.write_text("wort = 'x'\n")
    probe.cli("reload")
    told = f"{config}:1:1: wort: is not known: did you mean 'word'?"
    assert live.status()["config_error"] == told
    assert f"  config_error: {told}\n" in probe.cli("status").out
    config.write_text("word = 'mended'\n")
    assert probe.cli("reload").code == 0
    assert "config_error" not in live.status()
    assert in_force(live, "word") == ("mended",)


def test_what_needs_a_restart_is_named_in_the_answer_and_in_status(live, probe, config):
    config.write_text("word = 'second'\nsocket = 'b'\n[net]\nport = 2\n")
    note = "needs a restart to take effect: socket, net.port"
    assert probe.cli("reload") == (0, f"probe: reloaded\n  {note}\n", "")
    assert probe.cli("reload", "--json").json() == {
        "ok": True,
        "name": "probe",
        "result": "reloaded",
        "note": note,
    }
    assert live.request("RELOAD").to_text() == f"OK: {note}\n"
    assert in_force(live) == ("second", 1, "a", 1)
    assert live.status()["restart_needed"] == ["socket", "net.port"]
    config.write_text("word = 'second'\nsocket = 'b'\n")
    assert live.request("RELOAD").to_text() == "OK: needs a restart to take effect: socket\n"
    config.write_text("word = 'second'\n")
    assert live.request("RELOAD").to_text() == "OK\n"
    assert "restart_needed" not in live.status()


def test_a_restart_puts_it_in_force(live, probe, config):
    config.write_text("socket = 'b'\n")
    probe.cli("reload")
    assert probe.cli("restart").code == 0
    assert in_force(live, "socket", "restart_needed") == ("b", None)


def test_a_file_that_vanished_keeps_the_old_one(live, probe, config):
    """The defaults in its place would be a change that nobody asked for."""
    config.unlink()
    assert probe.cli("reload") == (1, "", f"{config}: there is no such file\n")
    assert in_force(live, "word") == ("first",)


def test_without_a_file_there_are_the_defaults_and_one_may_come(probe, config):
    config.unlink()
    instance = probe.start(SETTINGS)
    assert in_force(instance, "word") == ("default",)
    assert probe.cli("reload").code == 0
    config.write_text("word = 'came'\n")
    assert probe.cli("reload").code == 0
    assert in_force(instance, "word") == ("came",)


def test_saving_by_rename_is_no_trouble(live, probe, config):
    """Editors write aside and rename: the file at the path is another one then (hard case 23)."""
    for number in range(3):
        aside = config.with_suffix(".new")
        aside.write_text(f"word = 'save {number}'\n")
        os.replace(aside, config)
        assert probe.instance.command("RELOAD").kind == "ok"
        assert in_force(live, "word") == (f"save {number}",)


def test_the_path_is_fixed_at_the_start(probe, config):
    """Fault 27: the request carries no path, and a relative one means what it meant to the starter."""
    probe.sandbox.write("mine.toml", "word = 'mine'\n")
    probe.write(SETTINGS)
    assert probe.sandbox.daemonry("start", probe.program, "--config", "mine.toml").code == 0
    assert in_force(probe.instance, "word") == ("mine",)
    probe.sandbox.write("mine.toml", "word = 'mine still'\n")
    assert probe.instance.command("RELOAD").kind == "ok"
    assert in_force(probe.instance, "word") == ("mine still",)
    assert probe.cli("restart").code == 0
    assert in_force(probe.instance, "word") == ("mine still",), "a start by name forgot the file"


def test_sighup_reloads_and_the_log_tells_how_that_went(live, probe, config):
    config.write_text("word = 'second'\nsocket = 'b'\n")
    probe.signal(signal.SIGHUP)
    wait_until(lambda: probe.logged("needs a restart to take effect: socket"))
    assert in_force(live, "word") == ("second",)
    config.write_text("word = 1\n")
    probe.signal(signal.SIGHUP)
    wait_until(lambda: probe.logged(f"reload refused: {config}:1:1: word: expected `str`, got `int`"))
    assert in_force(live, "word") == ("second",)
    assert "config_error" in live.status()


# --- the program's hook ---------------------------------------------------------------------------

SLOW_HOOK = """
import daemonry.runtime.control_state
daemonry.runtime.control_state.HOOK_TIMEOUT_S = 0.3

@daemon.on_reload
async def hook(new):
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_hook_gets_the_new_one_before_it_counts(probe, config, kind):
    hook = (
        f"@daemon.on_reload\n{kind} hook(new):\n    note('hook', f'{{running.config.word}} {{new.word}}')\n"
    )
    instance = probe.start(SETTINGS + hook)
    config.write_text("word = 'second'\n")
    assert probe.cli("reload").code == 0
    assert probe.noted("hook") == "first second"
    assert in_force(instance, "word") == ("second",)


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("Refused('not on a Sunday')", "not on a Sunday"),
        ("ValueError('no such\\ndirectory')", "no such directory"),
        ("ValueError()", "ValueError"),
    ],
)
def test_a_hook_that_raises_keeps_the_old_one(probe, config, kind, raised, told):
    instance = probe.start(f"{SETTINGS}@daemon.on_reload\n{kind} hook(new):\n    raise {raised}\n")
    config.write_text("word = 'second'\n")
    assert probe.cli("reload") == (1, "", f"{told}\n")
    assert in_force(instance, "word") == ("first",)


def test_a_hook_that_takes_too_long_keeps_the_old_one(probe, config):
    instance = probe.start(SETTINGS + SLOW_HOOK)
    config.write_text("word = 'second'\n")
    assert probe.cli("reload") == (1, "", "the daemon's hook took longer than 0.3 s\n")
    assert in_force(instance, "word") == ("first",)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_pause_and_resume_have_hooks_that_may_refuse(probe, kind):
    body = f"""
@daemon.on_pause
{kind} on_pause():
    if told("no"):
        raise Refused("not now")
    note("paused")

@daemon.on_resume
{kind} on_resume():
    if told("no"):
        raise Refused("not yet")
    note("resumed")
"""
    instance = probe.start(body)
    probe.tell("no")
    assert probe.cli("pause") == (1, "", "not now\n")
    assert instance.status()["state"] == "running"
    os.unlink(probe.sandbox.path / "no")
    assert probe.cli("pause") == (0, "probe: paused\n", "")
    assert probe.cli("pause") == (0, "probe: already paused\n", "")
    probe.tell("no")
    assert probe.cli("resume") == (1, "", "not yet\n")
    assert instance.status()["state"] == "paused"
    os.unlink(probe.sandbox.path / "no")
    assert probe.cli("resume") == (0, "probe: running\n", "")
    assert probe.cli("resume") == (0, "probe: not paused\n", "")
    assert (probe.noted("paused"), probe.noted("resumed")) == ("", "")


def test_a_daemon_without_a_configuration_reloads_all_the_same(probe):
    """Its hook may have something of its own to read again."""
    probe.start("@daemon.on_reload\ndef hook(new):\n    note('hook', repr(new))\n")
    assert probe.cli("reload") == (0, "probe: reloaded\n", "")
    assert probe.noted("hook") == "None"


# --- status hooks that go wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("1 / 0", "division by zero"),
        ("{'when': object}", "type is not JSON serializable"),
        ("{'share': float('nan')}", "Out of range float values are not JSON compliant"),
        ("7", "'int' object is not iterable"),
    ],
)
@pytest.mark.parametrize("hook", ["status", "whole_status"])
def test_a_status_hook_that_goes_wrong_is_told_in_status(probe, hook, returned, told):
    """A reply that cannot be sent would leave every client waiting."""
    given = "" if hook == "status" else "fields"
    instance = probe.start(f"@daemon.{hook}\ndef hook({given}):\n    return {returned}\n")
    status = instance.status(2.0)
    assert status["state"] == "running"
    assert told in status["status_error"]
    assert probe.logged("the status hook failed")

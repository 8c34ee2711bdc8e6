"""Anything may lie where a file of a home is to be: `up`, `ps`, `logs` and `down` never wait for it."""

import os
from pathlib import Path

import pytest

from daemonry.testing import wait_until

# The files of a home with one service, `a`.
NAMES = (
    "home.lock",
    "home.json",
    "home.log",
    "home.crash",
    "home.sock",
    "a.log",
    "a.json",
    "a.out",
    "a.sock",
)
# No command takes as long as this on any machine: it would wait for ever.
HANGS_S = 90.0


def _directory(path):
    path.mkdir()
    (path / "inside").write_text("mine")


KINDS = {
    "fifo": os.mkfifo,
    "directory": _directory,
    "dangling": lambda path: path.symlink_to("not-there.txt"),
    "symlink": lambda path: path.symlink_to("elsewhere.txt"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "fifo" else pytest.mark.slow) for kind in KINDS]
)
def test_a_home_comes_up_or_says_in_a_line_what_is_in_its_way(shop, service, kind, name):
    shop.write(service("a"))
    path = Path(shop.path) / name
    (path.parent / "elsewhere.txt").write_text("mine")
    KINDS[kind](path)
    for words in (("ps",), ("down",), ("up",), ("ps",), ("logs", "--tail", "5"), ("down",)):
        done = shop.cli(*words, timeout_s=HANGS_S)
        assert "Traceback" not in done.out + done.err, (words, done)
        assert done.code in {0, 1, 3}, (words, done)
        if words == ("up",) and done.code:
            assert name in done.err, done
    shop.wait_nothing()
    assert (path.parent / "elsewhere.txt").read_text() == "mine"
    assert not (path.parent / "not-there.txt").exists()
    if kind == "directory":
        assert [*path.parent.glob(f"{name}*/inside")]


@pytest.mark.parametrize("name", ["home.json", "home.log", "home.crash", "a.log", "a.json"])
@pytest.mark.slow
def test_below_a_home_that_is_up_a_fifo_holds_nothing_up(shop, service, name):
    shop.write(service("a"))
    shop.up()
    path = Path(shop.path) / name
    if path.exists():
        path.rename(path.with_name(f"was-{name}"))
    os.mkfifo(path)
    for words in (("ps",), ("logs", "--tail", "5"), ("restart", "a"), ("down",)):
        done = shop.cli(*words, timeout_s=HANGS_S)
        assert "Traceback" not in done.out + done.err, (words, done)
    wait_until(lambda: not shop.home.is_up(), what="the home is down")
    shop.wait_nothing()


def test_a_record_that_cannot_be_written_is_logged_once_and_the_service_restarts(shop, service):
    shop.write(service("a", ["sh", "-c", "exit 1"], restarts_max=3, restart_delay='"1ms"'))
    record = Path(shop.path) / "a.json"
    _directory(record)
    assert shop.cli("up").code == 1
    assert shop.ps()["a"]["restarts"] == 3
    shop.down()
    assert [one for one in shop.events() if str(record) in one] == [
        f"{record} cannot be written: Is a directory"
    ]
    assert (record / "inside").read_text() == "mine"


@pytest.mark.slow
def test_a_service_that_may_outlive_its_supervisor_needs_its_fifo_and_says_so(shop, service):
    shop.write(service("a", orphan='"adopt"') + service("b"))
    out = Path(shop.path) / "a.out"
    _directory(out)
    done = shop.cli("up")
    assert done.code == 1
    assert f"cannot be started: {out}: Is a directory" in done.out + done.err, done
    assert shop.ps()["b"]["state"] == "ready"
    assert shop.cli("down").code in {0, 1}
    shop.wait_nothing()

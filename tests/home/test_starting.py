"""A supervisor on its way to its lock: who takes the home down then, and what is left behind."""

import fcntl
import os
import sys

import pytest

from daemonry.process.lock import is_given_shared
from daemonry.testing import wait_until

# Holds a supervisor up before its first line, until the test lets it go.
HOLDS = """
import os, time
if "DAEMONRY_BOOT" in os.environ:
    open({began!r}, "w").close()
    while not os.path.exists({go!r}):
        time.sleep(0.01)
"""


@pytest.fixture
def held(shop):
    """The home's supervisor does not get to its lock before the file `go` is there."""
    site = shop.sandbox.path / "site"
    site.mkdir()
    began, go = shop.sandbox.path / "began", shop.sandbox.path / "go"
    (site / "sitecustomize.py").write_text(HOLDS.format(began=str(began), go=str(go)))
    shop.sandbox.env["PYTHONPATH"] = str(site)
    yield went(began, go)
    go.touch()


class went:  # noqa: N801
    """When it has begun, and letting it go."""

    def __init__(self, began, go):
        self._began, self._go = began, go

    def wait_begun(self):
        wait_until(self._began.exists, what="the supervisor has begun")

    def forget_begun(self):
        self._began.unlink()

    def let_go(self):
        self._go.touch()


def command(shop, verb):
    return shop.sandbox.popen(sys.executable, "-m", "daemonry", verb, "--home", str(shop.path))


def test_down_waits_for_a_supervisor_that_is_starting(shop, service, held):
    """It had said "not up", and the services came up behind it."""
    shop.write(service("a"))
    assert shop.cli("up", "--timeout", "0.5").code == 5
    held.wait_begun()
    early = shop.cli("down", "--timeout", "0.5")
    assert (early.code, early.out) == (5, "")
    assert early.err == "no answer from shop within 0.5 s (start)\n"
    down = command(shop, "down")
    held.let_go()
    told, _ = down.communicate(timeout=60)
    assert (down.returncode, told.splitlines()[-1]) == (0, "shop: down")
    shop.wait_nothing()


def test_down_waits_when_the_starter_was_killed(shop, service, held):
    shop.write(service("a"))
    up = command(shop, "up")
    held.wait_begun()
    up.kill()
    up.communicate()
    assert shop.cli("down", "--timeout", "0.5").code == 5
    held.let_go()
    shop.down()
    shop.wait_nothing()


def test_down_of_a_home_whose_supervisor_dies_on_the_way_is_not_up(shop, service, held):
    (shop.path / "home.toml").write_text("nothing = 1\n")
    assert shop.cli("up", "--timeout", "0.5").code == 5
    held.wait_begun()
    down = command(shop, "down")
    held.let_go()
    told, _ = down.communicate(timeout=60)
    assert (down.returncode, told) == (shop.cli("down").code, "shop: not up\n")


def test_down_waits_for_a_supervisor_that_has_no_socket_yet(shop, service):
    shop.write(service("a"))
    lock = shop.home.take_lock()
    told = shop.cli("down", "--timeout", "0.5")
    assert (told.code, told.err) == (5, "no answer from shop within 0.5 s (start)\n")
    down = command(shop, "down")
    lock.release()
    assert down.communicate(timeout=60)[0] == "shop: not up\n"


def test_one_that_finds_another_writes_nothing_to_its_crash_file(shop, service, held):
    """Both are on their way; its starter says of the home that it is up already."""
    shop.write(service("a"))
    first = command(shop, "up")
    held.wait_begun()
    held.forget_begun()
    second = command(shop, "up")
    held.wait_begun()
    held.let_go()
    told = [up.communicate(timeout=60)[0].splitlines()[-1] for up in (first, second)]
    pid = shop.supervisor()
    assert (first.returncode, second.returncode) == (0, 0)
    assert sorted(told) == [f"shop: already up (pid {pid})", f"shop: up (pid {pid})"]
    shop.down()
    assert {one.name for one in shop.path.iterdir()} == {"a.log", "home.lock", "home.log", "home.toml"}


def test_one_whose_starter_was_killed_writes_nothing_to_anothers_crash_file(shop, service, held):
    shop.write(service("a"))
    up = command(shop, "up")
    held.wait_begun()
    up.kill()
    up.communicate()
    lock = shop.home.take_lock()
    held.let_go()
    wait_until(lambda: not is_given_shared(shop.home.file_path), what="it has ended")
    lock.release()
    shop.wait_nothing()
    assert (shop.path / "home.crash").read_text() == ""


def test_a_start_that_fails_leaves_no_crash_file(shop, service):
    """Its starter has said why."""
    shop.write(service("a"))
    shop.path.chmod(0o777)
    done = shop.cli("up")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"shop: start failed (lock): {shop.path}: can be written by others (mode 0777)\n"
    assert {one.name for one in shop.path.iterdir()} == {"home.toml"}


def test_a_home_that_is_up_or_cannot_come_up_is_not_starting(shop, service):
    """A service does not inherit what tells of the start."""
    shop.write(service("a")).up()
    assert not is_given_shared(shop.home.file_path)
    shop.kill_supervisor()
    shop.wait_nothing()
    assert not is_given_shared(shop.home.file_path)
    before = {one.name for one in shop.path.iterdir()}
    (shop.path / "home.toml").write_text("nothing = 1\n")
    assert shop.cli("up").code == 1
    assert not is_given_shared(shop.home.file_path)
    assert {one.name for one in shop.path.iterdir()} <= before
    shop.write(service("a")).up()
    shop.down()


def test_a_home_whose_file_somebody_has_locked_alone(shop, service):
    """`flock home.toml daemonry up` and `down` wait for nobody."""
    shop.write(service("a"))
    alone = os.open(shop.home.file_path, os.O_RDONLY)
    fcntl.flock(alone, fcntl.LOCK_EX)
    assert shop.cli("down", "--timeout", "5").out == "shop: not up\n"
    shop.up()
    shop.down()
    os.close(alone)

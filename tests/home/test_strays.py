"""What a service hides: it clears its environment, makes a session of its own, and loses its parent."""

import os
import signal
import sys

import pytest

from daemonry.process import platform
from daemonry.testing import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there are no subreapers here")

# What hides; $1 is the file in which it says who it is.
STAYS = "echo $$ > $1; exec sleep 600"
SLOW = "trap 'sleep 0.3; echo > cleaned; exit' TERM; echo $$ > $1; while :; do sleep 0.01; done"
DEAF = "trap '' TERM; echo $$ > $1; while :; do sleep 0.01; done"
# Neither the mark, nor the group, nor the session tells where it comes from; in TWICE not the parent either.
ONCE = "env -i setsid sh {name}.sh {name} >/dev/null 2>&1 &"
TWICE = "env -i setsid sh -c 'setsid sh {name}.sh {name} & exit' >/dev/null 2>&1 &"


def sh(text):
    return ["sh", "-c", text + " exec sleep 600"]


class Told:
    """What hides in a home, each one known by a name and the file in which it writes its number."""

    def __init__(self, shop):
        self._shop = shop
        self._started = {}

    def hiding(self, name, form=ONCE, work=STAYS):
        """Return the words by which a shell starts it."""
        (self._shop.path / f"{name}.sh").write_text(work)
        return form.format(name=name)

    def pid(self, name):
        text = wait_until(lambda: self._read(name), what=f"{name} says who it is")
        pid = int(text)
        self._started.setdefault(pid, platform.start_time(pid))
        return pid

    def _read(self, name):
        try:
            return (self._shop.path / name).read_text().strip()
        except FileNotFoundError:
            return ""

    def lives(self, pid):
        return self._started[pid] is not None and platform.start_time(pid) == self._started[pid]

    def kill_all(self):
        for pid in self._started:
            if self.lives(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def told(shop):
    told = Told(shop)
    yield told
    told.kill_all()


def test_nothing_that_hides_outlives_the_home(shop, service, told):
    shop.write(service("a", sh(told.hiding("one") + told.hiding("two", TWICE))))
    shop.up()
    one, two = told.pid("one"), told.pid("two")
    assert told.lives(one)
    assert told.lives(two)
    shop.down()
    assert not told.lives(one)
    assert not told.lives(two)
    assert [line for line in shop.events() if "have hidden" in line] == [
        f"ending what services have hidden and left: [{two}]"
    ]


def test_what_hides_below_a_service_ends_with_it(shop, service, told):
    """Of a service that is restarted nothing may go on that holds its port or its files."""
    shop.write(service("a", sh(told.hiding("one"))) + service("b", sh(told.hiding("other"))))
    shop.up()
    one, other = told.pid("one"), told.pid("other")
    os.unlink(shop.path / "one")
    assert shop.cli("restart", "a").code == 0
    assert not told.lives(one)
    assert told.lives(other)
    assert told.lives(told.pid("one"))


@pytest.mark.parametrize("form", [ONCE, TWICE])
def test_what_hides_is_asked_and_has_the_time_of_a_service(shop, service, told, form):
    shop.write(service("a", sh(told.hiding("one", form, SLOW))))
    shop.up()
    told.pid("one")
    shop.down()
    assert (shop.path / "cleaned").exists()


@pytest.mark.parametrize("form", [ONCE, TWICE])
def test_what_hides_and_does_not_heed_is_killed(shop, service, told, form):
    shop.write(service("a", sh(told.hiding("one", form, DEAF)), stop_timeout='"300ms"'))
    shop.up()
    one = told.pid("one")
    shop.down()
    assert not told.lives(one)


def test_a_second_signal_kills_what_hides_at_once(shop, service, told):
    shop.write(service("a", sh(told.hiding("one", TWICE, DEAF)), stop_timeout='"1h"'))
    shop.up()
    one = told.pid("one")
    shop.kill_supervisor(signal.SIGTERM)
    shop.wait_event("home", f"have hidden and left: [{one}]")
    assert told.lives(one)
    shop.kill_supervisor(signal.SIGTERM)
    shop.wait_free()
    assert not told.lives(one)


def test_what_one_that_is_ended_leaves_is_ended_too(shop, service, told):
    """Its child comes to us only then."""
    inner = told.hiding("two")
    shop.write(service("a", sh(told.hiding("one", TWICE, f"{inner} {STAYS}"))))
    shop.up()
    pids = [told.pid("one"), told.pid("two")]
    shop.down()
    assert [pid for pid in pids if told.lives(pid)] == []


def test_a_daemon_that_a_service_has_started_goes_on(shop, service):
    """Whoever starts the first call's daemon does not own it; it serves others by now."""
    program = shop.sandbox.write("probe.py", "from daemonry import Daemon\ndaemon = Daemon('probe')\n")
    start = f"{sys.executable} -m daemonry start {program}:daemon && echo started;"
    inherit = f"[{', '.join(f'{name!r}' for name in shop.sandbox.env)}]"
    shop.write(service("a", sh(start), ready='{ output = "started" }', inherit=inherit))
    shop.up()
    before = shop.sandbox.instance("probe").record().pid
    assert shop.cli("restart", "a").code == 0
    shop.down()
    assert shop.sandbox.instance("probe").lock_held()
    assert shop.sandbox.instance("probe").record().pid == before


def test_what_was_there_before_the_supervisor_is_not_its_services(shop, service, told):
    """An entry point that starts something and then becomes the supervisor."""
    shop.write(service("a"))
    entry = f'cd {shop.path}; {told.hiding("mine")} exec "$@"'
    process = shop.foreground("sh", "-c", entry, "sh")
    shop.wait_event("a", "ready")
    mine = told.pid("mine")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert told.lives(mine)

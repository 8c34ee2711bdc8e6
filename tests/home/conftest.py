"""What the tests of homes share: a home in the sandbox, whose services each test writes."""

import os
import signal
import sys

import pytest

from daemonry.home.home import Home
from daemonry.process import log_reader
from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

# A program that says something, may be told to wait for a file, and goes on until it is ended.
STAYS = ["sh", "-c", "echo here; exec sleep 600"]


class Shop:
    """A home called `shop`.  At the test's end it is taken down; what is then left fails the test."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.path = sandbox.path / "shop"
        self.path.mkdir()
        self.home = Home(str(self.path))

    def write(self, text, head=""):
        """Write home.toml; the services bear the sandbox's mark, or nobody would find what they leave."""
        inherit = 'inherit = ["DAEMONRY_SANDBOX"]\n'
        (self.path / "home.toml").write_text(head + inherit + text)
        return self

    def cli(self, verb, *words, timeout_s=60.0):
        return self.sandbox.daemonry(verb, "--home", str(self.path), *words, timeout_s=timeout_s)

    def up(self, *words):
        done = self.cli("up", *words)
        assert done.code == 0, done
        return done

    def down(self):
        done = self.cli("down")
        assert done.code == 0, done
        return done

    def ps(self):
        return {one["name"]: one for one in self.cli("ps", "--json").json()}

    def pid(self, name):
        return self.ps()[name]["pid"]

    def supervisor(self):
        return self.home.record().pid

    def kill_supervisor(self, number=signal.SIGKILL):
        os.kill(self.supervisor(), number)

    def wait_free(self):
        wait_until(lambda: not self.home.is_up(), what="the supervisor has ended")

    def wait_nothing(self):
        wait_until(lambda: not processes_marked(str(self.sandbox.path)), what="nothing runs")

    def written(self, name):
        """What a service has written."""
        found = (log_reader.parsed(line, name) for line in log_reader.lines(self.home.path(name, "log")))
        return [line["message"] for line in found if line.get("logger") == name]

    def events(self, name="home"):
        """What the supervisor has written, or has written about a service."""
        found = map(log_reader.parsed, log_reader.lines(self.home.path(name, "log")))
        return [line["message"] for line in found if line.get("logger") == "daemonry.home"]

    def wait_event(self, name, text):
        return wait_until(
            lambda: [one for one in self.events(name) if text in one], what=f"{text!r} of {name}"
        )

    def foreground(self, *before, **options):
        """Begin `daemonry up --foreground`."""
        words = [sys.executable, "-m", "daemonry", "up", "--foreground", "--home", str(self.path)]
        return self.sandbox.popen(*before, *words, **options)


@pytest.fixture
def shop(sandbox):
    shop = Shop(sandbox)
    yield shop
    if shop.home.is_up():
        shop.cli("down", "--timeout", "20")


def service(name, command=None, **keys):
    """A table of home.toml; values are given as TOML has them."""
    import json

    lines = [f"[services.{name}]", f"command = {json.dumps(command or STAYS)}"]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items())]) + "\n"


@pytest.fixture(name="service")
def service_fixture():
    return service

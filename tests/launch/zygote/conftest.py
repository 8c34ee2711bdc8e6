"""A sandbox in which starts may use a zygote, and none is left at the end."""

import contextlib
import os
import signal
import sys

import pytest

from daemonry.daemon.recipe import Recipe
from daemonry.launch.start import start
from daemonry.launch.zygote import surroundings
from daemonry.process import platform
from daemonry.testing import cleanup_socket_file, wait_until
from daemonry.testing.leftovers import MARK, processes_marked

PROGRAM = """\
from daemonry import Daemon
daemon = Daemon("{name}", version="1.0")
"""


class Starts:
    """Starts of daemons in a sandbox, with zygotes turned on."""

    def __init__(self, sandbox):
        self.sandbox = sandbox

    def zygotes(self):
        """The numbers of the zygotes that live."""
        found = [one.split(" ", 1) for one in processes_marked(str(self.sandbox.path))]
        return [int(pid) for pid, words in found if words.rstrip().endswith("zygote") or ":zygote:" in words]

    def sockets(self):
        directory = self.sandbox.path / "run/daemonry/zygotes"
        return sorted(directory.iterdir()) if directory.exists() else []

    def program(self, name, body=""):
        return self.sandbox.write(f"{name}.py", PROGRAM.format(name=name) + body)

    def start(self, name, body="", **options):
        """Start a daemon from this process and return its record."""
        path = self.program(name, body)
        recipe = Recipe((), str(path.parent), sys.executable, f"{path}:daemon")
        return start(self.sandbox.place(name), recipe, timeout_s=60.0, **options)

    def parent_of(self, pid):
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])

    def is_forked(self, record):
        return self.parent_of(record.pid) in self.zygotes()

    def send(self, pid, number):
        os.kill(pid, number)
        if number == signal.SIGSTOP:
            wait_until(lambda: platform.is_stopped(pid), what="stopped")

    def end(self):
        for pid in self.zygotes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: platform.start_time(pid) is None, what="the zygote has ended")
        for path in self.sockets():
            cleanup_socket_file(path)


@pytest.fixture
def starts(sandbox, monkeypatch):
    if not surroundings.can_be_read():
        pytest.skip("zygotes need Linux 5.3")
    for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
        monkeypatch.delenv(name)
        sandbox.env.pop(name, None)
    monkeypatch.setenv(MARK, str(sandbox.path))
    monkeypatch.setenv("DAEMONRY_ZYGOTE", "1")
    sandbox.env["DAEMONRY_ZYGOTE"] = "1"
    found = Starts(sandbox)
    yield found
    sandbox.stop_all()
    found.end()

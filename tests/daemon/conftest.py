"""What the daemon tests share: a program written by its test, and ways to see what it did."""

import contextlib
import os
import subprocess
import sys

import pytest

from daemonry.process.log_reader import lines, parsed
from daemonry.testing import cleanup_socket_file, wait_until

HEAD = """\
import asyncio, os, signal, sys, threading, time
from daemonry import Daemon, Refused

BOX = os.environ["DAEMONRY_SANDBOX"]

def told(name):
    return os.path.exists(f"{{BOX}}/{{name}}")

def note(name, text=""):
    with open(f"{{BOX}}/{{name}}", "a") as file:
        file.write(text)

async def wait_told(name):
    while not told(name):
        await asyncio.sleep(0.01)

daemon = Daemon("probe", version="1.0"{options})
"""


class Probe:
    """A daemon called `probe` whose program each test writes.

    The test and the daemon talk through files in the sandbox: `tell` here, `told` and `note` there.
    """

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.place = sandbox.place("probe")
        self.instance = sandbox.instance("probe")
        self.program = sandbox.path / "probe.py"
        self._marks = 0

    def write(self, body="", options=""):
        return self.sandbox.write("probe.py", HEAD.format(options=options and f", {options}") + body)

    def start(self, body="", options="", *words):
        return self.sandbox.start(self.write(body, options), *words)

    def cli(self, verb, *words, timeout_s=60.0):
        return self.sandbox.daemonry(verb, "probe", *words, timeout_s=timeout_s)

    @contextlib.contextmanager
    def foreground(self, body="", options="", ready=True):
        """Be `daemonry run`; its exit code can be asked for, as a background daemon's cannot."""
        self.write(body, options)
        with (self.sandbox.path / "stderr").open("w") as stderr:
            process = self.sandbox.popen(
                sys.executable,
                "-m",
                "daemonry",
                "run",
                self.program,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            if ready:
                wait_until(lambda: process.poll() is not None or "ready at" in self.stderr(), what="ready")
                assert process.poll() is None, self.stderr()
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
                self.bury()

    def stderr(self):
        """What the foreground daemon wrote."""
        return (self.sandbox.path / "stderr").read_text()

    def tell(self, name, text=""):
        self.sandbox.write(name, text)

    def noted(self, name):
        """What the daemon noted under `name`, or None."""
        path = self.sandbox.path / name
        return path.read_text() if path.exists() else None

    def log(self):
        return [parsed(line) for line in lines(self.place.log_path)]

    def messages(self):
        return [entry["message"] for entry in self.log()]

    def logged(self, part):
        """The first message of the log with `part` in it, or None."""
        return next((message for message in self.messages() if part in message), None)

    def signal(self, number):
        assert self.instance.record().identity.send_signal(number)

    def kill(self):
        """End the daemon as a crash would, and return the pid that it had."""
        pid = self.instance.pid()
        self.signal(9)
        self.wait_gone()
        return pid

    def wait_gone(self, timeout_s=10.0):
        wait_until(lambda: self.instance.lock_held() is False, timeout_s, "the life lock is free")

    def bury(self):
        """Remove the socket that a killed daemon left, so that the sandbox ends clean."""
        if not self.instance.lock_held():
            cleanup_socket_file(self.place.socket_path)

    def left(self):
        """What of a run is still there: of a clean end, nothing."""
        found = [self.place.socket_path, self.place.record_path]
        return [path for path in found if os.path.lexists(path)]


@pytest.fixture
def probe(sandbox):
    return Probe(sandbox)


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_kind(request, sandbox):
    """Both loops: without uvloop, as where it is not installed, by one in front that cannot be imported."""
    if request.param == "asyncio":
        hidden = sandbox.write("hidden/uvloop.py", "raise ImportError('hidden by a test')\n")
        sandbox.env["PYTHONPATH"] = f"{hidden.parent}:{sandbox.env.get('PYTHONPATH', '')}".rstrip(":")
    else:
        pytest.importorskip("uvloop")
    return request.param

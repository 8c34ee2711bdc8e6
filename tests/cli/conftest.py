"""What the command line's tests share: a small program, and commands that run it."""

import shlex
import sys

import pytest

PROGRAM = """\
from daemonry import Daemon

daemon = Daemon("probe", version="1.2")


@daemon.status
def fields():
    return {"served": 7, "last": None, "busy": False, "queue": ["a", "b"]}


if __name__ == "__main__":
    daemon.main()
"""


@pytest.fixture
def program(sandbox):
    """The path of a program with a daemon called `probe`."""
    return sandbox.write("probe.py", PROGRAM)


@pytest.fixture
def shell(sandbox):
    """A function that runs a line of shell in which `daemonry` and `python` are those under test."""
    for name, words in (("daemonry", "-m daemonry"), ("python", "")):
        command = sandbox.write(
            f"bin/{name}", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n'
        )
        command.chmod(0o755)
    sandbox.env["PATH"] = f"{sandbox.path}/bin:{sandbox.env['PATH']}"
    return lambda line, **options: sandbox.run("bash", "-c", line, **options)

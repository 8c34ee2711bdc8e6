"""The coverage of code that runs in a daemon, as docs/developing.md has it: coverage.py follows it there."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("coverage", minversion="7.10", reason="needs coverage.py 7.10, which is for development")

PROGRAM = '''
from daemonry import Daemon, Interface

daemon = Daemon("covered")


@daemon.serve
class Covered(Interface, name="org.example.covered"):
    """Has two branches."""

    def pick(self, left: bool) -> str:
        if left:
            return "left"
        return "right"


@daemon.setup
def set_up(run):
    run.log.info("set up")
'''
TESTS = """
from pathlib import Path

from daemonry.testing import Sandbox

with Sandbox() as sandbox:
    sandbox.start(Path("covered.py").absolute())
    called = sandbox.daemonry("call", "covered", "org.example.covered.Pick", '{"left": true}')
    assert called.out == '{"result":"left"}\\n', called
"""
SETTINGS = """
[tool.coverage.run]
patch = ["subprocess"]
parallel = true
source = ["."]
"""


def test_coverage_follows_a_sandboxs_daemon(tmp_path):
    """Its start, its setup and the branch that was called are seen, and the other branch is not."""
    for name, text in (("covered.py", PROGRAM), ("run_it.py", TESTS), ("pyproject.toml", SETTINGS)):
        (tmp_path / name).write_text(text)

    def coverage(*words):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    coverage("run", "run_it.py")
    coverage("combine")
    coverage("json")
    seen = json.loads((tmp_path / "coverage.json").read_text())["files"]["covered.py"]
    lines = PROGRAM.splitlines()
    executed = {lines[number - 1].strip() for number in seen["executed_lines"]}
    assert {'daemon = Daemon("covered")', 'return "left"', 'run.log.info("set up")'} <= executed
    assert [lines[number - 1].strip() for number in seen["missing_lines"]] == ['return "right"']

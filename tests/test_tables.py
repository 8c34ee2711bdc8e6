"""The tables that decide: each has a test of its own that takes every branch of its file."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("src", "apps/mcp-cli/src", "apps/palingenesis/src", "apps/vx/src")
# The files with a table of states, of stages or of words, each with its test; the pages draw all of them.
TABLES = {
    "daemonry.daemon.lifecycle": "tests/daemon/test_lifecycle.py",
    "daemonry.home.child": "tests/home/test_child.py",
    "daemonry.jobs.states": "tests/jobs/test_states.py",
    "daemonry.runtime.stages": "tests/daemon/test_stages.py",
    "daemonry.service.server.varlink.state": "tests/service/server/varlink/test_state.py",
    "daemonry.wire.connection": "tests/wire/test_connection.py",
    "daemonry.wire.text": "tests/wire/test_text.py",
    "mcp_cli.pool.server_state": "apps/mcp-cli/tests/pool/test_server_state.py",
    "palingenesis.resume.states": "apps/palingenesis/tests/resume/test_states.py",
}


def with_transitions():
    """Yield the modules that have a table called TRANSITIONS."""
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TRANSITIONS":
                    yield ".".join(path.relative_to(ROOT / source).with_suffix("").parts)


def test_every_table_of_states_is_among_them():
    found = set(with_transitions())
    assert len(found) >= 6
    assert found <= TABLES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("module", TABLES)
def test_its_own_test_takes_every_branch(tmp_path, module):
    """Such a file is short, and a row that no test goes through is a row that nobody has thought about."""
    words = ["coverage", "run", "--branch", f"--source={module}", f"--data-file={tmp_path}/data"]
    # Without the slow ones, which take the same branches sixteen million times: traced, that takes minutes.
    pytest_words = ["pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--basetemp", f"{tmp_path}/t"]
    env = {**os.environ, "PYTEST_ADDOPTS": "", "DAEMONRY_EXAMPLES": "10"}  # coverage takes its time
    command = [sys.executable, "-m", *words, "-m", *pytest_words, TABLES[module]]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout
    told = ["coverage", "json", "--quiet", f"--data-file={tmp_path}/data", "-o", f"{tmp_path}/json"]
    wanted = f"--include=*/{module.replace('.', '/')}.py"
    subprocess.run([sys.executable, "-m", *told, wanted], cwd=ROOT, check=True, timeout=60)
    (measured,) = json.loads((tmp_path / "json").read_text())["files"].values()
    assert measured["summary"]["num_statements"] > 10
    assert (measured["missing_lines"], measured["missing_branches"]) == ([], [])

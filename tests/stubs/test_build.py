"""The build hooks: what hatchling and setuptools build has the modules; a table that is wrong is named."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from daemonry.errors import ArgumentInvalid, TargetInvalid
from daemonry.stubs.build import build

IDL = "interface org.example.counter\nmethod Add(steps: ?int) -> (result: int)\n"
PROGRAM = """
from daemonry import Daemon, Interface


class Counter(Interface, name="org.example.counter"):
    def add(self, steps: int = 1) -> int:
        return steps


daemon = Daemon("counter")
daemon.serve(Counter)
"""
TABLE = {"source": "counter.varlink", "output": "src/tool/clients"}
PROJECT = '[project]\nname = "tool"\nversion = "1"\n'
BACKENDS = {
    "hatchling": """
[build-system]
requires = ["hatchling", "daemonry"]
build-backend = "hatchling.build"
[tool.hatch.build.targets.wheel]
packages = ["src/tool"]
[tool.hatch.build.hooks.daemonry-stubs]
source = "counter.varlink"
output = "src/tool/clients"
""",
    "setuptools": """
[build-system]
requires = ["setuptools", "daemonry"]
build-backend = "setuptools.build_meta"
[tool.setuptools.packages.find]
where = ["src"]
[tool.daemonry-stubs]
source = "counter.varlink"
output = "src/tool/clients"
""",
}


@pytest.fixture
def project(tmp_path):
    """A package without the modules."""
    (tmp_path / "src/tool/clients").mkdir(parents=True)
    for name in ("src/tool/__init__.py", "src/tool/clients/__init__.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "counter.varlink").write_text(IDL)
    (tmp_path / "counting.py").write_text(PROGRAM)
    return tmp_path


def test_a_file_and_a_program_give_the_same_module(project):
    (path,) = build(TABLE, str(project))
    text = Path(path).read_text()
    os.remove(path)
    before = list(sys.path)
    assert build({**TABLE, "source": "counting:daemon"}, str(project)) == [path]
    assert Path(path).read_text() == text
    assert sys.path == before


@pytest.mark.parametrize(
    ("table", "error", "reason"),
    [
        ({"source": "counter.varlink"}, ArgumentInvalid, "needs a string as 'output'"),
        ({**TABLE, "source": 3}, ArgumentInvalid, "needs a string as 'source'"),
        ({**TABLE, "outptu": "x"}, ArgumentInvalid, "has no key 'outptu'"),
        ({**TABLE, "source": "counter"}, TargetInvalid, "a build needs a program"),
        ({**TABLE, "interface": "a.b"}, ArgumentInvalid, "it has org.example.counter"),
        ({**TABLE, "source": "gone.varlink"}, ArgumentInvalid, "No such file"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(project, table, error, reason):
    with pytest.raises(error, match=reason):
        build(table, str(project))


# A script for each backend that leaves what a wheel would have in `out`.
SCRIPTS = {
    "hatchling": "import hatchling.build as it; it.build_wheel('out')",
    "setuptools": "import setuptools as it, sys; sys.argv[1:] = ['-q', 'build_py', '-d', 'out']; it.setup()",
}
GROUPS = {"hatchling": "hatch", "setuptools": "setuptools.finalize_distribution_options"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_built_has_the_modules(project, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    if "daemonry-stubs" not in entry_points(group=GROUPS[backend]).names:
        pytest.skip("daemonry was installed here before it had the hook: install it again")
    (project / "pyproject.toml").write_text(PROJECT + BACKENDS[backend])
    command = [sys.executable, "-W", "ignore", "-c", SCRIPTS[backend]]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = {str(path.relative_to(project / "out")) for path in (project / "out").rglob("*.py")}
    for wheel in (project / "out").glob("*.whl"):
        files |= set(zipfile.ZipFile(wheel).namelist())
    assert "tool/clients/counter_client.py" in files

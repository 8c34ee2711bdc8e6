"""Which program root takes: one that nobody else could have written or exchanged."""

import importlib
import os
import sys

import pytest

from daemonry.daemon.loader import load
from daemonry.errors import UnsafePath

PROGRAM = "from daemonry import Daemon\ndaemon = Daemon('roots')\n"
NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def program(tmp_path):
    directory = tmp_path / "d"
    directory.mkdir(mode=0o755)
    path = directory / "roots_program.py"
    path.write_text(PROGRAM)
    path.chmod(0o644)
    return path


def test_its_own_is_taken(program):
    assert load(str(program)).name == "roots"


@pytest.mark.parametrize(
    ("owner", "mode", "told"),
    [
        ((NOBODY, 0), 0o600, f"belongs to uid {NOBODY}, and this daemon is root's"),
        ((0, 0), 0o602, "others may write to it (mode 0602)"),
        ((0, NOBODY), 0o620, "others may write to it (mode 0620)"),
    ],
)
def test_a_file_that_others_can_write_is_refused_and_not_run(program, owner, mode, told):
    program.write_text("raise SystemExit('it ran')")
    os.chown(program, *owner)
    program.chmod(mode)
    with pytest.raises(UnsafePath) as caught:
        load(str(program))
    assert told in str(caught.value)
    assert "cannot be run as root" in str(caught.value)


def test_a_directory_above_it_that_others_can_write_is_refused(program, tmp_path):
    program.parent.chmod(0o777)
    with pytest.raises(UnsafePath, match=f"{program.parent}: others may write to it"):
        load(str(program))
    program.parent.chmod(0o1777)
    assert load(str(program)).name == "roots"
    program.parent.chmod(0o755)
    os.chown(tmp_path, NOBODY, -1)
    with pytest.raises(UnsafePath, match=f"{tmp_path}: belongs to uid"):
        load(str(program))
    os.chown(tmp_path, 0, -1)


def test_a_link_in_a_directory_of_others_is_refused(program, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, -1)
    (theirs / "link.py").symlink_to(program)
    with pytest.raises(UnsafePath, match=f"{theirs}: belongs to uid"):
        load(str(theirs / "link.py"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose module has a daemon; both say that they ran."""
    inner = tmp_path / "d" / "roots_package"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("import sys\nsys.roots_ran = 'package'\n")
    (inner / "program.py").write_text(f"import sys\nsys.roots_ran = 'module'\n{PROGRAM}")
    monkeypatch.setattr(sys, "roots_ran", "", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield inner
    for name in ("roots_package", "roots_package.program"):
        sys.modules.pop(name, None)


def load_module(package):
    importlib.invalidate_caches()
    return load("roots_package.program:daemon", str(package.parent))


def test_a_module_of_its_own_is_taken(package):
    assert load_module(package).name == "roots"


@pytest.mark.parametrize(("file", "ran"), [("__init__.py", ""), ("program.py", "package")])
def test_a_module_that_others_can_write_is_refused_and_not_run(package, file, ran):
    (package / file).chmod(0o666)
    with pytest.raises(UnsafePath, match=f"{file}.*cannot be run as root: others may write to it"):
        load_module(package)
    assert sys.roots_ran == ran


def test_a_module_below_a_directory_that_others_can_write_is_refused(package):
    package.parent.chmod(0o777)
    with pytest.raises(UnsafePath, match=f"{package.parent}: others may write to it"):
        load_module(package)
    assert sys.roots_ran == ""


def test_the_interpreters_own_environment_is_taken_with_the_interpreter(package, monkeypatch):
    (package / "program.py").chmod(0o666)
    monkeypatch.setattr(sys, "prefix", str(package.parent))
    assert load_module(package).name == "roots"


def test_the_command_says_so(sandbox):
    program = sandbox.write("others.py", PROGRAM)
    os.chown(program, NOBODY, -1)
    done = sandbox.daemonry("start", program)
    assert done.code == 1
    assert done.err.endswith(f"cannot be run as root: belongs to uid {NOBODY}, and this daemon is root's\n")

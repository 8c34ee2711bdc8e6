"""Scratch directories on a real disk."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vx.interfaces import Input
from vx.rhea.scratch import OutputUnsound, Scratches

DIGEST = "ab" * 32
INPUT = Input("dir/in", DIGEST)


@pytest.fixture
def scratches(tmp_path: Path):
    made = Scratches(str(tmp_path / "rhea"))
    yield made
    made.close()
    assert os.listdir(tmp_path / "rhea") == []


@pytest.fixture
def source(tmp_path: Path):
    """A blob's descriptor."""
    (tmp_path / "blob").write_bytes(b"content")
    (tmp_path / "blob").chmod(0o444)
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    yield fd
    os.close(fd)


def put(scratches: Scratches, source: int, one: Input = INPUT, *, may_write: bool = False) -> Path:
    scratch = scratches.make(["dir"])
    scratch.put([one], [source], may_write=may_write)
    path = Path(scratch.root, one.path)
    assert path.read_bytes() == b"content"
    return path


@pytest.mark.parametrize("gone", ["rhea", ""])
def test_a_home_that_is_removed_while_it_is_used_is_made_again(
    tmp_path: Path, source: int, gone: str
) -> None:
    """Else each build would fail until rhea is stopped."""
    scratches = Scratches(str(tmp_path / "home" / "rhea"))
    put(scratches, source)
    shutil.rmtree(tmp_path / "home" / gone)
    assert put(scratches, source).is_file()
    assert len(os.listdir(tmp_path / "home" / "rhea")) == 1
    os.rename(tmp_path / "home", tmp_path / "elsewhere")
    assert put(scratches, source).is_file()
    # Of those that make one at the same time, one makes the directory.
    shutil.rmtree(tmp_path / "home" / gone)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: scratches.make([]), range(32)))
    assert len(os.listdir(tmp_path / "home" / "rhea")) == 1
    # It is locked, as the first one: the next rhea does not sweep it.
    Scratches(str(tmp_path / "home" / "rhea")).close()
    assert put(scratches, source).is_file()
    scratches.close()
    assert os.listdir(tmp_path / "home" / "rhea") == []


def test_a_link_for_those_who_only_read(scratches: Scratches, source: int) -> None:
    assert os.path.samestat(put(scratches, source).stat(), os.fstat(source))


@pytest.mark.parametrize(("executable", "mode"), [(False, 0o444), (True, 0o555)])
def test_a_copy_for_those_who_may_write(
    scratches: Scratches, source: int, executable: bool, mode: int
) -> None:
    made = put(scratches, source, Input("dir/in", DIGEST, executable), may_write=True).stat()
    assert (made.st_nlink, made.st_mode & 0o777, made.st_mtime) == (1, mode, 315532800)
    assert os.fstat(source).st_nlink == 1


def test_a_program_is_a_copy_since_a_mode_belongs_to_all_names(scratches: Scratches, source: int) -> None:
    made = put(scratches, source, Input("dir/in", DIGEST, executable=True)).stat()
    assert (made.st_nlink, made.st_mode & 0o777) == (1, 0o555)
    assert os.fstat(source).st_mode & 0o777 == 0o444


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOENT, errno.EMLINK, errno.EPERM])
def test_a_copy_where_no_link_can_be_made(
    scratches: Scratches, source: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Another file system; no procfs; a file that has all the links it may have; a kernel that forbids it."""

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    assert put(scratches, source).stat().st_nlink == 1
    monkeypatch.undo()
    again = put(scratches, source).stat().st_nlink
    assert again == (2 if number == errno.EMLINK else 1)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_copy_from_another_file_system(scratches: Scratches, tmp_path: Path) -> None:
    path = Path("/dev/shm", f"vx-{os.getpid()}-{tmp_path.name}")
    path.write_bytes(b"content")
    if os.stat(path).st_dev == os.stat(tmp_path).st_dev:
        path.unlink()
        pytest.skip("/dev/shm is no file system of its own")
    fd = os.open(path, os.O_RDONLY)
    path.unlink()
    try:
        assert put(scratches, fd).stat().st_nlink == 1
    finally:
        os.close(fd)


def test_outputs_that_are_there_and_those_that_are_not(scratches: Scratches) -> None:
    scratch = scratches.make(["out", "out/deep"])
    Path(scratch.root, "out/a").write_text("a")
    Path(scratch.root, "out/deep/b").write_text("b")
    found, absent = scratch.open_outputs(["out/a", "out/x"])
    assert (list(found), absent) == (["out/a"], ["out/x"])
    assert os.read(found["out/a"], 9) == b"a"
    os.close(found["out/a"])
    assert scratch.files_below("out") == ["out/a", "out/deep/b"]
    assert scratch.files_below("nothing") == []


def test_an_output_that_is_no_file_is_refused_and_nothing_stays_open(scratches: Scratches) -> None:
    scratch = scratches.make([])
    Path(scratch.root, "a").write_text("a")
    Path(scratch.root, "link").symlink_to("/etc/passwd")
    os.mkfifo(f"{scratch.root}/pipe")
    Path(scratch.root, "folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for name in ("link", "pipe", "folder"):
        with pytest.raises(OutputUnsound, match=name):
            scratch.open_outputs(["a", name])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_may_not_be_entered_is_removed_all_the_same(scratches: Scratches) -> None:
    scratch = scratches.make(["locked"])
    Path(scratch.root, "locked/in").write_text("x")
    Path(scratch.root, "locked").chmod(0o000)
    scratch.remove()
    assert not os.path.lexists(scratch.path)


def test_those_of_a_killed_process_are_swept_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    program = (
        "import sys; from vx.rhea.scratch import Scratches\n"
        "print(Scratches(sys.argv[1]).make(['x']).path, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    theirs = other.stdout.readline().strip()
    Scratches(str(tmp_path)).close()
    assert os.path.isdir(theirs)
    other.kill()
    other.communicate()
    Scratches(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []

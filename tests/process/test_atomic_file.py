"""Files that are the old ones or the new ones, whatever happens in between (fault 16, fact F23)."""

import os
import signal
import stat
import sys
import threading

import pytest

from daemonry.process import atomic_file
from daemonry.process.atomic_file import write_atomically


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.json"


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_made_and_replaced(path, durable):
    write_atomically(str(path), b"one", durable=durable)
    write_atomically(str(path), b"two, longer", durable=durable)
    write_atomically(str(path), b"3", durable=durable)
    assert path.read_bytes() == b"3"
    assert os.listdir(path.parent) == ["state.json"]


def test_a_file_in_the_present_directory_has_no_directory_in_its_name(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    write_atomically("state.json", b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("mode", "umask", "expected"), [(0o600, 0, 0o600), (0o644, 0o022, 0o644), (0o666, 0o077, 0o600)]
)
def test_a_file_has_the_mode_that_was_asked_for(path, mode, umask, expected):
    before = os.umask(umask)
    try:
        write_atomically(str(path), b"x", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected


def test_a_writer_that_dies_in_the_middle_leaves_the_old_file(path, monkeypatch):
    """Every call that can fail does, one after the other, and each time the old content is there."""
    path.write_bytes(b"old")
    for name in ("write", "fsync", "close", "rename"):
        real = getattr(os, name)

        def fail(*arguments, name=name, real=real):
            if name == "close":
                real(*arguments)
            raise OSError(5, f"no {name}")

        with monkeypatch.context() as patched:
            patched.setattr(os, name, fail)
            with pytest.raises(OSError, match=f"no {name}"):
                write_atomically(str(path), b"new")
        assert path.read_bytes() == b"old"
        assert os.listdir(path.parent) == ["state.json"]


def test_an_interrupt_leaves_the_old_file_and_nothing_beside_it(path, monkeypatch):
    path.write_bytes(b"old")

    def interrupt(fd):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["state.json"]


def test_the_content_is_on_the_disk_before_the_name_is_and_the_name_before_we_return(path, monkeypatch):
    """Renamed first, a power cut would leave an empty file under the right name."""
    done = []
    rename, fsync = os.rename, os.fsync
    monkeypatch.setattr(os, "rename", lambda *paths: (done.append("rename"), rename(*paths)))
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (done.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"), fsync(fd)),
    )
    write_atomically(str(path), b"x")
    assert done == ["file", "rename", "directory"]
    done.clear()
    write_atomically(str(path), b"x", durable=False)
    assert done == ["rename"]


def test_a_write_that_takes_only_a_part_is_continued(path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    write_atomically(str(path), b"x" * 100)
    assert path.read_bytes() == b"x" * 100


def test_a_file_that_others_read_is_always_whole(path):
    """Two writers and a reader at once: the reader sees one of the two contents, never a mixture."""
    contents = {bytes([65 + number]) * 20_000 for number in range(2)}
    write_atomically(str(path), next(iter(contents)), durable=False)
    seen = set()

    def write(content):
        for _ in range(150):
            write_atomically(str(path), content, durable=False)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_bytes())
    for writer in writers:
        writer.join()
    assert seen <= contents
    assert os.listdir(path.parent) == ["state.json"]


def test_a_link_is_replaced_and_its_target_kept(path):
    target = path.parent / "target"
    target.write_bytes(b"precious")
    path.symlink_to(target)
    write_atomically(str(path), b"new")
    assert target.read_bytes() == b"precious"
    assert not path.is_symlink()


@pytest.mark.parametrize("where", ["missing/state.json", "directory"])
def test_where_no_file_can_be_nothing_is_left(tmp_path, where):
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="irectory"):
        write_atomically(str(tmp_path / where), b"x")
    assert os.listdir(tmp_path) == ["directory"]


def test_a_full_disk_leaves_the_old_file(on_tiny_disk):
    told = on_tiny_disk(
        """
from daemonry.process import atomic_file
from daemonry.process.atomic_file import write_atomically
path = disk + "/state.json"
write_atomically(path, b"old")
fill()
try:
    write_atomically(path, b"x" * 9000)
except OSError as error:
    print(error.strerror)
print(open(path).read(), sorted(os.listdir(disk)))
make_read_only()
try:
    write_atomically(path, b"new")
except OSError as error:
    print(error.strerror)
print(open(path).read())
"""
    )
    assert told.splitlines() == [
        "No space left on device",
        "old ['filler', 'state.json']",
        "Read-only file system",
        "old",
    ]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path, sandbox):
    """Killed between making the file aside and the rename: the moment that no `finally` survives."""
    program = (
        "import os, signal\n"
        "from daemonry import write_atomically\n"
        "os.rename = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomically({str(tmp_path / 'state.json')!r}, b'new')\n"
    )
    assert sandbox.run(sys.executable, "-c", program).code == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert left.startswith("state.json.")
    others = {f"state.json.{os.getpid()}.1.tmp", "notes.tmp", "a.b.c.tmp", "1.2.tmp", f"x.{10**30}.1.tmp"}
    for name in others:
        (tmp_path / name).write_text("")
    atomic_file.sweep(str(tmp_path))
    assert set(os.listdir(tmp_path)) == others
    atomic_file.sweep(str(tmp_path / "nowhere"))

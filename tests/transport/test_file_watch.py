"""Notices that a path leads elsewhere: for what they come, and that they come for nothing else."""

import os
import select
import socket
import sys

import pytest

from daemonry.transport import file_watch
from daemonry.transport.file_watch import PathWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the clock is used")


@pytest.fixture
def watch():
    made = PathWatch()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "far/above/near/file"
    made.parent.mkdir(parents=True)
    made.write_text("x")
    return made


def noticed(watch):
    """The notices that are there now; the kernel has them before the call that causes them returns."""
    if not select.select([watch], [], [], 0)[0]:
        return (False, False)
    return watch.take()


def unlink(path):
    path.unlink()


def rename(path):
    path.rename(path.with_name("other"))


def replace(path):
    path.with_name("new").touch()
    path.with_name("new").rename(path)


def rename_above(path):
    path.parents[2].rename(path.parents[3] / "away")


@pytest.mark.parametrize("change", [unlink, rename, replace, rename_above])
@pytest.mark.parametrize("kind", ["file", "socket", "held open"])
def test_whatever_takes_a_path_away_is_noticed(watch, path, change, kind):
    held = None
    if kind == "socket":
        path.unlink()
        held = socket.socket(socket.AF_UNIX)
        with file_at(path.parent):
            held.bind("file")
    elif kind == "held open":
        held = path.open()
    assert watch.arm([str(path)]) == set()
    assert noticed(watch) == (False, False)
    change(path)
    assert noticed(watch) == (True, False)
    assert noticed(watch) == (False, False)
    if held is not None:
        held.close()


class file_at:  # noqa: N801  # a socket's path is short
    def __init__(self, directory):
        self._directory = directory

    def __enter__(self):
        self._before = os.getcwd()
        os.chdir(self._directory)

    def __exit__(self, *exc):
        os.chdir(self._before)


def test_a_link_on_the_way_that_leads_elsewhere_is_noticed(watch, path, tmp_path):
    (tmp_path / "link").symlink_to("far/above")
    assert watch.arm([str(tmp_path / "link/near/file")]) == set()
    (tmp_path / "link").unlink()
    assert noticed(watch) == (True, False)


def test_what_a_link_leads_to_is_noticed_too(watch, path, tmp_path):
    (tmp_path / "link").symlink_to(path.parent)
    assert watch.arm([str(tmp_path / "link/file")]) == set()
    rename_above(path)
    assert noticed(watch) == (True, False)


def test_links_in_a_circle_end(watch, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert watch.arm([str(tmp_path / "a/file")]) == {str(tmp_path / "a/file")}


def test_the_neighbours_are_nobodys_business(watch, path):
    """A socket may be in /tmp, where something comes and goes all the time."""
    watch.arm([str(path)])
    path.with_name("other").write_text("x")
    path.with_name("other").unlink()
    path.read_text()
    path.write_text("more")
    assert noticed(watch) == (False, False)


def test_a_file_that_is_written_to_is_told_apart(watch, path, tmp_path):
    crash = tmp_path / "crash"
    crash.touch()
    watch.arm([str(path)], str(crash))
    crash.write_text("x" * 100)
    assert noticed(watch) == (False, True)
    crash.write_text("y")
    path.unlink()
    assert noticed(watch) == (True, True)


def test_what_is_not_there_cannot_be_watched(watch, path, tmp_path):
    missing = str(path.with_name("missing"))
    assert watch.arm([str(path), missing], str(tmp_path / "no crash file")) == {missing}
    path.unlink()
    assert noticed(watch) == (True, False)


def test_a_new_arming_forgets_what_was_watched(watch, path, tmp_path):
    watch.arm([str(path)])
    other = tmp_path / "other"
    other.touch()
    watch.arm([str(other)])
    path.unlink()
    assert noticed(watch) == (False, False)


def test_a_disk_of_other_machines_is_not_trusted(watch, path, monkeypatch):
    """The kernel knows nothing of what they do there."""
    monkeypatch.setattr(file_watch, "_is_remote", lambda libc, directory: True)
    assert watch.arm([str(path)]) == {str(path)}


@pytest.mark.parametrize("missing", ["system", "room"])
def test_without_notices_nothing_is_watched(watch, path, monkeypatch, missing):
    if missing == "system":
        monkeypatch.setattr(file_watch.sys, "platform", "darwin")
    else:
        monkeypatch.setattr(file_watch, "_open", lambda libc: None)
    assert watch.arm([str(path)], str(path)) == {str(path)}
    assert watch.fileno() == -1
    assert watch.take() == (False, False)

"""The test kit itself: what it promises, it keeps, and its net catches what is left."""

import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from daemonry.testing import (
    Sandbox,
    cleanup_all_test_sockets,
    cleanup_socket_file,
    get_test_socket_path,
    get_test_socket_path_with_suffix,
    wait_until,
)

pytest_plugins = ["pytester"]

TICKER = Path(__file__).parents[2] / "examples/ticker.py"


def test_cleanup_of_a_missing_file_is_no_error(tmp_path):
    cleanup_socket_file(tmp_path / "none.sock")
    assert not (tmp_path / "none.sock").exists()


def test_cleanup_removes_a_socket_and_a_plain_file(tmp_path):
    for name in ("a.sock", "b.sock"):
        (tmp_path / name).write_text("stale")
        cleanup_socket_file(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_cleanup_never_raises(tmp_path):
    """A directory cannot be unlinked, and a NUL byte is no path: neither is the test's concern."""
    (tmp_path / "d.sock").mkdir()
    cleanup_socket_file(tmp_path / "d.sock")
    cleanup_socket_file("a\0b")
    assert (tmp_path / "d.sock").is_dir()


def test_bulk_cleanup_takes_test_sockets_only(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("mcp-test-1-2.sock", "mcp-test-9-9-x.sock", "mcp-test-1-2.log", "other.sock"):
        (tmp_path / name).touch()
    cleanup_all_test_sockets()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mcp-test-1-2.log", "other.sock"]


def test_socket_paths_are_unique_over_threads():
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.extend(get_test_socket_path() for _ in range(200)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1600


def test_a_socket_path_is_clean_when_it_is_returned(tmp_path, monkeypatch):
    """A run before this one, with our pid, may have left a file of the name that comes next."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    number = int(get_test_socket_path().name.split("-")[-1].removesuffix(".sock"))
    (tmp_path / f"mcp-test-{os.getpid()}-{number + 1}.sock").write_text("left by another run")
    path = get_test_socket_path()
    assert path.name == f"mcp-test-{os.getpid()}-{number + 1}.sock"
    assert not path.exists()


def test_a_suffix_is_in_the_name():
    path = get_test_socket_path_with_suffix("alpha")
    assert path.name.startswith("mcp-test-")
    assert path.name.endswith("-alpha.sock")


def test_a_suffix_cannot_lead_elsewhere():
    with pytest.raises(ValueError, match="file name"):
        get_test_socket_path_with_suffix("../x")


def test_wait_until_returns_what_was_found():
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers)) == 7


def test_wait_until_names_what_never_came():
    with pytest.raises(AssertionError, match="the moon"):
        wait_until(lambda: False, timeout_s=0.01, what="the moon")


def test_a_sandbox_runs_a_daemon_and_ends_without_it(tmp_path):
    with Sandbox(str(tmp_path)) as box:
        instance = box.start(TICKER)
        assert instance.status()["state"] == "running"
        assert box.leftovers().locks == [instance.place.life_lock_path]
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_tells_what_outlived_its_daemons(tmp_path):
    box = Sandbox(str(tmp_path))
    process = box.popen("sleep", "60")
    left = box.close()
    assert [str(process.pid)] == [found.split()[0] for found in left.processes]
    assert process.wait(5) == -9
    process.stdout.close()
    process.stderr.close()


def test_the_users_own_variables_do_not_reach_a_sandbox(sandbox, monkeypatch):
    monkeypatch.setenv("TICKER_STATE", "/somewhere/else")
    assert "TICKER_STATE" not in Sandbox.run(sandbox, "env").out


def test_the_plugin_fails_a_run_that_leaves_a_socket(pytester):
    """The net under all tests: a socket that no fixture knows of is found after the run."""
    pytester.makepyfile(
        """
        import socket
        from daemonry.testing import get_test_socket_path

        def test_forgetful():
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(get_test_socket_path()))
            listener.close()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:xdist")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*left behind*", "socket *mcp-test-*.sock"])
    left = next(line for line in result.outlines if line.startswith("socket"))
    pid = left.split("mcp-test-")[1].split("-")[0]
    for path in Path(tempfile.gettempdir()).glob(f"mcp-test-{pid}-*.sock"):
        path.unlink()


def test_the_plugin_fails_a_test_that_leaves_a_process(pytester):
    pytester.makepyfile(
        """
        def test_forgetful(sandbox):
            process = sandbox.popen("sleep", "60", stdout=None, stderr=None)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-W", "ignore")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the test left behind: process * sleep 60*"])


def test_a_clean_run_passes(pytester):
    pytester.makepyfile(
        """
        import socket

        def test_tidy(socket_path, sandbox):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(socket_path))
            listener.close()
            assert sandbox.path.exists()
        """
    )
    assert pytester.runpytest_subprocess("-p", "no:xdist").ret == 0


def test_the_socket_path_fixture_leaves_room(socket_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
    assert socket_path.is_socket()

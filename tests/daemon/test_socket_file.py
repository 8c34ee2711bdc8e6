"""Whose the socket is: a live daemon's is never removed, and one that was removed comes back."""

import os
import shutil
import signal
import socket
import sys

import pytest

from daemonry.daemon.instance import Instance
from daemonry.testing import wait_until
from daemonry.transport.endpoint import Endpoint

# "Within seconds": the daemon looks once a second.
BACK_S = 5.0


def inode(path):
    found = os.lstat(path)
    return found.st_dev, found.st_ino


@pytest.fixture
def live(probe):
    """A running daemon; at the end its socket must be the one that it made and answer still."""
    instance = probe.start()
    before = inode(probe.place.socket_path)
    yield instance
    assert inode(probe.place.socket_path) == before
    assert instance.status()["state"] == "running"


def test_a_second_start_leaves_it_alone(live, probe):
    assert probe.cli("start").out == f"probe: already running (pid {live.pid()})\n"


def test_a_second_foreground_run_leaves_it_alone(live, probe):
    second = probe.sandbox.daemonry("run", probe.program)
    assert second == (0, "", f"probe: already running (pid {live.pid()})\n")


def test_a_start_that_fails_leaves_it_alone(live, probe):
    """The original's worst bug: a second start fails, cleans up, and takes the first one's socket."""
    probe.write("raise RuntimeError('broken since')\n")
    failed = probe.sandbox.daemonry("start", probe.program)
    assert failed.code == 2
    assert "RuntimeError: broken since" in failed.err


def test_another_daemon_at_its_endpoint_fails_and_leaves_it_alone(live, probe):
    """Another name has another lock: only the socket itself can tell that somebody is there."""
    other = probe.sandbox.write(
        "other.py",
        f"from daemonry import Daemon\ndaemon = Daemon('other', endpoint='unix:{probe.place.socket_path}')\n",
    )
    failed = probe.sandbox.daemonry("start", other)
    assert failed.code == 1
    told = f"cannot listen at {probe.place.socket_path}: another process listens there"
    assert (failed.out, failed.err) == ("", f"other: start failed (bind): {told}\n")


def test_a_start_without_the_lock_file_leaves_it_alone(probe):
    """Whoever removes the state directory removes the lock; the live socket still says no."""
    instance = probe.start()
    pid = instance.pid()
    shutil.rmtree(probe.place.host_dir)
    before = inode(probe.place.socket_path)
    second = probe.sandbox.daemonry("start", probe.program)
    told = second.out + second.err
    assert "another process listens there" in told or told == f"probe: already running (pid {pid})\n"
    assert inode(probe.place.socket_path) == before
    wait_until(lambda: instance.record() is not None, BACK_S, "the record is back")
    assert instance.status()["pid"] == pid
    third = probe.sandbox.daemonry("start", probe.program)
    assert third == (0, f"probe: already running (pid {pid})\n", "")
    assert probe.cli("stop").out == "probe: stopped\n"


@pytest.mark.slow
def test_lock_and_record_that_were_removed_are_back_within_seconds(probe):
    """Without them nobody could find the daemon, and its lock would exclude nobody."""
    pid = probe.start().pid()
    for path in (probe.place.life_lock_path, probe.place.record_path):
        os.unlink(path)
    wait_until(lambda: probe.instance.lock_held() and probe.instance.record() is not None, BACK_S)
    assert probe.instance.record().pid == pid
    assert probe.logged(f"the life lock's file {probe.place.life_lock_path} was gone; made again")
    assert probe.logged(f"the record {probe.place.record_path} was gone; written again")
    assert probe.cli("stop").out == "probe: stopped\n"
    assert probe.left() == []


def became_a_file(directory):
    """Put a file in a directory's place, unless the daemon was faster and made the directory again."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        with open(directory, "x"):
            return True
    except FileExistsError:
        return False


@pytest.mark.slow
def test_a_state_directory_that_cannot_be_made_again_is_told_once(probe):
    """Each second a line, and a trace with it, would fill the log of whoever has this trouble."""
    with probe.foreground() as process:
        # By its socket: without lock and record, it is not found by its name.
        instance = Instance(None, Endpoint.unix(probe.place.socket_path))
        wait_until(lambda: became_a_file(probe.place.host_dir), what="a file in its place")
        wait_until(lambda: "cannot be made again: " in probe.stderr(), BACK_S)
        looked = instance.status()["uptime_secs"] + 3
        wait_until(lambda: instance.status()["uptime_secs"] >= looked, 10, "two more looks")
        assert probe.stderr().count("cannot be made again: ") == 1
        assert "Traceback" not in probe.stderr()
        os.unlink(probe.place.host_dir)
        wait_until(lambda: probe.instance.record() is not None, BACK_S)
        process.terminate()
        assert process.wait(10) == 0


def test_a_socket_that_is_born_has_mode_0600(live, probe):
    assert os.lstat(probe.place.socket_path).st_mode & 0o777 == 0o600
    assert os.lstat(os.path.dirname(probe.place.socket_path)).st_mode & 0o777 == 0o700


# --- removed under a live daemon ------------------------------------------------------------------


def not_gone(probe):
    """Asked at any moment, `status` says that it runs, or that it does not answer; never that it is gone."""
    status = probe.cli("status", "--timeout", "1")
    assert status.code in (0, 5), status
    assert "not running" not in status.out + status.err
    return status


@pytest.mark.slow
@pytest.mark.parametrize("removed", ["file", "directory"])
def test_a_socket_that_was_removed_is_back_within_seconds(probe, removed):
    """Hard case 13: cleaners of temporary directories, and `rm`."""
    instance = probe.start()
    before = inode(probe.place.socket_path)
    if removed == "file":
        os.unlink(probe.place.socket_path)
    else:
        shutil.rmtree(os.path.dirname(probe.place.socket_path))
    not_gone(probe)
    wait_until(lambda: os.path.exists(probe.place.socket_path), BACK_S)
    assert inode(probe.place.socket_path) != before or removed == "directory"
    assert os.lstat(probe.place.socket_path).st_mode & 0o777 == 0o600
    assert instance.status()["state"] == "running"
    assert probe.logged(f"the socket file {probe.place.socket_path} was gone; listening there again")
    assert probe.cli("stop").code == 0
    assert probe.left() == []


def test_sigusr1_brings_it_back_at_once(probe):
    """What tmux taught its users (hard case 13): no need to wait for the daemon's own look."""
    never_by_itself = (
        "import daemonry.runtime.self_check\ndaemonry.runtime.self_check.SOCKET_CHECK_S = 3600\n"
    )
    instance = probe.start(never_by_itself)
    os.unlink(probe.place.socket_path)
    probe.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(probe.place.socket_path))
    assert instance.status()["state"] == "running"


def test_while_it_is_gone_a_start_says_already_running(probe):
    instance = probe.start()
    os.unlink(probe.place.socket_path)
    assert probe.cli("start").out == f"probe: already running (pid {instance.pid()})\n"
    assert instance.liveness().answer in ("busy", "serving")


def test_while_it_is_gone_a_command_with_typed_calls_waits_for_it(probe):
    """`describe`, `call` and `tap` said at once that there was no answer within their seconds."""
    probe.start()
    os.unlink(probe.place.socket_path)
    described = probe.cli("describe")
    assert (described.code, described.err) == (0, "")
    assert "org.daemonry.Control" in described.out


@pytest.mark.slow
def test_a_daemon_whose_socket_was_replaced_takes_its_place_back(probe):
    """In the directory that is ours alone, nobody else's socket has a right to the name."""
    instance = probe.start()
    os.unlink(probe.place.socket_path)
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(probe.place.socket_path)
    wait_until(lambda: probe.logged("listening there again"), BACK_S)
    assert instance.status()["state"] == "running"
    assert probe.logged(f"removing the stale socket {probe.place.socket_path}")


@pytest.mark.slow
def test_a_daemon_that_cannot_listen_again_says_so_once_and_goes_on(probe):
    """Whoever listens there now is live: not ours to remove.  The daemon is stopped by its signal."""
    instance = probe.start()
    os.unlink(probe.place.socket_path)
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(probe.place.socket_path)
        foreign.listen()
        wait_until(lambda: probe.logged("the socket file is gone and cannot be made again"), BACK_S)
        probe.signal(signal.SIGUSR1)
        wait_until(lambda: "another process listens there" in probe.messages()[-1], BACK_S)
        assert instance.liveness().answer == "busy"
        probe.signal(signal.SIGTERM)
        probe.wait_gone()
        assert os.path.exists(probe.place.socket_path), "removed a socket that it had not made"
    troubles = [message for message in probe.messages() if "cannot be made again" in message]
    assert len(troubles) == 1
    probe.bury()


def test_a_leftover_that_is_no_socket_is_replaced_in_our_own_directory(probe):
    """Of S001's own tests: a plain file at the path is replaced, with a warning."""
    directory = probe.sandbox.path / "run/probe"
    directory.mkdir(mode=0o700)
    (directory / "probe.sock").write_text("not a socket")
    instance = probe.start()
    assert instance.status()["state"] == "running"
    assert probe.logged(f"replacing a regular file at {probe.place.socket_path}")


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_at_a_path_that_the_user_gave_no_foreign_file_is_removed(probe, kind):
    """Decision 10: whatever the user has there, it is not ours."""
    path = probe.sandbox.path / "given.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to("elsewhere")
    else:
        path.mkdir()
    probe.write(options=f"endpoint='unix:{path}'")
    failed = probe.sandbox.daemonry("start", probe.program)
    assert failed.code == 1
    assert failed.err.startswith(f"probe: start failed (bind): cannot listen at {path}: there is a ")
    assert failed.err.endswith(", which is not ours to remove\n")
    assert os.path.lexists(path)
    assert kind != "file" or path.read_text() == "precious"


def test_a_path_longer_than_the_kernel_takes_works_all_the_same(probe):
    """Fault 18: through the directory's descriptor, by the daemon and by whoever looks for it."""
    directory = probe.sandbox.path / ("d" * 60) / ("e" * 60)
    probe.sandbox.env["PROBE_RUNTIME"] = str(directory)
    started = probe.sandbox.daemonry("start", probe.write())
    assert started.out.startswith(f"probe: ready at unix:{directory}/probe.sock (pid ")
    assert probe.cli("ping").out == "probe: answers\n"
    assert probe.cli("stop").out == "probe: stopped\n"
    assert not (directory / "probe.sock").exists()


def test_the_record_names_the_socket_for_those_who_look_elsewhere(probe):
    """Hard case 12: cron and ssh have another runtime directory, and must not find a second daemon."""
    probe.start()
    del probe.sandbox.env["XDG_RUNTIME_DIR"]
    assert probe.cli("status", "--json").json()["pid"] == probe.instance.pid()
    assert probe.cli("start").out == f"probe: already running (pid {probe.instance.pid()})\n"
    assert probe.cli("stop").out == "probe: stopped\n"


def test_a_descriptor_that_was_handed_over_is_served_and_not_removed(probe):
    """What a service manager made (LISTEN_FDS) is its to remove."""
    path = str(probe.sandbox.path / "given.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        probe.write(options=f"endpoint='fd:{listener.fileno()}'")
        words = (sys.executable, "-m", "daemonry", "run", probe.program)
        process = probe.sandbox.popen(*words, pass_fds=[listener.fileno()])
        try:
            wait_until(lambda: probe.instance.record() is not None, what="ready")
            assert probe.sandbox.daemonry("ping", path).out == f"unix:{path}: answers\n"
            assert probe.cli("stop").code == 0
        finally:
            process.kill()
            process.communicate()
    assert os.path.exists(path)
    os.unlink(path)

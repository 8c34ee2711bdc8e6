"""A socket of another machine through a kept connection: who is asked, what is told, and what is left.

The sshd and the ssh are real ones; ssh is a script that counts how often it is started.
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.other_machine import kept

import daemonry
from daemonry.errors import NotListening
from daemonry.testing import wait_until
from daemonry.transport import ssh
from daemonry.transport.connect import try_connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.ssh_socket import FarNote, Route
from daemonry.transport.ssh_words import FarSocket

SAY = "org.example.far.Say"
BOX = "ssh:box/far"


class Counted:
    """How often ssh was started."""

    def __init__(self, far, monkeypatch):
        self.log = far.directory / "started"
        script = far.directory / "counted-ssh"
        script.write_text(f'#!/bin/sh\necho >> {self.log}\nexec {os.environ["DAEMONRY_SSH"]} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("DAEMONRY_SSH", str(script))

    def more(self):
        """Return how many since the last question."""
        count = len(self.log.read_text()) if self.log.exists() else 0
        self.log.unlink(missing_ok=True)
        return count


@pytest.fixture
def started(far, sshd, monkeypatch):
    return Counted(far, monkeypatch)


def say(text):
    with daemonry.Client(daemonry.connect(BOX, timeout_s=20)) as client:
        return client.call(SAY, {"text": text})["result"]


def note():
    return ssh.route_to(Endpoint.parse(BOX)).note()


def left_behind():
    """Return the files of forwards."""
    return list(Path(os.environ["XDG_RUNTIME_DIR"], "daemonry").glob("to-*"))


def _without_uptime(text):
    return re.sub(r"uptime: \S+", "uptime", text)


def test_after_a_dial_nothing_is_started_for_the_next_connections(far, started):
    far.start()
    assert (say("dialled"), started.more()) == ("dialled", 1)
    assert (say("not dialled"), say("x" * 300_000), started.more()) == ("not dialled", "x" * 300_000, 0)
    first = far.near("--host", "box", "status", "far")
    assert started.more() == 1  # which a dial cannot tell: the variables that differ there
    for words, told in (
        (("status", "far"), "far: running"),
        (("ping", "far"), "far: answers"),
        (("pause", "far"), "far: paused"),
        (("pause", "far"), "far: already paused"),
        (("resume", "far", "--json"), '{"ok":true,"name":"far","result":"running"}'),
    ):
        here = far.sandbox.daemonry(*words) if words[0] == "status" else None
        done = far.near("--host", "box", *words)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert told in done.stdout
        if here is not None:
            assert [line.split(":")[0] for line in done.stdout.splitlines() if "environment" not in line] == [
                line.split(":")[0] for line in here.out.splitlines()
            ]
            assert _without_uptime(done.stdout) == _without_uptime(first.stdout)
    assert started.more() == 0
    assert far.near("--host", "box", "call", "far", SAY, "text=hello").stdout == '{"result":"hello"}\n'
    assert started.more() == 1
    assert not left_behind()


def test_a_daemon_that_has_ended_is_absent_and_its_successor_is_asked_by_a_dial(far, started):
    far.start()
    assert far.near("--host", "box", "status", "far").returncode == 0
    assert far.sandbox.daemonry("stop", "far").code == 0
    assert far.near("--host", "box", "status", "far").returncode == 3
    with pytest.raises(NotListening):
        daemonry.connect(BOX, timeout_s=20)
    assert try_connect(BOX, 20) is None
    far.start()
    started.more()
    assert far.near("--host", "box", "pause", "far").returncode == 0
    assert started.more() == 1  # another process
    assert far.near("--host", "box", "status", "far").returncode == 0
    assert started.more() == 0


def test_a_machine_that_refuses_channels_is_asked_twice_and_dialled_always(far, sshd, started):
    far.start()
    with (far.directory / "ssh.d" / "sshd").open("a") as file:
        file.write("AllowStreamLocalForwarding no\n")
    os.kill(sshd.pid, signal.SIGHUP)
    log = far.directory / "ssh.d" / "log"
    wait_until(lambda: log.read_text().count("listening on") == 2, what="sshd has read its file again")
    for number in range(4):
        assert say(f"by a dial {number}") == f"by a dial {number}"
    assert started.more() == 4
    assert note().refusals == 2
    assert not left_behind()


def test_an_edit_of_the_kept_connection_has_the_next_one_dialled(far, started):
    far.start()
    say("first")
    for control in kept():
        subprocess.run(["ssh", "-O", "exit", "-S", control, "box"], capture_output=True, check=False)
    wait_until(lambda: note() is None, 10, "the connection's socket is gone")  # ssh answers before it ends
    started.more()
    assert (say("second"), started.more()) == ("second", 1)


def test_what_killed_processes_left_is_removed_by_the_next_dial(far, started):
    far.start()
    directory = Path(os.environ["XDG_RUNTIME_DIR"], "daemonry")
    directory.mkdir(mode=0o700, exist_ok=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = [f"to-{ended.pid}-0", "far-000000", f"far-000001.{ended.pid}.1.tmp"]
    stays = [f"to-{os.getpid()}-999", "to-odd", "far-000002"]
    for name in gone + stays:
        (directory / name).touch()
    os.utime(directory / "far-000000", (1, 1))
    say("dialled")
    assert set(gone + stays) & set(os.listdir(directory)) == set(stays)
    for name in stays:
        (directory / name).unlink()


def test_the_socket_of_a_killed_master_does_not_make_every_connection_a_dial(far, started):
    """Its name has a hash of the user's configuration, so that ssh never removes it after an edit."""
    far.start()
    directory = Path(os.environ["XDG_RUNTIME_DIR"], "daemonry")
    say("dialled")
    (master,) = kept()
    stale = directory / f"{master.name[:-40]}{'0' * 40}"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(stale))
    (path,) = directory.glob("far-*")
    path.unlink()
    say("dialled")
    started.more()
    assert (say("not dialled"), started.more()) == ("not dialled", 0)
    stale.unlink()


def test_a_runtime_directory_with_blanks_has_kept_connections_too(far, started, monkeypatch):
    far.start()
    with tempfile.TemporaryDirectory(prefix="d m%h-") as ours:
        monkeypatch.setenv("XDG_RUNTIME_DIR", ours)
        assert (say("dialled"), say("not dialled"), started.more()) == ("dialled", "not dialled", 1)
        for control in kept():
            subprocess.run(["ssh", "-O", "exit", "-S", control, "box"], capture_output=True, check=False)


def test_a_connection_says_which_way_it_takes(far, started, monkeypatch):
    far.start()
    with daemonry.connect(BOX, timeout_s=20) as first, daemonry.connect(BOX, timeout_s=20) as second:
        assert (first.route, second.route) == ("kept", "kept")
    monkeypatch.setattr(ssh, "route_to", lambda *_: None)
    with daemonry.connect(BOX, timeout_s=20) as third:
        assert third.route == "dialled"
    with daemonry.connect(far.sandbox.place("far").socket_path) as here:
        assert here.route == "direct"


def test_a_note_counts_for_a_minute_and_for_its_own_words(far, started):
    far.start()
    say("first")
    assert note().far.path == far.sandbox.place("far").socket_path
    (path,) = Path(os.environ["XDG_RUNTIME_DIR"], "daemonry").glob("far-*")
    other = Route(str(path.parent), ("ssh", "other", "0"), ("daemonry", "far"))
    assert FarNote.read(path.read_bytes(), other._words) is None
    os.utime(path, (1, path.stat().st_mtime - 61))
    assert note() is None
    path.write_bytes(b"2\0half")
    assert note() is None


@pytest.mark.parametrize(
    "reason",
    [
        "unix:/run/a",
        "0.9",
        "",
        "1.0 1 unix:/a",
        "1.0 x - unix:/a",
        "1.0 1 - tcp:h:1",
        "1.0 1 - unix:a",
        "a:b 1 - unix:/a",
        "1.0 1  unix:/a",
    ],
)
def test_a_first_line_without_a_socket_tells_none(reason):
    assert FarSocket.read(reason) is None


def test_a_socket_goes_there_and_back_in_a_line():
    one = FarSocket("1.0", 4711, "LANG,PATH", "/run/user/1000/a b/a.sock")
    assert FarSocket.read(str(one)) == one


def test_a_socket_in_a_directory_of_others_is_not_told(sandbox, tmp_path):
    from daemonry.cli.hosts.told_socket import told_socket
    from daemonry.daemon.instance import Instance

    directory = tmp_path / "shared"
    directory.mkdir()
    there = Instance(None, Endpoint.unix(str(directory / "a.sock")))
    assert told_socket(there).path == str(directory / "a.sock")
    directory.chmod(0o777)
    assert told_socket(there) is None

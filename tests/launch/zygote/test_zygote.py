"""Starts by a zygote: it serves, is never needed, never old, and leaves nothing."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from daemonry.errors import StartFailed
from daemonry.launch.stop import stop
from daemonry.launch.zygote import asking, making
from daemonry.process import platform
from daemonry.testing import wait_until


def test_it_is_off_unless_somebody_turns_it_on(starts, monkeypatch):
    monkeypatch.setenv("DAEMONRY_ZYGOTE", "0")
    record = starts.start("one")
    assert not starts.is_forked(record)
    assert starts.sockets() == []


def test_the_first_start_makes_a_zygote_and_the_next_uses_it(starts):
    first, second = starts.start("one"), starts.start("two")
    (zygote,) = starts.zygotes()
    assert [starts.parent_of(record.pid) for record in (first, second)] == [zygote, zygote]
    assert starts.sandbox.instance("two").status()["state"] == "running"


@pytest.mark.slow
def test_a_daemon_outlives_its_zygote_and_stops_restarts_and_upgrades_as_usual(starts):
    record = starts.start("one")
    starts.end()
    instance = starts.sandbox.instance("one")
    assert instance.status()["state"] == "running"
    assert starts.sandbox.daemonry("upgrade", "one").code == 0
    assert instance.pid() != record.pid
    upgraded = instance.pid()
    assert starts.sandbox.daemonry("restart", "one").code == 0
    assert instance.pid() != upgraded
    stop(instance, timeout_s=10.0)
    assert instance.lock_held() is False
    assert starts.sandbox.daemonry("start", "one").out.startswith("one: ready")


def test_a_quiet_zygote_ends_and_leaves_nothing(starts, monkeypatch):
    monkeypatch.setattr(making, "ZYGOTE_QUIET_S", 0.3)
    record = starts.start("one")
    wait_until(lambda: not starts.zygotes(), what="the zygote has ended")
    assert starts.sockets() == []
    assert starts.sandbox.instance("one").status()["state"] == "running"
    assert starts.parent_of(record.pid) != os.getpid()


@pytest.mark.parametrize("on", ["0", "1"])
def test_an_early_end_is_told_with_its_status_and_its_words(starts, monkeypatch, on):
    """The same whoever has started it."""
    starts.start("one")
    monkeypatch.setenv("DAEMONRY_ZYGOTE", on)
    with pytest.raises(StartFailed) as caught:
        starts.start("bad", "import os, sys\nprint('last words', flush=True)\nos._exit(7)\n")
    assert (caught.value.exit_status, caught.value.log_tail) == (7, "last words")
    with pytest.raises(StartFailed, match="SIGKILL") as caught:
        starts.start("worse", "import os\nos.kill(os.getpid(), 9)\n")
    assert caught.value.exit_status == -9
    with pytest.raises(StartFailed, match="No module named 'nothing'") as caught:
        starts.start("wrong", "import nothing\n")
    assert caught.value.exit_status == 2
    assert len(starts.zygotes()) == 1


@pytest.mark.slow
def test_a_changed_file_ends_the_zygote_before_it_serves(starts, monkeypatch):
    """A module that is edited, and one that appears where it would be found before another."""
    place = starts.sandbox.path / "modules"
    place.mkdir()
    loaded = place / "sitecustomize.py"
    loaded.write_text("")
    wait_until(lambda: time.time() - place.stat().st_ctime > 0.1, what="files older than the zygote")
    monkeypatch.setenv("PYTHONPATH", f"{place}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    starts.start("one")
    for number, change in enumerate([loaded.write_text, (place / "late.py").write_text]):
        assert starts.is_forked(starts.start(f"before{number}"))
        assert len(starts.zygotes()) == 1
        change("# edited\n")
        after = starts.start(f"after{number}")
        assert starts.parent_of(after.pid) == os.getpid()
        wait_until(lambda: not starts.zygotes(), what="the zygote has ended")
        wait_until(lambda: time.time() - place.stat().st_ctime > 0.1, what="files older than the zygote")
        wait_until(lambda: time.time() - loaded.stat().st_ctime > 0.1, what="files older than the zygote")


@pytest.mark.slow
def test_another_environment_has_another_zygote(starts, monkeypatch):
    starts.start("one")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    second = starts.start("two")
    assert len(starts.zygotes()) == 2
    with open(f"/proc/{second.pid}/environ", "rb") as file:
        assert b"TZ=Europe/Berlin" in file.read().split(b"\0")


@pytest.mark.slow
def test_there_are_at_most_so_many(starts, monkeypatch):
    monkeypatch.setattr(making, "MAX_ZYGOTES", 1)
    starts.start("one")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert not starts.is_forked(starts.start("two"))
    assert len(starts.zygotes()) == 1


def test_a_frozen_zygote_is_not_waited_for_long(starts):
    starts.start("one")
    (zygote,) = starts.zygotes()
    starts.send(zygote, signal.SIGSTOP)
    record = starts.start("two")
    assert starts.parent_of(record.pid) == os.getpid()
    starts.send(zygote, signal.SIGCONT)
    # It finds the connection closed, and forks for nobody.
    assert starts.is_forked(starts.start("three"))
    assert starts.sandbox.instance("two").pid() == record.pid


def test_a_zygote_that_is_killed_in_the_middle_of_a_request_is_replaced_by_a_spawn(starts, monkeypatch):
    starts.start("one")
    (zygote,) = starts.zygotes()
    starts.send(zygote, signal.SIGSTOP)
    sent = asking._send

    def send_and_kill(sock, message, fds):
        sent(sock, message, fds)
        os.kill(zygote, signal.SIGKILL)

    monkeypatch.setattr(asking, "_send", send_and_kill)
    record = starts.start("two")
    assert starts.parent_of(record.pid) == os.getpid()
    monkeypatch.setattr(asking, "_send", sent)
    wait_until(lambda: not starts.zygotes(), what="the zygote has gone")
    third = starts.start("three")
    assert starts.is_forked(third)
    assert len(starts.sockets()) == 1


@pytest.mark.slow
def test_a_starter_that_leaves_before_its_order_leaves_no_daemon(starts, monkeypatch):
    """The order commits: until then the child has nothing of the starter's, and ends with the connection."""
    starts.start("one")
    children = []
    usual = asking._child

    def too_late(*arguments):
        children.append(usual(*arguments))

    monkeypatch.setattr(asking, "_child", too_late)
    record = starts.start("two")
    assert starts.parent_of(record.pid) == os.getpid()
    wait_until(lambda: platform.start_time(children[0]) is None, what="the child has ended")
    assert starts.sandbox.instance("two").pid() == record.pid


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"", b"pid 1", b"pid x", b"no", b"pid 99999999999", b"\xff" * 1000])
def test_a_hostile_zygote_leads_to_a_spawn(starts, monkeypatch, answer):
    """Something else listens where the zygote would, and answers whatever it likes."""
    starts.start("one")
    starts_key = starts.sockets()[0]
    starts.end()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as squatter:
        squatter.bind(str(starts_key))
        squatter.listen()

        def reply():
            peer, _ = squatter.accept()
            with peer:
                peer.recv(1 << 18)
                if answer:
                    peer.send(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        record = starts.start("two")
        thread.join(10)
    assert not thread.is_alive()
    assert starts.parent_of(record.pid) == os.getpid()


@pytest.mark.slow
def test_twenty_simultaneous_starts_make_one_zygote_and_twenty_daemons(starts):
    names = [f"many{number}" for number in range(20)]
    for name in names:
        starts.program(name)
    words = [sys.executable, "-m", "daemonry", "start"]
    running = [starts.sandbox.popen(*words, starts.sandbox.path / f"{name}.py") for name in names]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "ready" in out
    pids = [starts.sandbox.instance(name).pid() for name in names]
    assert len(set(pids)) == 20
    assert len(starts.zygotes()) == 1
    assert len(starts.sockets()) == 1


@pytest.mark.slow
def test_twenty_who_want_one_daemon_get_one(starts):
    starts.program("one")
    code = "import daemonry, one; daemonry.ensure(one.daemon).close()"
    running = [starts.sandbox.popen(sys.executable, "-c", code) for _ in range(20)]
    assert [process.wait(120) for process in running] == [0] * 20
    for process in running:
        process.communicate()
    assert starts.sandbox.instance("one").status()["state"] == "running"


def test_another_user_gets_no_daemon_of_ours(starts, as_nobody, tmp_path):
    """Even where somebody has opened the directories."""
    starts.start("one")
    path = starts.sockets()[0]
    directory = path.parent
    opened = []
    while directory != directory.parent:
        opened.append((directory, directory.stat().st_mode))
        directory = directory.parent
        if str(directory) == "/tmp":
            break
    for one, _ in opened:
        one.chmod(0o755)
    path.chmod(0o777)
    script = """
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.settimeout(10)
sock.connect(sys.argv[1])
try:
    sock.send(b"material")
    print(sock.recv(100))
except (BrokenPipeError, ConnectionResetError):
    print(b"")
"""
    try:
        done = subprocess.run(
            as_nobody(script, path), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        for one, mode in opened:
            one.chmod(mode & 0o7777)
    assert (done.stdout, done.stderr) == ("b''\n", "")
    assert starts.is_forked(starts.start("two"))


@pytest.mark.slow
def test_a_connection_that_says_nothing_does_not_hold_others_up(starts):
    starts.start("one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(starts.sockets()[0]))
        assert starts.is_forked(starts.start("two"))


@pytest.mark.slow
def test_the_exit_code_of_a_daemon_that_has_come_up_is_nobodys_and_its_zygote_buries_it(starts):
    record = starts.start("one")
    os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{record.pid}"), what="buried")
    starts.sandbox.instance("one")
    again = starts.start("one")
    assert starts.is_forked(again)


@pytest.mark.slow
def test_a_start_costs_no_zygote_in_development_mode(starts, monkeypatch):
    monkeypatch.setenv("DAEMONRY_DEV", "1")
    record = starts.start("one")
    assert starts.parent_of(record.pid) == os.getpid()
    assert starts.sockets() == []

"""Services that start on demand, and by the clock."""

import os
import signal
import socket
import sys
import threading
from datetime import datetime

import pytest

from daemonry.home.trigger.schedule import Schedule, ScheduleInvalid, parse_time
from daemonry.testing import wait_until

needs_linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="homes need Linux")

# Takes the socket as sd_listen_fds(3) says, answers with its pid, and ends after `$1` seconds of quiet.
SERVER = r"""
import os, socket, sys
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
listening = socket.socket(fileno=3)
listening.settimeout(float(sys.argv[1]))
while True:
    try:
        connection, _ = listening.accept()
    except TimeoutError:
        sys.exit(0)
    with connection:
        connection.settimeout(30)
        while data := connection.recv(100):
            connection.sendall(str(os.getpid()).encode())
"""


def ask(path_or_port):
    """One client: connects, asks, and returns the pid that answered."""
    if isinstance(path_or_port, int):
        sock = socket.create_connection(("127.0.0.1", path_or_port), timeout=30)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(path_or_port))
    with sock:
        sock.sendall(b"?")
        return int(sock.recv(100))


def server(quiet_s="60"):
    return [sys.executable, "-c", SERVER, quiet_s]


def state(shop, name="a"):
    return shop.ps()[name]["state"]


# --- on demand --------------------------------------------------------------------------------------


@needs_linux
def test_the_first_connection_starts_it_and_nothing_before(shop, service):
    shop.write(service("a", server(), start='"on_demand"') + service("b", needs='["a"]'))
    done = shop.up()
    assert "a  idle: starts when somebody connects" in done.out
    assert (state(shop), shop.pid("a"), state(shop, "b")) == ("idle", None, "ready")
    pid = ask(shop.path / "a.sock")
    wait_until(lambda: state(shop) == "ready", what="it is ready")
    assert (shop.pid("a"), ask(shop.path / "a.sock")) == (pid, pid)
    shop.down()
    assert not (shop.path / "a.sock").exists()
    shop.wait_nothing()


@needs_linux
def test_one_that_ended_idle_comes_back_with_the_next_connection(shop, service):
    shop.write(service("a", server("0.1"), start='"on_demand"'))
    shop.up()
    first = ask(shop.path / "a.sock")
    wait_until(lambda: state(shop) == "idle", what="it ended")
    second = ask(shop.path / "a.sock")
    assert first != second
    assert shop.ps()["a"]["restarts"] == 0


@needs_linux
def test_no_client_notices_that_it_ends_again_and_again(shop, service):
    """Connections that come as it ends wait in the queue, and the next process answers them."""
    shop.write(service("a", server("0.02"), start='"on_demand"'))
    shop.up()
    pids, failures = set(), []

    def client():
        try:
            for _ in range(15):
                pids.add(ask(shop.path / "a.sock"))
                threading.Event().wait(0.03)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(pids) > 1


@needs_linux
def test_one_that_nobody_is_connected_to_is_ended_after_its_timeout(shop, service):
    shop.write(service("a", server(), start='"on_demand"', idle_timeout='"400ms"'))
    shop.up()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(shop.path / "a.sock"))
        wait_until(lambda: state(shop) == "ready", what="it is ready")
        threading.Event().wait(0.8)  # what is promised is that nothing happens
        assert state(shop) == "ready"
    wait_until(lambda: state(shop) == "idle", what="it is ended")
    assert any("nobody was connected" in one for one in shop.events("a"))
    assert ask(shop.path / "a.sock") > 0


@needs_linux
def test_a_tcp_port_is_held_too_and_one_that_is_taken_fails_the_service(shop, service):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shop.write(service("a", server(), start='"on_demand"', listen=f'"tcp:127.0.0.1:{port}"'))
        done = shop.cli("up")
        assert (done.code, state(shop)) == (1, "failed")
        assert "cannot be waited for" in shop.ps()["a"]["note"]
    assert shop.cli("up", "a").code == 0
    assert ask(port) > 0


# The simplest server: it needs a blocking socket.  It ends, and leaves the socket in asyncio's mode.
BLOCKING = r"""
import os, socket
listening = socket.socket(fileno=3)
assert os.get_blocking(3)
connection, _ = listening.accept()
connection.recv(100)
os.set_blocking(3, False)
connection.sendall(str(os.getpid()).encode())
"""


@needs_linux
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_each_process_gets_a_blocking_socket(shop, service, kind):
    where, keys = shop.path / "a.sock", {}
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as free:
            where = free.getsockname()[1]
        keys = {"listen": f'"tcp:127.0.0.1:{where}"'}
    shop.write(service("a", [sys.executable, "-c", BLOCKING], start='"on_demand"', restart='"never"', **keys))
    shop.up()
    assert ask(where) != ask(where)


@needs_linux
def test_one_that_crashes_is_restarted_and_its_queue_is_served(shop, service):
    shop.write(service("a", server(), start='"on_demand"', restart_delay='"10ms"'))
    shop.up()
    first = ask(shop.path / "a.sock")
    os.kill(first, signal.SIGKILL)
    second = ask(shop.path / "a.sock")
    assert second != first


@needs_linux
def test_a_restart_refuses_nobody(shop, service):
    shop.write(service("a", server(), start='"on_demand"'))
    shop.up()
    first = ask(shop.path / "a.sock")
    assert shop.cli("restart", "a").code == 0
    assert ask(shop.path / "a.sock") != first
    shop.cli("down", "a")
    wait_until(lambda: not (shop.path / "a.sock").exists(), what="its socket is given back")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('start = "later"', "must be up or on_demand"),
        ('listen = "tcp:127.0.0.1:80"', "on_demand"),
        ('start = "on_demand"\norphan = "adopt"', "cannot outlive"),
        ('start = "on_demand"\nlisten = "127.0.0.1"', "listen"),
        ('start = "on_demand"\nready = { socket = true }', "proves nothing"),
        ('schedule = { every = "1h", at = "03:00" }', "one of every, at and cron"),
        ('schedule = { at = "25:00" }', "not a time of day"),
        ('schedule = { every = "soon" }', "not a length of time"),
        ("schedule = {}", "one of every, at and cron"),
    ],
)
def test_a_start_that_cannot_be_is_an_error_with_its_place(shop, service, keys, told):
    shop.write(service("a") + keys + "\n")
    done = shop.cli("up")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "home.toml:" in done.err
    assert told in done.err


# --- by the clock -----------------------------------------------------------------------------------


@needs_linux
def test_one_with_a_period_runs_again_and_again_and_is_idle_between(shop, service):
    shop.write(service("a", ["sh", "-c", "echo ran"], schedule='{ every = "150ms" }'))
    done = shop.up()
    assert "a  idle: runs next at" in done.out
    wait_until(lambda: len(shop.written("a")) >= 3, what="it ran three times")
    assert shop.ps()["a"]["restarts"] == 0


@needs_linux
def test_a_start_by_hand_runs_it_now(shop, service):
    shop.write(service("a", ["sh", "-c", "echo ran"], schedule='{ at = ["00:00", "12:00"] }'))
    shop.up()
    assert shop.written("a") == []
    shop.cli("up", "a")
    wait_until(lambda: shop.written("a") == ["ran"], what="it ran")
    wait_until(lambda: state(shop) == "idle", what="it waits again")


@needs_linux
def test_one_that_fails_is_tried_at_its_next_moment(shop, service):
    shop.write(
        service("a", ["sh", "-c", "echo ran; exit 3"], restart='"never"', schedule='{ every = "150ms" }')
    )
    shop.up()
    wait_until(lambda: len(shop.written("a")) >= 2, what="it ran again")
    assert shop.cli("down").code == 0


NOON = datetime(2026, 5, 1, 12, 0, 0)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(every_s=90.0), "2026-05-01 12:01:30"),
        (Schedule(at=((12, 0), (11, 59))), "2026-05-02 11:59:00"),
        (Schedule(at=((12, 1),)), "2026-05-01 12:01:00"),
    ],
)
def test_the_next_moment(schedule, expected):
    assert str(schedule.next_after(NOON)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("*/5 * * * *", "2026-05-01 12:05:00"),
        ("0 3 * * sun", "2026-05-03 03:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
    ],
)
def test_the_next_moment_of_cron(words, expected):
    pytest.importorskip("cronsim")
    assert str(Schedule(cron=words).next_after(NOON)) == expected


@pytest.mark.parametrize("words", ["", "* * * *", "61 * * * *", "x * * * *", "* * * * * * * *"])
def test_cron_words_that_are_none(words):
    pytest.importorskip("cronsim")
    with pytest.raises(ScheduleInvalid):
        Schedule(cron=words).next_after(NOON)


@pytest.mark.parametrize("text", ["", "3", "24:00", "12:60", "12:00:00", " 12:00"])
def test_times_that_are_none(text):
    with pytest.raises(ScheduleInvalid):
        parse_time(text)

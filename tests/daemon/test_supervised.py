"""Run by a service manager: the socket that it opened, and what it is told (sd_listen_fds, sd_notify)."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

import daemonry
from daemonry.testing import wait_until

PROGRAM = """
from daemonry import Interface
class Who(Interface, name="org.example.who"):
    def pid(self) -> int:
        return os.getpid()
    def environ(self) -> list[str]:
        return sorted(os.environ)
    def stick(self, seconds: float) -> None:
        time.sleep(seconds)
daemon.serve(Who())
"""

# What a manager does between fork and exec: the socket at descriptor 3, and the pid that it is for.
ACTIVATE = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "right" else "1"
os.execv(sys.executable, [sys.executable, "-m", "daemonry", "run", sys.argv[2]])
"""


class Manager:
    """A service manager that starts the probe and listens at its notify socket."""

    def __init__(self, probe, name="notify"):
        self.probe = probe
        self.path = str(probe.sandbox.path / name)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.heard = []

    def hear(self, line, timeout_s=20.0):
        """Wait for a message with this line in it and return the whole message."""
        until_s = time.monotonic() + timeout_s
        while True:
            for message in self.heard:
                if line in message.splitlines():
                    self.heard.remove(message)
                    return message
            left_s = until_s - time.monotonic()
            assert left_s > 0, f"{line!r} was not heard, only {self.heard}"
            if select.select([self.sock], [], [], left_s)[0]:
                self.heard.append(self.sock.recv(4096).decode())

    def forget(self):
        while select.select([self.sock], [], [], 0)[0]:
            self.sock.recv(4096)
        self.heard.clear()


@pytest.fixture
def manager(probe):
    made = Manager(probe)
    probe.sandbox.env["NOTIFY_SOCKET"] = made.path
    yield made
    made.sock.close()
    os.unlink(made.path)


def test_ready_reloading_and_stopping_are_told(probe, manager):
    with probe.foreground(PROGRAM) as process:
        ready = manager.hear("READY=1")
        assert f"MAINPID={process.pid}" in ready.splitlines()
        assert f"STATUS=serving at unix:{probe.place.socket_path}" in ready.splitlines()
        before = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
        process.send_signal(signal.SIGHUP)
        reloading = manager.hear("RELOADING=1")
        micros = int(reloading.split("MONOTONIC_USEC=")[1].split()[0])
        assert before <= micros <= int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
        assert "STATUS=reloaded" in manager.hear("READY=1")
        process.terminate()
        assert "STATUS=draining" in manager.hear("STOPPING=1")
        assert process.wait(20) == 0


def test_the_watchdog_hears_a_loop_that_runs_and_not_one_that_is_stuck(probe, manager):
    probe.sandbox.env["WATCHDOG_USEC"] = "400000"
    with probe.foreground(PROGRAM) as process:
        manager.hear("WATCHDOG=1")
        manager.hear("WATCHDOG=1", 2.0)
        with daemonry.Client.connect(probe.instance.endpoint()) as client:
            client.oneway("org.example.who.Stick", {"seconds": 1.2})
            probe.instance.liveness(timeout_s=0.2)  # silent: the call has begun
            manager.forget()
            assert not select.select([manager.sock], [], [], 0.5)[0]
        manager.hear("WATCHDOG=1")
        process.terminate()
        assert process.wait(20) == 0


def test_children_and_others_do_not_speak_for_it(probe, manager):
    probe.sandbox.env |= {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}
    with probe.foreground(PROGRAM) as process:
        manager.hear("READY=1")
        with daemonry.Client.connect(probe.instance.endpoint()) as client:
            seen = client.call("org.example.who.Environ")["result"]
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"} & set(seen)
        process.terminate()
        assert process.wait(20) == 0
    manager.hear("STOPPING=1")
    assert "WATCHDOG=1" not in manager.heard


def test_a_manager_that_is_gone_does_no_harm(probe):
    probe.sandbox.env["NOTIFY_SOCKET"] = str(probe.sandbox.path / "nobody")
    with probe.foreground(PROGRAM) as process:
        assert probe.instance.status()["state"] == "running"
        process.terminate()
        assert process.wait(20) == 0
    assert probe.logged("the service manager cannot be notified")


@contextlib.contextmanager
def activated(probe, pid="right"):
    path = str(probe.sandbox.path / "given.sock")
    program = probe.write(PROGRAM)
    with contextlib.ExitStack() as stack, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        stack.callback(os.unlink, path)
        listener.listen(8)
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(path)  # before anything runs: this is what activation is for
            early.sendall(b'{"method":"org.example.who.Pid"}\0')
            script = f"import os; os.dup2({listener.fileno()}, 3); os.environ['LISTEN_FDS'] = '1'\n{ACTIVATE}"
            with subprocess.Popen(
                [sys.executable, "-c", script, pid, program],
                env=probe.sandbox.env,
                cwd=probe.sandbox.path,
                pass_fds=(listener.fileno(),),
                stderr=subprocess.DEVNULL,
            ) as process:
                try:
                    yield process, early, path
                finally:
                    if process.poll() is None:
                        process.terminate()
                    process.wait(20)


def test_the_socket_that_was_opened_for_it_is_served_and_left(probe):
    with activated(probe) as (process, early, path):
        early.settimeout(20)
        assert f'"result":{process.pid}'.encode() in early.recv(999)
        assert str(probe.instance.endpoint()) == f"unix:{path}"
        with daemonry.ensure("probe", mode="supervised") as client:
            assert client.call("org.example.who.Pid")["result"] == process.pid
        assert not os.path.exists(probe.place.socket_path)
        process.terminate()
        assert process.wait(20) == 0
        assert os.path.exists(path)


def test_a_socket_for_another_process_is_not_taken(probe):
    with activated(probe, "wrong") as (process, _, _path):
        wait_until(lambda: os.path.exists(probe.place.socket_path), 20, "its own socket")
        wait_until(lambda: probe.instance.status()["state"] == "running", 20, "ready")
        assert str(probe.instance.endpoint()) == f"unix:{probe.place.socket_path}"
        process.terminate()
        assert process.wait(20) == 0


def test_who_waits_for_a_supervised_daemon_makes_the_manager_start_it(probe):
    """Nothing runs yet, only a socket that a manager keeps; the first who connects has it started."""
    program = probe.write(PROGRAM)
    os.makedirs(os.path.dirname(probe.place.socket_path), mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(probe.place.socket_path)
        listener.listen(8)
        fd = listener.fileno()
        script = (
            f"import os, select; select.select([{fd}], [], []); os.dup2({fd}, 3)\n"
            f"os.environ['LISTEN_FDS'] = '1'\n{ACTIVATE}"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, "right", program],
            env=probe.sandbox.env,
            cwd=probe.sandbox.path,
            pass_fds=(fd,),
            stderr=subprocess.DEVNULL,
        ) as manager:
            try:
                with daemonry.ensure("probe", mode="supervised", timeout=20) as client:
                    assert client.call("org.example.who.Pid")["result"] == manager.pid
            finally:
                manager.terminate()
                manager.wait(20)
    os.unlink(probe.place.socket_path)


STARTS_ON_DEMAND = """
import os, select, subprocess, sys
fd = int(sys.argv.pop())
given = f"import os; os.dup2({fd}, 3); os.environ['LISTEN_FDS'] = '1'\\n"
for _ in range(2):
    select.select([fd], [], [])  # a socket that is refusing is readable for ever
    subprocess.run([sys.executable, "-c", given + ACTIVATE, *sys.argv[1:]], pass_fds=[fd])
"""


def test_after_an_idle_end_the_next_who_comes_is_served_by_the_next_daemon(probe):
    """The manager's socket goes on: it refused everybody for ever, and the manager started for nobody."""
    program = probe.write(PROGRAM, "idle_timeout_s=0.5")
    script = f"ACTIVATE = {ACTIVATE!r}{STARTS_ON_DEMAND}"
    os.makedirs(os.path.dirname(probe.place.socket_path), mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(probe.place.socket_path)
        listener.listen(8)
        with subprocess.Popen(
            [sys.executable, "-c", script, "right", program, str(listener.fileno())],
            env=probe.sandbox.env,
            cwd=probe.sandbox.path,
            pass_fds=(listener.fileno(),),
            stderr=subprocess.DEVNULL,
        ) as manager:
            try:
                with daemonry.ensure("probe", mode="supervised", timeout=20) as client:
                    first = client.call("org.example.who.Pid")["result"]
                    wait_until(lambda: probe.instance.lock_held() is False, 20, "the idle end")
                    assert client.call("org.example.who.Pid")["result"] != first
                assert manager.wait(20) == 0
            finally:
                manager.kill()
    os.unlink(probe.place.socket_path)


KEEPS = """
import os, select, socket, subprocess, sys
open("/proc/self/comm", "w").write(sys.argv.pop(1))
path = sys.argv.pop()
os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
kept = socket.socket(socket.AF_UNIX)
kept.bind(path)
os.chmod(path, 0o600)
kept.listen(8)
fd = kept.fileno()
given = f"import os; os.dup2({fd}, 3); os.environ['LISTEN_FDS'] = '1'\\n"
print("kept", flush=True)
while True:
    select.select([fd], [], [])
    subprocess.run([sys.executable, "-c", given + ACTIVATE, *sys.argv[1:]], pass_fds=[fd])
"""


@contextlib.contextmanager
def keeper(probe, name):
    """A process of that name that keeps the probe's usual socket, and starts it when somebody connects."""
    program = probe.write(PROGRAM)
    script = f"ACTIVATE = {ACTIVATE!r}{KEEPS}"
    with subprocess.Popen(
        [sys.executable, "-c", script, name, "right", program, probe.place.socket_path],
        env=probe.sandbox.env,
        cwd=probe.sandbox.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout.readline() == b"kept\n"
            yield process
        finally:
            process.kill()
            process.wait(20)
            os.unlink(probe.place.socket_path)


@pytest.mark.slow
def test_whoever_wants_a_daemon_whose_socket_systemd_keeps_has_it_started_by_systemd(probe):
    """After `daemonry install` both `start` and `ensure` failed at the socket that they could have used."""
    with keeper(probe, "systemd"):
        first = probe.sandbox.daemonry("start", probe.program)
        pid = probe.instance.pid()
        assert (first.code, first.err) == (0, "")
        assert first.out == f"probe: ready at unix:{probe.place.socket_path} (pid {pid})\n"
        # The process that listened last is gone now: the kernel no longer names systemd.
        assert probe.cli("stop").code == 0
        with daemonry.ensure("probe", timeout=20) as client:
            second = client.call("org.example.who.Pid")["result"]
            assert "LISTEN_PID" not in client.call("org.example.who.Environ")["result"]
        assert probe.cli("restart").code == 0
        assert len({pid, second, probe.instance.pid()}) == 3
        assert probe.cli("stop").code == 0


def test_a_socket_that_another_process_holds_is_still_told_at_once(probe):
    with keeper(probe, "python") as process:
        process.send_signal(signal.SIGSTOP)
        failed = probe.sandbox.daemonry("start", probe.program)
    told = f"cannot listen at {probe.place.socket_path}: another process listens there"
    assert (failed.code, failed.err) == (1, f"probe: start failed (bind): {told}\n")

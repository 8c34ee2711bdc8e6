"""A daemon of another machine, through ssh: the answers, the bytes, and what is left behind.

The other machine is a stand-in: `ssh` is a script that runs the command here, with directories of its
own.  One test, where sshd is installed, has the real one.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from tests.other_machine import kept, reaped

import daemonry
from daemonry.cli import target
from daemonry.daemon.instance import Instance
from daemonry.errors import (
    AccessDenied,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    NotListening,
    NotSendable,
    Unreachable,
)
from daemonry.testing import wait_until
from daemonry.transport import ssh
from daemonry.transport.ancillary import Fd
from daemonry.transport.connect import try_connect
from daemonry.transport.endpoint import Endpoint

SAY = "org.example.far.Say"


def say(endpoint, text, timeout_s=20.0):
    with daemonry.Client(daemonry.connect(endpoint, timeout_s=timeout_s)) as client:
        return client.call(SAY, {"text": text})["result"]


def test_a_call_and_a_large_one_and_many_go_there_and_back(far):
    far.start()
    with daemonry.Client(daemonry.connect("ssh:box/far", timeout_s=20)) as client:
        for text in ("one", "x" * 3_000_000, "", "\u20ac" * 1000):
            assert client.call(SAY, {"text": text})["result"] == text
    path = far.sandbox.place("far").socket_path
    assert say(f"ssh:box/{path}", "by its path") == "by its path"


def test_an_asyncio_client_goes_there_too(far):
    far.start()

    async def ask():
        async with daemonry.Pool("ssh:box/far") as pool:
            replies = await asyncio.gather(*(pool.call(SAY, {"text": str(n)}) for n in range(4)))
            return [reply["result"] for reply in replies]

    assert asyncio.run(ask()) == ["0", "1", "2", "3"]


def test_one_that_does_not_run_is_said_to_be_absent_and_allows_a_start(far):
    with pytest.raises(NotListening) as caught:
        daemonry.connect("ssh:box/far", timeout_s=20)
    assert caught.value.ran == "no"
    assert try_connect("ssh:box/far", 20) is None
    assert Instance(None, Endpoint.parse("ssh:box/far")).liveness(20).answer == "absent"


def test_it_is_started_there_where_the_endpoint_says_how(far):
    endpoint = f"ssh:box/far;start={far.program}"
    assert say(endpoint, "started") == "started"
    pid = far.sandbox.daemonry("status", "far", "--json").out
    assert say(endpoint, "again") == "again"
    assert pid.partition('"pid":')[2].split(",")[0] in far.sandbox.daemonry("status", "far", "--json").out


def test_a_command_gives_a_start_there_the_time_of_a_start(far, monkeypatch):
    """It takes as long as the program's imports; five seconds are for connecting to what runs."""
    monkeypatch.setattr("daemonry.cli.target.CONNECT_TIMEOUT_S", 0.001)
    instance = Instance(None, Endpoint.parse(f"ssh:box/far;start={far.program}"))
    with target.connected(instance, 60) as client:
        assert client.call(SAY, {"text": "up"}) == {"result": "up"}


def test_an_answer_that_comes_too_late_says_that_it_had_to_start_too(far):
    far.is_ssh("exec sleep 60")
    with pytest.raises(
        Unreachable, match=r"no answer within 0\.3 s, in which far\.py was to be started, too"
    ):
        daemonry.connect("ssh:box/far;start=far.py", timeout_s=0.3)


def test_a_start_that_fails_says_what_the_machine_says(far):
    broken = far.sandbox.write("broken.py", "raise SystemError('no such shelf')")
    with pytest.raises(ConnectError, match="no such shelf"):
        daemonry.connect(f"ssh:box/far;start={broken}", timeout_s=20)


def test_a_start_of_another_daemon_is_told_with_its_name(far):
    """That it does not run leaves nobody a reason to look at what was started."""
    with pytest.raises(ConnectError, match=r"^other does not run after the start of .*: far: ready at"):
        daemonry.connect(f"ssh:box/other;start={far.program}", timeout_s=20)
    assert far.sandbox.daemonry("stop", "far").code == 0


def test_a_machine_out_of_reach_is_never_an_absent_daemon(far):
    far.is_ssh("echo 'ssh: connect to host box port 22: No route to host' >&2; exit 255")
    instance = Instance(None, Endpoint.parse("ssh:box/far"))
    with pytest.raises(Unreachable, match="No route to host") as caught:
        try_connect("ssh:box/far", 20)
    assert caught.value.ran == "no"
    assert instance.liveness(20).answer == "unreachable"
    far.sandbox.env["DAEMONRY_SSH"] = os.environ["DAEMONRY_SSH"]
    for verb, *words in (("status",), ("ping",), ("stop",), ("call", SAY, "text=x"), ("describe",)):
        done = far.sandbox.daemonry(verb, "ssh:box/far", *words)
        assert done.code == 5, done
        assert "ssh:box/far is unreachable: ssh: connect to host box port 22: No route" in done.err, done


def test_an_ssh_that_says_nothing_is_given_up_at_the_deadline_and_ended(far):
    far.is_ssh(f"echo $$ > {far.directory}/pid; exec sleep 600")
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer within 0\.5 s"):
        daemonry.connect("ssh:box/far", timeout_s=0.5)
    assert time.monotonic() - begun < 10
    (pid,) = ssh._children
    wait_until(reaped)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_machine_without_daemonry_says_what_to_do(far, monkeypatch):
    monkeypatch.setenv("DAEMONRY_REMOTE", "/nowhere/daemonry")
    with pytest.raises(ConnectError, match="has no daemonry on its PATH") as caught:
        daemonry.connect("ssh:box/far", timeout_s=20)
    assert not isinstance(caught.value, (NotListening, Unreachable))


def test_another_thread_that_connects_takes_no_reason_away(far):
    """Each connection waits for the ssh processes of those before it."""
    far.is_ssh("exit 127")
    done = threading.Event()

    def others():
        while not done.is_set():
            ssh._reap()

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for _ in range(20):
            with pytest.raises(ConnectError, match="has no daemonry on its PATH"):
                daemonry.connect("ssh:box/far", timeout_s=20)
    finally:
        done.set()
        thread.join()


def test_no_ssh_here_is_said(far, monkeypatch):
    monkeypatch.setenv("DAEMONRY_SSH", "/nowhere/ssh")
    with pytest.raises(ConnectError, match="/nowhere/ssh cannot be run"):
        daemonry.connect("ssh:box/far", timeout_s=20)


def test_a_variable_for_ssh_that_no_shell_could_read_is_said(far, monkeypatch):
    monkeypatch.setenv("DAEMONRY_SSH", "ssh '")
    with pytest.raises(ConnectError, match=r"\$DAEMONRY_SSH cannot be read: No closing quotation"):
        daemonry.connect("ssh:box/far", timeout_s=20)
    done = far.near("--host", "box", "status", "far")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    monkeypatch.setenv("DAEMONRY_SSH", " ")
    assert ssh.command_line(Endpoint.parse("ssh:box/far"), "true")[0] == "ssh"


def test_a_configuration_by_which_ssh_runs_nothing_is_said(far):
    far.is_ssh("exit 0")
    with pytest.raises(ConnectError, match=r"without a word \(-N or -f in \$DAEMONRY_SSH, or"):
        daemonry.connect("ssh:box/far", timeout_s=20)


def test_a_machine_that_runs_something_else_is_quoted(far):
    far.is_ssh("echo hello; echo; echo This account is restricted.; echo; exit 1")
    with pytest.raises(ConnectError, match=r"did not run daemonry, and says: This account is restricted\. "):
        daemonry.connect("ssh:box/far", timeout_s=20)


def test_a_program_there_that_cannot_be_run_is_not_said_to_be_missing(far):
    """Such as one whose Python belongs to another user."""
    far.is_ssh("echo 'sh: 1: exec: daemonry: Permission denied' >&2; exit 126")
    told = r"box cannot run daemonry \(sh: 1: exec: daemonry: Permission denied\): install it there"
    with pytest.raises(ConnectError, match=told):
        daemonry.connect("ssh:box/far", timeout_s=20)


def test_a_persons_command_and_ports_in_the_configuration_stand_in_nobodys_way(far, sshd):
    """The command would take the place of ours; the port is taken by the person's own session."""
    far.start()
    config = far.directory / "ssh.d" / "config"
    taken = daemonry.listen("tcp:127.0.0.1:0;open")
    try:
        with config.open("a") as file:
            file.write("RemoteCommand tmux attach\nRequestTTY force\nExitOnForwardFailure yes\n")
            file.write(f"LocalForward 127.0.0.1:{taken.endpoint.number} 127.0.0.1:9\n")
        assert say("ssh:box/far", "dialled") == "dialled"
        assert say("ssh:box/far", "kept") == "kept"
        done = far.near("--host", "box", "status", "far")
        assert done.returncode == 0, done
    finally:
        taken.close()


@pytest.mark.parametrize("line", ["StdinNull yes", "SessionType none", "ForkAfterAuthentication yes"])
def test_a_configuration_that_takes_away_the_session_stands_in_nobodys_way(far, sshd, monkeypatch, line):
    """Without a kept connection, too: a call was lost that had never been sent."""
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    if tuple(map(int, re.findall(r"OpenSSH_(\d+)\.(\d+)", version)[0])) < (8, 7):
        pytest.skip("needs OpenSSH 8.7")
    far.start()
    with (far.directory / "ssh.d" / "config").open("a") as file:
        file.write(f"{line}\n")
    with monkeypatch.context() as patch:
        patch.setattr(ssh._ControlPlace, "path_for", lambda *_: None)
        assert say("ssh:box/far", "dialled") == "dialled"
    assert say("ssh:box/far", "kept") == "kept"
    done = far.near("--host", "box", "ps")
    assert done.returncode == 0, done


def test_an_old_ssh_is_asked_again_without_the_options_that_it_does_not_know(far, monkeypatch):
    monkeypatch.setattr(ssh, "_old", set())
    far.start()
    far.is_ssh(
        f"echo >> {far.directory}/asked\n"
        'case "$*" in *StdinNull=*)\n'
        '  echo "command-line: line 0: Bad configuration option: stdinnull" >&2; exit 255;; esac\n'
        'for last; do :; done; exec /usr/bin/env -i {env} sh -c "exec $last"'
    )
    for text in ("one", "two"):
        assert say("ssh:box/far", text) == text
    assert (far.directory / "asked").read_text() == "\n" * 3  # found to be old once
    done = far.near("--host", "box", "ps")
    assert done.returncode == 0, done


@pytest.mark.parametrize("name", ["a$b", "a'b", 'a"b', "a\\b", "a\nb"])
def test_no_connection_is_kept_where_ssh_cannot_be_told_the_path(far, monkeypatch, name):
    with tempfile.TemporaryDirectory(prefix="dm-") as short:
        directory = Path(short, name)
        directory.mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
        words = ssh.command_line(Endpoint.parse("ssh:box/far"), "true")
        assert not [word for word in words if "ControlPath" in word]


def test_a_greeting_of_the_shell_is_passed_over_and_an_endless_one_ends(far):
    far.start()
    far.is_ssh('echo "Welcome to box"; for last; do :; done; exec /usr/bin/env -i {env} sh -c "exec $last"')
    assert say("ssh:box/far", "hello") == "hello"
    far.is_ssh("exec yes welcome")
    with pytest.raises(ConnectError, match="prints too much"):
        daemonry.connect("ssh:box/far", timeout_s=20)


def test_what_the_machine_says_never_reaches_a_terminal_raw(far):
    far.is_ssh("printf 'daemonry-dial 1 denied \\033[31mred\\n'")
    with pytest.raises(AccessDenied) as caught:
        daemonry.connect("ssh:box/far", timeout_s=20)
    assert "\x1b" not in str(caught.value)
    assert "\\x1b[31mred" in str(caught.value)


def test_an_answer_to_another_command_is_called_so(far):
    far.is_ssh("echo daemonry-dial 1 runs 0.1.0")
    with pytest.raises(
        ConnectError, match=r"its machine answers 'runs', and not to a dial: a forced command"
    ):
        daemonry.connect("ssh:box/far", timeout_s=20)


def test_a_busy_one_is_there(far):
    far.is_ssh("echo daemonry-dial 1 busy far")
    with pytest.raises(DeadlineExceeded) as caught:
        daemonry.connect("ssh:box/far", timeout_s=20)
    assert caught.value.ran == "no"


def test_a_connection_that_ends_under_a_call_leaves_open_whether_it_ran(far):
    far.start()
    with daemonry.Client(daemonry.connect("ssh:box/far", timeout_s=20)) as client:
        assert client.call(SAY, {"text": "x"})["result"] == "x"
        (pid,) = ssh._children
        with pytest.raises(ConnectionLost) as caught:
            client.call("org.example.far.Cut", {"pid": pid})
        assert caught.value.ran == "maybe"


def test_descriptors_are_refused_by_name_and_the_connection_goes_on(far):
    far.start()
    with daemonry.Client(daemonry.connect("ssh:box/far", timeout_s=20)) as client:
        with pytest.raises(NotSendable, match="descriptors do not pass to ssh:box/far") as caught:
            client.call_with_fds(SAY, {"text": "x"}, [Fd.copy(0)])
        assert caught.value.ran == "no"
        assert client.call(SAY, {"text": "y"})["result"] == "y"


def test_the_daemons_end_is_the_connections_end_and_nothing_is_left(far):
    far.start()
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    for number in range(10):
        assert say("ssh:box/far", str(number)) == str(number)
    stream = daemonry.connect("ssh:box/far", timeout_s=20)
    far.sandbox.daemonry("stop", "far")
    assert stream.read(timeout_s=20) == b""
    stream.close()
    wait_until(reaped)
    if before:
        assert set(os.listdir("/proc/self/fd")) <= before


def test_what_is_sent_right_before_the_close_arrives(far):
    """A client that ends at once, as one that calls without an answer, has sent all the same."""
    far.start()
    stream = daemonry.connect("ssh:box/far", timeout_s=20)
    stream.write(b"PAUSE\n", 5)
    stream.close()
    wait_until(lambda: '"paused"' in far.sandbox.daemonry("status", "far", "--json").out)


@pytest.mark.slow
def test_a_stop_waits_for_an_ssh_that_takes_longer_than_a_local_probe(far):
    far.start()
    far.is_ssh('sleep 1.2; for last; do :; done; exec /usr/bin/env -i {env} sh -c "exec $last"')
    done = far.near("stop", "ssh:box/far")
    assert (done.returncode, done.stdout) == (0, "ssh:box/far: stopped\n"), done.stderr


def test_a_call_that_was_lost_dials_no_second_time(far):
    """A machine that is cut off would be silent once more, under the question what the method does."""
    far.start()
    pid = json.loads(far.sandbox.daemonry("status", "far", "--json").out)["pid"]
    dials = far.directory / "dials"
    far.is_ssh(f'echo >> {dials}; for last; do :; done; exec /usr/bin/env -i {{env}} sh -c "exec $last"')
    done = far.near("call", "ssh:box/far", "org.example.far.Cut", f'{{"pid": {pid}}}')
    assert done.returncode == 6, done
    assert dials.read_text() == "\n"
    Path(far.sandbox.env["XDG_RUNTIME_DIR"], "far", "far.sock").unlink()


# --- the real one -------------------------------------------------------------------------------


def test_the_real_ssh_carries_calls_keeps_its_connection_and_tells_the_answers_apart(far, sshd):
    assert try_connect("ssh:box/far", 20) is None
    far.start()
    assert say("ssh:box/far", "over ssh") == "over ssh"
    assert kept()
    known = far.directory / "ssh.d" / "known"
    host = known.read_text().split()[0]
    known.write_text(
        f"{host} {(far.directory / 'ssh.d' / 'user.pub').read_text()}"
    )  # another key than its own
    for control in kept():
        subprocess.run(["ssh", "-O", "exit", "-S", control, "box"], capture_output=True, check=False)
    with pytest.raises(Unreachable):
        daemonry.connect("ssh:box/far", timeout_s=20)


@pytest.mark.slow
def test_a_cut_is_told_within_six_seconds(far, sshd):
    far.start()
    with daemonry.Client(daemonry.connect("ssh:box/far", timeout_s=20)) as client:
        assert client.call(SAY, {"text": "x"})["result"] == "x"
        sessions = subprocess.run(
            ["pgrep", "-P", str(sshd.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        for pid in sessions:
            os.kill(int(pid), signal.SIGSTOP)
        begun = time.monotonic()
        try:
            with pytest.raises(ConnectionLost) as caught:
                client.call(SAY, {"text": "y"}, timeout_s=60)
            assert caught.value.ran == "maybe"
            assert time.monotonic() - begun < 8
        finally:
            for pid in sessions:
                os.kill(int(pid), signal.SIGCONT)

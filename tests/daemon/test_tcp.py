"""A daemon at a TCP port: its own user finds it as everywhere, and nobody else gets an answer."""

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from daemonry.daemon.instance import Instance
from daemonry.testing import wait_until
from daemonry.transport import proof
from daemonry.transport.endpoint import Endpoint

ANOTHER_UID = 12345

BODY = """
from daemonry import Interface

class Who(Interface, name="org.example.who"):
    '''Who.'''

    def pid(self) -> int:
        '''Return the process.'''
        note("called")
        return os.getpid()

    async def stick(self) -> str:
        '''Hold the loop.'''
        note("stuck")
        while not told("go on"):
            time.sleep(0.01)
        return "done"

daemon.serve(Who())
"""
OPTIONS = "endpoint='tcp:127.0.0.1:0'"
COMMANDS = (("status",), ("ping",), ("pause",), ("call", "org.example.who.Pid"), ("stop",), ("describe",))


@pytest.fixture
def bare(probe):
    """The address of a daemon at a TCP port, without where its token is."""
    probe.start(BODY, OPTIONS)
    return Endpoint.parse(probe.instance.record().endpoint).bare


@pytest.fixture
def as_another(sandbox):
    """A function that runs `daemonry VERB TARGET ...` as another user, who has a home of their own."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv to be another user")
    who = ("setpriv", f"--reuid={ANOTHER_UID}", f"--regid={ANOTHER_UID}", "--clear-groups")
    if sandbox.run(*who, sys.executable, "-c", "import daemonry").code != 0:
        pytest.skip(f"user {ANOTHER_UID} may not run this Python, or read this checkout")
    code = "import os, sys, runpy; os.environ.update(HOME='/nonexistent'); sys.argv[0] = 'daemonry'"
    code += "; runpy.run_module('daemonry', run_name='__main__')"
    return lambda *words: sandbox.run(*who, sys.executable, "-c", code, *words)


def ask(bare, data):
    endpoint = Endpoint.parse(bare)
    with socket.create_connection((endpoint.address, endpoint.number), 10) as sock:
        sock.sendall(data)
        pieces = []
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def token_of(probe):
    return Path(probe.place.token_path).read_text()


def with_target(command, target):
    return command[0], target, *command[1:]


def test_its_user_reaches_it_by_name_and_by_address(probe, bare):
    """The token is found by the record; nobody has to name it."""
    localhost = bare.replace("127.0.0.1", "localhost")
    for target in ("probe", bare, localhost, probe.instance.record().endpoint):
        assert probe.sandbox.daemonry("status", target).code == 0, target
        called = probe.sandbox.daemonry("call", target, "org.example.who.Pid")
        assert called.json() == {"result": probe.instance.pid()}, target
    assert os.stat(probe.place.token_path).st_mode & 0o777 == 0o600


def test_another_user_gets_no_answer(probe, bare, as_another):
    for command in COMMANDS:
        done = as_another(*with_target(command, bare))
        assert (done.code, done.out) == (4, ""), command
        assert "access denied" in done.err, command
    assert probe.noted("called") is None
    assert probe.cli("status").code == 0


def test_another_user_cannot_use_the_tokens_file(probe, bare, as_another):
    done = as_another("stop", probe.instance.record().endpoint)
    assert done.code == 4
    assert "token cannot be read: Permission denied" in done.err


def test_who_proves_nothing_gets_no_answer(probe, bare):
    """The same for a program of the same user that does not speak first of the token."""
    for data in (b"STATUS\n", b"STOP\n", b'{"method":"org.example.who.Pid"}\0'):
        assert ask(bare, data) == f"ERR: {proof.PROOF_WANTED}\n".encode()
    assert probe.noted("called") is None
    assert probe.cli("status").code == 0


def test_a_wrong_token_is_access_denied_and_never_not_running(probe, bare):
    other = probe.sandbox.path / "other.token"
    other.write_text("0" * 64)
    other.chmod(0o600)
    for command in COMMANDS:
        assert probe.sandbox.daemonry(*with_target(command, f"{bare};token={other}")).code == 4, command
    other.chmod(0o644)
    assert probe.sandbox.daemonry("status", f"{bare};token={other}").code == 4
    assert Instance(None, Endpoint.parse(f"{bare};token={other}")).liveness().answer == "denied"
    other.chmod(0o600)
    assert Instance(None, Endpoint.parse(f"{bare};token={other}")).liveness().answer == "denied"
    assert Instance(None, Endpoint.parse(f"{bare};open")).liveness().answer == "denied"
    assert probe.instance.liveness().answer == "serving"


def test_beside_a_stuck_loop_it_is_answered_with_proof_only(probe, bare):
    caller = probe.sandbox.popen(sys.executable, "-m", "daemonry", "call", "probe", "org.example.who.Stick")
    try:
        wait_until(lambda: probe.noted("stuck") is not None, what="the loop is stuck")
        status = probe.sandbox.daemonry("status", bare, "--json").json()
        assert status["stuck_at"].startswith("probe.py:")
        assert ask(bare, b"STATUS\n") == f"ERR: {proof.PROOF_WANTED}\n".encode()
        assert ask(bare, b"TOKEN " + b"x" * 64 + b"\n") == f"ERR: {proof.WRONG}\n".encode()
        token = token_of(probe).strip().encode()
        assert ask(bare, b"TOKEN " + token + b"\nPING\n") == b"OK\nPONG\n"
    finally:
        probe.tell("go on")
        caller.communicate()
    assert caller.returncode == 0


def test_a_token_that_others_could_read_is_refused_by_clients(probe, bare):
    path = probe.instance.place.token_path
    os.chmod(path, 0o644)
    done = probe.sandbox.daemonry("call", f"{bare};token={path}", "org.example.who.Pid")
    assert (done.code, done.out) == (4, "")
    assert f"{path}: the token's file is open to others (mode 0644): chmod 600 it" in done.err
    assert len(done.err.splitlines()) == 1
    os.chmod(path, 0o600)
    assert probe.sandbox.daemonry("call", f"{bare};token={path}", "org.example.who.Pid").code == 0


def test_the_token_is_as_old_as_the_run(probe, bare):
    """Who learned it once has it until the next start."""
    before = token_of(probe)
    assert probe.cli("stop").code == 0
    assert not os.path.exists(probe.place.token_path)
    probe.start(BODY, OPTIONS)
    assert token_of(probe) != before


def test_an_upgrade_is_a_restart(probe, bare):
    """Descriptors do not pass through TCP, so the listener cannot be handed over."""
    before = probe.instance.pid()
    assert probe.cli("upgrade").code == 0
    assert probe.instance.pid() != before
    assert probe.cli("status").code == 0


def test_it_is_got_or_started(probe):
    probe.write(BODY, OPTIONS)
    code = (
        "import asyncio, sys, daemonry\n"
        "async def main():\n"
        "    async with await daemonry.ensure_async(sys.argv[1]) as client:\n"
        "        return (await client.call('org.example.who.Pid'))['result']\n"
        "with daemonry.ensure(sys.argv[1]) as client:\n"
        "    pid = client.call('org.example.who.Pid')['result']\n"
        "print(pid == asyncio.run(main()))\n"
    )
    done = probe.sandbox.run(sys.executable, "-c", code, str(probe.program))
    assert (done.code, done.out) == (0, "True\n"), done.err


def test_open_is_said_by_name_and_warned_of(probe):
    probe.start(BODY, "endpoint='tcp:127.0.0.1:0;open'")
    told = probe.instance.record().endpoint
    assert told.endswith(";open")
    assert ask(Endpoint.parse(told).bare, b"PING\n") == b"PONG\n"
    assert probe.sandbox.daemonry("call", told, "org.example.who.Pid").code == 0
    assert not os.path.exists(probe.place.token_path)
    assert "is open: whoever reaches it may do what its owner may" in probe.cli("logs").out

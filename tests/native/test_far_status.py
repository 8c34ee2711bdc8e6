"""The launcher asks another machine's daemon through the connection that ssh keeps, or leaves it to Python.

Its ssh is a stand-in at the control socket, whose words are those of OpenSSH's PROTOCOL.mux; one test has a
real one.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from tests.native.conftest import telling
from tests.native.test_launcher import ENDED
from tests.native.test_launcher import run as run_in

from daemonry.testing import wait_until
from daemonry.transport import ssh_note
from daemonry.transport.ssh_mux import hello
from daemonry.transport.ssh_socket import Route
from daemonry.transport.ssh_words import FarSocket
from daemonry.version import __version__

MACHINE = ("ssh", "box", "0")
DAEMON = ("daemonry", "adder")
OK = b"\0\0\0\x08\x80\0\0\x01\0\0\0\x01"
REFUSED = b"\0\0\0\x0d\x80\0\0\x03\0\0\0\x01\0\0\0\x01x"
STATUS = b'{"state":"running","uptime_secs":3725,"pid":4711,"version":"1"}\n'


class Master:
    """A stand-in for the kept ssh: it listens where it is asked to, and answers there itself.

    Attributes:
        answer: what the daemon answers; None closes at once.
        greeting, opened: its packets.
        asked: the lines that came.
    """

    def __init__(self, sandbox, directory):
        self.sandbox = sandbox
        self.directory = Path(directory, "daemonry")
        self.directory.mkdir(mode=0o700)
        self.path = self.directory / f"ssh-{ssh_note.tag(MACHINE)}-{'0' * 40}"
        self.greeting, self.opened, self.answer = hello(), OK, STATUS
        self.asked = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.env = {"XDG_RUNTIME_DIR": str(directory)}

    def tells(self, *, pid=4711, differs="-", version=__version__, daemon=DAEMON):
        """Write what a dial would have told; return the file."""
        route = Route(str(self.directory), MACHINE, daemon)
        assert route.told(FarSocket(version, pid, differs, "/there/adder.sock")) is not None
        return Path(route._path)

    def run(self, command, *words, **more):
        return run_in(command, self.sandbox, *words, **self.env, **more)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(ENDED)
        self._listener.close()

    def _serve(self):
        while True:
            try:
                one = self._listener.accept()[0]
            except OSError:
                return
            with one:
                one.settimeout(ENDED)
                try:
                    self._exchange(one)
                except OSError:
                    pass

    def _exchange(self, one):
        one.recv(100)
        one.sendall(self.greeting)
        request = one.recv(4096)
        if len(request) < 20:
            return
        here = request[20 : 20 + int.from_bytes(request[16:20], "big")]
        with socket.socket(socket.AF_UNIX) as forward:
            forward.bind(here)
            forward.listen()
            one.sendall(self.opened)
            if self.opened == OK:
                with forward.accept()[0] as asks:
                    self.asked.append(asks.recv(100))
                    if self.answer is not None:
                        asks.sendall(self.answer)
        one.recv(4096)
        one.sendall(OK)

    def left(self):
        return list(self.directory.glob("to-*"))


@pytest.fixture
def master(sandbox):
    with tempfile.TemporaryDirectory(prefix="dm-") as directory:
        made = Master(sandbox, directory)
        yield made
        made.close()


@pytest.fixture
def told(native, tmp_path):
    """The launcher, beside a Python command that tells of being executed."""
    return telling(tmp_path / "told", native)


BY_PYTHON = b"python "


def test_it_prints_the_status_that_comes_without_starting_python(master, told):
    master.tells()
    plain = b"adder: running\n  uptime: 1h 2m\n  pid: 4711\n  version: 1\n"
    for words in (
        ("--host", "box", "status", "adder"),
        ("status", "adder", "--host=box"),
        ("status", "--host", "box", "adder"),
    ):
        assert master.run(told, *words) == (0, plain, b"")
    assert master.run(told, "status", "adder", DAEMONRY_HOST="box") == (0, plain, b"")
    assert master.run(told, "--host", "box", "status", "adder", "--json") == (0, STATUS, b"")
    assert master.asked == [b"STATUS\n"] * 5
    assert not master.left()


def test_what_differs_there_is_told_as_python_tells_it(master, told):
    master.tells(differs="LANG,PATH")
    code, out, _ = master.run(told, "--host", "box", "status", "adder")
    assert (code, out.splitlines()[-1]) == (0, b"  environment_differs: LANG, PATH")
    code, out, _ = master.run(told, "--host", "box", "status", "adder", "--json")
    assert json.loads(out) == {**json.loads(STATUS), "environment_differs": ["LANG", "PATH"]}


@pytest.mark.parametrize(
    "words",
    [
        ("--host", "other", "status", "adder"),
        ("--host", "box", "status", "other"),
        ("--host", "box:2222", "status", "adder"),
        ("--host", "-oProxyCommand=true", "status", "adder"),
        ("--host", "box\n", "status", "adder"),
        ("--host", "me@-x", "status", "adder"),
        ("--host", "[::1]", "status", "adder"),
        ("--host", "", "status", "adder"),
        ("--host", "box", "--host", "box", "status", "adder"),
        ("--host", "box", "ping", "adder"),
        ("--host", "box", "status", "adder", "--timeout", "3"),
        ("--host", "box", "status"),
        ("status", "adder", "--host"),
        ("--host", "box", "status", "--", "adder"),
    ],
)
def test_other_words_are_pythons(master, told, words):
    master.tells()
    code, out, _ = master.run(told, *words)
    assert (code, out) == (0, BY_PYTHON + " ".join(words).encode() + b"\n")
    assert master.asked == []


@pytest.mark.parametrize(
    "variables",
    [
        {"DAEMONRY_RUNTIME": "/tmp"},
        {"DAEMONRY_PURE": "1"},
        {"DAEMONRY_SSH": "ssh -F other"},
        {"DAEMONRY_REMOTE": "/opt/daemonry"},
        {"PYTHONPATH": "/tmp"},
    ],
)
def test_other_surroundings_are_pythons(master, told, variables):
    master.tells()
    _, out, _ = master.run(told, "--host", "box", "status", "adder", **variables)
    assert out.startswith(BY_PYTHON)
    assert master.asked == []


def _old(path, master):
    os.utime(path, (1, path.stat().st_mtime - 61))


def _from_the_future(path, master):
    os.utime(path, (1, path.stat().st_mtime + 100))


def _open_to_others(path, master):
    master.directory.chmod(0o755)


def _a_link(path, master):
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _half(path, master):
    path.write_bytes(path.read_bytes()[:-10])


def _longer(path, master):
    path.write_bytes(path.read_bytes() + b"\0more")


def _huge(path, master):
    path.write_bytes(path.read_bytes() + b"x" * 9000)


def _refused_once(path, master):
    path.write_bytes(path.read_bytes().replace(b"\x000\x00", b"\x001\x00", 1))


def _another_master(path, master):
    master.path.chmod(0o700)  # which the time of its file's change tells


@pytest.mark.parametrize(
    "change",
    [
        _old,
        _from_the_future,
        _open_to_others,
        _a_link,
        _half,
        _longer,
        _huge,
        _refused_once,
        _another_master,
    ],
    ids=lambda change: change.__name__.strip("_"),
)
def test_a_note_that_does_not_count_is_pythons(master, told, change):
    change(master.tells(), master)
    _, out, _ = master.run(told, "--host", "box", "status", "adder")
    assert out.startswith(BY_PYTHON)
    assert master.asked == []


@pytest.mark.parametrize(
    "told_there", [{"version": "0.0.1"}, {"differs": "?"}, {"pid": 0}], ids=lambda one: next(iter(one))
)
def test_what_another_version_or_only_a_dial_told_is_pythons(master, told, told_there):
    master.tells(**told_there)
    _, out, _ = master.run(told, "--host", "box", "status", "adder")
    assert out.startswith(BY_PYTHON)
    assert master.asked == []


ANSWERS = [
    None,
    b"",
    b"\n",
    b"OK\n",
    b"ERR: Permission denied\n",
    b'{"state":"running","pid":4712}\n',
    b'{"state":"running"}\n',
    b'{"state":"running","pid":4711,"environment_differs":[]}\n',
    b'{"state":"running","pid":"4711"}\n',
    b'{"state":"\x1b[2J","pid":4711}\n',
    b'{"pid":4711,"state":"running"} \n',
    b'{"pid":4711}\nmore\n',
    b'{"pid":4711}',
    b"x" * (2**20 + 2),
]


@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_any_other_answer_is_pythons(master, told, number):
    """It is asked for again: a status changes nothing."""
    master.tells(differs="LANG")
    master.answer = ANSWERS[number]
    _, out, _ = master.run(told, "--host", "box", "status", "adder")
    assert out.startswith(BY_PYTHON)
    assert not master.left()


PACKETS = [
    b"",
    b"\0\0\0\0",
    b"\0\0\0\x04\0\0\0\x01",
    b"\xff\xff\xff\xff" + b"x" * 5000,
    REFUSED,
    OK,
    b"SSH-2.0-x\r\n",
]


@pytest.mark.parametrize("number", range(len(PACKETS)))
@pytest.mark.parametrize("which", ["greeting", "opened"])
def test_a_control_socket_that_speaks_otherwise_is_pythons(master, told, which, number):
    master.tells()
    setattr(master, which, PACKETS[number])
    if (which, PACKETS[number]) == ("opened", OK):
        master.answer = None
    _, out, _ = master.run(told, "--host", "box", "status", "adder")
    assert out.startswith(BY_PYTHON)


def test_it_prints_what_python_prints_of_the_same_answer(master, native):
    master.tells(differs="LANG")
    for words in (("status", "adder"), ("status", "adder", "--json")):
        shown = [
            master.run(native / command, "--host", "box", *words)
            for command in ("daemonry", "daemonry-python")
        ]
        assert shown[0] == shown[1]
        assert shown[0][0] == 0
    assert master.asked == [b"STATUS\n"] * 4


@pytest.mark.slow
def test_nothing_hostile_makes_it_read_or_write_where_it_may_not(master, sanitized, tmp_path):
    """With the sanitizers of the compiler."""
    command = telling(tmp_path / "told", sanitized)
    for answer in ANSWERS:
        master.tells(differs="LANG,PATH")
        master.answer = answer
        code, _, err = master.run(command, "--host", "box", "status", "adder")
        assert (code, err) == (0, b"")
    master.answer = STATUS
    for which, usual in (("greeting", hello()), ("opened", OK)):
        for packet in PACKETS:
            setattr(master, which, packet)
            code, _, err = master.run(command, "--host", "box", "status", "adder")
            assert (code, err) == (0, b"")
        setattr(master, which, usual)
    path = master.tells()
    text = path.read_bytes()
    for end in range(len(text)):
        path.write_bytes(text[:end])
        code, _, err = master.run(command, "--host", "box", "status", "adder")
        assert (code, err) == (0, b"")


@pytest.mark.slow  # the launcher has a second, which a machine that runs three tests may not
def test_a_real_ssh_keeps_the_connection_that_it_asks_through(far, sshd, told):
    far.start()
    # Each of these may have the launcher leave all to Python.
    unusual = ("DAEMONRY_TEST_RUN", "PYTHON")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(unusual)}

    def launcher(*words):
        return subprocess.run(
            [told, *words], env=ours, capture_output=True, text=True, timeout=ENDED, check=False
        )

    for words in (("status", "far"), ("status", "far", "--json")):
        line = ("--host", "box", *words)

        def both(line=line):
            """What takes more than its second on a busy machine the launcher leaves to Python."""
            by_python, done = far.near(*line), launcher(*line)
            return None if done.stdout.startswith("python ") else (by_python, done)

        by_python, done = wait_until(both, 90, "the launcher has answered by itself")
        assert (done.returncode, done.stderr) == (0, "")
        assert _without_uptime(done.stdout) == _without_uptime(by_python.stdout)
    assert far.sandbox.daemonry("stop", "far").code == 0
    assert launcher(*line).stdout.startswith("python ")
    assert not list(Path(os.environ["XDG_RUNTIME_DIR"], "daemonry").glob("to-*"))


def _without_uptime(text):
    return re.sub(r"uptime(: |_secs\":)[0-9.hms ]+", "uptime", text)

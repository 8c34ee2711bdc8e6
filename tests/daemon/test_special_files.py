"""Anything may lie where a file of a daemon is to be: no command waits for it, and nothing is lost."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from daemonry.process.place import registry_dir
from daemonry.testing import wait_until

PROGRAM = """
import asyncio
from daemonry import Daemon
daemon = Daemon("odd")

@daemon.work
async def tick(run):
    await asyncio.sleep(3600)

if __name__ == "__main__":
    daemon.main()
"""

# The endings of a place's files.
ENDINGS = (
    "json",
    "lock",
    "start.lock",
    "start.json",
    "start.failed",
    "env.json",
    "log",
    "log.1",
    "crash",
    "crash.prev",
    "crash.note",
    "sock",
)
# No command takes as long as this on any machine: it would wait for ever.
HANGS_S = 60.0
# More than any of these files holds, and no block of it on the disk.
SPARSE_BYTES = 1 << 30


def _fifo(path):
    os.mkfifo(path)


def _directory(path):
    path.mkdir()
    (path / "inside").write_text("mine")


def _symlink(path):
    target = path.with_name("elsewhere.txt")
    target.write_text("mine")
    path.symlink_to(target)


def _dangling(path):
    path.symlink_to(path.with_name("not-there.txt"))


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: it can be read without end
    except PermissionError:
        pytest.skip("only root can make a device")


def _empty(path):
    path.touch()


def _sparse(path):
    with open(path, "wb") as file:
        file.truncate(SPARSE_BYTES)


KINDS = {
    "fifo": _fifo,
    "symlink": _symlink,
    "directory": _directory,
    "dangling": _dangling,
    "socket": _socket,
    "device": _device,
    "empty": _empty,
    "sparse": _sparse,
}
# The others take other ways through the same opening; all of them together take minutes.
_QUICK = ("fifo",)
# The others are opened as one of these is; `tests/test_opens.py` refuses another way of opening.
_QUICK_ENDINGS = ("json", "lock", "start.lock", "log", "sock")
EACH_ENDING = [
    pytest.param(ending, marks=() if ending in _QUICK_ENDINGS else pytest.mark.slow, id=ending)
    for ending in ENDINGS
]
EACH_KIND = [pytest.param(kind, marks=() if kind in _QUICK else pytest.mark.slow, id=kind) for kind in KINDS]


class Odd:
    """A daemon at its usual place, and what is put there."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.program = sandbox.write("odd.py", PROGRAM)
        self.place = sandbox.place("odd")
        for directory in (self.place.host_dir, self.place.runtime_dir):
            os.makedirs(directory, 0o700, exist_ok=True)

    def path(self, ending):
        return Path(self.place.socket_path if ending == "sock" else self.place.file(ending))

    def __call__(self, *words):
        """Run a command of the daemon's; it ends, and what it says is for people."""
        done = self.sandbox.run(sys.executable, self.program, *words, timeout_s=HANGS_S)
        assert "Traceback" not in done.err + done.out, done
        assert done.code in range(7), done
        if done.code:
            assert done.err.strip() or done.out.strip(), (words, done)
        return done

    def put(self, kind, ending):
        path = self.path(ending)
        for _ in range(100):
            if path.is_symlink() or path.exists():
                if ending == "sock":
                    path.unlink()
                else:
                    path.rename(path.with_name("was-" + path.name))
            try:
                KINDS[kind](path)
            except FileExistsError:  # a running daemon has made its own again
                continue
            return path
        raise AssertionError(f"{path} comes again each time")

    def nothing_lost(self, path, kind):
        if kind == "directory":
            found = [path, Path(f"{path}.prev"), *path.parent.glob(path.name + "*")]
            assert any((one / "inside").exists() for one in found if one.is_dir()), os.listdir(path.parent)
        elif kind == "symlink":
            assert path.with_name("elsewhere.txt").read_text() == "mine"
        elif kind == "dangling":
            assert not path.with_name("not-there.txt").exists()
        elif kind == "socket":  # its name is all that it is; nobody listens there
            for found in path.parent.glob(path.name + "*"):
                if found.is_socket():
                    found.unlink()


@pytest.fixture
def odd(sandbox):
    return Odd(sandbox)


@pytest.mark.parametrize("ending", EACH_ENDING)
@pytest.mark.parametrize("kind", EACH_KIND)
def test_before_a_start_every_command_ends_with_one_clear_line(odd, kind, ending):
    path = odd.put(kind, ending)
    assert odd("status", "--timeout", "3").code == 3
    odd("logs", "--tail", "5")
    assert odd("stop", "--timeout", "3").code == 0
    started = odd("start")
    if started.code:
        assert str(path) in started.err, started
    else:
        assert odd("status", "--timeout", "3").code == 0
        odd("logs", "--tail", "5")
        assert odd("stop").code == 0
    odd.nothing_lost(path, kind)
    for left in (path, Path(f"{path}.prev")):  # moved away, all is well
        if left.is_socket():
            left.unlink()
        elif left.is_symlink() or left.exists():
            left.rename(left.with_name("aside-" + left.name))
    assert odd("start").code == 0
    assert odd("stop").code == 0


@pytest.mark.parametrize("ending", EACH_ENDING)
@pytest.mark.parametrize("kind", EACH_KIND)
@pytest.mark.slow
def test_below_a_running_daemon_every_command_ends(odd, kind, ending):
    assert odd("start").code == 0
    pid = odd("status", "--json").json()["pid"]
    path = odd.put(kind, ending)
    if ending == "sock":  # the daemon takes its place back, or says that it cannot
        odd("status", "--timeout", "3")
    else:
        assert odd("status", "--timeout", "3").code == 0
    odd("logs", "--tail", "5")
    listed = odd.sandbox.run(sys.executable, "-m", "daemonry", "ps", timeout_s=HANGS_S)
    assert "Traceback" not in listed.err, listed
    odd("pause")
    odd("start")
    assert odd("stop", "--timeout", "3", "--force").code == 0, ending
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or sys.platform != "linux")
    odd.nothing_lost(path, kind)


@pytest.mark.parametrize("kind", EACH_KIND)
def test_in_the_registry_it_is_passed_over(odd, kind, monkeypatch):
    assert odd("start").code == 0
    for name, value in odd.sandbox.env.items():
        monkeypatch.setenv(name, value)
    entry = Path(registry_dir()) / "a-00000000.json"
    KINDS[kind](entry)
    listed = odd.sandbox.run(sys.executable, "-m", "daemonry", "ps", timeout_s=HANGS_S)
    assert (listed.code, listed.err) == (0, "")
    assert "odd" in listed.out
    if kind == "socket":
        entry.unlink()
    assert odd("stop").code == 0


@pytest.mark.parametrize("kind", EACH_KIND)
def test_ensure_starts_it_or_says_what_lies_there(odd, kind):
    script = odd.sandbox.write("ensure.py", PROGRAM.partition("if __name__")[0] + _ENSURE)
    for ending in ("json", "lock", "start.failed", "crash", "log"):
        path = odd.put(kind, ending)
        done = odd.sandbox.run(sys.executable, script, timeout_s=HANGS_S)
        assert "Traceback" not in done.err, done
        assert done.out.startswith("up ") or str(path) in done.out, (ending, done)
        assert odd("stop", "--timeout", "10").code == 0
        odd.nothing_lost(path, kind)
        if path.is_socket():
            path.unlink()
        elif path.is_symlink() or path.exists():
            path.rename(path.with_name(f"aside-{path.name}"))
        path.with_name("elsewhere.txt").unlink(missing_ok=True)


_ENSURE = """
import daemonry
if __name__ == "__main__":
    try:
        with daemonry.ensure(daemon) as client:
            print("up", client)
    except daemonry.DaemonryError as error:
        print(error)
"""

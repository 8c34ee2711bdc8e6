"""Another machine for the tests: a stand-in for `ssh` that runs its command here, and a real sshd.

The stand-in is a script; the other machine is the sandbox's directories.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import daemonry
from daemonry.testing import wait_until
from daemonry.transport import ssh

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
PROGRAM = """
import os
from daemonry import Daemon, Interface
daemon = Daemon("far")

class Echo(Interface, name="org.example.far"):
    def say(self, text: str) -> str:
        return text

    def cut(self, pid: int) -> None:
        os.kill(pid, 9)

daemon.serve(Echo())
if __name__ == "__main__":
    daemon.main()
"""


class Far:
    """Another machine, as its `ssh` sees it.

    Attributes:
        sandbox: its own directories, and its daemons.
        stand_in: the script that is `ssh`.
    """

    def __init__(self, sandbox, directory, monkeypatch):
        self.sandbox = sandbox
        self.directory = directory
        self.monkeypatch = monkeypatch
        self.program = sandbox.write("far.py", PROGRAM)
        daemonry_there = directory / "daemonry"
        daemonry_there.write_text(f'#!/bin/sh\nexec {sys.executable} -m daemonry "$@"\n')
        daemonry_there.chmod(0o755)
        monkeypatch.setenv("DAEMONRY_REMOTE", str(daemonry_there))
        monkeypatch.setattr(ssh, "_children", set())
        self.is_ssh('for last; do :; done; exec /usr/bin/env -i {env} sh -c "exec $last"')

    def is_ssh(self, script):
        """Have `ssh` be a shell script; `{env}` is the environment of the other machine."""
        env = " ".join(f"'{name}={value}'" for name, value in self.sandbox.env.items())
        stand_in = self.directory / "ssh"
        stand_in.write_text(f"#!/bin/sh\n{script.replace('{env}', env)}\n")
        stand_in.chmod(0o755)
        self.monkeypatch.setenv("DAEMONRY_SSH", str(stand_in))

    def near(self, *words, program="daemonry", timeout_s=60, **more):
        """Run a command of this machine and return what `subprocess.run` does."""
        module = program.replace("-", "_")
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self):
        """Start the daemon `far` there."""
        done = self.sandbox.daemonry("start", self.program)
        assert done.code == 0, done


@pytest.fixture
def far(sandbox, tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="dm-") as ours:  # short: the kept connection's socket is in it
        monkeypatch.setenv("XDG_RUNTIME_DIR", ours)
        yield Far(sandbox, tmp_path, monkeypatch)
        wait_until(reaped)


def reaped():
    """Whether each ssh has ended, which it does once its stream is closed."""
    ssh._reap()
    return not ssh._children


def kept():
    """Return the sockets of the kept connections."""
    return list(Path(os.environ["XDG_RUNTIME_DIR"], "daemonry").glob("ssh-*"))


def read(path):
    return path.read_text() if path.exists() else ""


@pytest.fixture
def sshd(far, monkeypatch):
    """An sshd of our own on loopback, with a key of our own; its pid."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH's ssh and sshd")
    home = far.directory / "ssh.d"
    home.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    shutil.copy(home / "user.pub", home / "authorized")
    env = " ".join(
        f"{name}={value}"
        for name, value in far.sandbox.env.items()
        if name.startswith("XDG") or name in ("HOME", "PATH")
    )
    config = (
        f"HostKey {home}/host\nAuthorizedKeysFile {home}/authorized\nStrictModes no\nUsePAM no\n"
        f"PidFile none\nPermitRootLogin yes\nSetEnv {env}\n"
    )
    (home / "sshd").write_text(config)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    listening = daemonry.listen("tcp:127.0.0.1:0;open")
    port = listening.endpoint.number
    listening.close()
    words = ["-D", "-E", home / "log", "-f", home / "sshd", "-o", f"ListenAddress=127.0.0.1:{port}"]
    process = subprocess.Popen([SSHD, *words])
    wait_until(lambda: "listening on" in read(home / "log"), what="sshd listens")
    options = (
        f"Port {port}\nHostName 127.0.0.1\nIdentityFile {home}/user\nIdentitiesOnly yes\n"
        f"StrictHostKeyChecking accept-new\nUserKnownHostsFile {home}/known\nLogLevel ERROR\n"
    )
    (home / "config").write_text(f"Host box\n{options}")
    monkeypatch.setenv("DAEMONRY_SSH", f"ssh -F {home}/config")
    yield process
    for control in kept():
        subprocess.run(["ssh", "-O", "exit", "-S", control, "box"], capture_output=True, check=False)
    process.terminate()
    process.wait(10)

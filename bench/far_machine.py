"""An sshd of its own, with keys and directories of its own, as another machine for measurements.

Owns the files and the process.  Used by bench/remote.py and scripts/test-hosts; not a measurement.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

SSHD: Final = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
BIN: Final = Path(sys.executable).parent
# sshd's own bound.
_LISTEN_SOCKETS: Final = 16
DAEMON: Final = """\
import time
from daemonry import Daemon, Interface
daemon = Daemon("adder", version="1")

class Adder(Interface, name="org.example.adder"):
    def sum(self, numbers: list[int]) -> int:
        return sum(numbers)

    async def wait(self, seconds: float) -> float:
        import asyncio
        await asyncio.sleep(seconds)
        return seconds

daemon.serve(Adder())
if __name__ == "__main__":
    daemon.main()
"""


class FarMachine:
    """Another machine: its home, its daemon's program, its sshd.

    Args:
        folder: for all files; short, for sockets are below it.
        addresses: where sshd listens, as HOST:PORT.
        inside: words before the command of sshd, such as `ip netns exec NAME`.

    Attributes:
        env: of a command that runs there.
        near: of a command that runs here.
        config: ssh's, with the machines `box0`, `box1`, ..., one for each address.
    """

    def __init__(self, folder: Path, addresses: Sequence[str], inside: Sequence[str] = ()) -> None:
        self.folder = folder
        self.config = folder / "ssh_config"
        self.program = folder / "adder.py"
        self.program.write_text(DAEMON)
        self.env = self._environment(folder / "far")
        self.near = self._environment(folder / "near") | {"DAEMONRY_SSH": f"ssh -F {self.config}"}
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        hosts = [(f"box{number}", *one.rsplit(":", 1)) for number, one in enumerate(addresses)]
        self.config.write_text("".join(self.entry(*one) for one in hosts))
        self._processes = [
            self._start(number, addresses[number : number + _LISTEN_SOCKETS], inside)
            for number in range(0, len(addresses), _LISTEN_SOCKETS)
        ]

    def entry(self, name: str, host: str, port: str, **more: object) -> str:
        """Return a machine's lines for ssh's configuration."""
        options = {
            "HostName": host,
            "Port": port,
            "User": os.environ.get("USER") or "root",
            "IdentityFile": self.folder / "user",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": self.folder / "known",
            "LogLevel": "ERROR",
            **more,
        }
        return f"Host {name}\n" + "".join(f"  {key} {value}\n" for key, value in options.items())

    def close(self) -> None:
        """End the kept connections, sshd, and the daemon."""
        subprocess.run(
            [BIN / "daemonry", "stop", "adder", "--force"], env=self.env, capture_output=True, check=False
        )
        for control in Path(self.near["XDG_RUNTIME_DIR"]).glob("daemonry/ssh-*"):
            subprocess.run(["ssh", "-O", "exit", "-S", control, "x"], capture_output=True, check=False)
        # The end of an sshd that listens is not that of its connections.
        connections = [pid for one in self._processes for pid in _descendants(one.pid)]
        for one in self._processes:
            one.terminate()
        for one in self._processes:
            one.wait(10)
        for number in (signal.SIGTERM, signal.SIGKILL):
            end_s = time.monotonic() + 5
            while (left := [pid for pid in connections if _is_there(pid)]) and time.monotonic() < end_s:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.05)

    def _environment(self, home: Path) -> dict[str, str]:
        for part in ("run", "state", "config/daemonry"):
            (home / part).mkdir(parents=True, mode=0o700)
        return {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }

    def _start(self, number: int, addresses: Sequence[str], inside: Sequence[str]) -> subprocess.Popen[bytes]:
        if SSHD is None:
            raise FileNotFoundError("no sshd: install openssh-server")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        far = " ".join(f"{name}={value}" for name, value in self.env.items())
        lines = [
            f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/authorized",
            "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nMaxStartups 200\nMaxSessions 100",
            f"SetEnv {far}",
            *(f"ListenAddress {one}" for one in addresses),
        ]
        config, log = (self.folder / f"sshd-{number}.{end}" for end in ("config", "log"))
        config.write_text("\n".join(lines) + "\n")
        words: list[Any] = [*inside, SSHD, "-D", "-E", log, "-f", config]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end_s = time.monotonic() + 20
        while not log.exists() or log.read_text().count("listening on") < len(addresses):
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"sshd does not listen: {log.read_text() if log.exists() else ''}")
            time.sleep(0.02)
        return process


def _descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, children) for one in (child, *_descendants(child))]


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Machines as network namespaces on one bridge: nothing leaves the real one.

Owns the namespaces, their cables, and signals to all processes of one.  Needs root and `ip`.  Used by
bench/vx_farm.py and scripts/test-hosts; not a measurement.
"""

# ruff: noqa: D102  # the class says what its methods are about

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Network:
    """Namespaces on one bridge.

    Args:
        hosts: one for each.

    Attributes:
        names: of the namespaces, by their hosts.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        mark = f"vf{os.getpid()}"
        self.switch = f"{mark}s"
        self.names = {one: f"{mark}{number}" for number, one in enumerate(hosts, 1)}

    def address(self, of: str) -> str:
        return f"10.77.0.{list(self.names).index(of) + 1}"

    def up(self) -> None:
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "br0", "up")
        for number, (of, name) in enumerate(self.names.items(), 1):
            _ip("netns", "add", name)
            peer = ("type", "veth", "peer", "name", f"p{number}", "netns", self.switch)
            _ip("link", "add", "eth0", "netns", name, *peer)
            _ip("-n", name, "addr", "add", f"{self.address(of)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", self.switch, "link", "set", f"p{number}", "master", "br0", "up")

    def cable(self, of: str, state: str) -> None:
        """Pull the cable of one ("down"), or put it back ("up")."""
        _ip("-n", self.switch, "link", "set", f"p{list(self.names).index(of) + 1}", state)

    def pids(self, of: str) -> list[int]:
        """All processes in a namespace."""
        told = subprocess.run(
            ["ip", "netns", "pids", self.names[of]], capture_output=True, text=True, check=True
        )
        return [int(one) for one in told.stdout.split()]

    def signal(self, of: str, number: int) -> None:
        for pid in self.pids(of):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def down(self) -> None:
        for of, name in self.names.items():
            with contextlib.suppress(subprocess.CalledProcessError):
                self.signal(of, signal.SIGKILL)
                _ip("netns", "del", name)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.switch)

    def popen(self, of: str, words: list[Any], log: Path, **more: Any) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.names[of], *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **more,
            )


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)

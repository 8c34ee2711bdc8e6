"""What HTTP costs a daemon: off, on and never asked, on and asked; ratios of one run.

    .venv/bin/python bench/http_off.py [ROUNDS]

Owns the measurement.  The three daemons are asked in turns, so that what else the machine does meets all of
them.  `status` is the CPU time of the command; `PING` the time from connect to answer, no client started;
`start` the CPU time of the daemon until it is ready; memory is the daemon's own (USS) when it is idle.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from daemonry.testing import Sandbox

PROGRAM = """
from daemonry import Daemon, Interface
class Adder(Interface, name="org.example.adder"):
    def add(self, a: int) -> int:
        return a + 1
daemon = Daemon("{name}", http={http})
daemon.serve(Adder())
"""
KINDS = {"off": "None", "on": "True", "asked": "True"}
CALL = b'{"method":"org.example.adder.Add","parameters":{"a":1}}\0'


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 30
    found: dict[str, dict[str, list[float]]] = {name: {} for name in KINDS}
    with Sandbox() as sandbox:
        for round_ in range(3):
            for name, http in KINDS.items():
                instance = sandbox.start(sandbox.write(f"{name}.py", PROGRAM.format(name=name, http=http)))
                found[name].setdefault("start, CPU ms", []).append(1000 * cpu_s(instance.pid()))
                if round_ < 2:
                    sandbox.daemonry("stop", name)
        ask(sandbox.place("asked").socket_path, b"GET /health HTTP/1.1\r\nHost: d\r\n\r\n")
        for _ in range(rounds):
            for name in KINDS:
                path = sandbox.place(name).socket_path
                found[name].setdefault("status, CPU ms", []).append(1000 * command_s(sandbox, name))
                found[name].setdefault("PING, us", []).append(
                    1e6 * statistics.median(timed(path, b"PING\n") for _ in range(20))
                )
                found[name].setdefault("call, us", []).append(
                    1e6 * statistics.median(timed(path, CALL) for _ in range(20))
                )
        for name in KINDS:
            found[name]["memory, MiB"] = [own_bytes(sandbox.instance(name).pid()) / 2**20]
    print(f"{'':16}" + "".join(f"{name:>18}" for name in KINDS))
    for what in found["off"]:
        base = statistics.median(found["off"][what])
        cells = [statistics.median(found[name][what]) for name in KINDS]
        print(f"{what:16}" + "".join(f"{cell:>10.2f} ({cell / base:.2f})" for cell in cells))


def cpu_s(pid: int | None) -> float:
    """Return the CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_bytes(pid: int | None) -> int:
    """Return the memory that is a process's alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def command_s(sandbox: Sandbox, name: str) -> float:
    """Return the CPU time of one `daemonry status`, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "daemonry", "status", name],
        env=sandbox.env,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(path: str, data: bytes) -> float:
    """Return how long one exchange takes, from connect to answer, in seconds."""
    began_s = time.perf_counter()
    ask(path, data)
    return time.perf_counter() - began_s


def ask(path: str, data: bytes) -> bytes:
    """Send bytes over a new connection and return what comes first."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(data)
        return sock.recv(1 << 16)


if __name__ == "__main__":
    main()

"""What a connection that does nothing costs the daemon, and whether it still answers beside thousands.

The daemon that has nothing to do itself is `wakeups`'s, and counted in the same run.
Owns the daemon, the connections, and the question in their midst.  A fresh daemon for each number
of connections; its resident memory is read before they come, once they are accepted, and after one
call on each.  The question is STATUS in the text dialect, on a new connection each time.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless
something could not be run.
"""

from __future__ import annotations

import argparse
import resource
import signal
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import wakeups
from cli import Failed
from rtt import CONTENDERS, Contender, Workshop, machine, serving, workshop

COUNTS = (1_000, 10_000)
# The daemon takes three quarters of its descriptors for connections.
FILES = 16_384
TARGET_KIB = 2.0
TARGET_STATUS_MS = 5.0
QUESTIONS = 300
CALL = b'{"method":"org.example.bench.Status","parameters":{}}\0'


@dataclass
class Found:
    """What one number of connections came to; None for what this system does not tell.

    Attributes:
        count: how many there were.
        base_mib: the daemon's memory before they came, in MiB.
        accepted_kib: what each of them added, in KiB.
        called_kib: the same after one call on each.
        used_kib: the same after another: a connection in use is watched in another way.
        status_ms: the median time of STATUS beside them, in milliseconds.
    """

    count: int
    base_mib: float | None
    accepted_kib: float | None
    called_kib: float | None
    used_kib: float | None
    status_ms: float

    def weights(self) -> tuple[float | None, ...]:
        """Return what each connection weighed, at each stage."""
        return self.accepted_kib, self.called_kib, self.used_kib


def measure(here: Workshop, count: int) -> Found:
    """Start a daemon, open the connections, call on each, ask beside them."""
    daemon = Contender("daemonry", "ours", path=str(here.runtime / f"idle-{count}.sock"))
    words = [here.command("python3"), str(CONTENDERS / "play.py"), "serve", "ours", daemon.path]
    with serving(here, daemon, words) as server, ExitStack() as stack:
        for _ in range(100):  # what is imported or allocated once
            with _connected(daemon.path) as sock:
                _call(sock)
            _ask_status(daemon.path)
        base = _memory_kib(server.pid)
        socks = [stack.enter_context(_connected(daemon.path)) for _ in range(count)]
        _ask_status(daemon.path)  # answered behind them: all are accepted
        accepted = _memory_kib(server.pid)
        for sock in socks:
            _call(sock)
        called = _memory_kib(server.pid)
        for sock in socks:
            _call(sock)
        used = _memory_kib(server.pid)
        times_s = [_ask_status(daemon.path) for _ in range(QUESTIONS)]
        for sock in socks:
            _call(sock)  # none of them was given up
    return Found(
        count,
        None if base is None else base / 1024,
        None if base is None or accepted is None else (accepted - base) / count,
        None if base is None or called is None else (called - base) / count,
        None if base is None or used is None else (used - base) / count,
        statistics.median(times_s) * 1e3,
    )


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)  # waits where the backlog is full; with a timeout it would not
    sock.settimeout(10)
    return sock


def _call(sock: socket.socket) -> None:
    sock.sendall(CALL)
    if not sock.recv(4096).endswith(b"\0"):
        raise Failed("a call was not answered")


def _ask_status(path: str) -> float:
    began_s = time.perf_counter()
    with _connected(path) as sock:
        sock.sendall(b"STATUS\n")
        told = b""
        while not told.endswith(b"\n"):
            piece = sock.recv(65536)
            if not piece:
                raise Failed("STATUS was not answered")
            told += piece
    return time.perf_counter() - began_s


def _memory_kib(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)


def _raise_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def table(found: list[Found]) -> None:
    """Print the table and a line for each target."""
    print("| connections | daemon MiB | KiB each, accepted | after a call | after another | STATUS p50 ms |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for one in found:
        cells = (_shown(one.base_mib, 1), *(_shown(value, 2) for value in one.weights()))
        print(f"| {one.count:,} | {' | '.join(cells)} | {one.status_ms:.3f} |")
    print()
    for one in found:
        weights = [value for value in one.weights() if value is not None]
        if weights:
            most_kib = max(weights)
            met = "met" if most_kib <= TARGET_KIB else "NOT MET"
            print(f"{one.count:,} connections: {most_kib:.2f} KiB each, target <= {TARGET_KIB:g}: {met}")
    met = "met" if found[-1].status_ms <= TARGET_STATUS_MS else "NOT MET"
    last = found[-1]
    print(f"STATUS beside {last.count:,}: {last.status_ms:.3f} ms, target <= {TARGET_STATUS_MS:g} ms: {met}")


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def main() -> int:
    """Measure, print the table, and return 1 if something could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench idle", description="Weigh idle connections.")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    most = _raise_files()
    counts = [count for count in COUNTS if count <= most * 0.7]
    for count in COUNTS:
        if count not in counts:
            print(f"{count:,} connections left out: a process may have {most:,} descriptors", file=sys.stderr)
    try:
        with workshop(options.env and options.env.absolute()) as here:
            found = [measure(here, count) for count in counts]
            woken = wakeups.measure(here)
    except (Failed, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{machine()}; not pinned\n")
    table(found)
    print()
    wakeups.table(woken)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to have services supervised: start, list, stop and idle of many, beside supervisor and s6.

    scripts/bench homes                 100 services
    scripts/bench homes --services 1000 --rounds 1

Owns the measurement: every contender supervises the same program (`sleep`), one after the other in each
round, in a directory of its own.  supervisor comes from this interpreter's environment (PyPI), s6 from
the system (Debian); one that is missing is left out and named.  Times are of whole commands, as a person
waits for them.  What the numbers mean is in bench/README.md.
"""

# ruff: noqa: D101, D102  # the base class says what each does

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from targets import Bare, verdict

# The connection of the last command is looked after for some seconds more.
SETTLE_S = 7.0
IDLE_S = 10.0
PATIENCE_S = 120.0


@dataclass
class Found:
    """What one contender came to: seconds of each round, and figures of the last one."""

    up_s: list[float] = field(default_factory=list)
    up_cpu_s: list[float] = field(default_factory=list)
    ps_s: list[float] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)
    down_cpu_s: list[float] = field(default_factory=list)
    descriptors: int = 0
    wakes_a_minute: float = 0.0
    pss_kib: int = 0


class Contender:
    """A supervisor: how it is started, asked and stopped in a directory."""

    name = ""

    def __init__(self, here: Path, count: int) -> None:
        self.here = here
        self.count = count
        self.env = {
            **os.environ,
            "HOME": str(here),
            "XDG_STATE_HOME": f"{here}/s",
            "XDG_RUNTIME_DIR": f"{here}/r",
        }
        Path(here, "r").mkdir(mode=0o700)

    def run(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.here, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.name}: {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def up(self) -> None:
        """Start all, and return when all run."""

    def ps(self) -> None:
        """Ask how all are."""

    def down(self) -> None:
        """Stop all, and return when nothing runs."""

    def pid(self) -> int:
        raise NotImplementedError

    def wait(self, condition: Callable[[], bool]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > until_s:
                raise SystemExit(f"{self.name}: waited for too long")
            time.sleep(0.005)


class Daemonry(Contender):
    name = "daemonry"

    def __init__(self, here: Path, count: int) -> None:
        super().__init__(here, count)
        table = '[services.s{}]\ncommand = ["sleep", "600"]\n'
        (here / "home.toml").write_text("".join(table.format(number) for number in range(count)))
        self.words = (sys.executable, "-m", "daemonry")

    def up(self) -> None:
        self.run(*self.words, "up", "--home", ".")

    def ps(self) -> None:
        self.run(*self.words, "ps", "--home", ".")

    def down(self) -> None:
        self.run(*self.words, "down", "--home", ".")

    def pid(self) -> int:
        return int(re.search(r'"pid":\s*(\d+)', (self.here / "home.json").read_text())[1])  # type: ignore[index]


class Supervisord(Contender):
    name = "supervisord"

    def __init__(self, here: Path, count: int) -> None:
        super().__init__(here, count)
        head = (
            "[unix_http_server]\nfile=%(here)s/s.sock\n"
            "[supervisord]\npidfile=%(here)s/s.pid\nlogfile=%(here)s/s.log\nchildlogdir=%(here)s\nminfds=8192\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
            "[supervisorctl]\nserverurl=unix://%(here)s/s.sock\n"
        )
        table = "[program:s{}]\ncommand=sleep 600\nstartsecs=0\n"
        text = head + "".join(table.format(number) for number in range(count))
        (here / "s.conf").write_text(text)
        self.bin = Path(sys.executable).parent

    @classmethod
    def is_there(cls) -> bool:
        return (Path(sys.executable).parent / "supervisord").exists()

    def up(self) -> None:
        self.run(str(self.bin / "supervisord"), "-c", "s.conf")
        self.wait(lambda: self._running() == self.count)

    def _running(self) -> int:
        done = subprocess.run(
            ["ps", "-o", "comm=", "--ppid", str(self.pid())], capture_output=True, text=True, check=False
        )
        return done.stdout.split().count("sleep")

    def ps(self) -> None:
        self.run(str(self.bin / "supervisorctl"), "-c", "s.conf", "status")

    def down(self) -> None:
        pid = self.pid()
        self.run(str(self.bin / "supervisorctl"), "-c", "s.conf", "shutdown")
        self.wait(lambda: not Path(f"/proc/{pid}").exists())

    def pid(self) -> int:
        try:
            return int((self.here / "s.pid").read_text())
        except (OSError, ValueError):
            return 1 << 30


class S6(Contender):
    name = "s6"

    def __init__(self, here: Path, count: int) -> None:
        super().__init__(here, count)
        for number in range(count):
            script = here / "scan" / f"s{number}" / "run"
            script.parent.mkdir(parents=True)
            script.write_text("#!/bin/sh\nexec sleep 600\n")
            script.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_there(cls) -> bool:
        return shutil.which("s6-svscan") is not None

    def up(self) -> None:
        words = ["s6-svscan", "-c", str(self.count + 10), "scan"]
        self.process = subprocess.Popen(words, cwd=self.here, env=self.env, stderr=subprocess.DEVNULL)
        stat = [
            str(self.here / "scan" / f"s{number}" / "supervise" / "status") for number in range(self.count)
        ]
        self.wait(lambda: all(map(os.path.exists, stat)))
        self.wait(lambda: all(Path(one).read_bytes()[16:24] != bytes(8) for one in stat))

    def ps(self) -> None:
        for number in range(self.count):
            self.run("s6-svstat", f"scan/s{number}")

    def down(self) -> None:
        assert self.process is not None
        self.run("s6-svscanctl", "-t", "scan")
        self.process.wait()
        self.wait(lambda: not _processes_in(self.here))

    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


def _processes_in(here: Path) -> bool:
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd").startswith(str(here)):
                return True
        except OSError:
            continue
    return False


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tree_cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of all below it: of the services, that is their start."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        below = []
    return _cpu_s(pid) + sum(_tree_cpu_s(int(one)) for one in below)


def _clients_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wakes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(kind: type[Contender], count: int, found: Found) -> None:
    """One round of one contender."""
    with tempfile.TemporaryDirectory(prefix="bench-homes-") as directory:
        one = kind(Path(directory).resolve(), count)
        before_s = _clients_cpu_s()
        found.up_s.append(_timed(one.up))
        try:
            pid = one.pid()
            found.up_cpu_s.append(_clients_cpu_s() - before_s + _tree_cpu_s(pid))
            found.ps_s.append(_timed(one.ps))
            found.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            time.sleep(SETTLE_S)
            before = _wakes(pid)
            time.sleep(IDLE_S)
            found.wakes_a_minute = (_wakes(pid) - before) * 60 / IDLE_S
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            found.pss_kib = int(re.search(r"^Pss:\s*(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
            before_s = _cpu_s(pid)
        finally:
            last_s = 0.0
            down = subprocess.Popen(
                [sys.executable, "-c", _WATCH, str(pid)], stdout=subprocess.PIPE, text=True
            )
            found.down_s.append(_timed(one.down))
            last_s = float(down.communicate()[0] or 0)
        found.down_cpu_s.append(max(0.0, last_s - before_s))


# What no supervisor in Python goes below: asyncio loaded, the same program started so often, and ended.
_BARE = """
import asyncio, os, sys
start = lambda: os.posix_spawnp("sleep", ["sleep", "600"], os.environ, setpgroup=0)
started = [start() for _ in range(int(sys.argv[1]))]
print(flush=True)
sys.stdin.read()
for pid in started:
    os.kill(pid, 15)
for pid in started:
    os.waitpid(pid, 0)
"""


def bare_way(count: int) -> tuple[float, float]:
    """Return the seconds of `up` and `down` of two bare interpreters, a client and one that starts all."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    words = [sys.executable, "-c", _BARE, str(count)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bare:
        assert bare.stdin is not None
        assert bare.stdout is not None
        bare.stdout.readline()
        up_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        bare.stdin.close()
        bare.wait()
    return up_s, time.perf_counter() - began_s


# Prints the CPU time of a process as it was last seen: it is gone when `down` returns.
_WATCH = """
import os, sys, time
last = 0.0
try:
    while True:
        fields = open(f"/proc/{sys.argv[1]}/stat").read().rpartition(")")[2].split()
        if fields[0] in "ZX":
            break
        last = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        time.sleep(0.01)
except OSError:
    pass
print(last)
"""


def verdicts(services: int, found: dict[type[Contender], Found], bare_up: Bare) -> Iterator[str]:
    """Yield a line for each target, of medians as in the table."""
    ours, peer, middle = found[Daemonry], found.get(Supervisord), statistics.median
    scale, an_end = services / 100, 1000 / services
    beside = None if peer is None else Bare("supervisord", middle(peer.down_s))
    yield verdict(f"down of {services} services, s", middle(ours.down_s), 0.5 * scale, bare=beside)
    yield verdict(f"up of {services} services, s", middle(ours.up_s), 0.6 * scale, bare=bare_up)
    beside = None if peer is None else Bare("supervisord", middle(peer.down_cpu_s) * an_end)
    told = "the end of a service, ms of the supervisor's CPU"
    yield verdict(told, middle(ours.down_cpu_s) * an_end, 1.0, bare=beside)
    yield verdict("wake-ups in an idle minute", ours.wakes_a_minute, 0.0)
    if peer is not None:
        yield verdict("ps, times supervisorctl", middle(ours.ps_s) / middle(peer.ps_s), 1.5)


def main() -> int:
    """Measure, print the table, and say which targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kinds: list[type[Contender]] = [Daemonry]
    for peer in (Supervisord, S6):
        if peer.is_there():
            kinds.append(peer)
        else:
            print(f"{peer.name} is not installed, and left out")
    found = {kind: Found() for kind in kinds}
    bare: list[tuple[float, float]] = []
    for number in range(options.rounds):
        bare.append(bare_way(options.services))
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            measure(kind, options.services, found[kind])
    print(f"\n{options.services} services, {options.rounds} rounds, medians; load {os.getloadavg()[0]:.1f}\n")
    heads = (
        "supervisor",
        "up s",
        "up CPU s",
        "ps s",
        "down s",
        "CPU ms an end",
        "descriptors",
        "wake-ups/min",
        "PSS KiB",
    )
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    for kind, one in found.items():
        cells = [statistics.median(times) for times in (one.up_s, one.up_cpu_s, one.ps_s, one.down_s)]
        cpu_ms = statistics.median(one.down_cpu_s) * 1000 / options.services
        times = " | ".join(f"{cell:.2f}" for cell in cells)
        rest = f"{cpu_ms:.2f} | {one.descriptors} | {one.wakes_a_minute:.0f} | {one.pss_kib}"
        print(f"| {kind.name} | {times} | {rest} |")
    bare_up_s, bare_down_s = (statistics.median(times) for times in zip(*bare, strict=True))
    print(f"\nbare Python, started twice: up {bare_up_s:.2f} s, down {bare_down_s:.2f} s")
    print("\n".join(("", *verdicts(options.services, found, Bare("bare Python, started twice", bare_up_s)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

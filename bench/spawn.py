"""What get-or-spawn costs, from exec to exit: of a daemon that is absent, and of one that serves.

Owns a private environment, two daemons in it, and the timing of whole processes, as `cli` does.
One daemon serves all the time; the other is stopped before each round, outside the measurement, so
that its row times the start lock, the new process, its imports, its readiness and the connection.
The same with a warm zygote; the bare ways of both, a server of ten lines that is spawned, or forked by a
process that has imported asyncio; and at the end the memory of many idle daemons of one program, and what
`ps` of them takes beside `ps` of one.

CPU time is that of the client and, for an absent daemon, of the daemon's threads until they are looked at
right behind the client's end: other work on the machine disturbs it less than the time by the clock.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless a
command could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli import (
    BASE,
    FEWEST_ROUNDS,
    ROOT,
    Failed,
    Row,
    Surroundings,
    _check_bytecode,
    _whole_process_ms,
    pin,
    trouble_with_the_machine,
)
from cli import surroundings as cli_surroundings
from targets import Bare as BareWay
from targets import verdict

ASYNCIO = "python3 -c 'import asyncio'"
CONNECT = "connect, bare"
LIVE = "ensure, one that serves"
LIVE_DEFINED = "ensure, one that serves, by its Daemon"
ABSENT = "ensure, one that is absent"
WARM = "ensure, one that is absent, with a warm zygote"
BARE_ABSENT = "a bare asyncio server, spawned and connected to"
BARE_WARM = "a bare asyncio server, forked and connected to"
TARGETS = {ABSENT: 8.0, WARM: 2.0}
BARE_WAYS = {ABSENT: BARE_ABSENT, WARM: BARE_WARM}
ON = {"DAEMONRY_ZYGOTE": "1"}
MANY_MIB = 600.0
PS = "daemonry ps"
BARE_PS = "bare sockets that ask the same"
# How many times bare Python `ps` of the many may take more than of one.
PS_MORE = 2.0
PS_ROUNDS = 15

_PROGRAM = """\
from daemonry import Daemon
daemon = Daemon({name!r}, version="1.0")
"""
_CONNECT = """\
from _socket import AF_UNIX, SOCK_STREAM, socket
sock = socket(AF_UNIX, SOCK_STREAM)
sock.connect({path!r})
sock.close()
"""
# Serves one Unix socket; says that it does by its number in a file, and by a byte to who waits.
_BARE_SERVER = """\
import asyncio, os, sys
async def serve(path, tell):
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
    with open(path + ".pid", "w") as file:
        file.write(str(os.getpid()))
    tell(b"r")
    await server.serve_forever()
"""
_BARE_SPAWN = f"""\
import os, sys
from _socket import AF_UNIX, SOCK_STREAM, socket
path = sys.argv[1]
read_fd, write_fd = os.pipe()
os.set_inheritable(write_fd, True)
server = {_BARE_SERVER!r} + "asyncio.run(serve(sys.argv[1], lambda told: os.write(int(sys.argv[2]), told)))"
os.posix_spawn(sys.executable, [sys.executable, "-c", server, path, str(write_fd)], os.environ)
os.read(read_fd, 1)
sock = socket(AF_UNIX, SOCK_STREAM)
sock.connect(path)
"""
_BARE_ZYGOTE = f"""\
{_BARE_SERVER}
import gc, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".zygote")
listener.listen()
gc.collect()
gc.freeze()
print(flush=True)
while True:
    starter, _ = listener.accept()
    if os.fork() == 0:
        os.setsid()
        listener.close()
        asyncio.run(serve(sys.argv[1], starter.send))
    starter.close()
"""
_BARE_FORK = """\
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket
path = sys.argv[1]
zygote = socket(AF_UNIX, SOCK_STREAM)
zygote.connect(path + ".zygote")
zygote.recv(1)
sock = socket(AF_UNIX, SOCK_STREAM)
sock.connect(path)
"""
# Forks so many, and ends them with its own input.
_BARE_MANY = f"""\
{_BARE_SERVER}
import gc
gc.collect()
gc.freeze()
pids = []
for number in range(int(sys.argv[2])):
    read_fd, write_fd = os.pipe()
    pids.append(os.fork())
    if not pids[-1]:
        asyncio.run(serve(sys.argv[1] + str(number), lambda told: os.write(write_fd, told)))
    os.read(read_fd, 1)
print(*pids, os.getpid(), flush=True)
sys.stdin.read()
for pid in pids:
    os.kill(pid, 9)
"""
# Asks all, and takes every answer to its end.
_BARE_PS = """\
import select, sys
from _socket import AF_UNIX, SOCK_STREAM, socket
poll, asked = select.poll(), {}
for path in sys.argv[1:]:
    sock = socket(AF_UNIX, SOCK_STREAM)
    sock.connect(path)
    sock.send(b"STATUS\\n")
    asked[sock.fileno()] = sock
    poll.register(sock.fileno(), select.POLLIN)
while asked:
    for fd, _ in poll.poll():
        if not asked[fd].recv(4096):
            poll.unregister(fd)
            del asked[fd]
"""
_LIVE = """\
import daemonry
daemonry.ensure("lives").close()
"""
_MANY = """\
from daemonry import Daemon
for number in range({count}):
    globals()[f"daemon{{number}}"] = Daemon(f"many{{number}}", version="1.0")
"""
_START_MANY = """\
import daemonry, many
for number in range({count}):
    daemonry.ensure(getattr(many, f"daemon{{number}}")).close()
"""
_STOP_MANY = """\
import daemonry
for number in range({count}):
    daemonry.stop(f"many{{number}}")
"""
_DEFINED = """\
import daemonry
from {name} import daemon
daemonry.ensure(daemon).close()
"""


class Bare(Surroundings):
    """A virtual environment with this project alone."""

    def _make(self, venv_dir: Path) -> None:
        print("making a clean virtual environment (a minute or so) ...", file=sys.stderr)
        venv.create(venv_dir, symlinks=True, with_pip=True)
        self.environment["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
        self.run(self.command("python3"), "-m", "pip", "install", "--quiet", str(ROOT))
        _check_bytecode(venv_dir)


@contextmanager
def prepared(env_dir: Path | None) -> Iterator[tuple[Bare, list[Row]]]:
    """Make the environment, start the daemon that serves, and yield the rows."""
    with cli_surroundings(env_dir, Bare) as here:
        for name in ("lives", "absent"):
            (here.home / f"{name}.py").write_text(_PROGRAM.format(name=name))
        python = here.command("python3")
        here.environment["PYTHONPATH"] = str(here.home)
        here.run(here.command("daemonry"), "start", "lives.py")
        bare = f"{here.runtime}/bare.sock"  # not beside modules: a zygote looks at those
        words = [python, "-c", _BARE_ZYGOTE, bare]
        zygote = subprocess.Popen(words, stdout=subprocess.PIPE, env=here.environment)
        try:
            assert zygote.stdout is not None
            zygote.stdout.readline()
            path = f"{here.runtime}/lives/lives.sock"
            yield (
                here,
                [
                    Row(BASE, [python, "-c", "pass"]),
                    Row(ASYNCIO, [python, "-c", "import asyncio"]),
                    Row(CONNECT, [python, "-c", _CONNECT.format(path=path)]),
                    Row(LIVE, [python, "-c", _LIVE]),
                    Row(LIVE_DEFINED, [python, "-c", _DEFINED.format(name="lives")]),
                    Row(ABSENT, [python, "-c", _DEFINED.format(name="absent")]),
                    Row(WARM, [python, "-c", _DEFINED.format(name="absent")]),
                    Row(BARE_ABSENT, [python, "-c", _BARE_SPAWN, bare]),
                    Row(BARE_WARM, [python, "-c", _BARE_FORK, bare]),
                ],
            )
        finally:
            zygote.kill()
            zygote.communicate()
            for name in ("lives", "absent"):
                with suppress(Failed):
                    here.run(here.command("daemonry"), "stop", name)


def measure(here: Bare, rows: list[Row], rounds: int) -> None:
    """Run each command once a round, the order rotated; what was started is stopped beside the clock."""
    os.chdir(here.home)
    for number in range(-2, rounds):
        turn = number % len(rows)
        for row in rows[turn:] + rows[:turn]:
            environment = {**here.environment, **(ON if row.title == WARM else {})}
            elapsed_ms, cpu_ms = _whole_process_ms(row, environment)
            if row.title in TARGETS:
                cpu_ms += _cpu_ms(_pid_of(here, "absent"))
                here.run(here.command("daemonry"), "stop", "absent")
            if row.title in {BARE_ABSENT, BARE_WARM}:
                cpu_ms += _end_bare(Path(row.words[-1]))
            if number >= 0:
                row.times_ms.append(elapsed_ms)
                row.cpu_ms.append(cpu_ms)
    os.chdir("/")


def _pid_of(here: Bare, name: str) -> int:
    (path,) = here.home.glob(f"**/{name}/*/{name}.json")
    pid: int = json.loads(path.read_text())["pid"]
    return pid


def _end_bare(path: Path) -> float:
    """End the bare server, and return the CPU time that it took."""
    pid = int(Path(f"{path}.pid").read_text())
    cpu_ms = _cpu_ms(pid)
    os.kill(pid, signal.SIGKILL)
    path.unlink()
    return cpu_ms


def _cpu_ms(pid: int) -> float:
    """Return the CPU time of a process's threads; 0.0 where the system does not tell."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    with suppress(OSError):
        return sum(int(file.read_text().split()[0]) for file in files) / 1e6
    return 0.0


@contextmanager
def many(here: Bare, count: int, variables: dict[str, str]) -> Iterator[set[int]]:
    """Start so many daemons of one program; yield their processes, and their zygote's."""
    (here.home / "many.py").write_text(_MANY.format(count=count))
    usual = dict(here.environment)
    here.environment.update(variables)
    python = here.command("python3")
    try:
        here.run(python, "-c", _START_MANY.format(count=count))
        pids = {_pid_of(here, f"many{number}") for number in range(count)}
        if variables:
            pids.add(_parent(next(iter(pids))))
        yield pids
    finally:
        here.run(python, "-c", _STOP_MANY.format(count=count))
        here.environment.clear()
        here.environment.update(usual)


def memory_mib(pids: set[int]) -> float:
    """Return the memory (PSS) of processes, in MiB."""
    return sum(map(_pss_kib, pids)) / 1024


def bare_memory_mib(here: Bare, count: int) -> float:
    """Return the memory (PSS) of so many forks of a Python with asyncio loaded, and of that one, in MiB."""
    words = [here.command("python3"), "-c", _BARE_MANY, f"{here.runtime}/bare-many", str(count)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env=here.environment, text=True) as bare:
        assert bare.stdin is not None
        assert bare.stdout is not None
        found = memory_mib({int(pid) for pid in bare.stdout.readline().split()})
        bare.stdin.close()
    for number in range(count):
        for suffix in ("", ".pid"):
            Path(f"{here.runtime}/bare-many{number}{suffix}").unlink()
    return found


def ps_x_bare(here: Bare) -> tuple[float, float]:
    """Return how many times bare Python `ps` and bare sockets take: medians of interleaved rounds."""
    python = here.command("python3")
    sockets = [str(path) for path in Path(here.runtime).glob("*/*.sock")]
    rows = [
        Row(BASE, [python, "-c", "pass"]),
        Row(PS, [here.command("daemonry"), "ps"]),
        Row(BARE_PS, [python, "-c", _BARE_PS, *sockets]),
    ]
    for number in range(-1, PS_ROUNDS):
        for row in rows:
            elapsed_ms, _ = _whole_process_ms(row, here.environment)
            if number >= 0:
                row.times_ms.append(elapsed_ms)
    return _paired(rows[1], rows), _paired(rows[2], rows)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _pss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table, each beside what it is compared with."""
    medians = {row.title: statistics.median(row.times_ms) for row in rows}
    columns = "median ms | min | p90 | x bare | x import asyncio | x bare connect | CPU x bare"
    yield f"| from exec to exit | {columns} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        median_ms = medians[row.title]
        ratios = [f"{median_ms / medians[title]:.2f}" for title in (BASE, ASYNCIO, CONNECT)]
        ratios.append(f"{_cpu_ratio(row, rows):.2f}")
        p90_ms = statistics.quantiles(row.times_ms, n=10)[-1]
        cells = [f"{median_ms:.1f}", f"{min(row.times_ms):.1f}", f"{p90_ms:.1f}", *ratios]
        yield f"| {row.title} | {' | '.join(cells)} |"


def _paired(row: Row, rows: list[Row]) -> float:
    """Return the median of a row's times, each divided by bare Python's of the same round."""
    base = next(one for one in rows if one.title == BASE)
    return statistics.median(mine / bare for mine, bare in zip(row.times_ms, base.times_ms, strict=True))


def _cpu_ratio(row: Row, rows: list[Row]) -> float:
    base = next(one for one in rows if one.title == BASE)
    return statistics.median(mine / bare for mine, bare in zip(row.cpu_ms, base.cpu_ms, strict=True))


def verdicts(rows: list[Row]) -> Iterator[str]:
    """Yield a line for each target of a command."""
    by_title = {row.title: row for row in rows}
    for title, target in TARGETS.items():
        bare = BARE_WAYS[title]
        beside = BareWay(bare, _paired(by_title[bare], rows))
        yield verdict(f"{title}, times bare Python", _paired(by_title[title], rows), target, bare=beside)


def main() -> int:
    """Measure, print the table, and return 1 if a command could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench spawn", description="Time get-or-spawn.")
    parser.add_argument("--rounds", type=int, default=30, help=f"at least {FEWEST_ROUNDS} (%(default)s)")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    parser.add_argument(
        "--daemons", type=int, default=100, help="how many idle ones are weighed (%(default)s)"
    )
    options = parser.parse_args()
    rounds = max(options.rounds, FEWEST_ROUNDS)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    try:
        with prepared(options.env and options.env.absolute()) as (here, rows):
            pinned = pin()
            measure(here, rows, rounds)
            count = max(1, options.daemons)
            ps_of_one = ps_x_bare(here)
            with many(here, count, {}) as pids:
                spawned_mib, ps_of_many = memory_mib(pids), ps_x_bare(here)
            with many(here, count, ON) as pids:
                forked_mib = memory_mib(pids)
            bare_mib = bare_memory_mib(here, count)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine = (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    print(f"{machine}; {rounds} interleaved rounds, {pinned}")
    print("\n".join(("", *table(rows), "", *verdicts(rows))))
    print(f"{count} idle daemons of one program, spawned: {spawned_mib:.0f} MiB (PSS)")
    beside = BareWay("forks of a Python with asyncio alone", bare_mib)
    told = f"{count} of them with a zygote, it included, MiB"
    print(verdict(told, forked_mib, MANY_MIB * count / 100, bare=beside))
    beside = BareWay(BARE_PS, ps_of_many[1] - ps_of_one[1])
    told = f"{PS} of {count + 1}, times bare Python more than of one ({ps_of_one[0]:.1f})"
    print(verdict(told, ps_of_many[0] - ps_of_one[0], PS_MORE, bare=beside))
    print("\n".join(("", *trouble_with_the_machine(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

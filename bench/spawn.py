"""What get-or-spawn costs, from exec to exit: of a daemon that is absent, and of one that serves.

Owns a private environment, two daemons in it, and the timing of whole processes, as `cli` does.
One daemon serves all the time; the other is stopped before each round, outside the measurement, so
that its row times the start lock, the new process, its imports, its readiness and the connection.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless a
command could not be run.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import statistics
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

ASYNCIO = "python3 -c 'import asyncio'"
CONNECT = "connect, bare"
LIVE = "ensure, one that serves"
LIVE_DEFINED = "ensure, one that serves, by its Daemon"
ABSENT = "ensure, one that is absent"

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
_LIVE = """\
import daemonry
daemonry.ensure("lives").close()
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
        try:
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
                ],
            )
        finally:
            for name in ("lives", "absent"):
                with suppress(Failed):
                    here.run(here.command("daemonry"), "stop", name)


def measure(here: Bare, rows: list[Row], rounds: int) -> None:
    """Run each command once a round, the order rotated; what was started is stopped beside the clock."""
    os.chdir(here.home)
    for number in range(-2, rounds):
        turn = number % len(rows)
        for row in rows[turn:] + rows[:turn]:
            elapsed_ms = _whole_process_ms(row, here.environment)
            if row.title == ABSENT:
                here.run(here.command("daemonry"), "stop", "absent")
            if number >= 0:
                row.times_ms.append(elapsed_ms)
    os.chdir("/")


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table, each beside what it is compared with."""
    medians = {row.title: statistics.median(row.times_ms) for row in rows}
    yield "| from exec to exit | median ms | min | p90 | x bare | x import asyncio | x bare connect |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        median_ms = medians[row.title]
        ratios = [f"{median_ms / medians[title]:.2f}" for title in (BASE, ASYNCIO, CONNECT)]
        p90_ms = statistics.quantiles(row.times_ms, n=10)[-1]
        cells = [f"{median_ms:.1f}", f"{min(row.times_ms):.1f}", f"{p90_ms:.1f}", *ratios]
        yield f"| {row.title} | {' | '.join(cells)} |"


def main() -> int:
    """Measure, print the table, and return 1 if a command could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench spawn", description="Time get-or-spawn.")
    parser.add_argument("--rounds", type=int, default=30, help=f"at least {FEWEST_ROUNDS} (%(default)s)")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    rounds = max(options.rounds, FEWEST_ROUNDS)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    try:
        with prepared(options.env and options.env.absolute()) as (here, rows):
            pinned = pin()
            measure(here, rows, rounds)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine = (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    print(f"{machine}; {rounds} interleaved rounds, {pinned}")
    print("\n".join(("", *table(rows), "", *trouble_with_the_machine(rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

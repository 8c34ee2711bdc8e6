"""How long a call takes and how many there are in a second, beside C and every peer.

Owns a private environment with all contenders in it, one server process of each, and the order of
the measurements: in each round every contender in turn, one column after the other, the order
rotated.  What a load is belongs to contenders/play.py, what a contender is to its own file there.
Clients and servers share one CPU, so that what is measured is the software and not how long the
system takes to wake the other CPU.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless a
contender could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import ROOT, Failed, Surroundings, pin
from targets import Bare, verdict

CONTENDERS = ROOT / "bench/contenders"
FEWEST_ROUNDS = 5
START_PATIENCE_S = 20.0
# A load that takes this much longer than it was told to has hung.
LOAD_PATIENCE_S = 30.0

C = "C, both ends"
MP = "multiprocessing.connection"
TYPED = "daemonry, typed proxy"
# Ends the title of a row of ours whose processes have the native part; the others are pure Python.
NATIVE, NATIVE_MODULE = ", native", "ours_native"
# Not products: the limit of what is possible here.
LIMITS = (C, "Python sockets, fixed bytes", "redis-server (C), bare sockets")
ONE, EIGHT, MANY, ANEW = "1", "8", "64", "anew"
COLUMNS = (ONE, EIGHT, MANY, ANEW)
NAMES = {ONE: "1 connection", EIGHT: "8 connections", MANY: "64 connections", ANEW: "a connection per call"}


@dataclass
class Contender:
    """One row.

    Attributes:
        title: how the table calls it.
        module: its file in contenders/; "" for the C program.
        client: the class of its clients.
        found: by column, what each round gave.
        trouble: why it could not be run, or "".
        missing: by column, why it could not be measured there.
        server: its server; None for a row that has that of another.
        path: its socket.
    """

    title: str
    module: str = ""
    client: str = "Client"
    found: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    trouble: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None
    path: str = ""

    def median(self, column: str, what: str) -> float | None:
        """Return the median over the rounds of one number, None where it was not measured."""
        values = [one[what] for one in self.found[column] if one.get(what) is not None]
        return statistics.median(values) if values else None

    def rate(self, column: str) -> float | None:
        """Return the median of the calls per second."""
        values = [one["calls"] / one["seconds"] for one in self.found[column]]
        return statistics.median(values) if values else None


def contenders() -> list[Contender]:
    """Return the rows."""
    return [
        Contender(C),
        Contender(LIMITS[1], "sockets_bytes"),
        Contender(LIMITS[2], "redis_server"),
        Contender("Python sockets, lines of JSON", "sockets_json"),
        Contender(MP, "mp_connection"),
        Contender("pyzmq", "zmq_rep"),
        Contender("multiprocessing.managers", "mp_managers"),
        Contender("rpyc", "rpyc_threads"),
        Contender("Pyro5", "pyro_daemon"),
        Contender("python varlink", "varlink_threads"),
        Contender("asyncvarlink", "asyncvarlink_uds", "Async"),
        Contender("uvicorn, http.client", "uvicorn_uds"),
        Contender("FastAPI on uvicorn, http.client", "fastapi_uds"),
        Contender("grpcio", "grpc_sync"),
        Contender("daemonry, Client.call", "ours", "Untyped"),
        Contender(TYPED, "ours", "Typed"),
        Contender(TYPED + NATIVE, NATIVE_MODULE, "Typed"),
        Contender("daemonry, asyncio proxy", "ours", "Async"),
    ]


PIPELINED = "a call of a pipeline of 1,000"
PIPELINE_TARGET = 250_000

# The other shapes of a call, on one connection: by name, the class of our clients and of the peer's.
SHAPES = {
    "two arguments": ("Arguments", ""),
    "`async def`": ("Awaited", ""),
    "`async def`, two arguments": ("AwaitedArguments", ""),
    "`async def` that waits": ("Later", ""),
    "a list of 20 Structs": ("Rows", "Rows"),
    "an item of a stream": ("Stream", ""),
    "1 KiB of text, there and back": ("Kib1", "Kib1"),
    "64 KiB of text, there and back": ("Kib64", "Kib64"),
    "1 MiB of text, there and back": ("Mib1", "Mib1"),
    "10,000 integers, there and back": ("Numbers", "Numbers"),
    PIPELINED: ("Pipelined", ""),
    "a call of a pipeline of 1,000, two arguments": ("PipelinedArguments", ""),
    "a call of a pipeline of 16": ("Pipelined16", ""),
}
# What bounds these shapes, beside them: by name, the module and class.
ALONE = ", Python sockets and msgspec alone"
BARE_DEF = "`def`, asyncio's protocols and msgspec alone"
BARE_AWAITED = "`async def` as a task, the same"
BARE_PIPELINED = "1,000 ahead, the same, each reply decoded by msgspec"
BESIDE = {
    f"a flat reply{ALONE}": ("sockets_msgspec", "BareFlat"),
    f"two arguments{ALONE}": ("sockets_msgspec", "Bare"),
    f"a list of 20 Structs{ALONE}": ("sockets_msgspec", "BareRows"),
    f"an item of a stream{ALONE}": ("sockets_msgspec", "BareStream"),
    f"1 KiB of text, there and back{ALONE}": ("sockets_msgspec", "BareKib1"),
    f"64 KiB of text, there and back{ALONE}": ("sockets_msgspec", "BareKib64"),
    f"1 MiB of text, there and back{ALONE}": ("sockets_msgspec", "BareMib1"),
    f"10,000 integers, there and back{ALONE}": ("sockets_msgspec", "BareNumbers"),
    BARE_DEF: ("asyncio_msgspec", "Client"),
    BARE_AWAITED: ("asyncio_msgspec", "Awaited"),
    "1,000 ahead, Python sockets, fixed bytes": ("sockets_bytes", "Pipelined"),
    BARE_PIPELINED: ("sockets_bytes", "PipelinedValues"),
    "1,000 ahead, redis-server (C), bare sockets": ("redis_server", "Pipelined"),
}
# The shapes that are measured with the native part, too.
NATIVE_SHAPES = tuple(
    name for name in SHAPES if "that waits" not in name and "`, two" not in name and "16" not in name
)
FIXED_BYTES, REDIS = LIMITS[1], LIMITS[2]
# What a shape is to be at most, in calls of the C program.
SHAPE_TARGETS = {
    "two arguments": 2.1,
    "a list of 20 Structs": 3.0,
    "an item of a stream": 0.6,
}


def shapes() -> list[Contender]:
    """Return the rows of the second table."""
    rows = []
    for name, (ours, peer) in SHAPES.items():
        rows.append(Contender(name, "ours", ours))
        if peer:
            rows.append(Contender(f"{MP}, {name}", "mp_connection", peer))
        if name in NATIVE_SHAPES:
            rows.append(Contender(name + NATIVE, NATIVE_MODULE, ours))
    rows += [Contender(name, module, client) for name, (module, client) in BESIDE.items()]
    for row in rows:
        row.missing = {column: "" for column in COLUMNS if column != ONE}
    return rows


# --- the environment --------------------------------------------------------------------------


class Workshop(Surroundings):
    """The environment of `cli`, with the contenders in it."""

    def _make(self, venv_dir: Path) -> None:
        print("making a clean virtual environment (a minute or so) ...", file=sys.stderr)
        venv.create(venv_dir, symlinks=True, with_pip=True)
        self.environment["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
        install = (self.command("python3"), "-m", "pip", "install", "--quiet")
        self.run(*install, "--upgrade", "pip")
        self.run(*install, f"{ROOT}[fast,http]", "--requirement", str(ROOT / "bench/requirements.txt"))
        if shutil.which("cc"):
            self.run(*install, str(ROOT / "native"))

    def surroundings_of(self, row: Contender) -> dict[str, str]:
        """Return the environment of a row's processes."""
        return {**self.environment, "DAEMONRY_PURE": "" if row.module == NATIVE_MODULE else "1"}


@contextmanager
def workshop(env_dir: Path | None) -> Iterator[Workshop]:
    """Make the environment, and remove it; a virtual environment at `env_dir` stays."""
    with tempfile.TemporaryDirectory(prefix="daemonry-bench-") as directory:
        private = Path(directory)
        yield Workshop(env_dir or private / "venv", private)


def compile_floor(here: Workshop) -> str:
    """Compile the C program and return its path.

    Raises:
        Failed: there is no compiler, or it refused.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Failed("there is no C compiler")
    program = str(here.home / "pingpong")
    here.run(compiler, "-O2", "-o", program, str(CONTENDERS / "pingpong.c"))
    return program


# --- the servers ------------------------------------------------------------------------------


def bring_up(here: Workshop, stack: ExitStack, rows: list[Contender]) -> None:
    """Start a server for each module on `stack`; one that fails becomes its rows' trouble."""
    started: dict[str, Contender] = {}
    for row in rows:
        first = started.setdefault(row.module, row)
        if first is not row:
            row.server, row.path, row.trouble = first.server, first.path, first.trouble
            continue
        row.path = str(here.runtime / f"{row.module or 'c'}.sock")
        try:
            row.server = stack.enter_context(serving(here, row, _server_words(here, row)))
        except (Failed, OSError) as error:
            row.trouble = str(error)


def _server_words(here: Workshop, row: Contender) -> list[str]:
    if not row.module:
        return [compile_floor(here), "serve", row.path]
    return [here.command("python3"), str(CONTENDERS / "play.py"), "serve", row.module, row.path]


@contextmanager
def serving(here: Workshop, row: Contender, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block.

    Raises:
        Failed: it does not listen at the row's path.
    """
    server = subprocess.Popen(
        words, env=here.surroundings_of(row), cwd=here.home, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _await_socket(server, row)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(START_PATIENCE_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_socket(server: subprocess.Popen[bytes], row: Contender) -> None:
    until_s = time.monotonic() + START_PATIENCE_S
    while not Path(row.path).exists():
        if server.poll() is not None:
            told = (server.communicate()[1] or b"").decode(errors="replace").strip().splitlines()
            raise Failed(f"its server ended: {told[-1] if told else server.returncode}")
        if time.monotonic() > until_s:
            raise Failed("its server did not listen")
        time.sleep(0.02)


# --- measuring --------------------------------------------------------------------------------


def measure(here: Workshop, rows: list[Contender], rounds: int, seconds: float) -> None:
    """Make each load once a round, contenders in turn, the order rotated."""
    for number in range(rounds):
        print(f"round {number + 1} of {rounds} ...", file=sys.stderr)
        for column in COLUMNS:
            turn = (number * 5) % len(rows)
            for row in rows[turn:] + rows[:turn]:
                if not row.trouble and column not in row.missing:
                    _load(here, row, column, seconds)


def _load(here: Workshop, row: Contender, column: str, seconds: float) -> None:
    assert row.server is not None
    connections = "1" if column == ANEW else column
    words = [
        *(
            [here.command("python3"), str(CONTENDERS / "play.py"), "load", row.module, row.client]
            if row.module
            else [str(here.home / "pingpong"), "load"]
        ),
        row.path,
        str(int(column == ANEW)),
        connections,
        str(seconds),
        str(row.server.pid),
    ]
    load = subprocess.Popen(
        words,
        env=here.surroundings_of(row),
        cwd=here.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, told = load.communicate(timeout=seconds + LOAD_PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(load.pid, signal.SIGKILL)
        load.communicate()
        row.missing[column] = "the load hung"
        return
    if load.returncode:
        lines = told.decode(errors="replace").strip().splitlines()
        row.missing[column] = lines[-1] if lines else f"its clients ended with {load.returncode}"
        return
    row.found[column].append(json.loads(out))


# --- the tables -------------------------------------------------------------------------------


def table(rows: list[Contender]) -> Iterator[str]:
    """Yield the lines of the table."""
    by_title = {row.title: row for row in rows}
    floor_us = by_title[C].median(ONE, "p50_us")
    peer_us = by_title[MP].median(ONE, "p50_us")
    peer_anew_us = by_title[MP].median(ANEW, "p50_us")
    peer_rate = by_title[MP].rate(MANY)
    yield (
        "| contender | 1 conn. p50 us | x C | mp / it | req/s | client us | server us "
        "| 8 conn. req/s | 64 conn. req/s | it / mp | client us | server us | anew p50 us | mp / it |"
    )
    yield "| --- |" + " ---: |" * 13
    for row in rows:
        if row.trouble:
            yield f"| {row.title} | could not be run: {row.trouble} |" + " |" * 12
            continue
        one_us, anew_us = row.median(ONE, "p50_us"), row.median(ANEW, "p50_us")
        cells = [
            _shown(one_us, 1),
            _shown(_ratio(one_us, floor_us), 2),
            _shown(_ratio(peer_us, one_us), 2),
            _shown(row.rate(ONE), 0),
            _shown(row.median(ONE, "client_us"), 1),
            _shown(row.median(ONE, "server_us"), 1),
            _shown(row.rate(EIGHT), 0),
            _shown(row.rate(MANY), 0),
            _shown(_ratio(row.rate(MANY), peer_rate), 2),
            _shown(row.median(MANY, "client_us"), 1),
            _shown(row.median(MANY, "server_us"), 1),
            _shown(anew_us, 1),
            _shown(_ratio(peer_anew_us, anew_us), 2),
        ]
        yield f"| {row.title} | {' | '.join(cells)} |"


def shape_table(rows: list[Contender], others: list[Contender]) -> Iterator[str]:
    """Yield the lines of the second table."""
    by_title = {row.title: row for row in (*rows, *others)}
    floor_us = by_title[C].median(ONE, "p50_us")
    yield "| one connection | p50 us | p99 | p99.9 | x C | mp / it | client us | server us | calls/CPU s |"
    yield "| --- |" + " ---: |" * 8
    for name in (C, MP, TYPED, *SHAPES, TYPED + NATIVE, *(one + NATIVE for one in NATIVE_SHAPES), *BESIDE):
        row, peer = by_title[name], by_title.get(MP if name == TYPED else f"{MP}, {name}")
        one_us = row.median(ONE, "p50_us")
        peer_us = None if peer is None else peer.median(ONE, "p50_us")
        cells = [
            _shown(one_us, 1),
            _shown(row.median(ONE, "p99_us"), 1),
            _shown(row.median(ONE, "p999_us"), 1),
            _shown(_ratio(one_us, floor_us), 2),
            _shown(_ratio(peer_us, one_us), 2),
            _shown(row.median(ONE, "client_us"), 1),
            _shown(row.median(ONE, "server_us"), 1),
            _shown(_per_cpu_second(row), 0),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def _per_cpu_second(row: Contender) -> float | None:
    """Return how many calls one CPU makes, of the client and the server together."""
    cpu_us = _cpu_us(row)
    return None if cpu_us is None else 1e6 / cpu_us


def _cpu_us(row: Contender) -> float | None:
    ours, theirs = row.median(ONE, "client_us"), row.median(ONE, "server_us")
    return None if ours is None or theirs is None else ours + theirs


def native_verdicts(rows: list[Contender], others: list[Contender]) -> Iterator[str]:
    """Yield a line for each target with the native part, in CPU time of both ends, or of servers."""
    by_title = {row.title: row for row in (*rows, *others)}

    def cpu_us(title: str) -> float | None:
        return _cpu_us(by_title[title]) if title in by_title else None

    def ratio(title: str, beside: str) -> float | None:
        return _ratio(cpu_us(title), cpu_us(beside))

    def server_us(title: str) -> float | None:
        return by_title[title].median(MANY, "server_us") if title in by_title else None

    typed, rows_of = TYPED + NATIVE, "a list of 20 Structs"
    told = "native, CPU time, "
    yield verdict(f"{told}a typed call, times C", ratio(typed, C), 1.3, bare=Bare(REDIS, ratio(REDIS, C)))
    yield verdict(
        f"{told}20 Structs, times sockets and msgspec alone", ratio(rows_of + NATIVE, rows_of + ALONE), 1.3
    )
    redis_us = server_us(REDIS)
    yield verdict(
        f"{told}64 connections, the server's part, times redis's",
        _ratio(server_us(typed), redis_us),
        1.0,
        bare=Bare(FIXED_BYTES, _ratio(server_us(FIXED_BYTES), redis_us)),
    )
    for name, (_, peer) in SHAPES.items():
        if peer:
            theirs = f"{MP}, {name}"
            bare = Bare("msgspec alone", ratio(name + ALONE, theirs))
            yield verdict(
                f"{told}{name}, times multiprocessing", ratio(name + NATIVE, theirs), 1.0, bare=bare
            )


def shape_verdicts(rows: list[Contender], others: list[Contender]) -> Iterator[str]:
    """Yield a line for each target of the second table."""
    by_title = {row.title: row for row in (*rows, *others)}

    def us(title: str) -> float | None:
        return by_title[title].median(ONE, "p50_us")

    for name, most in SHAPE_TARGETS.items():
        bare = Bare("sockets and msgspec alone", _ratio(us(name + ALONE), us(C)))
        yield verdict(f"{name}, times C", _ratio(us(name), us(C)), most, bare=bare)
    bare = Bare("a task on asyncio's protocols", _ratio(us(BARE_AWAITED), us(BARE_DEF)))
    found = _ratio(us("`async def`"), us(TYPED))
    yield verdict("`async def` that does not wait, times the `def`", found, 1.1, bare=bare)
    for name, (_, peer) in SHAPES.items():
        if peer:
            theirs = us(f"{MP}, {name}")
            bare = Bare("msgspec alone", _ratio(us(name + ALONE), theirs))
            yield verdict(f"{name}, times multiprocessing", _ratio(us(name), theirs), 1.0, bare=bare)
    behind = [
        name
        for name, (_, peer) in SHAPES.items()
        if peer and (found := _ratio(us(name), us(f"{MP}, {name}"))) is not None and found >= 1.0
    ]
    yield "other shapes: ahead of every other Python contender" + (
        f" but multiprocessing.connection for {', '.join(behind)}" if behind else ""
    )
    yield verdict(
        f"{PIPELINED}, calls on one CPU",
        _per_cpu_second(by_title[PIPELINED]),
        PIPELINE_TARGET,
        least=True,
        bare=Bare("fixed bytes, decoded by msgspec", _per_cpu_second(by_title[BARE_PIPELINED])),
    )


def footnotes(rows: list[Contender]) -> Iterator[str]:
    """Yield a line for each number that is missing."""
    for row in rows:
        for column, why in row.missing.items():
            if why:
                yield f"{row.title}, {NAMES[column]}: {why}"


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def verdicts(rows: list[Contender]) -> Iterator[str]:
    """Yield a line for each target."""
    by_title = {row.title: row for row in rows}
    ours, mp, floor = by_title[TYPED], by_title[MP], by_title[C]

    def beside(find: Callable[[Contender], float | None]) -> tuple[float | None, Bare | None]:
        bare = by_title.get(FIXED_BYTES)
        return find(ours), None if bare is None else Bare(bare.title, find(bare))

    floor_us, mp_us = floor.median(ONE, "p50_us"), mp.median(ONE, "p50_us")
    mp_anew_us, mp_rate = mp.median(ANEW, "p50_us"), mp.rate(MANY)
    found, bare = beside(lambda row: _ratio(row.median(ONE, "p50_us"), floor_us))
    yield verdict("one connection, times C", found, 1.6, bare=bare)
    found, bare = beside(lambda row: _ratio(mp_us, row.median(ONE, "p50_us")))
    yield verdict("one connection, as fast as multiprocessing", found, 1.4, least=True, bare=bare)
    found, bare = beside(lambda row: _ratio(mp_anew_us, row.median(ANEW, "p50_us")))
    yield verdict("a connection per call, as fast as multiprocessing", found, 2.5, least=True, bare=bare)
    found, bare = beside(lambda row: _ratio(row.rate(MANY), mp_rate))
    yield verdict("64 connections, throughput of multiprocessing", found, 2.0, least=True, bare=bare)
    yield from _who_is_ahead(rows, ours)


def _who_is_ahead(rows: list[Contender], ours: Contender) -> Iterator[str]:
    for column in COLUMNS:
        mine = ours.rate(column)
        if mine is None:
            continue
        others = [
            row
            for row in rows
            if row.title not in LIMITS and row.module not in (ours.module, NATIVE_MODULE) and not row.trouble
        ]
        ahead = [row.title for row in others if (rate := row.rate(column)) is not None and rate >= mine]
        yield f"{NAMES[column]}: ahead of every other Python contender" + (
            f" but {', '.join(ahead)}" if ahead else ""
        )


def machine() -> str:
    """Return what is known of this machine, in a line."""
    return (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def main() -> int:
    """Measure, print the table, and return 1 if a contender could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench rtt", description="Time calls over a socket.")
    parser.add_argument("--rounds", type=int, default=5, help=f"at least {FEWEST_ROUNDS} (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of each load (%(default)s)")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    parser.add_argument(
        "--only", help="rows with one of these words in their titles, by comma; C and mp stay"
    )
    options = parser.parse_args()
    rounds = max(options.rounds, FEWEST_ROUNDS)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    rows = _chosen(contenders(), options.only)
    others = shapes()
    try:
        with ExitStack() as stack:
            here = stack.enter_context(workshop(options.env and options.env.absolute()))
            pinned = pin()
            bring_up(here, stack, [*rows, *others])
            measure(here, [*rows, *others], rounds, options.seconds)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{machine()}; medians of {rounds} interleaved rounds, {options.seconds:g} s each, {pinned}")
    tables = (*table(rows), "", *shape_table(rows, others), "")
    notes = (
        *footnotes([*rows, *others]),
        *verdicts(rows),
        *shape_verdicts(rows, others),
        *native_verdicts(rows, others),
    )
    print("\n".join(("", *tables, *notes)))
    # Without a compiler there is no floor, which is no fault of ours.
    failed = any((row.trouble or any(row.missing.values())) and row.title != C for row in (*rows, *others))
    return 1 if failed else 0


def _chosen(rows: list[Contender], only: str | None) -> list[Contender]:
    if only is None:
        return rows
    words: list[Any] = only.split(",")
    return [
        row
        for row in rows
        if row.title in (C, MP, TYPED, TYPED + NATIVE) or any(word in row.title for word in words)
    ]


if __name__ == "__main__":
    sys.exit(main())

"""How long a quick command takes, from exec to exit, beside bare Python and its peers.

Owns a private environment (a virtual environment with nothing but what is measured, a home, a
runtime directory), four daemons in it, and the timing of whole processes.  All commands are run
in turn in each round, in a rotated order, on one CPU, so that what disturbs one disturbs all.
Everything that was started is stopped by its pid and removed, also when something fails.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless a
command could not be run.
"""

from __future__ import annotations

import argparse
import importlib.util
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from launched import launchers
from targets import Bare, verdict

ROOT = Path(__file__).resolve().parent.parent
BASE = "python3 -c pass"
# What a quick command may take, as a multiple of an interpreter that does nothing.
TARGET_RATIO = 1.2
# The same by the native launcher, by CPU time.
LAUNCHED = "launcher: "
LAUNCHED_RATIO = 0.2
# The bare ways of a status, beside Python's and the launcher's.
BARE_STATUS = "STATUS by Python's socket alone"
NETCAT = "nc -U SOCKET <STATUS"
_BARE_STATUS = """\
import sys
from _socket import AF_UNIX, SHUT_WR, socket
sock = socket(AF_UNIX)
sock.connect(sys.argv[1])
sock.send(b"STATUS\\n")
sock.shutdown(SHUT_WR)
print(sock.recv(65536).decode(), end="")
"""
# A median over fewer rounds moves by more than the differences that matter here.
FEWEST_ROUNDS = 30
# Above this ratio of p90 to median something else was running; a calm machine gives 1.1.
CALM_SPREAD = 1.3
STOP_PATIENCE_S = 10.0


@dataclass
class Row:
    """One command that is measured.

    Attributes:
        title: how the table calls it.
        words: the command itself.
        stdin: the file that it reads.
        times_ms: how long each round took, in milliseconds.
        cpu_ms: the CPU time of its process in each round, which other work on the machine disturbs less.
        trouble: why it could not be run, or "".
    """

    title: str
    words: list[str]
    stdin: str = os.devnull
    times_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    trouble: str = ""


# The caller's own daemons and directories, and what changes how Python starts:
# PYTHONDONTWRITEBYTECODE above all.
_NOT_KEPT = ("PYTHON", "XDG_", "TICKER_", "PALINGENESIS_")


class Failed(Exception):
    """Something that was to be measured could not be run; the message says what."""


# --- the environment --------------------------------------------------------------------------


class Surroundings:
    """A virtual environment, a home and a runtime directory that nothing else uses.

    Args:
        venv_dir: the virtual environment; made if it is not there.
        private_dir: the parent of the other two.
    """

    def __init__(self, venv_dir: Path, private_dir: Path) -> None:
        self.bin = venv_dir / "bin"
        self.home = private_dir / "home"
        self.runtime = private_dir / "run"
        for directory in (self.home, self.runtime):
            directory.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_KEPT)}
        self.environment = {
            **kept,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PATH": f"{self.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "NO_COLOR": "1",
        }
        if not (self.bin / "python3").exists():
            self._make(venv_dir)
        _check_bytecode(venv_dir)

    def run(self, *words: str) -> str:
        """Run a command here and return what it printed.

        Raises:
            Failed: it ended with another code than 0.
        """
        done = subprocess.run(
            words,
            check=False,
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            told = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Failed(
                f"{Path(words[0]).name} ended with {done.returncode}: {told[-1] if told else 'no output'}"
            )
        return done.stdout

    def command(self, name: str) -> str:
        """Return the path of an installed command."""
        return str(self.bin / name)

    def _make(self, venv_dir: Path) -> None:
        print("making a clean virtual environment (a minute or so) ...", file=sys.stderr)
        venv.create(venv_dir, symlinks=True, with_pip=True)
        self.environment["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
        install = (self.command("python3"), "-m", "pip", "install", "--quiet")
        # pip 23, which Python 3.11 brings, writes console scripts that import `re`.
        self.run(*install, "--upgrade", "pip")
        self.run(*install, str(ROOT), str(ROOT / "apps/palingenesis"), "supervisor", "mypy")


AnySurroundings = TypeVar("AnySurroundings", bound=Surroundings)


def _check_bytecode(venv_dir: Path) -> None:
    """Raise if an installed module would be compiled again by each command."""
    for package in ("daemonry", "palingenesis", "supervisor"):
        for source in venv_dir.glob(f"lib/python*/site-packages/{package}/**/*.py"):
            if not Path(importlib.util.cache_from_source(str(source))).exists():
                raise Failed(f"{source} was installed without bytecode")


@contextmanager
def surroundings(env_dir: Path | None, kind: type[AnySurroundings]) -> Iterator[AnySurroundings]:
    """Make the environment, and remove it; a virtual environment at `env_dir` stays."""
    with tempfile.TemporaryDirectory(prefix="daemonry-bench-") as directory:
        private = Path(directory)
        yield kind(env_dir or private / "venv", private)


# --- the daemons ------------------------------------------------------------------------------


@contextmanager
def running(start: Callable[[], int], stop: Callable[[], object]) -> Iterator[None]:
    """Start a daemon, and stop it by its own command or else by its pid."""
    try:
        pid = start()
    except Failed:
        with suppress(Failed):  # it may be there all the same
            stop()
        raise
    try:
        yield
    finally:
        try:
            stop()
        except Failed as error:
            print(error, file=sys.stderr)
        _see_gone(pid)


def _see_gone(pid: int) -> None:
    until_s = time.monotonic() + STOP_PATIENCE_S
    while _lives(pid):
        if time.monotonic() > until_s:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # Nobody may be there to reap it; a zombie is gone.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc").is_dir()


def _recorded_pid(here: Surroundings, name: str) -> int:
    for path in here.home.glob(f".local/state/{name}/*/{name}.json"):
        return int(json.loads(path.read_text())["pid"])
    raise Failed(f"{name} left no record of its pid")


def start_ticker(here: Surroundings) -> int:
    """Start the example by `daemonry start` and return its pid."""
    shutil.copy(ROOT / "examples/ticker.py", here.home)
    here.run(here.command("daemonry"), "start", "ticker.py")
    return _recorded_pid(here, "ticker")


def start_palingenesis(here: Surroundings) -> int:
    """Start palingenesis with its defaults and return its pid."""
    here.run(here.command("palingenesis"), "daemon", "start")
    return _recorded_pid(here, "palingenesis")


_SUPERVISORD = """\
[unix_http_server]
file={runtime}/supervisor.sock
[supervisord]
directory={home}
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{runtime}/supervisor.sock
[program:idle]
command=cat
startsecs=0
stdout_logfile=NONE
stderr_logfile=NONE
"""


def start_supervisord(here: Surroundings) -> int:
    """Start supervisord with one idle program and return its pid."""
    conf = here.home / "supervisord.conf"
    conf.write_text(_SUPERVISORD.format(home=here.home, runtime=here.runtime))
    here.run(here.command("supervisord"), "-c", str(conf))
    return int(_await_text(here.home / "supervisord.pid"))


def _await_text(path: Path) -> str:
    until_s = time.monotonic() + STOP_PATIENCE_S
    while time.monotonic() < until_s:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.02)
    raise Failed(f"{path.name} did not appear")


def start_dmypy(here: Surroundings) -> int:
    """Start mypy's daemon and return its pid."""
    here.run(here.command("dmypy"), "start")
    return int(json.loads(_await_text(here.home / ".dmypy.json"))["pid"])


def bring_up(here: Surroundings, stack: ExitStack) -> list[Row]:
    """Start all daemons on `stack` and return the rows; one that fails becomes its rows' trouble."""
    python, daemonry, palingenesis = map(here.command, ("python3", "daemonry", "palingenesis"))
    supervisorctl = [here.command("supervisorctl"), "-c", str(here.home / "supervisord.conf")]
    dmypy = here.command("dmypy")

    def up(start: Callable[[Surroundings], int], *stop: str) -> str:
        try:
            stack.enter_context(running(lambda: start(here), lambda: here.run(*stop)))
        except (Failed, OSError) as error:
            return str(error)
        return ""

    ticker = up(start_ticker, daemonry, "stop", "ticker")
    revived = up(start_palingenesis, palingenesis, "daemon", "stop")
    supervised = up(start_supervisord, *supervisorctl, "shutdown")
    checked = up(start_dmypy, dmypy, "stop")
    rows = [
        Row("true", [shutil.which("true") or "true"]),
        Row(BASE, [python, "-c", "pass"]),
        Row("python3 -IS -c pass", [python, "-IS", "-c", "pass"]),
        *_netcat(here, ticker),
        Row(BARE_STATUS, [python, "-c", _BARE_STATUS, _ticker_socket(here)], trouble=ticker),
        Row("daemonry status ticker", [daemonry, "status", "ticker"], trouble=ticker),
        Row("daemonry status ticker --json", [daemonry, "status", "ticker", "--json"], trouble=ticker),
        Row("daemonry ping ticker", [daemonry, "ping", "ticker"], trouble=ticker),
        Row("palingenesis status", [palingenesis, "status"], trouble=revived),
        Row("supervisorctl status", [*supervisorctl, "status"], trouble=supervised),
        Row("dmypy status", [dmypy, "status"], trouble=checked),
    ]
    rows += _launched(here, ticker, revived)
    for row in rows:
        row.trouble = row.trouble or _try_once(here, row)
    return rows


def _launched(here: Surroundings, ticker: str, revived: str) -> list[Row]:
    native = here.runtime.parent / "native"
    trouble = launchers(here.bin, native, "daemonry", "palingenesis")
    daemonry, palingenesis = str(native / "daemonry"), str(native / "palingenesis")
    return [
        Row(f"{LAUNCHED}daemonry status ticker", [daemonry, "status", "ticker"], trouble=ticker or trouble),
        Row(f"{LAUNCHED}daemonry ping ticker", [daemonry, "ping", "ticker"], trouble=ticker or trouble),
        Row(f"{LAUNCHED}palingenesis status", [palingenesis, "status"], trouble=revived or trouble),
    ]


def _netcat(here: Surroundings, trouble: str) -> list[Row]:
    nc = shutil.which("nc")
    if nc is None:
        return []
    question = here.home / "question"
    question.write_text("STATUS\n")
    return [Row(NETCAT, [nc, "-U", _ticker_socket(here)], stdin=str(question), trouble=trouble)]


def _ticker_socket(here: Surroundings) -> str:
    return str(here.runtime / "ticker/ticker.sock")


def _try_once(here: Surroundings, row: Row) -> str:
    if row.stdin != os.devnull:
        return ""
    try:
        here.run(*row.words)
    except (Failed, OSError) as error:
        return str(error)
    return ""


# --- measuring --------------------------------------------------------------------------------


def measure(here: Surroundings, rows: list[Row], rounds: int) -> None:
    """Run each command once a round, the order rotated, and note how long it took."""
    running_rows = [row for row in rows if not row.trouble]
    os.chdir(here.home)
    _settle(here, running_rows)
    for number in range(-3, rounds):  # three rounds to warm the caches
        turn = number % len(running_rows)
        for row in running_rows[turn:] + running_rows[:turn]:
            elapsed_ms, cpu_ms = _whole_process_ms(row, here.environment)
            if number >= 0:
                row.times_ms.append(elapsed_ms)
                row.cpu_ms.append(cpu_ms)
    os.chdir("/")


def _settle(here: Surroundings, rows: list[Row]) -> None:
    """Bring the environment where it is for a user two minutes after the installation.

    The bundle of the quick commands' modules takes no source that is younger than 3 s, and is completed at
    most once a minute: the commands would be measured while it lacks some of theirs.
    """
    site = next(here.bin.parent.glob("lib/python*/site-packages"))
    youngest_s = max(source.stat().st_ctime for source in site.glob("daemonry/**/*.py"))
    time.sleep(max(0.0, youngest_s + 4 - time.time()))
    for row in rows:
        _whole_process_ms(row, here.environment)
        for bundle in site.glob("__pycache__/daemonry-quick.*.bundle"):
            os.utime(bundle, (time.time() - 120, time.time() - 120))
        _whole_process_ms(row, here.environment)


def _whole_process_ms(row: Row, environment: dict[str, str]) -> tuple[float, float]:
    files = [
        (os.POSIX_SPAWN_OPEN, 0, row.stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    # posix_spawn and not fork: the C library uses vfork, so our own size costs nothing.
    start_s = time.perf_counter()
    pid = os.posix_spawn(row.words[0], row.words, environment, file_actions=files)
    _, status, used = os.wait4(pid, 0)
    elapsed_ms = (time.perf_counter() - start_s) * 1000
    if status:
        raise Failed(f"{row.title} ended with {os.waitstatus_to_exitcode(status)}")
    return elapsed_ms, (used.ru_utime + used.ru_stime) * 1000


def pin() -> str:
    """Keep this process and all that it starts on one CPU; say so."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned"
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return "all on one CPU"


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table."""
    base_ms = next(
        (statistics.median(row.times_ms) for row in rows if row.title == BASE and row.times_ms), None
    )
    yield "| command | median ms | min | p90 | x bare |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row in rows:
        if row.trouble or base_ms is None:
            yield f"| {row.title} | could not be run: {row.trouble} | | | |"
            continue
        median_ms = statistics.median(row.times_ms)
        p90_ms = statistics.quantiles(row.times_ms, n=10)[-1]
        yield (
            f"| {row.title} | {median_ms:.1f} | {min(row.times_ms):.1f} | {p90_ms:.1f} "
            f"| {median_ms / base_ms:.2f} |"
        )


def trouble_with_the_machine(rows: list[Row]) -> Iterator[str]:
    """Yield a line when other programs disturbed the measurement too much to believe it."""
    base = next(row for row in rows if row.title == BASE)
    spread = statistics.quantiles(base.times_ms, n=10)[-1] / statistics.median(base.times_ms)
    if spread > CALM_SPREAD:
        yield f"the machine was busy (p90 of `{BASE}` is {spread:.1f} times its median): measure again"


def verdicts(rows: list[Row]) -> Iterator[str]:
    """Yield a line about the target for each command of ours, with the bare way beside it."""
    by_title = {row.title: row for row in rows if row.times_ms}
    base_ms = statistics.median(by_title[BASE].times_ms)

    def of_clock(row: Row) -> float:
        return statistics.median(row.times_ms) / base_ms

    def of_cpu(row: Row) -> float:
        return times_bare(rows, row)

    def beside(title: str, number: Callable[[Row], float]) -> Bare | None:
        return Bare(title, number(by_title[title])) if title in by_title else None

    ours = [row for row in by_title.values() if row.title.startswith(("daemonry", "palingenesis"))]
    for unit, number in (("time", of_clock), ("CPU time", of_cpu)):
        for row in ours:
            what, bare = f"{row.title}, times the {unit} of `{BASE}`", beside(BARE_STATUS, number)
            yield verdict(what, number(row), TARGET_RATIO, bare=bare)
    for row in by_title.values():
        if row.title.startswith(LAUNCHED):
            what, bare = f"{row.title}, times the CPU time of `{BASE}`", beside(NETCAT, of_cpu)
            yield verdict(what, of_cpu(row), LAUNCHED_RATIO, bare=bare)


def times_bare(rows: list[Row], row: Row) -> float:
    """Return the median of a row's CPU times, each as a multiple of bare Python's in the same round."""
    base = next(one for one in rows if one.title == BASE)
    return statistics.median(own / bare for own, bare in zip(row.cpu_ms, base.cpu_ms, strict=True))


def main() -> int:
    """Measure, print the table, and return 1 if a command could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench cli", description="Time the quick commands.")
    parser.add_argument("--rounds", type=int, default=40, help=f"at least {FEWEST_ROUNDS} (%(default)s)")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    rounds = max(options.rounds, FEWEST_ROUNDS)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    try:
        with ExitStack() as stack:
            here = stack.enter_context(surroundings(options.env and options.env.absolute(), Surroundings))
            pinned = pin()
            rows = bring_up(here, stack)
            measure(here, rows, rounds)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine = (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    print(f"{machine}; {rounds} interleaved rounds, {pinned}")
    print("\n".join(("", *table(rows), "", *verdicts(rows), *trouble_with_the_machine(rows))))
    return 1 if any(row.trouble for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Three daemons beside what they could have been written with: lines, and CPU time of client and server.

    python bench/daemons.py [--rounds 7] [--peers PYTHON] [--only TABLE]

A cache for many processes, beside multiprocessing.managers, rpyc, Pyro5, and FastAPI with httpx; a formatter
kept warm, beside black and blackd; a job runner, beside huey, pueue and task-spooler.  Peers that are not
installed are left out.
Owns the measurement: whole client processes, in turn in each round, so that ratios hold on a busy machine.
The programs are in bench/daemons/ and examples/; --peers is an interpreter that has them and daemonry.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from daemonry.testing import Sandbox, wait_until

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAMS: Final = ROOT / "bench/daemons"
EXAMPLES: Final = ROOT / "examples"
# So many that a tick of the servers' clock, a hundredth of a second, is 5 us of a call.
CALLS: Final = 2000
# Files formatted in one measure, as the servers' CPU time is told in hundredths of a second.
FILES: Final = 10
CACHES: Final = {
    "daemonry, by names": ("cache_by_name", [EXAMPLES / "kvd.py"], ()),
    "daemonry, by a proxy": ("cache_daemonry", [EXAMPLES / "kvd.py"], ()),
    "multiprocessing.managers": ("cache_managers", [PROGRAMS / "cache_managers.py"], ()),
    "rpyc": ("cache_rpyc", [PROGRAMS / "cache_rpyc.py"], ("rpyc",)),
    "Pyro5": ("cache_pyro5", [PROGRAMS / "cache_pyro5.py"], ("Pyro5.api",)),
    "FastAPI, uvicorn, httpx": (
        "cache_fastapi",
        [PROGRAMS / "cache_fastapi.py"],
        ("fastapi", "uvicorn", "httpx"),
    ),
}
CLIENT: Final = """
import sys
sys.path[:0] = [{programs!r}, {examples!r}]
from {module} import client
cache = client(sys.argv[1])
for _ in range(int(sys.argv[2])):
    cache.add("hits", 1)
"""


def lines_of(paths: list[Path]) -> int:
    """Return the lines that say something: neither blank, nor a comment, nor a docstring."""
    count = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        told = {
            number
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and line.strip()[0] != "#"
        }
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                told -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        count += len(told)
    return count


class Box:
    """A sandbox, and the CPU time of what runs in it.

    Args:
        sandbox: where the daemons are.
        python: the interpreter of clients and servers.
    """

    def __init__(self, sandbox: Sandbox, python: str) -> None:
        self.sandbox = sandbox
        self.python = python
        self.env = {**sandbox.env, "PYTHONPATH": str(ROOT / "src")}
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str | Path) -> float:
        """Run a command to its end and return its CPU time, in seconds."""
        process = subprocess.Popen(
            [str(word) for word in words],
            env=self.env,
            cwd=self.sandbox.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        told = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{words}: {told.decode(errors='replace')[-500:]}")
        return used.ru_utime + used.ru_stime

    def start(self, *words: str | Path) -> None:
        """Start a server; `end` ends it."""
        process = subprocess.Popen(
            [str(word) for word in words],
            env=self.env,
            cwd=self.sandbox.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started.append(process)

    def end(self) -> None:
        """End the servers, with the workers that they have started."""
        for process in self._started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def servers_s(self) -> float:
        """Return the CPU time of all that runs in the sandbox, in seconds."""
        total = 0
        mark = f"HOME={self.sandbox.path}/home".encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes():
                    fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                    total += int(fields[11]) + int(fields[12])
            except OSError:
                continue
        return total / os.sysconf("SC_CLK_TCK")


def has(python: str, modules: tuple[str, ...]) -> bool:
    """Whether an interpreter can import these."""
    code = "import " + ", ".join(("sys", *modules))
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def caches(box: Box, rounds: int) -> None:
    """Print the table of caches."""
    box.run(box.python, EXAMPLES / "kvd.py", "start")
    chosen = {name: row for name, row in CACHES.items() if has(box.python, row[2])}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in chosen}
    for number in range(rounds + 1):
        for name, (module, _, _) in chosen.items():
            script = CLIENT.format(programs=str(PROGRAMS), examples=str(EXAMPLES), module=module)
            path = str(box.sandbox.path / f"run/{module}.sock")
            before_s = box.servers_s()
            client_s = box.run(box.python, "-c", script, path, str(CALLS))
            server_s = box.servers_s() - before_s
            once_s = box.run(box.python, "-c", script, path, "1")
            if number:  # the first starts the daemons
                taken[name].append((client_s - once_s, server_s, once_s))
    print("| a cache | lines | client, a call | server, a call | a process with one call |")
    print("| --- | --- | --- | --- | --- |")
    for name, (module, paths, _) in chosen.items():
        client_s, server_s, once_s = (statistics.median(column) for column in zip(*taken[name], strict=True))
        spawned = [] if module.startswith(("cache_by", "cache_daemonry")) else [PROGRAMS / "get_or_spawn.py"]
        print(
            f"| {name} | {lines_of([*paths, *spawned])} | {client_s / CALLS * 1e6:.0f} us "
            f"| {server_s / CALLS * 1e6:.0f} us | {once_s * 1000:.0f} ms |"
        )


def compared(
    box: Box, rounds: int, title: str, ways: dict[str, tuple[Path | None, Callable[[], float]]]
) -> None:
    """Print a table of commands: their lines, and the CPU time of one."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (_, measured) in ways.items():
            cost_s = measured()
            if number:
                taken[name].append(cost_s)
    print(f"\n| {title} | lines | CPU |\n| --- | --- | --- |")
    for name, (path, _) in ways.items():
        lines = str(lines_of([path])) if path else ""
        print(f"| {name} | {lines} | {statistics.median(taken[name]) * 1000:.0f} ms |")


def formatters(box: Box, rounds: int) -> None:
    """Print the table of formatters, where black is installed."""
    if not has(box.python, ("black",)):
        print("\nblack is not installed: no table of formatters")
        return
    source = box.sandbox.write("source.py", "x = 1\n")
    fmtd = EXAMPLES / "fmtd.py"

    def cost_s(*words: str | Path) -> float:
        """Return the CPU time of a file, client and server."""
        before_s = box.servers_s()
        used_s = sum(box.run(box.python, *words) for _ in range(FILES))
        return (used_s + box.servers_s() - before_s) / FILES

    ways: dict[str, tuple[Path | None, Callable[[], float]]] = {
        "fmtd.py fmt FILE": (fmtd, lambda: cost_s(fmtd, "fmt", source)),
        "black -q FILE": (None, lambda: cost_s("-m", "black", "-q", source)),
        "python -c pass": (None, lambda: cost_s("-c", "pass")),
    }
    if has(box.python, ("blackd",)):
        port = _free_port()
        box.start(box.python, "-m", "blackd", "--bind-port", port)
        wait_until(lambda: _listens(int(port)), what="blackd listens")
        client = PROGRAMS / "blackd_client.py"
        ways["blackd, http.client"] = (client, lambda: cost_s(client, port, source))
    compared(box, rounds, "a formatter, one small file", ways)


def _free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def runners(box: Box, rounds: int) -> None:
    """Print the table of job runners: 10 jobs queued, by a command each, and all waited for."""
    jobd = EXAMPLES / "jobd.py"
    box.run(box.python, jobd, "start")

    def ours() -> float:
        before_s = box.servers_s()
        used_s = sum(box.run(box.python, jobd, "jobs", "submit", "shell", "line=true") for _ in range(10))
        listed = subprocess.run(
            [box.python, jobd, "jobs", "list", "-n", "1"],
            env=box.env,
            capture_output=True,
            text=True,
            check=True,
        )
        used_s += box.run(box.python, jobd, "jobs", "wait", listed.stdout.split()[0])
        return used_s + box.servers_s() - before_s

    ways: dict[str, tuple[Path | None, Callable[[], float]]] = {"daemonry, examples/jobd.py": (jobd, ours)}
    if has(box.python, ("huey",)):
        ways["huey, SQLite"] = (PROGRAMS / "jobs_huey.py", _huey(box))
    if shutil.which("tsp"):
        box.env["TS_SOCKET"] = str(box.sandbox.path / "run/tsp.sock")
        box.run("tsp", "-S", "2")

        def spooler() -> float:
            before_s = box.servers_s()
            used_s = sum(box.run("tsp", "true") for _ in range(10)) + box.run("tsp", "-w")
            return used_s + box.servers_s() - before_s

        ways["task-spooler"] = (None, spooler)
    if shutil.which("pueue") and shutil.which("pueued"):
        box.run("pueued", "--daemonize")
        box.run("pueue", "parallel", "2")

        def pueue() -> float:
            before_s = box.servers_s()
            used_s = sum(box.run("pueue", "add", "--", "true") for _ in range(10)) + box.run("pueue", "wait")
            return used_s + box.servers_s() - before_s

        ways["pueue"] = (None, pueue)
    compared(box, rounds, "a job runner, ten jobs by a command each", ways)
    if "task-spooler" in ways:
        box.run("tsp", "-K")
    if "pueue" in ways:
        box.run("pueue", "shutdown")


def _huey(box: Box) -> Callable[[], float]:
    """Start huey's consumer, and return what submits ten jobs and waits for them."""
    program = PROGRAMS / "jobs_huey.py"
    box.env["JOBS_HUEY"] = str(box.sandbox.path / "huey.db")
    box.env["PYTHONPATH"] += os.pathsep + str(PROGRAMS)
    consumer = Path(box.python).parent / "huey_consumer"
    box.start(box.python, consumer, "jobs_huey.huey", "-w", "2", "-q")
    numbers = itertools.count(10, 10)

    def cost_s() -> float:
        before_s = box.servers_s()
        used_s = sum(box.run(box.python, program, "submit", "true") for _ in range(10))
        used_s += box.run(box.python, program, "wait", str(next(numbers)))
        return used_s + box.servers_s() - before_s

    return cost_s


def _end(words: str) -> None:
    """End the server whose command line has these words."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words in command:
            os.kill(int(name), signal.SIGKILL)


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--only", choices=("caches", "formatters", "runners"))
    options = parser.parse_args()
    with Sandbox() as sandbox:
        box = Box(sandbox, os.path.abspath(options.peers))
        for name, measured in (("caches", caches), ("formatters", formatters), ("runners", runners)):
            if options.only in (None, name):
                measured(box, options.rounds)
        box.end()
        for name in ("kvd", "fmtd", "jobd"):
            sandbox.daemonry("stop", name)
        for one in sandbox.path.glob("run/cache_*.sock"):  # the peers have no `stop`
            _end(f"serve {one}")
            one.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How often a daemon that has nothing to do is woken, by both loops, and with each part that it may have.

Owns the daemons, the questions to each before it is left alone, and the count: the voluntary context
switches of all its threads.  All are counted in the same time.  Beside them is an asyncio server without
daemonry, which nothing wakes either.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from cli import ROOT, Failed
from rtt import Workshop, machine, workshop

PROGRAM: Final = ROOT / "bench/daemons/quiet.py"
# Each with what QUIET says, and whether a client keeps its connection.
ROWS: Final = {
    "calls once": ("", False),
    "a client keeps its connection": ("", True),
    "an idle timeout of an hour": ("idle", True),
    "HTTP on a port, asked once": ("http", False),
    "a job and a topic once": ("jobs", False),
}
LOOPS: Final = ("asyncio", "uvloop")
COUNTED_S: Final = 60.0
# Longer than any timeout of a connection that was used.
SETTLE_S: Final = 35.0
BARE: Final = """
import asyncio, sys
async def main():
    async with await asyncio.start_unix_server(lambda reader, writer: writer.close(), sys.argv[1]) as server:
        await server.serve_forever()
asyncio.run(main())
"""
ASK: Final = r"""
import os, socket, sys, daemonry
name, having, keeps = sys.argv[1:]
client = daemonry.ensure(name)
for method in ("Add", "Later"):
    client.call("org.example.quiet." + method, {"number": 1})
if having == "jobs":
    stream = client.stream("org.example.quiet.Follow")
    next(stream)
    stream.close()
    client.call("org.daemonry.Jobs.Submit", {"task": "work", "parameters": {}, "key": ""})
if having == "http":
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{os.environ['XDG_RUNTIME_DIR']}/{name}/{name}.sock")
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200"), "no answer over HTTP"
print("asked", flush=True)
if keeps == "yes":
    sys.stdin.read()
"""


def measure(here: Workshop, counted_s: float = COUNTED_S, settle_s: float = SETTLE_S) -> dict[str, list[int]]:
    """Start all, ask each, leave them alone, count; return the wake-ups by row, one for each loop."""
    hidden = here.home / "hidden"
    hidden.mkdir()
    (hidden / "uvloop.py").write_text("raise ImportError('hidden')\n")
    pids: dict[tuple[str, str], int] = {}
    with ExitStack() as stack:
        for loop in LOOPS:
            for row, (having, keeps) in ROWS.items():
                pids[row, loop] = _started(here, stack, loop, having, keeps=keeps)
        bare = _spawned(here, stack, [here.command("python3"), "-c", BARE, str(here.runtime / "bare.sock")])
        pids["asyncio without daemonry", "asyncio"] = bare.pid
        time.sleep(settle_s)
        before = {key: switches(pid) for key, pid in pids.items()}
        time.sleep(counted_s)
        found: dict[str, list[int]] = {}
        for key, pid in pids.items():
            found.setdefault(key[0], []).append(switches(pid) - before[key])
    return found


def switches(pid: int) -> int:
    """Return how often the threads of a process have waited.

    Raises:
        Failed: it has ended.
    """
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    if not total:
        raise Failed("a daemon that was to do nothing has ended")
    return total


def _started(here: Workshop, stack: ExitStack, loop: str, having: str, *, keeps: bool) -> int:
    name = f"quiet-{loop}-{having or 'calls'}{'-kept' if keeps else ''}"
    environment = {**here.environment, "QUIET": having, "QUIET_NAME": name}
    if loop == "asyncio":
        environment["PYTHONPATH"] = str(here.home / "hidden")
    _daemonry(here, environment, "start", str(PROGRAM))
    stack.callback(_daemonry, here, environment, "stop", name)
    pid: int = json.loads(_daemonry(here, environment, "status", name, "--json"))["pid"]
    asking = [here.command("python3"), "-c", ASK, name, having, "yes" if keeps else "no"]
    client = _spawned(here, stack, asking, environment)
    assert client.stdout is not None
    if client.stdout.readline() != b"asked\n":
        raise Failed(f"{name} was not asked")
    return pid


def _daemonry(here: Workshop, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [here.command("daemonry"), *words], env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise Failed(f"daemonry {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _spawned(
    here: Workshop, stack: ExitStack, words: list[str], environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        words,
        env=environment or here.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=here.home,
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.communicate()


def table(found: dict[str, list[int]]) -> None:
    """Print the table and the line of the target."""
    print(f"| wake-ups a minute | {' | '.join(LOOPS)} |")
    print("| --- | ---: | ---: |")
    for row, counts in found.items():
        cells = [str(count) for count in counts] + ["-"] * (len(LOOPS) - len(counts))
        print(f"| {row} | {' | '.join(cells)} |")
    worst = max(count for row, counts in found.items() if row in ROWS for count in counts)
    print()
    met = "NOT MET" if worst else "met"
    print(f"a daemon that has nothing to do: {worst} wake-ups a minute, target 0: {met}")


def main() -> int:
    """Measure, print the table, and return 1 if something could not be run."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench wakeups", description="Count the wake-ups of daemons that have nothing to do."
    )
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    try:
        with workshop(options.env and options.env.absolute()) as here:
            found = measure(here)
    except (Failed, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{machine()}; not pinned\n")
    table(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a typed call costs a short command: by name, by a written module, by a proxy; whole processes.

    python bench/stubs.py [--rounds 40]

Owns a counter's daemon in a sandbox, and the CPU time of processes that make one call and end, in turn in
each round.  Information: the exit code is 0 unless a command could not be run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

from daemonry.testing import Sandbox

ROOT: Final = Path(__file__).resolve().parent.parent
COMMANDS: Final = {
    "python -c pass": "pass",
    "by name": """
import daemonry
with daemonry.ensure("counter") as client:
    client.call("org.example.counter.Add", {"steps": 0})["result"]
""",
    "written module": """
import daemonry
from clients.counter_client import CounterClient
with daemonry.ensure("counter") as client:
    CounterClient(client).add(0)
""",
    "proxy": """
import daemonry
from counter import Counter, daemon
with daemonry.ensure(daemon) as client:
    client.proxy(Counter).add(0)
""",
}


def cpu_ms(program: Path, environment: dict[str, str], directory: Path) -> float:
    """Return the CPU time of one process, user's and system's, in milliseconds.

    Raises:
        RuntimeError: it failed.
    """
    process = subprocess.Popen([sys.executable, str(program)], env=environment, cwd=directory)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program.name} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def measure(rounds: int) -> dict[str, float]:
    """Return the median of each command."""
    times: dict[str, list[float]] = {title: [] for title in COMMANDS}
    sandbox = Sandbox()
    environment = {name: value for name, value in sandbox.env.items() if not name.startswith("PYTHON")}
    try:
        sandbox.write("counter.py", (ROOT / "examples/counter.py").read_text(encoding="utf-8"))
        programs = {title: sandbox.write(f"p{n}.py", COMMANDS[title]) for n, title in enumerate(COMMANDS)}
        counter = sandbox.path / "counter.py"
        for words in (["start", counter], ["stubs", counter, "-o", sandbox.path / "clients"]):
            done = sandbox.run(sys.executable, "-m", "daemonry", *words)
            if done.code:
                raise RuntimeError(done.err)
        for number in range(rounds + 1):
            for title, program in programs.items():
                took_ms = cpu_ms(program, environment, sandbox.path)
                if number:  # the first round compiles
                    times[title].append(took_ms)
        sandbox.run(sys.executable, "-m", "daemonry", "stop", "counter")
    finally:
        sandbox.close()
    return {title: statistics.median(of) for title, of in times.items()}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench/stubs.py", description="Typed calls of short commands.")
    parser.add_argument("--rounds", type=int, default=40)
    medians = measure(parser.parse_args().rounds)
    by_name = medians["by name"]
    print("| command | CPU, median ms | x by name |\n| --- | ---: | ---: |")
    for title, median_ms in medians.items():
        print(f"| {title} | {median_ms:.1f} | {median_ms / by_name:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

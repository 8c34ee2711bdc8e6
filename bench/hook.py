"""What a hook costs the agent that runs it, from exec to exit, beside `true` and a bare Python.

    scripts/bench hook [--rounds N]

Owns a private home with palingenesis' hooks in it.  Each round runs every command once, in another order; the
hook gets an event of 4 KiB on its standard input, as Claude Code's `Stop` gives it: without a daemon, and
with one that takes the events in.  An agent waits for its hook at each event.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless a command could
not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET_MS = 30.0


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench hook", description="What a hook costs.")
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    palingenesis = Path(sys.executable).parent / "palingenesis"
    if not palingenesis.exists():
        palingenesis = ROOT / ".venv/bin/palingenesis"
    with tempfile.TemporaryDirectory(prefix="hook-") as directory:
        home = Path(directory)
        (home / ".claude").mkdir()
        (home / "run").mkdir(mode=0o700)
        environment = {"HOME": directory, "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": f"{directory}/run"}
        ask = [str(palingenesis)]
        done = subprocess.run(
            [*ask, "hooks", "install", "claude", "--yes"], env=environment, capture_output=True, check=False
        )
        if done.returncode:
            print(done.stderr.decode(), file=sys.stderr)
            return 1
        hook = str(home / ".local/state/palingenesis/hooks/hook")
        spool = home / ".local/state/palingenesis/hooks/spool"
        rows = {"true": ["true"], "python3 -c pass": [sys.executable, "-c", "pass"], "hook": [hook, "claude"]}
        found = _measure(rows, rounds, environment, spool)
        subprocess.run([*ask, "daemon", "start"], env=environment, capture_output=True, check=True)
        try:
            with_daemon = _measure(
                {
                    "hook, with a daemon": rows["hook"],
                    "true, again": ["true"],
                    "python3 -c pass, again": rows["python3 -c pass"],
                },
                rounds,
                environment,
                None,
            )
        finally:
            subprocess.run([*ask, "daemon", "stop"], env=environment, capture_output=True, check=True)
    print("| command | median ms | min | p90 |\n| --- | ---: | ---: | ---: |")
    for name, times in (found | with_daemon).items():
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} | {_p90(times):.1f} |")
    slow = max(_p90(found["hook"]), _p90(with_daemon["hook, with a daemon"]))
    verdict = "met" if slow <= TARGET_MS else "missed"
    print(f"\nThe target, {TARGET_MS:g} ms for nine in ten, was {verdict} in this run.")
    return 0


def _p90(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.9)]


def _measure(
    rows: dict[str, list[str]], rounds: int, environment: dict[str, str], spool: Path | None
) -> dict[str, list[float]]:
    event = json.dumps(
        {"hook_event_name": "Stop", "session_id": "bench", "last_assistant_message": "x" * 4000}
    ).encode()
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        names = list(rows)
        random.shuffle(names)
        for name in names:
            began_s = time.perf_counter()
            subprocess.run(rows[name], input=event, env=environment, check=True)
            found[name].append((time.perf_counter() - began_s) * 1000)
        for path in spool.iterdir() if spool is not None else ():  # nobody takes it in
            path.unlink()
    return found


if __name__ == "__main__":
    sys.exit(main())

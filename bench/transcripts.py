"""What the daemon of palingenesis costs beside 10,000 transcripts, and how soon it sees a stop.

    scripts/bench transcripts [--count N] [--seconds S] [--rounds R]

Owns a private home with N transcripts of Claude Code in 200 directories, as long nights leave them: nearly
all untouched for hours or days, 50 in the last hour.  CPU is that of the daemon's process over S seconds,
once its first look is over.  Then a limit is written to a record, R times each: to one that was untouched
for two hours, and to one of the last hour; and told by a hook, for a session that the daemon knows.  A stop
is seen when the daemon has written it down.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless something
could not be run.
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
import uuid
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTORIES = 200
HOT = 50
DEADLINE_S = 120.0
TARGET_CPU, TARGET_TAIL_S, TARGET_HOOK_S = 1.0, 5.0, 1.0


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench transcripts", description="Many transcripts.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    palingenesis = Path(sys.executable).parent / "palingenesis"
    program = str(palingenesis if palingenesis.exists() else ROOT / ".venv/bin/palingenesis")
    with tempfile.TemporaryDirectory(prefix="transcripts-") as directory:
        night = Night(Path(directory), program)
        quiet, hot = night.fill(options.count)
        night.ask("hooks", "install", "claude", "--yes")
        began_s = time.monotonic()
        night.ask("daemon", "start", "--timeout", "120")
        try:
            measured(night, quiet, hot, options, began_s)
        finally:
            night.ask("daemon", "stop")
    return 0


class Night:
    """A home with transcripts, and a daemon over it."""

    def __init__(self, home: Path, program: str) -> None:
        self.home = home
        self._program = program
        (home / "run").mkdir(mode=0o700)
        self.environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "TZ": "UTC", "XDG_RUNTIME_DIR": f"{home}/run",
        }  # fmt: skip
        self.state = home / ".local/state/palingenesis"

    def ask(self, *words: str) -> str:
        """Return what a command of palingenesis prints."""
        done = subprocess.run(
            [self._program, *words], env=self.environment, capture_output=True, check=True, text=True
        )
        return done.stdout

    def fill(self, count: int) -> tuple[list[Path], list[Path]]:
        """Make the transcripts; return those that are untouched for long, and those of the last hour."""
        quiet, hot, now_s = [], [], time.time()
        for number in range(count):
            path = self.home / f".claude/projects/-p{number % DIRECTORIES}" / f"{uuid.uuid4()}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            is_hot = number < HOT
            age_s = random.uniform(60, 3000) if is_hot else random.uniform(2 * 3600, 7 * 86400)
            at_s = now_s - age_s
            lines = [
                line(path, "user", at_s - 60),
                *(line(path, "tool_use", at_s - 50 + n) for n in range(20)),
            ]
            path.write_text("".join([*lines, line(path, "end_turn", at_s)]))
            os.utime(path, (at_s, at_s))
            (hot if is_hot else quiet).append(path)
        for directory in (self.home / ".claude/projects").iterdir():
            os.utime(directory, (now_s - 7200, now_s - 7200))
        return quiet, hot

    def cpu_s(self, pid: int) -> float:
        """Return the CPU time of a process."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seen_after_s(self, path: Path, act: object) -> float:
        """Return how long it takes from `act` until the daemon has written the stop of a session down."""
        assert callable(act)
        audit = self.state / "audit.jsonl"
        at = audit.stat().st_size if audit.exists() else 0
        began_s = time.monotonic()
        act()
        while time.monotonic() - began_s < DEADLINE_S:
            if audit.exists():
                with open(audit) as file:
                    file.seek(at)
                    if any(path.stem in one and '"rate limit"' in one for one in file):
                        return time.monotonic() - began_s
            time.sleep(0.01)
        return DEADLINE_S


def line(path: Path, kind: str, at_s: float) -> str:
    """Return one line of a transcript; `limit` is a stop whose reset is hours away."""
    told = {
        "timestamp": datetime.fromtimestamp(at_s, UTC).isoformat(), "sessionId": path.stem,
        "version": "2.1.332", "uuid": str(uuid.uuid4()), "cwd": "/nowhere", "entrypoint": "sdk-cli",
    }  # fmt: skip
    if kind == "user":
        told |= {"type": "user", "message": {"role": "user", "content": "do the work"}}
    elif kind == "limit":
        content = [{"type": "text", "text": "You've hit your 5-hour limit"}]
        told |= {
            "type": "assistant", "isApiErrorMessage": True, "error": "rate_limit",
            "quotaLimits": {"status": "rejected", "resetsAt": int(at_s + 4 * 3600)},
            "message": {"role": "assistant", "model": "<synthetic>", "content": content},
        }  # fmt: skip
    else:
        content = [{"type": "text", "text": "x" * 1500}]
        message = {"role": "assistant", "model": "claude-x", "stop_reason": kind, "content": content}
        told |= {"type": "assistant", "message": message}
    return json.dumps(told) + "\n"


def measured(
    night: Night, quiet: list[Path], hot: list[Path], options: argparse.Namespace, began_s: float
) -> None:
    """Print what it costs, and how soon a stop is seen."""
    pid = int(json.loads(night.ask("status", "--json"))["pid"])
    settled_s = _settle(night, pid, began_s)
    before_s, from_s = night.cpu_s(pid), time.monotonic()
    time.sleep(options.seconds)
    share = 100 * (night.cpu_s(pid) - before_s) / (time.monotonic() - from_s)
    resident = next(
        one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")
    )
    print(f"{options.count} transcripts in {DIRECTORIES} directories; load {os.getloadavg()[0]:.1f}\n")
    print("| what | median | worst | target |\n| --- | ---: | ---: | ---: |")
    print(f"| CPU of the daemon, % of a core, over {options.seconds:g} s | {share:.2f} | | {TARGET_CPU:g} |")
    print(f"| its memory, MiB | {int(resident.split()[1]) / 1024:.0f} | | |")
    print(f"| first look over, s after the start | {settled_s:.1f} | | |")

    def told(paths: list[Path]) -> list[float]:
        found = []
        for path in random.sample(paths, options.rounds):
            time.sleep(random.uniform(0, 3))
            found.append(night.seen_after_s(path, lambda path=path: _append(path, "limit")))
        return found

    def hooked() -> list[float]:
        found = []
        for path in random.sample(hot, options.rounds):
            _append(path, "user")  # a turn of which the daemon knows
            time.sleep(4.0)
            found.append(night.seen_after_s(path, lambda path=path: _hook(night, path)))
        return found

    for what, times, target in (
        ("a record untouched for two hours, s", told(quiet), TARGET_TAIL_S),
        ("told by a hook, s", hooked(), TARGET_HOOK_S),
        ("a record of the last hour, s", told(hot), TARGET_TAIL_S),
    ):
        print(f"| {what} | {statistics.median(times):.2f} | {max(times):.2f} | {target:g} |", flush=True)


def _settle(night: Night, pid: int, began_s: float) -> float:
    """Wait until the daemon has taken less than 5 % of a core for two seconds."""
    while True:
        before_s = night.cpu_s(pid)
        time.sleep(2.0)
        if night.cpu_s(pid) - before_s < 0.1:
            return time.monotonic() - began_s - 2.0


def _append(path: Path, kind: str) -> None:
    with open(path, "a") as file:
        file.write(line(path, kind, time.time()))


def _hook(night: Night, path: Path) -> None:
    event = {
        "hook_event_name": "StopFailure", "session_id": path.stem, "error": "rate_limit", "cwd": "/nowhere",
        "last_assistant_message": "You've hit your 5-hour limit · resets 7:59am (UTC)",
    }  # fmt: skip
    command = [str(night.state / "hooks/hook"), "claude"]
    subprocess.run(command, input=json.dumps(event).encode(), env=night.environment, check=True)


if __name__ == "__main__":
    sys.exit(main())

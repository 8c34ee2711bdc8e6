"""What a log costs: lines a second on the way to it, and finding the last ones, beside s6-log and tail.

    scripts/bench logs
    scripts/bench logs --lines 10000000

Owns the measurement.  Every contender gets the same lines of 60 bytes from the same writer (`yes | head`)
through a pipe, keeps 5 MiB a part and 6 parts, and stamps each line with its time; `cat` to a file is the
floor.  Then the last 5 lines are asked for.  What the numbers mean is in bench/README.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINE = "x" * 59


def _wait(path: Path) -> None:
    while not path.exists():
        time.sleep(0.001)


def daemonry(here: Path, lines: int) -> tuple[float, float]:
    """Return (seconds until the writer was through, CPU seconds of the supervisor)."""
    until = "until [ -e go ]; do sleep 0.001; done"
    command = f"{until}; yes {LINE} | head -n {lines}; : > done; exec sleep 600"
    (here / "home.toml").write_text(f"[services.s]\ncommand = ['sh', '-c', '{command}']\n")
    words = (sys.executable, "-m", "daemonry")
    subprocess.run([*words, "up", "--home", str(here)], check=True, capture_output=True)
    pid = int((here / "home.json").read_text().partition('"pid":')[2].split(",")[0])
    before_s, began = _cpu_s(pid), time.perf_counter()
    (here / "go").touch()
    _wait(here / "done")
    return time.perf_counter() - began, _cpu_s(pid) - before_s


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def piped(words: list[str], lines: int) -> tuple[float, float]:
    """The same of a program that reads standard input."""
    began = time.perf_counter()
    writer = subprocess.Popen(["sh", "-c", f"yes {LINE} | head -n {lines}"], stdout=subprocess.PIPE)
    reader = subprocess.Popen(words, stdin=writer.stdout)
    assert writer.stdout is not None
    writer.stdout.close()
    writer.wait()
    took_s = time.perf_counter() - began
    between = resource.getrusage(resource.RUSAGE_CHILDREN)
    reader.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took_s, after.ru_utime + after.ru_stime - between.ru_utime - between.ru_stime


def _down(home: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "daemonry", "down", "--home", str(home)], check=True, capture_output=True
    )


# The work beside the interpreter's start: what a command adds that is running already.
WORK = """
import sys, time, tracemalloc
from daemonry.process import log_reader
began = time.perf_counter()
found = log_reader.tail(sys.argv[1], 5)
took = time.perf_counter() - began
assert len(found) == 5
tracemalloc.start()
log_reader.tail(sys.argv[1], 5)
print(took * 1000, tracemalloc.get_traced_memory()[1] / 1024)
"""


def main() -> int:
    """Measure, print the tables, and say which targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as directory:
        here = Path(directory).resolve()
        os.environ |= {"HOME": directory, "XDG_STATE_HOME": f"{here}/s", "XDG_RUNTIME_DIR": f"{here}/r"}
        (here / "r").mkdir(mode=0o700)
        for number in range(options.rounds):
            home = here / f"home{number}"
            home.mkdir()
            found.setdefault("daemonry", []).append(daemonry(home, options.lines))
            if shutil.which("s6-log"):
                words = ["s6-log", "t", "n6", "s5242880", str(here / f"s6-{number}")]
                found.setdefault("s6-log", []).append(piped(words, options.lines))
            found.setdefault("cat > file", []).append(piped(["sh", "-c", f"cat > {here}/cat"], options.lines))
            if number + 1 < options.rounds:
                _down(home)
        load = os.getloadavg()[0]
        print(f"\n{options.lines:,} lines of 60 bytes, {options.rounds} rounds, medians; load {load:.1f}\n")
        print("| logger | lines a second | lines a CPU second of the logger |\n| --- | ---: | ---: |")
        rates = {}
        for name, rounds in found.items():
            rates[name] = options.lines / statistics.median(took for took, _ in rounds)
            cpu_s = statistics.median(cpu for _, cpu in rounds)
            print(f"| {name} | {rates[name]:,.0f} | {options.lines / max(cpu_s, 0.01):,.0f} |")
        log = home / "s.log"
        size_mib = sum(one.stat().st_size for one in home.glob("s.log*")) / 2**20
        out = subprocess.run(
            [sys.executable, "-c", WORK, str(log)], check=True, capture_output=True, text=True
        ).stdout
        work_ms, memory_kib = map(float, out.split())
        began = time.perf_counter()
        subprocess.run(["tail", "-n", "5", str(log)], check=True, capture_output=True)
        tail_ms = (time.perf_counter() - began) * 1000
        ours = f"{work_ms:.2f} ms of work, {memory_kib:.0f} KiB"
        print(f"\nthe last 5 of {size_mib:.0f} MiB: {ours}; tail, as a process: {tail_ms:.1f} ms\n")
        _down(home)
    targets = [
        ("log lines through the supervisor >= 700,000/s", rates["daemonry"] >= 700_000),
        ("the last lines <= 10 ms of work", work_ms <= 10),
        ("in constant memory (<= 1 MiB)", memory_kib <= 1024),
    ]
    for text, met in targets:
        print(f"{'met' if met else 'not met'}: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

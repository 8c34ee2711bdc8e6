"""What another machine costs: a call, a command, and the list of fifty machines, each beside bare ssh.

    scripts/bench remote                     all three
    scripts/bench remote call status hosts   some

Owns the measurement: an sshd of its own listens on loopback, at a port for each machine; the daemon is one
and the same for the local call and the far one.  What is compared is run in turn, in each round.  Of fifty
machines three are dead: one refuses, one accepts and says nothing, one does not even accept.  What the
numbers mean is in bench/README.md.  Exit code: 0 if all targets are met, 1 if not, 77 without sshd.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from far_machine import BIN, SSHD, FarMachine

CALL_RATIO: Final = 6.0
STATUS_RATIO: Final = 1.2
HOSTS: Final = 50
DEAD: Final = 3
HOSTS_S: Final = 3.0
SKIPPED: Final = 77
CALLS: Final = 300
# Of the call's request on the wire.
REQUEST_BYTES: Final = 80

Row = tuple[str, bool]


def call(far: FarMachine) -> Iterator[Row]:
    """A typed call, here and there.

    A call here needs two processes, one there four: how the system spreads them over the processors changes
    the ratio twofold.  So both are judged where each has the same processor, and once more as the system
    likes; the worst that it can do, the two ends on one and the two of ssh on another, is printed.
    """
    processors = sorted(os.sched_getaffinity(0))
    one, other = processors[0], processors[-1]
    places: dict[str, tuple[list[int], list[int]]] = {
        "one processor": ([one], [one]),
        "as the system likes": (processors, processors),
    }
    if one != other:
        places["ssh on another processor"] = ([one], [other])
    for name, (ends, between) in places.items():
        rounds, route = _calls(far, ends, between)
        near, there, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(row[1] / row[0] for row in rounds)
        found = f"here {near:.0f} us, by ssh ({route}) {there:.0f} us, `ssh HOST cat` {bare:.0f} us"
        yield f"call, {name}: {found}: {ratio:.1f} times", ratio <= CALL_RATIO or ends != between


def _calls(far: FarMachine, ends: list[int], between: list[int]) -> tuple[list[tuple[float, ...]], str]:
    """Return each round's microseconds of a call here, there, and of bare ssh; and the way there."""
    script = f"""
import os, socket, statistics, subprocess, sys, time
sys.path.insert(0, {str(far.folder)!r})
import daemonry
from adder import Adder
stream = daemonry.connect("ssh:box0/adder")
near = daemonry.Client(daemonry.connect("unix:{far.env["XDG_RUNTIME_DIR"]}/adder/adder.sock")).proxy(Adder)
far = daemonry.Client(stream).proxy(Adder)
ours, theirs = socket.socketpair()
subprocess.Popen(["ssh", "-F", {str(far.config)!r}, "-T", "box0", "cat"], stdin=theirs, stdout=theirs)
theirs.close()
request = b"x" * {REQUEST_BYTES}

def echo():
    ours.sendall(request)
    left = len(request)
    while left:
        left -= len(ours.recv(left))

def add(one):
    return lambda: one.sum([1, 2, 3])

def place():
    ours, parents = {{}}, {{}}
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            with open(f"/proc/{{pid}}/cmdline", "rb") as words, open(f"/proc/{{pid}}/stat") as stat:
                ours[pid], parents[pid] = words.read(), int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            pass
    for pid, words in ours.items():
        up = pid
        while up in ours and {os.fsencode(far.folder)!r} not in ours[up]:
            up = parents[up]
        if up in ours:
            at_an_end = pid == os.getpid() or b"daemonry" in words.split(b"/run/")[0]
            os.sched_setaffinity(pid, {ends!r} if at_an_end else {between!r})

echo()
place()
print(stream.route)
for _ in range(7):
    row = []
    for one in (add(near), add(far), echo):
        times = []
        for _ in range({CALLS}):
            began = time.perf_counter_ns()
            one()
            times.append(time.perf_counter_ns() - began)
        row.append(statistics.median(times) / 1000)
    print(*row)
"""
    done = subprocess.run(
        [BIN / "python", "-c", script], env=far.near, capture_output=True, text=True, check=True
    )
    route, *lines = done.stdout.splitlines()
    return [tuple(map(float, line.split())) for line in lines], route


def status(far: FarMachine) -> Iterator[Row]:
    """`daemonry --host box status`, and `ssh box true`, each on a connection that is kept."""
    control = far.folder / "control"
    ssh = ["ssh", "-F", far.config, "-o", "ControlMaster=auto", "-o", f"ControlPath={control}"]
    ssh += ["-o", "ControlPersist=60", "-T", "box0"]
    contenders: dict[str, list[object]] = {
        "ssh HOST true": [*ssh, "true"],
        "ssh HOST daemonry status": [*ssh, "daemonry", "status", "adder"],
        "python -c pass": [BIN / "python", "-c", "pass"],
        "by Python": [BIN / "daemonry", "--host", "box0", "status", "adder"],
    }
    launcher = _launcher(far)
    if launcher is not None:
        contenders["by the launcher"] = [launcher, "--host", "box0", "status", "adder"]
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(16):
        for name, words in contenders.items():
            began_s = time.perf_counter()
            subprocess.run(list(map(str, words)), env=far.near, capture_output=True, check=True)
            if turn:  # the first makes the connection
                times[name].append(time.perf_counter() - began_s)
    subprocess.run(["ssh", "-O", "exit", "-S", control, "x"], capture_output=True, check=False)
    bare = times["ssh HOST true"]
    found = ", ".join(f"{name} {statistics.median(took) * 1000:.0f} ms" for name, took in times.items())
    for name, took in times.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(took, bare, strict=True))
        if name.startswith("by "):
            judged = name == "by the launcher" or launcher is None
            note = "" if judged else " (the target is the launcher's)"
            text = f"status {name}: {ratio:.2f} times ssh true{note}: {found}"
            yield text, not judged or ratio <= STATUS_RATIO


def _launcher(far: FarMachine) -> Path | None:
    """Compile the native launcher, with the Python command beside it; None without a compiler."""
    native = Path(__file__).resolve().parent.parent / "native" / "launcher" / "launcher.c"
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    directory = far.folder / "native"
    directory.mkdir()
    subprocess.run([compiler, "-std=c11", "-O2", "-o", directory / "daemonry", native], check=True)
    (directory / "daemonry-python").symlink_to(BIN / "daemonry")
    agreed = native.parents[2] / "src" / "daemonry" / "cli" / "native" / "__init__.py"
    (directory / ".daemonry-launcher").symlink_to(agreed)
    return directory / "daemonry"


def hosts(far: FarMachine) -> Iterator[Row]:
    """`ps --all-hosts` of fifty machines: the first time, and with their connections kept."""
    with ExitStack() as stack:
        dead = [*_free(1), _silent(stack), _full(stack)]
        with far.config.open("a") as file:
            file.writelines(
                far.entry(f"dead{number}", "127.0.0.1", str(port)) for number, port in enumerate(dead)
            )
        alive = [f"box{number}" for number in range(HOSTS - DEAD)]
        names = [*alive, *(f"dead{number}" for number in range(DEAD))]
        listed = Path(far.near["XDG_CONFIG_HOME"]) / "daemonry" / "daemonry.toml"
        listed.write_text(f"hosts = {names!r}\n")
        for what in ("new connections", "kept connections", "kept connections"):
            began_s = time.perf_counter()
            done = subprocess.run(
                [BIN / "daemonry", "ps", "--all-hosts"],
                env=far.near,
                capture_output=True,
                text=True,
                check=False,
            )
            took_s = time.perf_counter() - began_s
            rows = [line for line in done.stdout.splitlines() if line.startswith("box")]
            gone = [line for line in done.stderr.splitlines() if "dead" in line and "unreachable" in line]
            whole = len(rows) == len(alive) and len(gone) == DEAD and done.returncode == 5
            yield (
                f"hosts: {len(rows)} of {HOSTS} answer, {len(gone)} told dead, {took_s:.2f} s, {what}",
                whole and (took_s <= HOSTS_S or what == "new connections"),
            )
        took_s = _by_hand(far, alive)
        yield f"hosts: `ssh HOST daemonry ps` of {len(alive)} at once by hand, kept: {took_s:.2f} s", True


def _by_hand(far: FarMachine, names: list[str]) -> float:
    """Return how long the same takes by ssh alone, on the same kept connections, without the dead."""
    control = Path(far.near["XDG_RUNTIME_DIR"]) / "daemonry" / "ssh-%C"
    ssh = ["ssh", "-F", str(far.config), "-S", str(control), "-T"]
    began_s = time.perf_counter()
    running = [
        subprocess.Popen(
            [*ssh, name, "daemonry ps --json"],
            env=far.near,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    for one in running:
        one.wait(60)
    return time.perf_counter() - began_s


def _free(count: int) -> list[int]:
    """Return ports where nobody listens."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]


def _silent(stack: ExitStack) -> int:
    """Return a port where a connection is accepted, by the kernel, and nobody says a word."""
    one = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=8))
    return int(one.getsockname()[1])


def _full(stack: ExitStack) -> int:
    """Return a port whose queue is full, so that the kernel answers nothing, as a machine that is off."""
    one = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(3):
        waits = stack.enter_context(socket.socket())
        waits.setblocking(False)
        waits.connect_ex(one.getsockname())
    return int(one.getsockname()[1])


CASES: Final[dict[str, Callable[[FarMachine], Iterator[Row]]]] = {
    "call": call,
    "status": status,
    "hosts": hosts,
}


def main() -> int:
    """Run the cases that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all if left out")
    asked = parser.parse_args()
    unknown = set(asked.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if SSHD is None or shutil.which("ssh") is None:
        print("skipped: no OpenSSH", file=sys.stderr)
        return SKIPPED
    if not (BIN / "daemonry").exists():
        print(f"no daemonry beside {sys.executable}: name another interpreter by PYTHON", file=sys.stderr)
        return SKIPPED
    cases = asked.cases or list(CASES)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="dm-") as folder:
        ports = _free(HOSTS - DEAD if "hosts" in cases else 1)
        far = FarMachine(Path(folder), [f"127.0.0.1:{port}" for port in ports])
        try:
            subprocess.run(
                [BIN / "daemonry", "start", far.program], env=far.env, capture_output=True, check=True
            )
            for case in cases:
                for text, holds in CASES[case](far):
                    missed += not holds
                    print(f"{'ok' if holds else 'MISSED':6} {text}", flush=True)
        finally:
            far.close()
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

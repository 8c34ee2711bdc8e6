"""`vx build` on large projects, beside ninja, ccache, cargo and sccache as they are there.

    python bench/vx_scale.py [--env DIR] [--only CASE] [--files N] [--rounds N]

Owns the projects that it writes and the timing of whole processes; each round does one program after
the other.

    c-null        N C files of which none changed (1,000): vx, ninja; of this and the next two cases also
                  vx by its native launcher, and the CPU time of the command and aether together
                  and the same after vx's services were ended, beside vx's own
    c-elsewhere   200 C files in another directory, all built before: vx, ninja with ccache
    rust-null     one crate of 5,000 files, none changed: vx, cargo
    crates-null   a workspace of 50 crates, none changed: vx, cargo
                  and the same in another directory: vx, cargo with sccache
    cass-tcp      20 C files, all compiled, and none changed: the store on TCP, beside the Unix socket
    actions       10,000 C files in one build (--files for fewer), with the services' memory; the first
                  build after a restart

Numbers are information: the exit code is 0 unless something could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from launched import launchers
from targets import verdict
from vx_tools import Failed, Surroundings

ROUNDS = 7
# What a build that changes nothing may take by the launcher, beside ninja, by CPU time.
LAUNCHED_TARGET = 2.0
Row = tuple[str, str, float, float]


def write_c(directory: Path, files: int) -> None:
    """Write a C project of some files, with a vx.toml and a build.ninja."""
    for folder in ("src", "include"):
        (directory / folder).mkdir(parents=True)
    (directory / "vx.toml").write_text(
        '[project]\nname = "big"\n[targets.big]\nsources = ["src/*.c"]\ninclude = ["include"]\n'
    )
    for number in range(20):
        (directory / f"include/h{number}.h").write_text(f"#define H{number} {number}\n")
    names = [f"f{number}" for number in range(files - 1)]
    for number, name in enumerate(names):
        header = number % 20
        text = f'#include "h{header}.h"\nint {name}(int x) {{ return x * {number} + H{header}; }}\n'
        (directory / f"src/{name}.c").write_text(text)
    (directory / "src/main.c").write_text("int f0(int);\nint main(void) { return f0(1); }\n")
    rule = "gcc -O0 -g -Iinclude -MD -MF $out.d -c $in -o $out"
    lines = [f"cc =\nrule cc\n  command = $cc {rule}\n  depfile = $out.d\n  deps = gcc"]
    lines.append(
        "rule link\n  command = gcc @$out.rsp -o $out\n  rspfile = $out.rsp\n  rspfile_content = $in"
    )
    lines += [f"build {name}.o: cc src/{name}.c" for name in (*names, "main")]
    lines.append(f"build big: link {' '.join(f'{name}.o' for name in (*names, 'main'))}\n")
    (directory / "build.ninja").write_text("\n".join(lines))


def write_crate(directory: Path, files: int) -> None:
    """Write a crate of some modules."""
    (directory / "src").mkdir(parents=True)
    (directory / "Cargo.toml").write_text('[package]\nname = "many"\nversion = "0.1.0"\nedition = "2021"\n')
    for number in range(files - 1):
        (directory / f"src/m{number}.rs").write_text(f"pub const N: u32 = {number};\n")
    modules = "".join(f"mod m{number};\n" for number in range(files - 1))
    (directory / "src/main.rs").write_text(
        f'#![allow(dead_code)]\n{modules}fn main() {{ println!("{{}}", m0::N); }}\n'
    )


def write_workspace(directory: Path, crates: int) -> None:
    """Write a workspace of crates, each of which needs the one before."""
    directory.mkdir(parents=True)
    (directory / "Cargo.toml").write_text('[workspace]\nresolver = "2"\nmembers = ["c*"]\n')
    for number in range(crates):
        folder = directory / f"c{number}"
        (folder / "src").mkdir(parents=True)
        needs = f'[dependencies]\nc{number - 1} = {{ path = "../c{number - 1}" }}\n' if number else ""
        (folder / "Cargo.toml").write_text(
            f'[package]\nname = "c{number}"\nversion = "0.1.0"\nedition = "2021"\n{needs}'
        )
        value = f"c{number - 1}::value() + 1" if number else "0"
        (folder / "src/lib.rs").write_text(f"pub fn value() -> u32 {{ {value} }}\n")


class Bench:
    """The cases.

    Args:
        here: programs and a home.
        rounds: how often each is timed.
        files: of the case `actions`.
    """

    def __init__(self, here: Surroundings, rounds: int, files: int) -> None:
        self._here = here
        self._rounds = rounds
        self._files = files
        self._private = here.private
        self._native = here.private / "native"
        self._no_launcher = launchers(here.bin, self._native, "vx")
        self.verdicts: list[str] = []

    def _ms(self, words: list[str], directory: Path, env: Mapping[str, str] = {}) -> float:
        started_s = time.perf_counter()
        done = subprocess.run(
            words,
            cwd=directory,
            env={**self._here.environment, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-300:]}")
        return (time.perf_counter() - started_s) * 1000

    def _out(self, words: list[str]) -> str:
        env = self._here.environment
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout

    def _vx(self, directory: Path, env: Mapping[str, str] = {}) -> float:
        return self._ms([self._here.vx, "build", "-q"], directory, env)

    def _both(self, name: str, beside: str, ours: Callable[[], float], theirs: Callable[[], float]) -> Row:
        times = [(ours(), theirs()) for _ in range(self._rounds)]
        return name, beside, *(statistics.median(one) for one in zip(*times, strict=True))  # type: ignore[return-value]

    def c_null(self) -> Iterator[Row]:
        """Nothing changed in 1,000 C files; and after a restart."""
        directory = self._private / "c-null"
        write_c(directory, 1000)
        ninja = _needed("ninja")
        self._vx(directory)
        self._vx(directory)
        self._ms([ninja], directory)
        yield self._both(
            "1,000 C files, nothing changed",
            "ninja",
            lambda: self._vx(directory),
            lambda: self._ms([ninja], directory),
        )

        yield from self._by_cpu("1,000 C files, nothing changed", "ninja", directory, [ninja])
        yield self._restarted(directory)

    def _by_cpu(self, name: str, beside: str, directory: Path, theirs: list[str]) -> Iterator[Row]:
        """The same by CPU time, aether's with it: the Python command, and the launcher."""
        if self._no_launcher:
            raise Failed(f"the launcher: {self._no_launcher}")
        told = json.loads(self._out([self._here.vx, "status", "--json"]))
        pid = _status(next(one["pid"] for one in told["services"] if one["name"] == "cass"), "PPid")
        times: dict[str, list[tuple[float, float]]] = {"": [], "launcher: ": []}
        commands = {"": self._here.vx, "launcher: ": str(self._native / "vx")}
        for _ in range(-1, self._rounds):
            beside_ms = self._cpu_ms(theirs, directory)
            for kind, command in commands.items():
                before_ms = _rested_cpu_of(pid)
                ours_ms = self._cpu_ms([command, "build", "-q"], directory)
                times[kind].append((ours_ms + _rested_cpu_of(pid) - before_ms, beside_ms))
        for kind, pairs in times.items():
            kept = pairs[1:]
            title = f"{kind}{name}, CPU of command and aether"
            yield title, beside, *(statistics.median(one) for one in zip(*kept, strict=True))  # type: ignore[misc]
            if kind:
                ratio = statistics.median(ours / other for ours, other in kept)
                self.verdicts.append(verdict(f"{title}, times {beside}'s", ratio, LAUNCHED_TARGET))

    def _cpu_ms(self, words: list[str], directory: Path) -> float:
        """Run a command and return its CPU time, its children's with it, in milliseconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._ms(words, directory)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def _restarted(self, directory: Path) -> Row:
        def restarted() -> float:
            self._ms([self._here.vx, "kill"], directory)
            small = self._private / "small"
            if not small.exists():
                write_c(small, 2)
            self._vx(small)  # starts the services
            return self._vx(directory)

        return self._both(
            "the same, the first build after a restart",
            "vx without one",
            restarted,
            lambda: self._vx(directory),
        )

    def c_elsewhere(self) -> Iterator[Row]:
        """200 C files in another directory."""
        first = self._private / "c-200"
        write_c(first, 200)
        ninja, ccache = _needed("ninja"), _needed("ccache")
        env = {
            "CCACHE_DIR": str(self._private / "ccache"),
            "CCACHE_BASEDIR": str(self._private),
            "CCACHE_NOHASHDIR": "1",
        }
        text = (first / "build.ninja").read_text()
        (first / "build.ninja").write_text(text.replace("cc =\n", f"cc = {ccache}\n", 1))
        self._vx(first)
        self._ms([ninja], first, env)
        yield self._both(
            "200 C files, another directory",
            "ninja, ccache",
            lambda: self._vx(self._copy(first)),
            lambda: self._ms([ninja], self._copy(first), env),
        )

    def rust_null(self) -> Iterator[Row]:
        """One crate of 5,000 files."""
        directory = self._private / "rust"
        write_crate(directory, 5000)
        yield from self._null_of_cargo("a crate of 5,000 files, nothing changed", directory)

    def crates_null(self) -> Iterator[Row]:
        """50 crates; and in another directory."""
        directory = self._private / "crates"
        write_workspace(directory, 50)
        yield from self._null_of_cargo("50 crates, nothing changed", directory)
        sccache = _needed("sccache")
        cargo = [str(self._here.cargo), "build", "-q", "--offline"]
        env = {
            "RUSTC_WRAPPER": sccache,
            "SCCACHE_DIR": str(self._private / "sccache"),
            "SCCACHE_SERVER_PORT": str(_free_port()),
            "CARGO_INCREMENTAL": "0",
        }
        try:
            self._ms(cargo, self._copy(directory), env)
            yield self._both(
                "50 crates, another directory",
                "cargo, sccache",
                lambda: self._vx(self._copy(directory)),
                lambda: self._ms(cargo, self._copy(directory), env),
            )
        finally:
            self._ms([sccache, "--stop-server"], directory, env)

    def cass_tcp(self) -> Iterator[Row]:
        """The store on TCP, beside the Unix socket: all compiled, and nothing changed."""
        env = {"VX_HOME": str(self._private / "tcp"), "VX_CASS": f"tcp:127.0.0.1:{_free_port()}"}
        started: list[Path] = []

        def fresh(env: Mapping[str, str]) -> float:
            directory = self._private / f"cass-{len(started)}"
            started.append(directory)
            write_c(directory, 20)
            header = directory / "include/h0.h"
            for path in (directory / "src").glob("*.c"):
                path.write_text(f"#define ROUND {len(started)}\n{path.read_text()}")
            header.write_text(f"#define H0 {len(started)}\n")
            return self._vx(directory, env)

        fresh(env), fresh({})
        yield self._both(
            "20 C files compiled, the store on TCP", "Unix socket", lambda: fresh(env), lambda: fresh({})
        )
        on_tcp, on_unix = started[-2], started[-1]
        yield self._both(
            "the same, nothing changed",
            "Unix socket",
            lambda: self._vx(on_tcp, env),
            lambda: self._vx(on_unix),
        )
        self._ms([self._here.vx, "kill"], on_tcp, env)

    def actions(self) -> Iterator[Row]:
        """All in one build: its seconds, and the peak of the services' memory on standard error."""
        directory = self._private / "actions"
        write_c(directory, self._files)
        took_ms = self._vx(directory)
        told = json.loads(self._out([self._here.vx, "status", "--json"]))
        pids = {one["name"]: one["pid"] for one in told["services"]}
        pids["aether"] = int(_status(pids["cass"], "PPid"))
        peaks = [f"{name} {_peak_mib(pid)} MiB" for name, pid in pids.items()]
        print(f"memory at most: {', '.join(peaks)}", file=sys.stderr)
        yield (
            f"{self._files:,} C files compiled in one build",
            "nothing changed",
            took_ms,
            self._vx(directory),
        )
        yield self._restarted(directory)

    def _null_of_cargo(self, name: str, directory: Path) -> Iterator[Row]:
        cargo = [str(self._here.cargo), "build", "-q", "--offline"]
        self._vx(directory)
        self._vx(directory)
        self._ms(cargo, directory)
        yield self._both(name, "cargo", lambda: self._vx(directory), lambda: self._ms(cargo, directory))
        yield from self._by_cpu(name, "cargo", directory, cargo)

    def _copy(self, directory: Path) -> Path:
        copy = Path(tempfile.mkdtemp(dir=self._private)) / "copy"
        built = shutil.ignore_patterns("target", ".vx", "*.o", "*.o.d", "big", ".ninja*")
        return shutil.copytree(directory, copy, ignore=built)


def _needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Failed(f"{program} is not on the PATH: Debian's package {program} has it")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _status(pid: int, field: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    raise Failed(f"/proc/{pid}/status has no {field}")


def _cpu_of(pid: str) -> float:
    """Return the CPU time of a process so far, in milliseconds; of its threads, those that live."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in tasks) / 1e6


def _rested_cpu_of(pid: str) -> float:
    """Return the same once it stays: a service goes on for a moment behind its answer."""
    before_ms = -1.0
    while (now_ms := _cpu_of(pid)) != before_ms:
        before_ms = now_ms
        time.sleep(0.1)
    return now_ms


def _peak_mib(pid: int) -> int:
    return int(_status(pid, "VmHWM").split()[0]) >> 10


CASES = ("c-null", "c-elsewhere", "rust-null", "crates-null", "cass-tcp", "actions")


def main() -> int:
    """Measure, print the table, and return 1 if something could not be run."""
    parser = argparse.ArgumentParser(description="Time vx on large projects beside others.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="%(default)s")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    parser.add_argument("--only", choices=CASES, action="append", help="repeatable")
    parser.add_argument("--files", type=int, default=10_000, help="of the case actions (%(default)s)")
    options = parser.parse_args()
    failed = 0
    print(f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}; {options.rounds} rounds\n")
    print("| case | vx ms | beside ms | beside | vx / beside |\n| --- | ---: | ---: | --- | ---: |")
    for case in options.only or CASES:
        with tempfile.TemporaryDirectory(prefix="vx-bench-") as directory:
            private = Path(directory)
            here = None
            try:
                here = Surroundings(options.env.absolute() if options.env else private / "venv", private)
                bench = Bench(here, options.rounds, options.files)
                for name, beside, ours, theirs in getattr(bench, case.replace("-", "_"))():
                    row = f"| {name} | {ours:.1f} | {theirs:.1f} | {beside} | {ours / theirs:.2f} |"
                    print(row, flush=True)
                print("\n".join(("", *bench.verdicts, "")) if bench.verdicts else "", end="")
            except Failed as error:
                failed += 1
                print(f"bench: {case}: {error}", file=sys.stderr)
            finally:
                if here is not None:
                    words = [here.vx, "kill"]
                    subprocess.run(words, env=here.environment, stdout=subprocess.DEVNULL, check=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

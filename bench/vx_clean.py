"""What a clean build of C costs with vx, beside make: files of git, compiled once, by CPU time.

    python bench/vx_clean.py [--sources DIR] [--files N] [--rounds N] [--env DIR]

Owns the copies of git's sources that it builds, and the sum of the CPU time.  In each round each copy is a
new directory with content that no store has (a line more in each source), and make and vx compile it with
the same words (`cc -O0 -g`, git's defines) into a static library, two at a time.

    services warm   vx's services run and have compiled another copy: they know the compiler and the headers
    services cold   an empty home: the build starts the services, which ask the compiler for all that it is
    no sandbox      warm, with VX_RHEA_SANDBOX=off: what remains is keys, copies and digests

CPU time is user's and system's of the command and of all that it waited for; for vx also what aether, cass,
rhea and the compilers that they ran have used since before the build (/proc/PID/stat, children included).
A pair is a build by vx and one by make of the same round; the ratio is the median of the pairs' ratios.

Numbers are information: the exit code is 0 unless something could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from vx_field_c import MANIFESTS, unpacked
from vx_tools import Failed, Surroundings

ROUNDS: Final = 5
FILES: Final = 40
JOBS: Final = 2
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# Folders of git's that no source of its library includes.
_NOT_NEEDED: Final = ("t", "po", "contrib", ".vx", "gitk-git", "git-gui")


class Cost(NamedTuple):
    """What one build took.

    Attributes:
        cpu_s: CPU time, of all processes that worked for it.
        elapsed_s: from exec to exit.
    """

    cpu_s: float
    elapsed_s: float


class Sources:
    """Copies of some of git's sources, with a Makefile and a vx.toml.

    Args:
        git: its unpacked sources.
        above: a directory for the copies.
        files: how many sources.

    Raises:
        Failed: a generated header could not be made.
    """

    def __init__(self, git: Path, above: Path, files: int) -> None:
        manifest = tomllib.loads((MANIFESTS / "git.toml").read_text(encoding="utf-8"))
        library = manifest["targets"]["git-lib"]
        self.names: list[str] = [name for name in library["sources"] if "/" not in name][:files]
        self._defines: list[str] = library["defines"]
        self._above = above
        self._base = above / "base"
        shutil.copytree(git, self._base, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_NEEDED))
        for name in library["generated"]:
            words = [word.replace("%{out}", ".") for word in manifest["commands"][name]["command"]]
            done = subprocess.run(words, cwd=self._base, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failed(f"git's command {name} ended with {done.returncode}: {done.stderr[-300:]}")
        (self._base / "vx.toml").write_text(self._vx_toml(), encoding="utf-8")
        (self._base / "Makefile").write_text(self._makefile(), encoding="utf-8")

    def copy(self, name: str, round_number: int) -> Path:
        """Return a new copy whose sources have content that no other round's have."""
        directory = self._above / f"{name}-{round_number}"
        shutil.copytree(self._base, directory, symlinks=True)
        for number, source in enumerate(self.names):
            with (directory / source).open("a", encoding="utf-8") as file:
                file.write(f"\nint measured_{number}_in_round_{round_number + 1};\n")
        return directory

    def _vx_toml(self) -> str:
        return (
            '[project]\nname = "clean"\n[targets.measured]\nkind = "static-library"\ninclude = ["."]\n'
            f"sources = {json.dumps(self.names)}\ndefines = {json.dumps(self._defines)}\n"
        )

    def _makefile(self) -> str:
        objects = " ".join(f"{name[:-2]}.o" for name in self.names)
        defines = " ".join("-D" + _quoted(one) for one in self._defines)
        return (
            f"libmeasured.a: {objects}\n\tar rcs $@ $^\n"
            f"%.o: %.c\n\tcc -O0 -g -I. {defines} -MD -MF $@.d -c $< -o $@\n"
        )


def _quoted(define: str) -> str:
    """Return a define as a word of the shell, in a Makefile."""
    return "'" + define.replace("'", "'\\''").replace("$", "$$") + "'"


class Clean:
    """Clean builds, by make and by vx.

    Args:
        here: programs, and a directory for homes.
        sources: what is built.
    """

    def __init__(self, here: Surroundings, sources: Sources) -> None:
        self._here = here
        self._sources = sources
        self._homes: set[str] = set()

    def make(self, round_number: int) -> Cost:
        """Build a copy by make."""
        return self._cost(["make", "-s", f"-j{JOBS}"], self._sources.copy("make", round_number), {})

    def vx(self, home: str, round_number: int, sandbox: str = "") -> Cost:
        """Build a copy by vx, in a home of that name, whose services stay."""
        self._homes.add(home)
        env = {"VX_HOME": str(self._here.private / home), "VX_RHEA_JOBS": str(JOBS)}
        if sandbox:
            env["VX_RHEA_SANDBOX"] = sandbox
        directory = self._sources.copy(f"vx-{home}", round_number)
        before_s = self._services_s(env)
        cost = self._cost([self._here.vx, "build", "-q"], directory, env)
        if not (directory / ".vx/build").is_dir():
            raise Failed(f"vx build of {directory.name} left no output")
        return cost._replace(cpu_s=cost.cpu_s + self._services_s(env) - before_s)

    def cold(self, round_number: int) -> Cost:
        """Build a copy by vx, in an empty home; end its services, which is not counted."""
        cost = self.vx("cold", round_number)
        self.end("cold")
        shutil.rmtree(self._here.private / "cold")
        return cost

    def end(self, home: str) -> None:
        """End the services of a home."""
        env = {**self._here.environment, "VX_HOME": str(self._here.private / home)}
        subprocess.run([self._here.vx, "kill"], env=env, stdout=subprocess.DEVNULL, check=False)
        self._homes.discard(home)

    def end_all(self) -> None:
        """End all services."""
        for home in sorted(self._homes):
            self.end(home)

    def _cost(self, words: list[str], directory: Path, env: dict[str, str]) -> Cost:
        before_s, started_s = _children_s(), time.perf_counter()
        done = subprocess.run(
            words,
            cwd=directory,
            env={**self._here.environment, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        elapsed_s = time.perf_counter() - started_s
        if done.returncode:
            raise Failed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-300:]}")
        return Cost(_children_s() - before_s, elapsed_s)

    def _services_s(self, env: dict[str, str]) -> float:
        """Return the CPU time of a home's services and of all that they ran so far; 0 if they do not run."""
        words = [self._here.vx, "status", "--json"]
        told = subprocess.run(
            words, env={**self._here.environment, **env}, capture_output=True, text=True, check=False
        )
        if told.returncode == 3:
            return 0.0
        if told.returncode:
            raise Failed(f"vx status ended with {told.returncode}: {told.stderr[-300:]}")
        (cass,) = [one for one in json.loads(told.stdout)["services"] if one["name"] == "cass"]
        return _tree_s(_stat(cass["pid"])[0])


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stat(pid: int) -> tuple[int, float]:
    """Return a process's parent, and the CPU time of it and of the children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), sum(map(int, fields[11:15])) / _TICKS_PER_S


def _tree_s(root: int) -> float:
    """Return the CPU time of a process and of all below it."""
    parents, used = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)], used[int(entry.name)] = _stat(int(entry.name))
        except OSError:
            continue  # it has ended
    total, below = 0.0, [root]
    while below:
        pid = below.pop()
        total += used.get(pid, 0.0)
        below += [child for child, parent in parents.items() if parent == pid]
    return total


def measure(clean: Clean, rounds: int) -> dict[str, list[tuple[Cost, Cost]]]:
    """Return, by case, pairs of vx's and make's costs; two builds warm the services."""
    cases = {
        "make": clean.make,
        "services warm": lambda number: clean.vx("warm", number),
        "services cold": clean.cold,
        "no sandbox": lambda number: clean.vx("bare", number, sandbox="off"),
    }
    cases["services warm"](-1), cases["no sandbox"](-1)
    pairs: dict[str, list[tuple[Cost, Cost]]] = {}
    for number in range(rounds):
        order = list(cases) if number % 2 else list(reversed(cases))
        costs = {case: cases[case](number) for case in order}
        told = (f"{case} {cost.cpu_s:.2f} s" for case, cost in costs.items())
        print(f"round {number + 1}: {', '.join(told)}", file=sys.stderr)
        for case in cases:
            if case != "make":
                pairs.setdefault(case, []).append((costs[case], costs["make"]))
    return pairs


def report(pairs: dict[str, list[tuple[Cost, Cost]]]) -> None:
    """Print the table."""
    print("| case | vx CPU s | make CPU s | vx / make | pairs | vx s | make s |")
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: |")
    for case, both in pairs.items():
        ratios = [ours.cpu_s / theirs.cpu_s for ours, theirs in both]
        ours, theirs = ([pair[side] for pair in both] for side in (0, 1))
        print(
            f"| {case} | {statistics.median(one.cpu_s for one in ours):.2f}"
            f" | {statistics.median(one.cpu_s for one in theirs):.2f} | {statistics.median(ratios):.2f}"
            f" | {min(ratios):.2f} to {max(ratios):.2f}"
            f" | {statistics.median(one.elapsed_s for one in ours):.1f}"
            f" | {statistics.median(one.elapsed_s for one in theirs):.1f} |"
        )


def main() -> int:
    """Measure, print the table, and return 1 if something could not be run."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench vx_clean", description="CPU time of a clean build of C with vx, beside make."
    )
    parser.add_argument("--sources", type=Path, help="git's unpacked sources, in place of `apt-get source`")
    parser.add_argument("--files", type=int, default=FILES, help="how many of them (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="%(default)s")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vx-bench-") as directory:
        private = Path(directory)
        clean = None
        try:
            here = Surroundings(options.env.absolute() if options.env else private / "venv", private)
            git = options.sources or unpacked("git", private)
            sources = Sources(git, private, options.files)
            clean = Clean(here, sources)
            pairs = measure(clean, max(options.rounds, 1))
        except (Failed, OSError, subprocess.SubprocessError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            if clean is not None:
                clean.end_all()
    machine = (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    rounds = max(options.rounds, 1)
    print(f"{machine}; {rounds} rounds; {len(sources.names)} of git's C files, {JOBS} at a time\n")
    report(pairs)
    return 0


if __name__ == "__main__":
    sys.exit(main())

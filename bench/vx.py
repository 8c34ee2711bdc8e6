"""`vx build` beside `cargo build` on the same crate: fresh, nothing changed, one file changed, elsewhere.

Owns a private environment (a virtual environment with nothing but what is measured, a home), a crate
that it writes, and the timing of whole processes.  In each round each case is done by both, in turn,
first the one and then the other, so that what disturbs one disturbs both.  cargo is the toolchain's own
program and not rustup's proxy of it, which takes longer to start.

    fresh       the crate was never compiled: each round has other content; for cargo no `target` either
    unchanged   the same again
    one file    one module has other content
    elsewhere   a copy at another path, without `target` and `.vx`; for vx the store is warm

Numbers are information: the exit code is 0 unless something could not be run.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from targets import verdict
from vx_tools import Failed, Surroundings

ROOT = Path(__file__).resolve().parent.parent
UNCHANGED_TARGET = 1.5
ELSEWHERE_TARGET = 5.0
FEWEST_ROUNDS = 3
# The quickest case is cheap to repeat, and its median means more that way.
UNCHANGED_TIMES = 7
MODULES = 12
FUNCTIONS = 30
CASES = ("fresh", "unchanged", "one file", "elsewhere")


def write_crate(directory: Path, seed: int) -> None:
    """Write a crate of some modules; another seed gives other content of the same size."""
    (directory / "src").mkdir(parents=True, exist_ok=True)
    (directory / "Cargo.toml").write_text(
        '[package]\nname = "measured"\nversion = "0.1.0"\nedition = "2021"\n'
    )
    for number in range(MODULES):
        write_module(directory, number, seed)
    calls = " + ".join(f"m{number}::f0({number})" for number in range(MODULES))
    modules = "".join(f"mod m{number};\n" for number in range(MODULES))
    (directory / "src/main.rs").write_text(f'{modules}fn main() {{ println!("{{}}", {calls}); }}\n')


def write_module(directory: Path, number: int, seed: int) -> None:
    """Write one module."""
    functions = "".join(
        f"pub fn f{n}(x: u64) -> u64 {{\n"
        f"    let all: Vec<u64> = (0..x % 7).map(|y| y.wrapping_mul({seed * 1000 + n})).collect();\n"
        f'    let text = format!("{{:?}}", all);\n'
        f"    (text.len() as u64).wrapping_add(f{n + 1}(x / 2))\n}}\n"
        for n in range(FUNCTIONS)
    )
    last = f"pub fn f{FUNCTIONS}(x: u64) -> u64 {{ x }}\n"
    (directory / f"src/m{number}.rs").write_text(functions + last)


def measure(here: Surroundings, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the times by case and program, in milliseconds."""
    times: dict[str, dict[str, list[float]]] = {case: {"vx": [], "cargo": []} for case in CASES}
    programs = {"vx": here.vx, "cargo": here.cargo}
    both = {name: here.private / f"crate-of-{name}" for name in programs}

    def each(case: str, number: int, prepare: Callable[[Path], Path]) -> None:
        order = list(programs) if number % 2 else list(reversed(programs))
        for name in order:
            directory = prepare(both[name])
            elapsed_ms = here.build_ms(programs[name], directory)
            if number >= 0:
                times[case][name].append(elapsed_ms)

    for number in range(-1, rounds):  # one round to warm the caches, and to start the services

        def fresh(directory: Path, number: int = number) -> Path:
            shutil.rmtree(directory / "target", ignore_errors=True)
            write_crate(directory, 2 * number + 10)
            return directory

        def one_file(directory: Path, number: int = number) -> Path:
            write_module(directory, 3, 2 * number + 11)
            return directory

        def elsewhere(directory: Path, number: int = number) -> Path:
            copy = here.private / f"copy-{number}-{directory.name}"
            shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("target", ".vx"))
            return copy

        each("fresh", number, fresh)
        for repeat in range(UNCHANGED_TIMES):
            each("unchanged", number if number < 0 else repeat, lambda directory: directory)
        each("one file", number, one_file)
        each("elsewhere", number, elsewhere)
        for copy in here.private.glob("copy-*"):
            shutil.rmtree(copy)
    return times


def report(times: dict[str, dict[str, list[float]]]) -> None:
    """Print the table and what it says of the targets."""
    ratios = {}
    print("\n| case | vx ms | cargo ms | vx / cargo |")
    print("| --- | ---: | ---: | ---: |")
    for case, by_program in times.items():
        vx_ms, cargo_ms = (statistics.median(by_program[name]) for name in ("vx", "cargo"))
        ratios[case] = vx_ms / cargo_ms
        print(f"| {case} | {vx_ms:.1f} | {cargo_ms:.1f} | {ratios[case]:.2f} |")
    unchanged, faster = ratios["unchanged"], 1 / ratios["elsewhere"]
    print()
    print(verdict("unchanged, times cargo's", unchanged, UNCHANGED_TARGET))
    print(verdict("elsewhere, times as fast as cargo", faster, ELSEWHERE_TARGET, least=True))


def main() -> int:
    """Measure, print the table, and return 1 if a program could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench vx", description="Time vx build beside cargo build.")
    parser.add_argument("--rounds", type=int, default=10, help=f"at least {FEWEST_ROUNDS} (%(default)s)")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    rounds = max(options.rounds, FEWEST_ROUNDS)
    with tempfile.TemporaryDirectory(prefix="vx-bench-") as directory:
        private = Path(directory)
        try:
            here = Surroundings(options.env.absolute() if options.env else private / "venv", private)
        except Failed as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        try:
            times = measure(here, rounds)
        except Failed as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            subprocess.run([here.vx, "kill"], env=here.environment, stdout=subprocess.DEVNULL, check=False)
    machine = (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    print(f"{machine}; {rounds} rounds; a crate of {MODULES + 1} files, {MODULES * FUNCTIONS} functions")
    report(times)
    return 0


if __name__ == "__main__":
    sys.exit(main())

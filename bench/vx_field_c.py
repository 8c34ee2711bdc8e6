"""C programs of Debian's sources, built by vx and tried, each by a check of its own.

    python bench/vx_field_c.py [NAME...] [--sources DIR]

Owns the table of programs; how each is built is bench/field-c/NAME.toml, put beside its sources as vx.toml.
A second build must find everything, and `vx verify --rebuild` must make the same again.  Prints a table as
the page has it; ends with 1 where a program is not built or does not do what it should.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

MANIFESTS: Final = Path(__file__).resolve().parent / "field-c"
BUILD_TIMEOUT_S: Final = 900
REBUILT: Final = 5


class Program(NamedTuple):
    """What is tried.

    Attributes:
        package: Debian's source package, and the manifest's name.
        shows: what of vx.toml it needs.
        check: a shell script that runs with $B, where the outputs are, and must print `said`.
        said: that.
    """

    package: str
    shows: str
    check: str
    said: str


PROGRAMS: Final = (
    Program("lua5.4", "34 sources, `-Wl,-E`", 'echo "print(2^10, #arg)" | $B/lua -', "1024.0\t0"),
    Program(
        "zlib",
        "shared library, version script, flags for one file",
        "seq 20000 > $B/n && $B/minigzip < $B/n | gzip -d | cmp - $B/n"
        " && gzip -c $B/n | $B/minigzip -d | cmp - $B/n"
        " && nm -D --defined-only $B/libz.so | grep -c ' deflate_stored$' || true",
        "0",
    ),
    Program(
        "bzip2",
        "static library",
        "seq 20000 > $B/n && $B/bzip2 < $B/n | $B/bzip2 -d | cmp - $B/n && echo same",
        "same",
    ),
    Program("less", "`configure` as a command, 35 sources", "echo hello | $B/less", "hello"),
    Program("bc", "`configure` as a command, library (dc)", "$B/dc -e '2 100 ^ p'", str(2**100)),
    Program(
        "sqlite3",
        "generated sources of 240,000 lines (configure, make, tclsh)",
        "$B/sqlite3 :memory: 'create table t(x); insert into t values(1),(41); select sum(x) from t'",
        "42",
    ),
    Program("jq", "pkg-config (oniguruma), generated sources", "echo '[1,41]' | $B/jq add", "42"),
    Program(
        "git",
        "three generated headers, three static libraries, pkg-config (zlib)",
        "cd $(mktemp -d) && seq 100 > f && $B/git init -q . && $B/git add f && $B/git write-tree",
        "5399447733f5f9d65ce538095a02dbb9510bdad4",
    ),
    Program(
        "curl",
        "`configure` as a command, pkg-config (openssl, zlib)",
        "echo 42 > $B/f && $B/curl -s file://$B/f",
        "42",
    ),
    Program(
        "mawk",
        "`configure`, a program that makes a source",
        "seq 41 | $B/mawk '{ n++ } END { print n + 1 }'",
        "42",
    ),
    Program(
        "dash",
        "`configure`, four programs that make sources, `force-include`",
        "$B/dash -c 'f() { echo $(($1 * 2)); }; f 21'",
        "42",
    ),
    Program("ninja-build", "C++, a generated header", "$B/ninja --version", "1.11.1"),
)


def unpacked(package: str, above: Path) -> Path:
    """Have the upstream source of a package in a folder; return it.

    Raises:
        subprocess.CalledProcessError: there is none.
    """
    words = ["apt-get", "source", "--download-only", "-qq", package]
    subprocess.run(words, cwd=above, check=True, capture_output=True)
    archives = [path for path in above.glob(f"{package}_*.orig.tar.*") if path.suffix != ".asc"]
    folder = above / package
    folder.mkdir()
    subprocess.run(["tar", "-xf", archives[0], "-C", folder, "--strip-components=1"], check=True)
    return folder


def tried(program: Program, source: Path, home: Path) -> list[str]:
    """Build and try a program; return the row of the table.

    Raises:
        ValueError: it is not built, or does not do what it should.
    """
    work = home / program.package
    shutil.copytree(source, work, ignore=shutil.ignore_patterns(".vx"))
    shutil.copy(MANIFESTS / f"{program.package}.toml", work / "vx.toml")
    env = {**os.environ, "VX_HOME": str(home / "vx")}

    def vx(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["vx", *words],
            cwd=work,
            env=env,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )

    started_s = time.monotonic()
    first = vx("build", "-q")
    took_s = time.monotonic() - started_s
    if first.returncode:
        raise ValueError(first.stderr.strip().splitlines()[-1])
    vx("build")
    again = vx("build")
    found = re.search(r"nothing to build \((\d+) actions", again.stdout)
    if found is None:
        raise ValueError(f"a build that changes nothing: {again.stdout.strip()}")
    (folder,) = work.glob(".vx/build/*/dev")
    said = subprocess.run(
        ["sh", "-c", program.check],
        env={**env, "B": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if program.said not in said:
        raise ValueError(f"says {said!r} and not {program.said!r}")
    if "[tests." in (work / "vx.toml").read_text():
        tested = vx("test", "-q")
        if tested.returncode:
            raise ValueError(tested.stderr.strip().splitlines()[-1])
    same = vx("verify", "--rebuild", str(REBUILT))
    return [
        program.package,
        program.shows,
        found[1],
        f"{took_s:.1f} s",
        "same" if not same.returncode else "differs",
    ]


def main() -> int:
    """Try them all, or those named; return the exit code."""
    parser = argparse.ArgumentParser(description="C programs of Debian's sources, built by vx and tried")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--sources", type=Path, help="unpacked sources, in place of `apt-get source`")
    options = parser.parse_args()
    chosen = [one for one in PROGRAMS if not options.names or one.package in options.names]
    failed = 0
    print("| source | needs | actions | built in | made again |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="vx-field-") as above:
        home = Path(above) / "work"
        home.mkdir()
        try:
            for program in chosen:
                try:
                    source = (
                        (options.sources / program.package)
                        if options.sources
                        else unpacked(program.package, Path(above))
                    )
                    print(f"| {' | '.join(tried(program, source, home))} |", flush=True)
                except (ValueError, OSError, subprocess.SubprocessError) as error:
                    failed += 1
                    print(f"| {program.package} | {program.shows} | | FAILED | {error} |", flush=True)
        finally:
            subprocess.run(
                ["vx", "kill"],
                env={**os.environ, "VX_HOME": str(home / "vx")},
                capture_output=True,
                check=False,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

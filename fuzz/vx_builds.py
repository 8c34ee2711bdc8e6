"""Compares vx with fresh compilations while tree, environment and tool chain change at random.

    python fuzz/vx_builds.py [SECONDS] [--seed S] [--only c|rust] [--keep]

In each round something is changed, `vx build` runs in a home whose store knows all rounds before, and the
same is compiled without vx, from nothing: of C the programs must be equal byte for byte, of Rust what they
print.  Both may fail.  A difference ends it with 1, its course and the seed; the same seed takes the same
course as long as the files are the same.

What may change is each file that a trace of a fresh compilation saw opened or looked for in vain (strace;
without it, what the list below names), below a directory of our own, and below /usr: where the kernel allows
it everything runs in a mount namespace, where an overlay takes the changes.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

INSIDE: Final = "VX_FUZZ_BOX"  # set in the namespace: the directory of our own
FUZZED_SYSTEM: Final = ("/usr/include/", "/usr/local/include/", "/usr/lib/gcc/", "/usr/lib/x86_64-linux-gnu/")
_TRACED: Final = re.compile(
    r'(?:openat2?|newfstatat|access|faccessat2?|execve|stat)\((?:AT_FDCWD, )?"([^"]+)"'
)
_PROGRAMS: Final = ("as", "ld", "cc1", "cc1plus", "collect2", "x86_64-linux-gnu-as", "x86_64-linux-gnu-ld")
# A machine that hangs is told apart from one that is slow.
BUILD_TIMEOUT_S: Final = 120

PROJECTS: Final = Path(__file__).resolve().parent / "projects"


def files_of(kind: str) -> list[str]:
    """Return the files of a project, relative to it."""
    above = PROJECTS / kind
    return sorted(str(path.relative_to(above)) for path in above.rglob("*") if path.is_file())


class Difference(Exception):
    """vx gave something else than a fresh compilation; the text says what."""


class World:
    """The directory of our own: two projects, folders that stand for a system's, a home of vx."""

    def __init__(self, box: Path, dice: random.Random) -> None:
        self.box = box
        self.dice = dice
        self.course: list[str] = []
        self.number = 0
        self.variables: dict[str, str] = {}
        self._first: dict[Path, bytes | None] = {}
        self.c = box / "c"
        self.rust = box / "rust"
        for folder in ("sys1", "sys2", "lib1", "lib2", "programs", "bin", "tmp", "fresh", "home"):
            (box / folder).mkdir()
        for folder in (self.c, self.rust):
            for name in files_of(folder.name):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((PROJECTS / folder.name / name).read_bytes())
        (box / "sys2/sys.h").write_text("#define S 5\n")
        for folder, value in (("lib2", 6),):
            self.write_library(box / folder / "libown.a", value)
        for name in ("cc", "c++"):
            real = os.path.realpath(shutil.which(name) or name)
            script = box / "bin" / name
            script.write_text(
                f'#!/bin/sh\nexec {real} -isystem {box}/sys1 -isystem {box}/sys2 -B{box}/programs/ "$@"\n'
            )
            script.chmod(0o755)

    def write_library(self, path: Path, value: int) -> None:
        """Put a static library whose function gives a value."""
        work = Path(tempfile.mkdtemp(dir=self.box / "tmp"))
        (work / "own.c").write_text(f"int own(void) {{ return {value}; }}\n")
        _quiet(["/usr/bin/cc", "-c", "own.c", "-o", "own.o"], work, self.environment())
        _quiet(["ar", "rcsD", "lib.a", "own.o"], work, self.environment())
        if (work / "lib.a").exists():
            self.put(path, (work / "lib.a").read_bytes())
        shutil.rmtree(work)

    def environment(self) -> dict[str, str]:
        """Return the environment of the caller of vx, with what is chosen now."""
        home = os.environ.get("HOME", "/")
        return {
            "PATH": os.environ["PATH"],
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", f"{home}/.rustup"),
            "CARGO_HOME": os.environ.get("CARGO_HOME", f"{home}/.cargo"),
            "HOME": str(self.box / "home"),
            "TMPDIR": str(self.box / "tmp"),
            "VX_HOME": str(self.box / "vx"),
            "CC": f"{self.box}/bin/cc",
            "CXX": f"{self.box}/bin/c++",
            "LIBRARY_PATH": f"{self.box}/lib1:{self.box}/lib2",
            "RUSTFLAGS": f"-Lnative={self.box}/lib1 -Lnative={self.box}/lib2",
            **self.variables,
        }

    # --- what is compared -------------------------------------------------------------------------

    def fresh_c(self, trace: Path | None = None) -> bytes | None:
        """Compile the C project without vx; return the program, None if that fails."""
        env = self.environment()
        # As jobs have it: what is documented as theirs, and the variables that are passed to them.
        job = {
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": "315532800",
            "ZERO_AR_DATE": "1",
            "TMPDIR": env["TMPDIR"],
            "HOME": env["HOME"],
            **{
                n: env[n]
                for n in ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH")
                if n in env
            },
        }
        out = self.box / "fresh"
        for one in out.iterdir():
            one.unlink()
        before = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", str(trace), "-A"] if trace else []
        flags = [*env.get("CFLAGS", "").split()]
        mapped = f"-ffile-prefix-map={self.c}=/vx"
        sources = {"low/low.c": [], "main.c": ["-DCHOSEN=<chosen.h>"], "more.cc": ["-DCHOSEN=<chosen.h>"]}
        for source, defines in sources.items():
            driver = env["CXX"] if source.endswith(".cc") else env["CC"]
            own = [] if source.endswith(".cc") else flags
            words = [driver, mapped, "-O0", "-g", *own, *defines, "-Ione", "-Itwo", "-c", source]
            if _quiet([*before, *words, "-o", f"{out}/{Path(source).stem}.o"], self.c, job):
                return None
        if _quiet(["ar", "rcsD", f"{out}/liblow.a", f"{out}/low.o"], self.c, job):
            return None
        link = [env["CXX"], "-o", f"{out}/p", f"{out}/main.o", f"{out}/more.o", f"{out}/liblow.a", "-lown"]
        # Where the objects are, as vx links: a linker script (libgcc_s.so) has ld look in the present
        # directory, and vx gives a link no file of the project that its vx.toml does not name.
        if _quiet([*before, *link, *env.get("LDFLAGS", "").split()], out, job):
            return None
        return (out / "p").read_bytes() if (out / "p").is_file() else None

    def compare_c(self) -> None:
        """Build both ways and compare."""
        code = _quiet(["vx", "build", "-q"], self.c, self.environment())
        fresh = self.fresh_c()
        found = list(self.c.glob(".vx/build/*/dev/p"))
        if (code == 0) != (fresh is not None):
            said = _said(["vx", "build", "-q"], self.c, self.environment()) if code else ""
            raise Difference(
                f"C: vx ended with {code}, a fresh compilation {'fails' if fresh is None else 'succeeds'}\n"
                f"{said}"
            )
        if code == 0 and found[0].read_bytes() != fresh:
            shutil.copy(found[0], self.box / "by-vx")
            raise Difference(f"C: {found[0]} is not what a fresh compilation gives ({self.box}/fresh/p)")

    def compare_rust(self) -> None:
        """Build both ways and compare what the programs print."""
        env = {**self.environment(), "CC": "/usr/bin/cc"}  # as cargo links
        code = _quiet(["vx", "build", "-q"], self.rust, env)
        shutil.rmtree(self.rust / "target", ignore_errors=True)
        built = _quiet(
            ["cargo", "build", "--offline", "-q"], self.rust, {**env, "HOME": os.environ.get("HOME", "/")}
        )
        if (code == 0) != (built == 0):
            said = _said(["vx", "build", "-q"], self.rust, env) if code else ""
            raise Difference(f"Rust: vx ended with {code}, cargo with {built}\n{said}")
        if code == 0:
            ours = _said([str(next(self.rust.glob(".vx/build/*/dev/r")))], self.rust, env)
            theirs = _said([str(self.rust / "target/debug/r")], self.rust, env)
            if ours != theirs:
                raise Difference(f"Rust: vx's program prints {ours!r}, cargo's {theirs!r}")

    # --- what is changed --------------------------------------------------------------------------

    def put(self, path: Path, data: bytes | None) -> None:
        """Give a file a content, in one of the ways in which files change; None to remove it."""
        if path not in self._first:
            self._first[path] = path.read_bytes() if path.is_file() else None
        before = path.stat() if path.is_file() else None
        if data is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = before.st_mode & 0o777 if before else 0o644
        if before is not None and self.dice.random() < 0.5:
            with path.open("r+b") as file:
                file.write(data)
                file.truncate()
        else:
            aside = path.with_name(f".{path.name}.new")
            aside.write_bytes(data)
            aside.chmod(mode)
            aside.rename(path)
        way = self.dice.random()
        if before is not None and way < 0.3:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif way > 0.9:  # as a file that changes just now, however long it takes to look at it
            ahead_ns = time.time_ns() + 3_600_000_000_000
            os.utime(path, ns=(ahead_ns, ahead_ns))

    def restore(self, path: Path) -> None:
        """Make a file what it was at first."""
        if path in self._first:
            self.put(path, self._first[path])

    def restore_all(self) -> None:
        """Make everything what it was at first."""
        for path in list(self._first):
            self.restore(path)
        self.variables.clear()

    def change(self, path: Path) -> str:
        """Change a file, or have one come; return what was done."""
        self.number += 1
        if path in self._first and self.dice.random() < 0.35:
            self.restore(path)
            return f"restore {path}"
        if path.is_file():
            return self._change_there(path)
        self.put(path, self._newcomer(path))
        if path.name in _PROGRAMS or path.parent.name in ("bin", "programs"):
            path.chmod(0o755)
        return f"create {path}"

    def _change_there(self, path: Path) -> str:
        data = path.read_bytes()
        way = self.dice.random()
        if way < 0.15 and path.parent.name != "bin":
            self.put(path, None)
            return f"remove {path}"
        if way < 0.2:
            os.utime(path)
            return f"touch {path}"
        if data.startswith((b"\x7fELF", b"!<arch>")):
            changed = self._with_symbol(path)
            if changed is None:
                return f"leave {path}"
            self.put(path, changed)
            return f"add a symbol to {path}"
        digits = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
        if str(path).startswith(str(self.box)) and digits and way < 0.7 and path.parent.name != "bin":
            at = self.dice.choice(digits)
            self.put(path, data[:at] + str(self.dice.randrange(10)).encode() + data[at + 1 :])
            return f"another digit in {path}"
        self.put(path, data + self._marker(path))
        return f"append to {path}"

    def _marker(self, path: Path) -> bytes:
        if path.suffix in (".toml", ".txt", ".bin"):
            return b"\n" if path.suffix == ".toml" else b"x"
        if path.suffix == ".rs":
            return f"\n#[allow(dead_code)] const N{self.number}: u32 = {self.number};\n".encode()
        if path.parent.name in ("bin", "programs"):
            return f"# {self.number}\n".encode()
        if path.suffix in (".so", ".a", ".ld") or path.name == "specs":
            return f"\n/* {self.number} */\n".encode()
        return f'\n__asm__(".pushsection .note.vxf,\\"a\\"\\n.long {self.number}\\n.popsection");\n'.encode()

    def _newcomer(self, path: Path) -> bytes:
        if path.name in _PROGRAMS:
            plain = path.name.rpartition("-")[2]
            found = _said(["/usr/bin/cc", f"-print-prog-name={plain}"], self.box, self.environment()).strip()
            real = shutil.which(found) or found
            more = f" --defsym vxf{self.number}={self.number}" if plain in ("as", "ld") else ""
            return f'#!/bin/sh\nexec {real}{more} "$@"\n'.encode()
        if path.suffix == ".a" or path.name.endswith(".so"):
            self.write_library(self.box / "tmp/new.a", self.number)
            made = self.box / "tmp/new.a"  # not there, if what is changed by now keeps cc from working
            return made.read_bytes() if made.is_file() else b"!<arch>\n"
        if path.suffix == ".o":
            found = _said(
                ["/usr/bin/cc", f"-print-file-name={path.name}"], self.box, self.environment()
            ).strip()
            return Path(found).read_bytes() if Path(found).is_file() else b""
        value = self.number % 10
        names = {
            "a.h": "A",
            "b.h": "B",
            "sys.h": "S",
            "chosen.h": "C",
            "maybe.h": "MAYBE",
            "inner.h": "INNER",
        }
        if path.name in names:
            return f"#define {names[path.name]} {value}\n".encode()
        if self.dice.random() < 0.5 and path.suffix in (".h", ""):
            return f"#include_next <{path.name}>\n".encode() + self._marker(path)
        return self._marker(path)

    def _with_symbol(self, path: Path) -> bytes | None:
        target = self.box / "tmp/changed"
        shutil.copy(path, target)
        symbol = f"--add-symbol=vxf{self.number}={self.number},local"
        if path.suffix not in (".o", ".a") or _quiet(
            ["objcopy", symbol, str(target)], self.box, self.environment()
        ):
            return None
        return target.read_bytes()

    def change_environment(self) -> str:
        """Set or drop a variable; return what was done."""
        box = self.box
        choices = {
            "CFLAGS": [
                "-O1",
                "-DFLAG=1",
                "-DFLAG=2",
                f"-I{box}/sys1",
                f"-idirafter {box}/sys1",
                "-march=native",
                "-include chosen.h",
                "-imacros sys.h",
            ],
            "LDFLAGS": [f"-L{box}/lib1", "-static-libgcc", "-Wl,-z,now", "-s"],
            "CPATH": [f"{box}/sys1", f"{box}/sys2:{box}/sys1"],
            "C_INCLUDE_PATH": [f"{box}/sys1"],
            "LIBRARY_PATH": [f"{box}/lib2:{box}/lib1"],
            "CC": ["/usr/bin/cc", "cc"],
            "VX_FUZZ_TAG": ["1", "2", ""],
            "RUSTFLAGS": [f"-Lnative={box}/lib2", f"-Lnative={box}/lib2 -Copt-level=1"],
        }
        name = self.dice.choice(sorted(choices))
        if name in self.variables and self.dice.random() < 0.6:
            del self.variables[name]
            return f"drop {name}"
        self.variables[name] = self.dice.choice(choices[name])
        return f"{name}={self.variables[name]}"


def candidates(world: World) -> list[Path]:
    """Return the files that a fresh compilation opens, or looks for in vain, and that may change."""
    found: set[Path] = set()
    trace = world.box / "trace"
    trace.unlink(missing_ok=True)
    with_trace = shutil.which("strace") is not None
    world.fresh_c(trace if with_trace else None)
    if with_trace and trace.exists():
        for name in _TRACED.findall(trace.read_text(errors="replace")):
            found.add(Path(os.path.normpath(world.c / name)))
    found.update(world.c / name for name in files_of("c") if name != "vx.toml")
    found.update(
        Path(f"{world.box}/{folder}/libown.{end}") for folder in ("lib1", "lib2") for end in ("a", "so")
    )
    found.update(world.c / name for name in ("maybe.h", "one/b.h", "one/chosen.h", "low/a.h", "sys_maybe.h"))
    return sorted(path for path in found if _may_change(world, path))


def _may_change(world: World, path: Path) -> bool:
    text = str(path)
    if path.is_dir() or not path.parent.is_dir():
        return False
    if text.startswith(f"{world.box}/"):
        inside = text[len(str(world.box)) + 1 :]
        return not inside.startswith(("tmp/", "fresh/", "home", "vx", "trace", "c/vx.toml", "c/.vx"))
    if os.environ.get("VX_FUZZ_OVERLAY") != "1" or ".so" in path.name:
        return False
    return (
        text.startswith(FUZZED_SYSTEM)
        and path.suffix in (".h", ".a", ".o", "")
        and path.name not in _PROGRAMS
    )


def rust_candidates(world: World) -> list[Path]:
    """Return the files of the Rust project that may change."""
    files = [world.rust / name for name in files_of("rust") if not name.endswith(".toml")]
    return [
        *files,
        world.rust / "src/a/mod.rs",
        *(world.box / f"{folder}/libown.a" for folder in ("lib1", "lib2")),
    ]


def run(world: World, seconds: float, only: str) -> dict[str, int]:
    """Change and compare until the time is over; return how many rounds there were of each kind.

    Raises:
        Difference: vx is wrong.
    """
    rounds = {"c": 0, "rust": 0}
    kinds = [kind for kind in ("c", "c", "c", "rust") if only in ("", kind)]
    if shutil.which("cargo") is None:
        kinds = [kind for kind in kinds if kind != "rust"]
    known = candidates(world)
    print(f"vx-fuzz: {len(known)} files may change", flush=True)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        kind = world.dice.choice(kinds)
        done = [
            _one_change(world, known if kind == "c" else rust_candidates(world))
            for _ in range(world.dice.choice((1, 1, 1, 2)))
        ]
        if world.dice.random() < 0.03:
            _quiet(["vx", "kill"], world.box, world.environment())
            done.append("restart vx")
        world.course.append(f"{kind}: {'; '.join(done)}")
        if kind == "c":
            if world.dice.random() < 0.1:  # in the middle of a build, whose outcome counts for nothing
                child = subprocess.Popen(
                    ["vx", "build", "-q"], cwd=world.c, env=world.environment(), stdout=-3, stderr=-3
                )
                time.sleep(world.dice.random() * 0.2)
                world.course.append(f"c: while it builds: {_one_change(world, known)}")
                child.wait(BUILD_TIMEOUT_S)
            world.compare_c()
        else:
            world.compare_rust()
        rounds[kind] += 1
        if sum(rounds.values()) % 25 == 0:
            world.restore_all()
            world.course.append("restore all")
            known = sorted({*known, *candidates(world)})
    return rounds


def _one_change(world: World, known: list[Path]) -> str:
    if world.dice.random() < 0.15:
        return world.change_environment()
    ours = [path for path in known if str(path).startswith(f"{world.box}/")]
    system = [path for path in known if not str(path).startswith(f"{world.box}/")]
    return world.change(world.dice.choice(system if system and world.dice.random() < 0.35 else ours))


def _quiet(words: list[str], directory: Path, env: dict[str, str]) -> int:
    return subprocess.run(
        words, cwd=directory, env=env, capture_output=True, timeout=BUILD_TIMEOUT_S, check=False
    ).returncode


def _said(words: list[str], directory: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        words, cwd=directory, env=env, capture_output=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def in_namespace(box: str, act: Callable[[], list[str]]) -> int | None:
    """Run ourselves again where /usr may be changed without changing it; None where that cannot be had."""
    for folder in ("upper", "work", "world"):
        os.mkdir(f"{box}/{folder}")
    mount = (
        f"mount -t overlay overlay -o lowerdir=/usr,upperdir={box}/upper,workdir={box}/work,userxattr /usr"
    )
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True, check=False).returncode
    ):
        return None
    env = {**os.environ, INSIDE: f"{box}/world", "VX_FUZZ_OVERLAY": "1"}
    words = ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "sh", *act()]
    return subprocess.run(words, env=env, check=False).returncode


def main() -> int:
    """Fuzz; return the exit code."""
    parser = argparse.ArgumentParser(description="compare vx with fresh compilations")
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="takes the same course again")
    parser.add_argument("--only", choices=("c", "rust"), default="")
    parser.add_argument("--keep", action="store_true", help="keep the directory after a difference")
    options = parser.parse_args()
    if any(shutil.which(one) is None for one in ("cc", "c++", "ar", "objcopy")):
        print("vx-fuzz: no C compiler is here; skipped", file=sys.stderr)
        return 0
    if INSIDE in os.environ:
        return fuzz(options, Path(os.environ[INSIDE]))
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    box = tempfile.mkdtemp(prefix="vx-fuzz-")
    words = [sys.executable, __file__, str(options.seconds), "--seed", str(options.seed)]
    words += ["--only", options.only] if options.only else []
    try:
        code = in_namespace(box, lambda: words)
        if code is None:
            print("vx-fuzz: no namespace can be had here: /usr stays as it is", flush=True)
            code = fuzz(options, Path(box) / "world")
        return code
    finally:
        if not options.keep:
            subprocess.run(["chmod", "-R", "u+rwX", box], check=False, capture_output=True)
            shutil.rmtree(box, ignore_errors=True)
        else:
            print(f"vx-fuzz: kept {box}")


def fuzz(options: argparse.Namespace, box: Path) -> int:
    """Fuzz in a directory; return the exit code."""
    world = World(box, random.Random(options.seed))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        rounds = run(world, options.seconds, options.only)
    except Difference as error:
        print("\n".join(world.course[-30:]))
        print(f"vx-fuzz: seed {options.seed}, after {len(world.course)} steps: {error}")
        return 1
    finally:
        _quiet(["vx", "kill"], box, world.environment())
    print(f"vx-fuzz: seed {options.seed}: {rounds['c']} rounds of C, {rounds['rust']} of Rust, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())

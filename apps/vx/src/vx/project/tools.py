"""Compilers: where they are, and what tells one from another.

Owns the identities that keys are made of.  A compiler is asked for its version once, and again when
its file, by path, times, size and inode, is another; so are the files by which rustup chooses one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from vx import digests
from vx.project.action import Tool
from vx.project.c_plan import CTools
from vx.project.rust_plan import RustTools

# A version is printed at once; a first start from a cold disk may take a few seconds.
ASK_TIMEOUT_S: Final = 30.0

Value = TypeVar("Value")


class ToolMissing(Exception):
    """A compiler is not there, or does not answer; the text says what to install."""


class Tools:
    """The compilers of this machine, as a caller's environment names them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[tuple[object, ...], object]] = {}

    def rust(self, env: Mapping[str, str], directory: str) -> RustTools:
        """Return what Rust is compiled with in `directory`.

        Args:
            env: of the caller: PATH, RUSTC, RUSTUP_TOOLCHAIN, RUSTUP_HOME, HOME.
            directory: rustup chooses by it.

        Raises:
            ToolMissing: there is no compiler, or no linker.
        """
        asked = env.get("RUSTC", "rustc")
        named = find(asked, env)
        if named is None:
            raise ToolMissing(
                f"{asked!r} {_why_missing(asked)}: install Rust (https://rustup.rs, or the package rustc)"
                + (", or set RUSTC to a compiler's absolute path" if "RUSTC" in env else "")
            )
        chosen_by = (named, *_rustup_files(env, directory))
        toolchain = tuple(f"{name}={env[name]}" for name in _RUSTUP_VARIABLES if name in env)
        sysroot = self._once(
            ("sysroot", named, directory, *toolchain),
            chosen_by,
            lambda: ask([named, "--print", "sysroot"], env, directory).strip(),
        )
        real = f"{sysroot}/bin/rustc"
        # What stands on the PATH for several toolchains chooses by HOME and directory, which a job has
        # others of: what it chose is run.  A script that is named is somebody's own, who wants it run.
        own = "RUSTC" in env and _is_script(named)
        real = real if os.path.exists(real) and not own else named
        rustc, triple = self._once(("rustc", real), (real,), lambda: _rustc(real, sysroot, env))
        return RustTools(rustc, self._cc(env, "links what rustc compiles"), triple)

    def c(self, env: Mapping[str, str]) -> CTools:
        """Return what C is compiled with.

        Raises:
            ToolMissing: there is no compiler.
        """
        cc = self._cc(env, "compiles C")
        cxx_path = find(env.get("CXX", "c++"), env)
        cxx = (
            None if cxx_path is None else self._once(("cc", cxx_path), (cxx_path,), lambda: _c(cxx_path, env))
        )
        ar_path = find(env.get("AR", "ar"), env)
        ar = None if ar_path is None else self._once(("ar", ar_path), (ar_path,), lambda: _ar(ar_path, env))
        triple = self._once(
            ("machine", cc.path), (cc.path,), lambda: ask([cc.path, "-dumpmachine"], env).strip()
        )
        return CTools(cc, cxx, ar, triple)

    def _cc(self, env: Mapping[str, str], does: str) -> Tool:
        named = env.get("CC", "cc")
        path = find(named, env)
        if path is None:
            raise ToolMissing(
                f"{named!r}, which {does}, {_why_missing(named)}: install gcc or clang, or set CC"
            )
        return self._once(("cc", path), (path,), lambda: _c(path, env))

    def _once(self, key: tuple[str, ...], files: tuple[str, ...], make: Callable[[], Value]) -> Value:
        state = tuple(_state(os.path.realpath(one)) for one in files)
        known = self._known.get(key)
        if known is not None and known[0] == state:
            return known[1]  # type: ignore[return-value]
        made = make()
        self._known[key] = (state, made)
        return made


_RUSTUP_VARIABLES: Final = ("RUSTUP_TOOLCHAIN", "RUSTUP_HOME", "HOME")


def find(name: str, env: Mapping[str, str]) -> str | None:
    """Return the absolute path of a program, as the caller's PATH finds it."""
    if "/" in name:
        return name if name.startswith("/") and os.access(name, os.X_OK) else None
    for directory in env.get("PATH", os.defpath).split(os.pathsep):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def _why_missing(name: str) -> str:
    if "/" not in name:
        return "is not on the PATH"
    return "is no program" if name.startswith("/") else "is no absolute path"


def ask(command: list[str], env: Mapping[str, str], directory: str = "/") -> str:
    """Return what a program prints.

    Raises:
        ToolMissing: it fails, or takes too long.
    """
    # In English, whatever the caller speaks: what it says is part of keys.
    try:
        done = subprocess.run(
            command,
            env={**env, "LC_ALL": "C"},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(f"{command[0]} cannot be asked for its version: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[0] if said else f"it ended with {done.returncode}"
        raise ToolMissing(f"{command[0]} does not work here: {reason}")
    return done.stdout.decode("utf-8", "replace")


def _rustc(path: str, sysroot: str, env: Mapping[str, str]) -> tuple[Tool, str]:
    told = ask([path, "-vV"], env)
    fields = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    triple = fields.get("host", "unknown")
    # The standard library's file names hold hashes: another build of it under the same version shows.
    library = f"{sysroot}/lib/rustlib/{triple}/lib"
    names = sorted(os.listdir(library)) if os.path.isdir(library) else []
    # What a script adds to the command shows in its content alone.
    script = digests.of_path(path)[0] if _is_script(path) else ""
    identity = digests.of_bytes("\n".join((told, *names, script)).encode())
    return Tool(
        path, f"{told.splitlines()[0]} [{identity[:16]}]", f"rustc {fields.get('release', '')}"
    ), triple


def _is_script(path: str) -> bool:
    try:
        with open(digests.open_file(path), "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _c(path: str, env: Mapping[str, str]) -> Tool:
    told = ask([path, "--version"], env)
    # How it was configured shows in -v, on standard error; the first line of --version is for people.
    first = told.splitlines()[0] if told.strip() else path
    real = os.stat(os.path.realpath(path))
    # Distributions rebuild compilers under one version: the file's size is another by then, or its content.
    identity = digests.of_bytes(f"{told}\n{real.st_size}\n{digests.of_path(path)[0]}".encode())
    return Tool(path, f"{first} [{identity[:16]}]", first)


def _ar(path: str, env: Mapping[str, str]) -> Tool:
    return _c(path, env)


def _rustup_files(env: Mapping[str, str], directory: str) -> tuple[str, ...]:
    """Return the files by which rustup chooses a toolchain, whether they are there or not."""
    home = env.get("RUSTUP_HOME") or f"{env.get('HOME', '')}/.rustup"
    found = [f"{home}/settings.toml"]
    while True:
        found += [f"{directory}/rust-toolchain.toml", f"{directory}/rust-toolchain"]
        above = os.path.dirname(directory)
        if above == directory:
            return tuple(found)
        directory = above


def _state(path: str) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return (path, None)
    return (path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

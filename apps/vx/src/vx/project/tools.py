"""Compilers: where they are, and what tells one from another.

Owns the identities that keys are made of, and which compiler is meant.  rustc is asked for its version once,
and again when its file, by path, times, size and inode, is another, or one by which rustup chooses; a C
compiler is asked by `toolchain`.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from vx import digests
from vx.file_digests import FileDigests
from vx.project import processor
from vx.project.action import Tool
from vx.project.c_includes import Folders
from vx.project.c_plan import CTools
from vx.project.environment import BOOTSTRAP, search_variables
from vx.project.link_search import Link
from vx.project.pkg_config import PkgConfig
from vx.project.rust_compile import RustTools
from vx.project.toolchain import (
    NOWHERE,
    Chain,
    CompilerMissing,
    Probe,
    all_rested,
    is_script,
    job_environment,
    run,
    state_of,
)

Value = TypeVar("Value")


class Tools:
    """The compilers of this machine, as a caller's environment names them."""

    def __init__(self, file_digests: FileDigests | None = None) -> None:
        self._digests = file_digests if file_digests is not None else FileDigests()
        self._known: dict[tuple[str, ...], tuple[tuple[object, ...], object]] = {}
        self._chains: dict[tuple[str, ...], Chain] = {}
        self._believed: dict[tuple[str, ...], list[Probe]] = {}
        self._packages = PkgConfig()

    def rust(self, env: Mapping[str, str], directory: str, flags: Sequence[str] = ()) -> RustTools:
        """Return what Rust is compiled with in `directory`.

        Args:
            env: of the caller: PATH, RUSTC, RUSTUP_TOOLCHAIN, RUSTUP_HOME, HOME.
            directory: rustup chooses by it.
            flags: RUSTFLAGS.

        Raises:
            ToolMissing: there is no compiler, or no linker.
        """
        asked = env.get("RUSTC", "rustc")
        named = find(asked, env)
        if named is None:
            raise CompilerMissing(
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
        # A program on the PATH for several toolchains chooses by HOME and directory, which a job has
        # others of: its choice is run.  A script that is named is somebody's own, who wants it run.
        own = "RUSTC" in env and is_script(named)
        real = real if os.path.exists(real) and not own else named
        rustc, triple = self._once(
            ("rustc", real), (real, *_parts_of(sysroot)), lambda: _rustc(real, sysroot, env)
        )
        linker, chain = self._cc(env, "links what rustc compiles", _linker_named(flags))
        # A script may say so by itself.
        native = is_script(real) or any(word.endswith("target-cpu=native") for word in flags)
        return RustTools(
            rustc,
            linker,
            triple,
            chain.link(flags),
            sysroot,
            search_variables(env),
            processor.described() if native else "",
            env.get(BOOTSTRAP, ""),
        )

    def cargo(self, env: Mapping[str, str], sysroot: str) -> Tool | None:
        """Return cargo: the one beside the compiler, or the one on the PATH; None where there is none."""
        found = cargo_path(env, sysroot)
        if found is None:
            return None
        told = self._once(("cargo", found), (found,), lambda: ask([found, "--version"], env)).strip()
        return Tool(found, told, " ".join(told.split()[:2]))

    def cfgs(self, rust: RustTools, target: str, flags: Sequence[str]) -> str:
        """Return the conditions that hold on a platform, as rustc prints them.

        Args:
            rust: the compiler.
            target: the platform; "" for this machine's.
            flags: RUSTFLAGS.

        Raises:
            ToolMissing: the compiler does not know the platform.
        """
        words = [*(["--target", target] if target else []), *flags]
        return self._once(
            ("cfgs", rust.rustc.identity, *words),
            (rust.rustc.path,),
            lambda: ask([rust.rustc.path, "--print", "cfg", *words], job_environment({})),
        )

    def c(self, env: Mapping[str, str]) -> CTools:
        """Return what C is compiled with.

        Raises:
            ToolMissing: there is no compiler.
        """
        cc, chain = self._cc(env, "compiles C")
        cxx_path = find(env.get("CXX", "c++"), env)
        cxx = None if cxx_path is None else self._compiler(cxx_path, env)[0]
        ar_path = find(env.get("AR", "ar"), env)
        ar = None if ar_path is None else self._once(("ar", ar_path), (ar_path,), lambda: _ar(ar_path, env))
        triple = self._once(
            ("machine", cc.path),
            (cc.path,),
            lambda: ask([cc.path, "-dumpmachine"], job_environment(env)).strip(),
        )
        chains = {cc.path: chain}
        if cxx_path is not None:
            chains[cxx_path] = self._chain(cxx_path, env)
        return CTools(
            cc,
            cxx,
            ar,
            triple,
            *_asked_once(chains),
            search_variables(env),
            lambda name: self._program(name, env),
            lambda names: self._packages.package(names, find(env.get("PKG_CONFIG", "pkg-config"), env), env),
        )

    def _program(self, name: str, env: Mapping[str, str]) -> Tool | None:
        path = find(name, env)
        if path is None:
            return None
        return Tool(path, self._digests.digest(path) or "", name)

    def _cc(self, env: Mapping[str, str], does: str, asked: str = "") -> tuple[Tool, Chain]:
        named = asked or env.get("CC", "cc")
        path = find(named, env)
        if path is None:
            raise CompilerMissing(
                f"{named!r}, which {does}, {_why_missing(named)}: install gcc or clang, or set CC"
            )
        return self._compiler(path, env)

    def _compiler(self, path: str, env: Mapping[str, str]) -> tuple[Tool, Chain]:
        chain = self._chain(path, env)
        told = self._once(("cc", path), (path,), lambda: ask([path, "--version"], job_environment(env)))
        first = told.splitlines()[0] if told.strip() else path
        return Tool(path, told, first), chain

    def _chain(self, path: str, env: Mapping[str, str]) -> Chain:
        variables = search_variables(env)
        key = (path, *(f"{name}={value}" for name, value in variables.items()))
        found = self._chains.get(key)
        if found is None:
            if len(self._chains) >= _MOST_CHAINS:
                self._chains.clear()
            found = self._chains[key] = Chain(path, env, self._digests)
            for probe in self._believed.pop(key, ()):
                found.believe(probe)
        return found

    def told(self) -> list[Probe]:
        """Return what compilers answered, to be kept over restarts."""
        return [probe for key, chain in list(self._chains.items()) for probe in chain.told(key)]

    def believe(self, probes: Iterable[Probe]) -> None:
        """Take answers that were kept."""
        for probe in probes:
            self._believed.setdefault(probe.chain, []).append(probe)

    def _once(self, key: tuple[str, ...], files: tuple[str, ...], make: Callable[[], Value]) -> Value:
        state = tuple(map(state_of, files))
        known = self._known.get(key)
        if known is not None and known[0] == state:
            return known[1]  # type: ignore[return-value]
        asked_ns = time.time_ns()
        made = make()
        if all_rested(state, asked_ns):
            self._known[key] = (state, made)
        return made


# Compilers, each in some settings of the search variables.
_MOST_CHAINS: Final = 64
_RUSTUP_VARIABLES: Final = ("RUSTUP_TOOLCHAIN", "RUSTUP_HOME", "HOME")


def _asked_once(
    chains: Mapping[str, Chain],
) -> tuple[
    Callable[[Tool, str, Sequence[str]], Folders],
    Callable[[Tool, str, Sequence[str]], Link],
    Callable[[Tool, Sequence[str]], str],
]:
    """Return the questions that a plan asks, each answered once in it: many sources have the same options."""

    @functools.cache
    def search(path: str, language: str, words: tuple[str, ...]) -> Folders:
        return chains[path].search(words, language)

    @functools.cache
    def link(path: str, language: str, words: tuple[str, ...]) -> Link:
        return chains[path].link(words, language)

    @functools.cache
    def native(path: str, words: tuple[str, ...]) -> str:
        return chains[path].native(words)

    return (
        lambda tool, language, words: search(tool.path, language, tuple(words)),
        lambda tool, language, words: link(tool.path, language, tuple(words)),
        lambda tool, words: native(tool.path, tuple(words)),
    )


def cargo_path(env: Mapping[str, str], sysroot: str) -> str | None:
    """Return where cargo is: beside the compiler, or on the PATH; None where there is none."""
    path = f"{sysroot}/bin/cargo"
    return path if sysroot and os.access(path, os.X_OK) else find("cargo", env)


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
    return "is not a program" if name.startswith("/") else "is not an absolute path"


def ask(command: list[str], env: Mapping[str, str], directory: str = NOWHERE) -> str:
    """Return what a program prints.

    Raises:
        ToolMissing: it fails, or takes too long.
    """
    # In English, whatever the caller speaks: its answer is part of keys.
    done = run(command, {**env, "LC_ALL": "C"}, directory)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[0] if said else f"it ended with {done.returncode}"
        raise CompilerMissing(f"{command[0]} does not work here: {reason}")
    return done.stdout.decode("utf-8", "replace")


def _rustc(path: str, sysroot: str, env: Mapping[str, str]) -> tuple[Tool, str]:
    told = ask([path, "-vV"], env)
    fields = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    triple = fields.get("host", "unknown")
    # The libraries' file names hold hashes: another build under the same version shows, in a size at least.
    names = [
        f"{os.path.basename(one)} {os.path.getsize(one)}"
        for folder in (
            f"{sysroot}/lib",
            f"{sysroot}/lib/rustlib/{triple}/lib",
            f"{sysroot}/lib/rustlib/{triple}/bin",
        )
        for one in _files_in(folder)
    ]
    # What a script adds to the command shows in its content alone.
    script = digests.of_path(path)[0] if is_script(path) else ""
    identity = digests.of_bytes("\n".join((told, *names, script)).encode())
    return Tool(
        path, f"{told.splitlines()[0]} [{identity[:16]}]", f"rustc {fields.get('release', '')}"
    ), triple


def _files_in(folder: str) -> list[str]:
    try:
        found = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for name in found if os.path.isfile(path := f"{folder}/{name}")]


def _parts_of(sysroot: str) -> list[str]:
    """Return the folders whose change means that another tool chain was put there."""
    return [f"{sysroot}/lib", *_files_in(f"{sysroot}/lib")]


def _linker_named(flags: Sequence[str]) -> str:
    """Return what `-C linker=` names last; "" for nothing."""
    named = [word.rpartition("linker=")[2] for word in flags if word.startswith(("linker=", "-Clinker="))]
    return named[-1] if named else ""


def _ar(path: str, env: Mapping[str, str]) -> Tool:
    told = ask([path, "--version"], env)
    first = told.splitlines()[0] if told.strip() else path
    # Distributions rebuild tools under one version: the file's content is another by then.
    identity = digests.of_bytes(f"{told}\n{digests.of_path(path)[0]}".encode())
    return Tool(path, f"{first} [{identity[:16]}]", first)


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

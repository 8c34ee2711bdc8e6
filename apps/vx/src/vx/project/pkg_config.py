"""Asks pkg-config what compiling and linking with a package takes.

Owns the questions and how long an answer counts: as long as no `.pc` file, and no folder of them, is another.
Which folders those are says pkg-config itself, and the caller's PKG_CONFIG_PATH and PKG_CONFIG_LIBDIR.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vx.project.errors import Unsupported
from vx.project.toolchain import all_rested, run, state_of

_ENDING: Final = ".pc"
_VARIABLES: Final = "PKG_CONFIG_"


class LinkedPackage(msgspec.Struct, frozen=True):
    """What some packages take.

    Attributes:
        compiles: options for the compiler.
        links: options for the linker.
    """

    compiles: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


class PkgConfig:
    """Answers of pkg-config, for callers of any environment."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[tuple[object, ...], tuple[str, ...], LinkedPackage]] = {}

    def package(self, names: Sequence[str], program: str | None, env: Mapping[str, str]) -> LinkedPackage:
        """Return what packages take, all together.

        Args:
            names: each with the versions that will do, or without.
            program: pkg-config; None where there is none.
            env: the caller's.

        Raises:
            Unsupported: there is no pkg-config, or it does not know them.
        """
        if program is None:
            raise Unsupported("vx.toml", "pkg-config", "it is not on the PATH: install pkgconf or pkg-config")
        own = {name: value for name, value in env.items() if name.startswith(_VARIABLES)}
        asked = {**own, "PATH": env.get("PATH", os.defpath), "LC_ALL": "C"}
        key = (tuple(names), program, *sorted(own.items()))
        known = self._known.get(key)
        if known is not None and known[0] == tuple(map(state_of, known[1])):
            return known[2]
        watched = (program, *_files(program, asked))
        before, asked_ns = tuple(map(state_of, watched)), time.time_ns()
        found = LinkedPackage(
            _ask(program, ["--cflags", *names], asked), _ask(program, ["--libs", *names], asked)
        )
        if all_rested(before, asked_ns):
            self._known[key] = (before, watched, found)
        return found


def _ask(program: str, words: list[str], env: Mapping[str, str]) -> tuple[str, ...]:
    done = run([program, *words], env)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").split("\n")
        reason = next((one.strip() for one in said if one.strip()), f"it ended with {done.returncode}")
        raise Unsupported("vx.toml", "a package that is not here", f"pkg-config says: {reason}")
    return tuple(shlex.split(done.stdout.decode("utf-8", "replace")))


def _files(program: str, env: Mapping[str, str]) -> list[str]:
    """Return the folders of `.pc` files, and those in them."""
    told = run([program, "--variable", "pc_path", "pkg-config"], env).stdout.decode("utf-8", "replace")
    own = env.get("PKG_CONFIG_LIBDIR") or told.strip()
    folders = [one for one in (*env.get("PKG_CONFIG_PATH", "").split(":"), *own.split(":")) if one]
    found = []
    for folder in dict.fromkeys(folders):
        found.append(folder)
        if os.path.isdir(folder):
            found += [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(_ENDING)]
    return found

"""Build scripts: their words, and how those change the compilations and runs after them.

Owns the lines `cargo::KEY=VALUE` (the build scripts chapter of the Cargo book) and their effects.  A script's
words stand in its result as it said them, with `%{root}` for the directory in which it ran, so that they hold
in any other.  Pure.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vx.project.action import Action, Need, ScriptUse, Tree

ROOT_MARK: Final = "%{root}"
# The most of a script's words that is kept; those that name a thousand files have 50 KiB.
MAX_WORDS_CHARS: Final = 1 << 20

_SEARCH_KINDS: Final = ("dependency", "crate", "native", "framework", "all")
_LINK_ARGS: Final[Mapping[str, str]] = {
    "rustc-link-arg": "",
    "rustc-link-arg-bins": "bin",
    "rustc-link-arg-cdylib": "cdylib",
    "rustc-cdylib-link-arg": "cdylib",
    "rustc-link-arg-tests": "test",
    "rustc-link-arg-benches": "bench",
    "rustc-link-arg-examples": "example",
}


class ScriptOutput(msgspec.Struct, frozen=True):
    """What a script said.

    Attributes:
        changed: paths after whose change it runs again.
        env_changed: variables after whose change it does.
        declares: whether it named any of both; else any file of its package counts.
        cfgs, check_cfgs: conditions for the compiler.
        env: variables for the compiler.
        libraries: `-l` of the package's library.
        search: `-L` of it and of all that is linked with it.
        link_args: further words for the linker, each with the targets for which they are: `bin`, `bin:NAME`,
            ...; "" for all.
        metadata: for scripts of packages that depend on this one.
        warnings: for people.
        errors: it failed; for people.
        unknown: keys that are reserved, and that nobody knows.
    """

    changed: tuple[str, ...] = ()
    env_changed: tuple[str, ...] = ()
    declares: bool = False
    cfgs: tuple[str, ...] = ()
    check_cfgs: tuple[str, ...] = ()
    env: dict[str, str] = {}
    libraries: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    link_args: tuple[tuple[str, str], ...] = ()
    metadata: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the script said that it failed, or what nobody understands."""
        return bool(self.errors or self.unknown)


class ScriptRun(msgspec.Struct, frozen=True):
    """A script's run: its words, and the files that it wrote, by their paths below the root."""

    told: ScriptOutput
    files: tuple[str, ...]


def parse(text: str) -> ScriptOutput:
    """Return what a script's standard output says; other lines are nobody's."""
    reader = _LineReader()
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901  # cargo does so
        if line.startswith("cargo::"):
            key, _, value = line[7:].partition("=")
            reader.take(key, value, new=True)
        elif line.startswith("cargo:"):
            key, _, value = line[6:].partition("=")
            reader.take(key, value, new=False)
    return reader.told()


class _LineReader:
    def __init__(self) -> None:
        self._lists: dict[str, list[str]] = {}
        self._env: dict[str, str] = {}
        self._metadata: dict[str, str] = {}
        self._link_args: list[tuple[str, str]] = []

    def take(self, key: str, value: str, *, new: bool) -> None:
        lists = self._lists
        if key in _LINK_ARGS:
            self._link_args.append((_LINK_ARGS[key], value))
        elif key == "rustc-link-arg-bin":
            name, _, word = value.partition("=")
            self._link_args.append((f"bin:{name}", word))
        elif key in ("rustc-env", "metadata") and (key != "metadata" or new):
            name, _, content = value.partition("=")
            (self._env if key == "rustc-env" else self._metadata)[name] = content
        elif key == "rustc-flags":
            self._flags(value.split())
        elif key in _KNOWN and (key != "error" or new):
            lists.setdefault(key, []).append(value)
        elif new:
            lists.setdefault("unknown", []).append(key)
        else:
            self._metadata[key] = value

    def told(self) -> ScriptOutput:
        def got(key: str) -> tuple[str, ...]:
            return tuple(self._lists.get(key, ()))

        return ScriptOutput(
            got("rerun-if-changed"),
            got("rerun-if-env-changed"),
            bool(got("rerun-if-changed") or got("rerun-if-env-changed")),
            got("rustc-cfg"),
            got("rustc-check-cfg"),
            self._env,
            got("rustc-link-lib"),
            got("rustc-link-search"),
            tuple(self._link_args),
            self._metadata,
            got("warning"),
            got("error"),
            got("unknown"),
        )

    def _flags(self, words: Sequence[str]) -> None:
        """Take `-l` and `-L`, the only flags that a script may give so."""
        rest = iter(words)
        for word in rest:
            for flag, key in (("-l", "rustc-link-lib"), ("-L", "rustc-link-search")):
                if word.startswith(flag):
                    value = word[2:] or next(rest, "")
                    self._lists.setdefault(key, []).append(value)


_KNOWN: Final = frozenset(
    (
        *("rerun-if-changed", "rerun-if-env-changed", "rustc-link-lib", "rustc-link-search"),
        *("rustc-cfg", "rustc-check-cfg", "warning", "error"),
    )
)


def marked(text: str, root: str) -> str:
    """Return what a script said to cargo, with `%{root}` for the directory in which it ran."""
    kept = [line for line in text.splitlines() if line.lstrip().startswith("cargo:")]
    words = "".join(f"{line}\n" for line in kept)
    return words.replace(root, ROOT_MARK) if root else words


@functools.lru_cache(maxsize=4096)
def ran(text: str, files: tuple[str, ...]) -> ScriptRun:
    """Return a script's run, from its words as they are kept and the files that it wrote."""
    return ScriptRun(parse(text), files)


def shown(told: ScriptOutput, action: Action, said: str, *, failed: bool) -> str:
    """Return what people are shown of a script's words: warnings of one's own packages, all of a failure."""
    outside = isinstance(action.sources, Tree) and bool(action.sources.origin)
    lines = [f"error: {action.title}: {one}" for one in told.errors]
    lines += [f"error: {action.title}: cargo::{one} is not known" for one in told.unknown]
    if failed or told.failed or not outside:
        lines += [f"warning: {action.title}: {one}" for one in told.warnings]
    return "".join(f"{line}\n" for line in lines) + (said if failed or told.failed else "")


def reads(told: ScriptOutput, action: Action) -> list[str]:
    """Return the paths that a script's result depends on, relative to the root or absolute.

    A script that names none may have read any file of its package.
    """
    assert isinstance(action.sources, Tree)
    if not told.declares:
        return [action.sources.directory or "."]
    found = []
    for path in told.changed:
        inside = path.removeprefix(f"{ROOT_MARK}/") if path.startswith(f"{ROOT_MARK}/") else None
        found.append(posixpath.normpath(inside or posixpath.join(action.cwd, path)))
    return found


def completed(action: Action, ran: Mapping[str, ScriptRun]) -> Action:
    """Return an action with the words of its build scripts, which have run."""
    arguments: list[str] = []
    env = dict(action.env)
    needs = {need.path: need for need in action.needs}
    libraries = list(action.libraries)
    for use in action.scripts:
        run = ran[use.action]
        arguments += _arguments(use, run.told)
        env |= _variables(use, run.told)
        if use.role != "linked" or _searches_own(use, run.told):
            needs |= {path: Need(use.action, path, path) for path in run.files}
        folders = [_folder(one) for one in run.told.search] if use.role != "metadata" else []
        libraries += [one for one in folders if one.startswith("/")]
    own = next(
        (run.told for use in action.scripts if use.role == "own" for run in (ran[use.action],)),
        ScriptOutput(),
    )
    # An action that does not report its reads of variables has all of them in its key.
    silent = action.kind == "script" or action.reads_all
    added = sorted(f"{name}={value}" for name, value in env.items() if action.env.get(name) != value)
    return msgspec.structs.replace(
        action,
        arguments=(*action.arguments, *arguments),
        env=env,
        needs=tuple(needs.values()),
        libraries=tuple(dict.fromkeys(libraries)),
        linked=(*action.linked, *(_name_of(one) for one in own.libraries)),
        parts={**action.parts, **({"variables of scripts": "\n".join(added)} if silent and added else {})},
    )


def _arguments(use: ScriptUse, told: ScriptOutput) -> list[str]:
    if use.role == "metadata":
        return []
    words = [word for path in told.search for word in ("-L", path)]
    if use.role == "linked":
        return words
    words += [word for one in told.cfgs for word in ("--cfg", one)]
    words += [word for one in told.check_cfgs for word in ("--check-cfg", one)]
    if "libraries" in use.places:
        words += [word for one in told.libraries for word in ("-l", one)]
    if "links" in use.places:
        for place, word in told.link_args:
            if not place or place in use.places:
                words += ["-C", f"link-arg={word}"]
    return words


def _variables(use: ScriptUse, told: ScriptOutput) -> dict[str, str]:
    if use.role == "own":
        return {**told.env, "OUT_DIR": f"{ROOT_MARK}/{use.out_dir}"}
    if use.role == "metadata" and use.links:
        prefix = f"DEP_{use.links.upper().replace('-', '_')}_"
        return {prefix + key.upper().replace("-", "_"): value for key, value in told.metadata.items()}
    return {}


def _searches_own(use: ScriptUse, told: ScriptOutput) -> bool:
    return any(use.out_dir in one for one in told.search)


def _folder(search: str) -> str:
    kind, equals, path = search.partition("=")
    return path if equals and kind in _SEARCH_KINDS else search


def _name_of(library: str) -> str:
    return library.rpartition("=")[2].partition(":")[0]

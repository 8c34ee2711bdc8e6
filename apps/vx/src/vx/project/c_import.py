"""From another build system's compile_commands.json to a vx.toml.

Owns what becomes of each word.  The format is Clang's "JSON Compilation Database".  It lists compilations
and no links, so a target's libraries come from the build's other commands, where they are known (`c_links`).
vx's profiles choose the level of optimisation and debug information.  A word that a vx.toml cannot express
gives a note.  Pure.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from vx.project import c_flags, c_links
from vx.project.c_links import LinkCommand, LinkCommands
from vx.project.c_manifest import PROGRAM, SHARED_LIBRARY, STATIC_LIBRARY
from vx.project.c_plan import SOURCE_ENDINGS

_CMAKE: Final = re.compile(r"(?:^|/)CMakeFiles/([^/]+)\.dir/")
_MESON: Final = re.compile(r"(?:^|/)([^/]+)\.p/")
_FOLDERS: Final = ("-isystem", "-idirafter", "-iquote", "-I")
# Options with a value, in the same word or the next.
_PAIRS: Final = (*_FOLDERS, "-include", "-D", "-U")
# Options with a word behind them that only matter to the other build system.
_DROPPED_PAIRS: Final = frozenset(("-o", "-MF", "-MT", "-MQ", "-MJ", "--serialize-diagnostics"))
_DROPPED: Final = re.compile(r"-c|-M[DMPG]*|-O.*|-g[0-9a-z-]*|-f(no-)?(diagnostics|color)-.*|-Winvalid-pch")
_SYSTEM: Final = ("/usr/", "/opt/")


class Entry(msgspec.Struct):
    """One compilation, as the file has it."""

    directory: str
    file: str
    command: str = ""
    arguments: list[str] = []
    output: str = ""


class _CompiledFile(msgspec.Struct):
    source: str
    include: list[str]
    defines: list[str]
    flags: list[str]
    forced: list[str]


class Imported(msgspec.Struct):
    """The outcome of an import.

    Attributes:
        text: the vx.toml.
        notes: words that were left out, and places to look at, each a line.
        targets: the names of the targets.
    """

    text: str
    notes: list[str]
    targets: list[str]


def imported(
    entries: Sequence[Entry],
    directory: str,
    name: str,
    has_main: Callable[[str], bool],
    commands: Callable[[str, Sequence[str]], Iterable[str]],
) -> Imported:
    """Return the vx.toml that builds the same.

    Args:
        entries: of compile_commands.json.
        directory: the project's; absolute.
        name: the project's.
        has_main: whether a source, relative to the project, has a function `main`.
        commands: returns the commands that link, for a build directory and the names of its targets; others,
            too.
    """
    reader = _Reader(directory)
    units: dict[str, dict[str, _CompiledFile]] = {}
    kinds: dict[str, str] = {}
    builds: dict[str, dict[str, None]] = {}
    for entry in entries:
        words = entry.arguments or shlex.split(entry.command)
        target, kind = _target(entry.output or _output(words), name)
        unit = reader.unit(entry, words)
        if unit is None:
            continue
        units.setdefault(target, {}).setdefault(unit.source, unit)
        builds.setdefault(entry.directory, {})[target] = None
        if f"{target}_EXPORTS" in unit.defines:  # CMake's; headers ask for it to make symbols visible
            kind = SHARED_LIBRARY
        if kind:
            kinds[target] = kind
    all_commands = [(one, told) for one, targets in builds.items() for told in commands(one, list(targets))]
    links = c_links.links_of(all_commands, lambda path: _target(path, name)[0])
    for target, some in units.items():
        if target in links.of:
            kinds[target] = _kind_of(links.of[target])
        elif target not in kinds:
            kinds[target] = PROGRAM if any(has_main(source) for source in some) else STATIC_LIBRARY
    text = [f"[project]\nname = {_quoted(name)}\n"]
    for target, some in units.items():
        linked = reader.linked(target, kinds, links)
        text.append(_table(target, kinds[target], list(some.values()), linked))
    return Imported("\n".join(text), list(reader.notes), list(units))


class _Reader:
    def __init__(self, directory: str) -> None:
        self.notes: dict[str, None] = {}
        self._directory = directory

    def unit(self, entry: Entry, words: Sequence[str]) -> _CompiledFile | None:
        source = self._inside(entry.directory, entry.file)
        if source is None or source.startswith("/"):
            self._note(f"{entry.file}: left out, it is not below {self._directory}")
            return None
        if not source.endswith(SOURCE_ENDINGS):
            self._note(f"{source}: left out, no source that vx compiles")
            return None
        unit = _CompiledFile(source, [], [], [], [])
        rest = iter(_options(words))
        for word in rest:
            if word in _DROPPED_PAIRS:
                next(rest, "")
            elif word in _PAIRS:
                self._word(unit, entry, word, next(rest, ""))
            else:
                option = next((one for one in _PAIRS if one != "-include" and word.startswith(one)), "")
                self._word(unit, entry, option, word[len(option) :])
        return unit

    def _word(self, unit: _CompiledFile, entry: Entry, option: str, value: str) -> None:
        """Take an option and its value; without an option, a word that stands alone."""
        if option in _FOLDERS:
            self._folder(unit, entry, value)
        elif option == "-include":
            path = self._inside(entry.directory, value)
            if path is None or path.startswith("/"):
                self._note(f"{unit.source}: -include of a file that is not below {self._directory}, left out")
            else:
                unit.forced.append(path)
        elif option == "-D":
            unit.defines.append(value)
        elif option:
            unit.flags.append(option + value)
        elif not value.startswith("-"):
            if self._inside(entry.directory, value) != unit.source:
                self._note(f"the word {value!r} left out")
        elif not _DROPPED.fullmatch(value):
            self._flag(unit, value)

    def linked(self, target: str, kinds: Mapping[str, str], links: LinkCommands) -> dict[str, Any]:
        """Return the rows of a target for its link."""
        libraries = [one for one, kind in kinds.items() if kind != PROGRAM and one != target]
        if target not in links.of:
            if kinds[target] != PROGRAM:
                return {}
            self._note(
                f"{target}: compile_commands.json does not tell what it links with: see needs, link-flags"
            )
            return {"needs": libraries}
        link = links.of[target]
        found = c_links.linked(target, link, links.made, libraries)
        for word in found.left:
            self._note(f"{target}: {word} of its link left out")
        flags: list[str] = []
        for word in found.flags:
            if word.startswith("-L") and self._inside(link.directory, word[2:]) is None:
                continue  # where the other build puts its libraries; those are needs
            if c_flags.first_refused_of_link([word]) is None:
                flags.append(word)
            else:
                self._note(f"{target}: the option {word} for the linker left out")
        script = self._version_script(target, link, found.version_scripts)
        return {"link-flags": flags, "version-script": script, "needs": found.needs}

    def _version_script(self, target: str, link: LinkCommand, scripts: Sequence[str]) -> str:
        inside = [self._inside(link.directory, one) for one in scripts]
        if inside and (len(inside) > 1 or inside[0] is None or inside[0].startswith("/")):
            self._note(
                f"{target}: the version script {scripts[0]} left out: one below the project can be named"
            )
            return ""
        return inside[0] or "" if inside else ""

    def _folder(self, unit: _CompiledFile, entry: Entry, folder: str) -> None:
        path = self._inside(entry.directory, folder)
        if path is None:
            self._note(f"the include folder {folder} left out: neither below the project nor the system's")
        elif path not in unit.include:
            unit.include.append(path)

    def _flag(self, unit: _CompiledFile, word: str) -> None:
        if c_flags.first_refused([word]) is None:
            unit.flags.append(word)
        else:
            self._note(f"the option {word} left out")

    def _inside(self, directory: str, path: str) -> str | None:
        """Return a path relative to the project, absolute for the system's; None for any other."""
        found = posixpath.normpath(posixpath.join(directory, path))
        if found == self._directory:
            return "."
        if found.startswith(f"{self._directory}/"):
            return found[len(self._directory) + 1 :]
        return found if found.startswith(_SYSTEM) else None

    def _note(self, text: str) -> None:
        self.notes[text] = None


def _options(words: Sequence[str]) -> list[str]:
    """Return the words behind the compiler, which others may have started (`ccache cc`)."""
    first = next((at for at, word in enumerate(words) if word.startswith("-")), 1)
    return list(words[first:])


def _output(words: Sequence[str]) -> str:
    return words[words.index("-o") + 1] if "-o" in words[:-1] else ""


def _target(output: str, name: str) -> tuple[str, str]:
    """Return the target that an object is of, by its folder, and what that says of its kind."""
    if found := _CMAKE.search(output):
        return found[1], ""
    if found := _MESON.search(output):
        base, _, ending = found[1].partition(".")
        kind = {"a": STATIC_LIBRARY, "so": SHARED_LIBRARY}.get(ending.partition(".")[0], PROGRAM)
        return base.removeprefix("lib") if kind != PROGRAM else base, kind
    return name, ""


def _kind_of(link: LinkCommand) -> str:
    if link.archives:
        return STATIC_LIBRARY
    return SHARED_LIBRARY if link.shares else PROGRAM


def _table(target: str, kind: str, units: list[_CompiledFile], linked: Mapping[str, Any]) -> str:
    common = {
        what: [one for one in getattr(units[0], what) if all(one in getattr(unit, what) for unit in units)]
        for what in ("defines", "flags", "forced")
    }
    rows: dict[str, Any] = {
        "kind": kind,
        "sources": [unit.source for unit in units],
        "include": list(dict.fromkeys(one for unit in units for one in unit.include)),
        "force-include": common["forced"],
        "defines": common["defines"],
        "flags": common["flags"],
        **linked,
    }
    lines = [f"[targets.{_key(target)}]"]
    lines += [f"{key} = {_value(value)}" for key, value in rows.items() if value]
    own = {unit.source: _own(unit, common) for unit in units}
    if any(own.values()):
        lines += ["", f"[targets.{_key(target)}.file-flags]"]
        lines += [f"{_quoted(source)} = {_value(flags)}" for source, flags in own.items() if flags]
    return "\n".join(lines) + "\n"


def _own(unit: _CompiledFile, common: Mapping[str, Sequence[str]]) -> list[str]:
    defines = [f"-D{one}" for one in unit.defines if one not in common["defines"]]
    return defines + [one for one in unit.flags if one not in common["flags"]]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _value(value: str | Iterable[str]) -> str:
    if isinstance(value, str):
        return _quoted(value)
    words = list(map(_quoted, value))
    line = f"[{', '.join(words)}]"
    return line if len(line) <= 100 else "[\n" + "".join(f"    {word},\n" for word in words) + "]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

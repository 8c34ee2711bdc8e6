"""What another build system links a target of, from its commands.

Owns which command makes which target, and which words of it are libraries: of the project, or the system's.
The commands are those of CMake's `link.txt`, or of ninja's `-t compdb`.  Pure.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

_OBJECTS: Final = (".o", ".obj")
_ARCHIVERS: Final = re.compile(r"(?:.*[/-])?(?:llvm-)?ar(?:-[0-9.]+)?")
_LIBRARY: Final = re.compile(r"(?:.*/)?lib([^/]+?)\.(?:a|so(?:\.[0-9.]+)?)")
_OF_SYSTEM: Final = re.compile(r"/(?:usr/)?lib(?:/[^/]+)?/lib([^/]+?)\.(a|so(?:\.[0-9.]+)?)")


class LinkCommand(msgspec.Struct, frozen=True):
    """A command that makes a program or a library.

    Attributes:
        words: its words, the linker or archiver first.
        directory: where it runs; absolute.
        output: the file that it makes; absolute.
        of: the targets of its objects, one name for each.
    """

    words: tuple[str, ...]
    directory: str
    output: str
    of: tuple[str, ...]

    @property
    def archives(self) -> bool:
        """Whether it makes a static library."""
        return _ARCHIVERS.fullmatch(self.words[0]) is not None

    @property
    def shares(self) -> bool:
        """Whether it makes a shared library."""
        return "-shared" in self.words


class LinkCommands(msgspec.Struct, frozen=True):
    """The links of a project.

    Attributes:
        of: for each target, the command that makes it.
        made: for each file that one of them makes, the target.
    """

    of: dict[str, LinkCommand]
    made: dict[str, str]


def links_of(commands: Iterable[tuple[str, str]], target_of: Callable[[str], str]) -> LinkCommands:
    """Return which command makes which target.

    Args:
        commands: pairs of a directory and a command that runs there, of compilations and others, too.
        target_of: the target of an object's path.
    """
    found = [link for where, command in commands for link in _of_command(command, where, target_of)]
    of: dict[str, LinkCommand] = {}
    made: dict[str, str] = {}
    for link in found:
        owner = _owner(link, of)
        if owner is not None:
            of[owner] = link
            made[_unversioned(link.output)] = owner
    return LinkCommands(of, made)


def _of_command(command: str, directory: str, target_of: Callable[[str], str]) -> Iterable[LinkCommand]:
    for part in command.split(" && "):
        try:
            words = shlex.split(part)
        except ValueError:
            continue
        objects = [word for word in words if word.endswith(_OBJECTS)]
        output = _output(words) if objects and "-c" not in words else ""
        if output:
            path = posixpath.normpath(posixpath.join(directory, output))
            yield LinkCommand(tuple(words), directory, path, tuple(map(target_of, objects)))


def _output(words: Sequence[str]) -> str:
    if _ARCHIVERS.fullmatch(words[0]):
        return next((word for word in words[1:] if word.endswith(".a")), "")
    return words[words.index("-o") + 1] if "-o" in words[:-1] else ""


def _owner(link: LinkCommand, known: Mapping[str, LinkCommand]) -> str | None:
    """Return the target that a command makes: the one with its output's name, or most of its objects."""
    base = posixpath.basename(link.output)
    named = _LIBRARY.fullmatch(base)
    names = (base, base.partition(".")[0], named[1] if named else base)
    free = [one for one, _ in Counter(link.of).most_common() if one not in known]
    return next((one for one in free if one in names), free[0] if free else None)


def _unversioned(path: str) -> str:
    """Return a library's path without the version of its file's name: links lead from one to the other."""
    return re.sub(r"(\.so)(?:\.[0-9]+)+$", r"\1", path)


class LinkedWith(msgspec.Struct):
    """What a target links with.

    Attributes:
        needs: targets of the project.
        flags: options for the linker.
        version_scripts: paths, as they are written.
        left: words that say nothing to vx.
    """

    needs: list[str] = []
    flags: list[str] = []
    version_scripts: list[str] = []
    left: list[str] = []


def linked(target: str, link: LinkCommand, made: Mapping[str, str], libraries: Iterable[str]) -> LinkedWith:
    """Return what a command links a target with.

    Args:
        target: it.
        link: the command.
        made: of `LinkCommands`.
        libraries: the targets that are libraries.
    """
    found = LinkedWith()
    known = set(libraries)
    # Objects of a target that is linked into others, but is neither a library nor a program by itself.
    found.needs += [one for one in dict.fromkeys(link.of) if one != target and one in known]
    if link.archives:
        return found
    rest = iter(link.words[1:])
    for word in rest:
        if word == "-o":
            next(rest, "")
        elif word.startswith("-"):
            _option(found, word, rest)
        elif not word.endswith(_OBJECTS):
            _file(found, word, _made(word, link.directory, made), known)
    found.needs = list(dict.fromkeys(found.needs))
    found.flags = list(dict.fromkeys(found.flags))
    return found


def _option(found: LinkedWith, word: str, rest: Iterable[str]) -> None:
    if word.startswith(("-Wl,--version-script,", "-Wl,--version-script=")):
        found.version_scripts.append(word[len("-Wl,--version-script,") :])
    elif word.startswith(
        ("-Wl,-rpath", "-Wl,-soname", "-Wl,-h,", "-Wl,--dependency-file", "-Wl,--out-implib")
    ):
        pass  # of the other build's files
    elif word in ("-Wl,--start-group", "-Wl,--end-group"):
        pass  # targets are given in the order of their needs
    elif word in ("-framework", "-Xlinker", "-z"):
        found.left.append(f"{word} {next(iter(rest), '')}")
    elif word.startswith(("-l", "-pthread", "-static", "-rdynamic", "-Wl,", "-L")):
        found.flags.append(word)


def _file(found: LinkedWith, word: str, made: str | None, libraries: set[str]) -> None:
    system = _OF_SYSTEM.fullmatch(word)
    if made in libraries:
        assert made is not None
        found.needs.append(made)
    elif system:
        found.flags.append(f"-l:lib{system[1]}.a" if system[2] == "a" else f"-l{system[1]}")
    else:
        found.left.append(word)


def _made(word: str, directory: str, made: Mapping[str, str]) -> str | None:
    return made.get(_unversioned(posixpath.normpath(posixpath.join(directory, word))))

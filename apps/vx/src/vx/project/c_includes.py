"""Which files a source may include, where it looks for them, and in what order.

Owns reading `#include` lines and the order in which folders are searched.  It says too much rather
than too little: conditions are not evaluated, and every folder that has such a file counts.  What
was really read, the compiler tells afterwards; what it looked for in vain, no compiler tells, and
`vain` does.  Pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

_INCLUDE = re.compile(
    rb"^[ \t]*(?:#|%:|\?\?=)[ \t]*(include|include_next|import|embed)\b[ \t]*"
    # A macro's name, or a comment before it; prose in a comment goes on otherwise: "#include's", "#include,".
    rb"(?:\"([^\"\n]+)\"|<([^>\n]+)>|([A-Za-z_$/\\\\?\"<\x80-\xff]))?",
    re.MULTILINE,
)
# `__has_include("x")`: a question, and its answer counts though nothing is read.
_ASKED = re.compile(
    rb"\b__has_(include|include_next|embed)\b(?:[ \t]*\([ \t]*(?:\"([^\"\n]+)\"|<([^>\n]+)>|([^\s])))?"
)
# What a name may be that a macro stands for.
_DEFINED = re.compile(rb"^[ \t]*#[ \t]*define[ \t]+\w+[ \t]+(?:\"([^\"\n]+)\"|<([^>\n]+)>)", re.MULTILINE)
# The assembler's own, which no compiler's dependency file names.
_ASSEMBLED = re.compile(rb"\.incbin\b|\.include\b[ \t]*\\*\"")
_ABSOLUTE = re.compile(rb"\"(/[^\"\\\n]+)\\?\"")
# `#[link(name = "z")]`: a static library is read by rustc itself.
_LINKED = re.compile(rb"\blink\s*\([^)]*?\bname\s*=\s*\"([^\"\n]+)\"")

# How what a linker reads begins: objects, programs and libraries, archives, thin archives.  A compiler takes
# none of these for a source.
_NO_SOURCE = (b"\x7fELF", b"!<arch>\n", b"!<thin>\n")

# What gcc includes first of all, where there is one, and no source names.
ALWAYS: Final = "stdc-predef.h"


class Includes(msgspec.Struct, frozen=True):
    """What a file says that it includes.

    Attributes:
        names: as they are written.
        computed: whether there is one that only the preprocessor can tell.
        quoted: those of `names` that are looked for beside the file first.
        after: those of `names` that are looked for behind the first place, too (`#include_next`).
        asked: those of `names` whose being there counts, read or not (`__has_include`).
        defined: names that a macro may stand for.
        assembles: whether the assembler may read files.
        absolute: absolute paths in it, if the assembler may read files.
        linked: libraries that it names (`#[link(name = ...)]`).
        whole: whether it may look at any file without an error where there is none: by the assembler, or
            by `__has_include` of a macro.
    """

    names: tuple[str, ...]
    computed: bool
    quoted: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    defined: tuple[str, ...] = ()
    assembles: bool = False
    absolute: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    whole: bool = False


class Folders(msgspec.Struct, frozen=True, tag=True):
    """Where a compiler looks for included files.

    Attributes:
        angled: folders in their order, relative to the project or absolute.
        quoted: those that are searched before, for names in quotes.
        missing: absolute folders that would be searched if they were there.
        opens: whether the compiler opens each path at which it looks for a header, so that the sandbox sees
            all of them: gcc does.  clang first asks whether the folder is there.
    """

    angled: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    opens: bool = False


def includes_of(text: bytes) -> Includes:
    """Return what a file says that it includes: of C, C++, and of Rust what the assembler reads.

    What a linker alone reads says nothing, whatever words stand in it: looking for them took longer
    than linking a small program against the system's libraries.
    """
    if text.startswith(_NO_SOURCE):
        return Includes((), computed=False)
    text = text.replace(b"\\\r\n", b"").replace(b"\\\n", b"")  # lines may be continued anywhere
    names: dict[str, None] = {}
    quoted_names: set[str] = set()
    after: set[str] = set()
    assembles = bool(_ASSEMBLED.search(text))
    questions = _ASKED.findall(text)
    asked = {_text(quoted or angled) for _, quoted, angled, _ in questions if quoted or angled}
    whole = assembles or any(other for *_, other in questions)
    computed = whole
    for word, quoted, angled, other in (*_INCLUDE.findall(text), *questions):
        if quoted or angled:
            name = _text(quoted or angled)
            names[name] = None
            if quoted:
                quoted_names.add(name)
            if word == b"include_next":
                after.add(name)
        elif other:
            computed = True
    return Includes(
        tuple(names),
        computed,
        frozenset(quoted_names),
        frozenset(after),
        frozenset(asked),
        tuple({_text(quoted or angled): None for quoted, angled in _DEFINED.findall(text)}),
        assembles,
        tuple({_text(one): None for one in _ABSOLUTE.findall(text)}) if assembles else (),
        tuple({_text(one): None for one in _LINKED.findall(text)}),
        whole,
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def reachable(
    source: str,
    include: Sequence[str],
    includes: Callable[[str], Includes | None],
    everything: Callable[[], Iterable[str]],
    forced: Iterable[str] = (),
    macros: Iterable[str] = (),
) -> list[str]:
    """Return the files of a project that a source may include, itself first.

    Where only the preprocessor can tell which file is included, those that a macro may stand for are; a
    compiler that misses another one fails, and is then given all.

    Args:
        source: the file, relative to the project.
        include: the folders that are searched.
        includes: tells of a path what the file there includes; None where there is none.
        everything: all files of the project; needed where a file is looked for and may not be there.
        forced: names of files that options have read before it.
        macros: names that a macro of an option may stand for.
    """
    found: dict[str, None] = {}
    waiting = [source, *(path for name in (*forced, ALWAYS) for path in _candidates("", name, include))]
    named = dict.fromkeys(macros)
    folders: dict[str, None] = {}  # of files in which only the preprocessor can tell
    looked: set[tuple[str, str]] = set()
    while waiting:
        path = waiting.pop()
        told = None if path in found else includes(path)
        if told is not None:
            found[path] = None
            if told.whole:
                return list(dict.fromkeys((source, *found, *everything())))
            folder = posixpath.dirname(path)
            for name in told.names:
                waiting += _candidates(folder, name, include)
            named |= dict.fromkeys(told.defined)
            if told.computed:
                folders[folder] = None
        if not waiting and folders:
            new = {(folder, name) for folder in folders for name in named} - looked
            waiting = [path for folder, name in sorted(new) for path in _candidates(folder, name, include)]
            looked |= new
    return list(found)


def vain(  # noqa: PLR0913  # as many as there are ways to name a header
    told: Mapping[str, Includes],
    reads: Iterable[str],
    folders: Folders,
    forced: Iterable[str] = (),
    macros: Iterable[str] = (),
    asked_only: Collection[str] = (),
    *,
    source: str = "",
    seen: bool = False,
) -> set[str]:
    """Return the paths at which a compiler looked for a file and found none, or would now find another.

    Args:
        told: what each file that was read includes, by path: relative to the project, or absolute.
        reads: all that was read, or asked for and there.
        folders: where it looks.
        forced: names of files that options have read first (`-include`).
        macros: as of `reachable`.
        asked_only: those of `reads` that may have been asked for only (`asked`): their names are known.
        source: the one of `reads` that nobody includes.
        seen: whether the caller has the compiler's vain look-ups by macros already (`are_seen`).
    """
    known = set(reads)
    found: set[str] = set()
    explained = {source, *asked_only}
    is_computed = not seen and any(one.computed for one in told.values())
    for name, includes, places in _looked_for(told, folders, forced, macros, computed=is_computed):
        for path in _paths(name, places):
            if path not in known:
                found.add(path)
                continue
            explained.add(path)
            if name not in includes.after:
                break
    # How the others were named is not known: by a macro, or behind a comment.
    unexplained = known - (set(asked_only) if is_computed else explained)
    return found | (shadows(unexplained, folders.angled) - known)


def are_seen(folders: Folders, opened: Collection[str]) -> bool:
    """Whether the paths that a compiler opened, in vain or not, are all at which it looked for headers.

    It passes over a folder that was not there when it began; so each must have been looked into.

    Args:
        folders: where it looks.
        opened: the paths, relative to the project or absolute.
    """
    return folders.opens and all(
        not folder or any(path.startswith(f"{folder}/") for path in opened)
        for folder in (*folders.angled, *folders.quoted)
    )


def precompiled(
    source: str,
    told: Mapping[str, Includes],
    reads: Collection[str],
    folders: Folders,
    forced: Iterable[str] = (),
) -> set[str]:
    """Return where a precompiled header (`.gch`) of the system would be read in the place of a header.

    gcc takes one for the headers that it includes first: `stdc-predef.h` and what that includes, what an
    option names, and the first of the source, which may be one that `__has_include` asks for.

    Args:
        source: the source's path.
        told: as of `vain`.
        reads: all that was read.
        folders: where it looks.
        forced: as of `vain`.
    """
    places = [one for one in folders.angled if one.startswith("/")]
    found = {ALWAYS, *forced}
    for path, one in told.items():
        if posixpath.basename(path) == ALWAYS:
            found.update(one.names)
    own = told.get(source, Includes((), computed=False))
    found |= own.asked
    for name in own.names:
        found.add(name)
        if any(path in reads for path in _paths(name, (posixpath.dirname(source), *folders.angled))):
            break
    return {f"{path}.gch" for name in found for path in _paths(name, places)}


def asked(
    told: Mapping[str, Includes],
    folders: Folders,
    exists: Callable[[str], bool],
    macros: Collection[str] = (),
) -> set[str]:
    """Return the files that were asked for (`__has_include`) and are there, whether they were read or not.

    Args:
        told: as of `vain`.
        folders: as of `vain`.
        exists: whether there is a file at a path.
        macros: as of `reachable`.
    """
    found: set[str] = set()
    is_computed = any(one.computed for one in told.values())
    for name, includes, places in _looked_for(told, folders, (), macros, computed=is_computed):
        if name in includes.asked or name in includes.defined or (includes.computed and name in macros):
            there = [path for path in _paths(name, places) if exists(path)]
            found.update(there if name in includes.after else there[:1])
    return found


def _looked_for(
    told: Mapping[str, Includes],
    folders: Folders,
    forced: Iterable[str],
    macros: Iterable[str],
    *,
    computed: bool,
) -> Iterator[tuple[str, Includes, tuple[str, ...]]]:
    """Return each name that is looked for, who names it, and where it is looked for, in order.

    With `computed`, each name that a macro may stand for, too.
    """
    yield ALWAYS, Includes((ALWAYS,), computed=False), folders.angled
    for name in forced:  # where the compiler runs comes first: the project's own directory
        yield name, Includes((name,), computed=False), ("", *folders.quoted, *folders.angled)
    meant = frozenset(macros)
    for path, includes in told.items():
        first = (posixpath.dirname(path), *folders.quoted, *folders.angled)
        more = (*(includes.defined if computed else ()), *(meant if computed and includes.computed else ()))
        for name in dict.fromkeys((*includes.names, *more)):
            quoted = name in includes.quoted or name in includes.defined or name in meant
            yield name, includes, first if quoted else folders.angled


def _paths(name: str, places: Iterable[str]) -> list[str]:
    """Return where a name is looked for; never the root, which a macro like `DIR_SEPARATOR` names."""
    found = [posixpath.normpath(posixpath.join(place, name)) for place in places]
    return [one for one in found if not one.startswith("..") and one.strip("/")]


def shadows(reads: Iterable[str], include: Sequence[str]) -> set[str]:
    """Return the paths at which a new file would be read in the place of one of `reads`, however named.

    Args:
        reads: the files that it read: relative to the project, or absolute for the system's.
        include: the folders that are searched.
    """
    reads = list(reads)
    folders = {*include, *(posixpath.dirname(one) for one in reads if not one.startswith("/"))}
    found: set[str] = set()
    for path in reads:
        for name in _names(path, folders):
            found.update(posixpath.normpath(posixpath.join(folder, name)) for folder in folders)
    return {one for one in found if not one.startswith("..")} - set(reads)


def _names(path: str, folders: Iterable[str]) -> set[str]:
    """Return how a file may have been named in an `#include`."""
    if path.startswith("/"):
        pieces = path.split("/")
        return {"/".join(pieces[-count:]) for count in (1, 2, 3) if count < len(pieces)}
    inside = {
        path[len(one) + 1 :] if one else path for one in folders if not one or path.startswith(one + "/")
    }
    return inside | {posixpath.basename(path)}


def _candidates(folder: str, name: str, include: Sequence[str]) -> list[str]:
    paths = [posixpath.normpath(posixpath.join(one, name)) for one in (folder, *include)]
    return [one for one in paths if not one.startswith(("..", "/"))]

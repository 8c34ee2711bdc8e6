"""Where a linker looks for its inputs, and where it looked in vain.

Owns the order of folders and the names that stand for a library.  The linker lists the files that it read
in its dependency file; a library that comes to an earlier folder, or a shared one beside a static, would be
read in its place.  Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

import msgspec


class Link(msgspec.Struct, frozen=True, tag=True):
    """How a compiler links.

    Attributes:
        identity: of all that it runs.
        folders: where libraries are looked for, absolute, in their order.
        files: its programs and their libraries, absolute, as they are called and as they are.
        told_by: the option that has the linker list its inputs, less the file's name; "" for none.
    """

    identity: str = ""
    folders: tuple[str, ...] = ()
    told_by: str = ""
    files: tuple[str, ...] = ()


def folders_named(words: Sequence[str]) -> list[str]:
    """Return the absolute folders that `-L` names in a command, in their order."""
    return [path for path in _values(words, "-L") if path.startswith("/")]


def libraries_named(words: Sequence[str]) -> list[str]:
    """Return the libraries that `-l` names, as rustc and cc write it: `z`, `static=z`."""
    return [one.rpartition("=")[2].partition(":")[0] for one in _values(words, "-l")]


def files_named(words: Iterable[str]) -> list[str]:
    """Return the absolute paths in options: `@/x`, `-fprofile-use=/x`, `--extern name=/x`, `-Wl,-T,/x`."""
    found: dict[str, None] = {}
    for word in words:
        for piece in word.replace("@", "=").replace(",", "=").split("="):
            if piece.startswith("/"):
                found[posixpath.normpath(piece)] = None
    return list(found)


def files_of(library: str, folders: Iterable[str]) -> list[str]:
    """Return all paths at which a library of this name may be."""
    return [
        posixpath.normpath(f"{folder}/{name}")
        for folder in folders
        for name in (f"lib{library}.a", f"lib{library}.so", library)
    ]


def vain(reads: Iterable[str], folders: Sequence[str]) -> set[str]:
    """Return where a new file would be read in the place of one that was.

    Args:
        reads: the files that it read, absolute.
        folders: absolute, in the order in which they are searched.
    """
    order = list(dict.fromkeys(posixpath.normpath(one) for one in folders))
    known = set(reads)
    found: set[str] = set()
    for path in known:
        folder, name = posixpath.split(path)
        if folder not in order:
            continue
        stem = name.rpartition(".")[0] if name.startswith("lib") and name.endswith((".a", ".so")) else ""
        # Of one folder the shared library is taken before the static one.
        names = (f"{stem}.so", f"{stem}.a") if stem else (name,)
        for earlier in order[: order.index(folder)]:
            found.update(f"{earlier}/{one}" for one in names)
        if name.endswith(".a") and stem:
            found.add(f"{folder}/{stem}.so")
    return found - known


def _values(words: Sequence[str], option: str) -> list[str]:
    """Return what follows an option, in the same word or in the next; less rustc's `KIND=`."""
    found = []
    for number, word in enumerate(words):
        if word == option and number + 1 < len(words):
            value = words[number + 1]
        elif word.startswith(option) and word != option:
            value = word[len(option) :]
        else:
            continue
        kind, equals, path = value.partition("=")
        found.append(path if equals and option == "-L" and "/" not in kind else value)
    return found

"""What a job opened and nothing tells of: part of its key, or an error that names the file.

Owns which is which.  A file of the system, or of a folder that the caller's own options name, becomes a
condition of the result, though no dependency file names it.  Any other is nobody's input: the same job
elsewhere would not find it.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from vx.project.action import Action, TranslationUnit

# What tells nothing of a result, or is the kernel's: programs are started with it, in the C locale.
_NOT_CONTENT: Final = ("/proc/", "/sys/", "/dev/", "/etc/ld.so.", "/usr/lib/locale/", "/usr/share/locale/")
_SYSTEM: Final = (
    "/usr/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/libx32/",
    "/bin/",
    "/sbin/",
    "/etc/",
    "/opt/",
    "/nix/",
)


class Opened(NamedTuple):
    """What a job opened and does not tell.

    Attributes:
        counted: files that the result depends on from now on.
        undeclared: files that it should not have seen.
    """

    counted: list[str]
    undeclared: list[str]


def judge(opened: Iterable[str], action: Action, told: Mapping[str, str]) -> Opened:
    """Return what becomes of the files elsewhere that a job opened.

    Args:
        opened: they, absolute.
        action: what ran.
        told: the known reads, by path.
    """
    machine = {*action.machine, *_tools(action)}
    of_system = counting(action)
    counted: list[str] = []
    undeclared: list[str] = []
    for path in opened:
        if path in told or path in machine or is_no_content(path):
            continue
        if path.startswith(tuple(f"{one}/" for one in action.known)):
            continue  # the tool's identity tells of it
        (counted if of_system(path) else undeclared).append(path)
    return Opened(counted, undeclared)


def is_no_content(path: str) -> bool:
    """Whether a path elsewhere is the kernel's, or says nothing of a result."""
    return path.startswith(_NOT_CONTENT) or "/gconv/" in path


def counting(action: Action) -> Callable[[str], bool]:
    """Return what tells whether a path elsewhere is the system's, or of a folder that options name."""
    folders = [*action.libraries, *action.known, *(one.rpartition("/")[0] for one in _tools(action))]
    if isinstance(
        action.sources, TranslationUnit
    ):  # the compiler's own, too: a precompiled header is in no dependency file
        folders += [one for one in action.sources.folders.angled if one.startswith("/")]
    named = (*_SYSTEM, *(f"{one}/" for one in folders if one))
    return lambda path: path.startswith(named) and not is_no_content(path)


def _tools(action: Action) -> list[str]:
    return [action.tool.path, *([action.helper.path] if action.helper is not None else [])]

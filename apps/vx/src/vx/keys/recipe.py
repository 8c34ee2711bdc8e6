"""Two keys for each action: one of the request, one of the files that it read.

Which files a compiler reads is known only when it has run.  So a result is found in two steps, as
ccache's manifests do it:

1. The *recipe* is all that is known beforehand: the tool's identity, the options, the outputs of
   other actions that it reads.  Under its key the store keeps *entries*, one for each set of files
   that it was met with.
2. An entry says which files were read, with which content, which files must not be there (one in an
   earlier include folder would be read in the place of a later), and which variables were read.  The
   entry whose conditions all hold now names the *result*'s key.

Owns both keys and what an entry is.  Neither has the checkout's path or a file's times in it.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from vx import digests
from vx.project.action import Action

# Another number makes all keys new: for a change of the values under them, or of the parts that go into them.
FORMAT: Final = "8"
# Entries under one recipe; the least recently made go.  A dozen branches between which one switches.
MAX_ENTRIES: Final = 16


class InputRecord(msgspec.Struct, frozen=True):
    """What an action read, once.

    Attributes:
        files: digests of the files, by path: relative to the source root, or absolute.
        absent: paths where nothing was, and something would have been read.
        env: the variables that it read; None for one that was not set.
        result: the key of its outputs.
    """

    files: dict[str, str]
    absent: list[str]
    env: dict[str, str | None]
    result: str


class Entries(msgspec.Struct, frozen=True):
    """The entries under a recipe's key; the newest last."""

    entries: list[InputRecord]


class Conditions(msgspec.Struct, frozen=True):
    """Questions about the world as it is now.

    Attributes:
        digest: of the file at a path; None where there is none.
        exists: whether there is anything at a path.
        env: the variables that the action would have.
    """

    digest: Callable[[str], str | None]
    exists: Callable[[str], bool]
    env: Mapping[str, str]


def recipe_parts(action: Action, needed: Mapping[str, str]) -> dict[str, str]:
    """Return what an action's recipe consists of, each part under the name that `explain` gives it.

    Args:
        action: the action.
        needed: the digest of each output of another action that it reads, by its path.
    """
    # The paths of tools are left out: the same compiler elsewhere is the same.
    command = " ".join(word for word in action.arguments)
    return {
        **action.parts,
        "command": f"{action.kind} {command}",
        "directory": action.cwd,
        **{f"needs {path}": digest for path, digest in needed.items()},
    }


def recipe_key(parts: Mapping[str, str]) -> str:
    """Return the key of a recipe."""
    return _key("recipe", sorted(parts.items()))


def result_key(
    recipe: str, files: Mapping[str, str], absent: Sequence[str], env: Mapping[str, str | None]
) -> str:
    """Return the key of what an action makes of these files, where those are not (`__has_include`)."""
    return _key("result", [recipe, sorted(files.items()), sorted(absent), sorted(env.items())])


def flight_key(recipe: str, declared: Mapping[str, str]) -> str:
    """Return what tells a run that is under way from others: all that it may read."""
    return _key("flight", [recipe, sorted(declared.items())])


def holding(entries: Sequence[InputRecord], now: Conditions) -> InputRecord | None:
    """Return the newest entry whose conditions all hold."""
    for entry in reversed(entries):
        if not why_not(entry, now, first=True):
            return entry
    return None


def why_not(entry: InputRecord, now: Conditions, *, first: bool = False) -> list[str]:
    """Return which of an entry's conditions do not hold, as a person reads it.

    Args:
        entry: the entry.
        now: the world.
        first: whether one is enough.
    """
    found: list[str] = []
    for name, value in entry.env.items():
        if now.env.get(name) != value:
            found.append(f"variable {name}")
            if first:
                return found
    for path, digest in entry.files.items():
        known = now.digest(path)
        if known != digest:
            found.append(f"{path} is gone" if known is None else f"{path} changed")
            if first:
                return found
    for path in entry.absent:
        if now.exists(path):
            found.append(f"{path} is new")
            if first:
                return found
    return found


def with_entry(entries: Sequence[InputRecord], entry: InputRecord) -> list[InputRecord]:
    """Return the entries with one more, as the newest, and not too many."""
    kept = [
        one for one in entries if (one.files, one.absent, one.env) != (entry.files, entry.absent, entry.env)
    ]
    return [*kept[1 - MAX_ENTRIES :], entry]


def _key(kind: str, content: object) -> str:
    return digests.of_bytes(msgspec.json.encode([FORMAT, kind, content]))

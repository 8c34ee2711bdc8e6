"""Which files an action may read, and giving them to the store.

Owns the way from an action's sources to digests that the store has.  What is given to the store is
what is hashed: the digest comes from the store's own copy, so a file that changes meanwhile cannot be
compiled under the key of another content.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Final

from vx import digests
from vx.cass_client import CassClient
from vx.keys.file_digests import FileDigests, is_settled, signature_of
from vx.project import c_includes
from vx.project.action import Action, Tree, Unit
from vx.project.c_includes import Includes
from vx.project.patterns import fits_any
from vx.project.tree import files_below

CARGO_MANIFEST: Final = "Cargo.toml"
# Files that change faster than they are read are somebody's log, not source.
_TRIES: Final = 5
# `#include` lines of files by their content; a large project has some thousand.
_KEPT_INCLUDES: Final = 20_000
# More than this is no source, and reading it for `#include` would be for nothing.
_MAX_SOURCE_BYTES: Final = 32 << 20


class InputsChanging(Exception):
    """A source changed again and again while it was read."""


class Inputs:
    """What actions may read.

    Args:
        file_digests: the memory of files.
        cass: the store.
    """

    def __init__(self, file_digests: FileDigests, cass: CassClient) -> None:
        self._digests = file_digests
        self._cass = cass
        self._includes: dict[str, Includes] = {}

    async def declare(self, root: str, action: Action) -> dict[str, str]:
        """Return the digests of all that an action may read, by path; the store has them.

        Raises:
            OSError: a file cannot be read.
            InputsChanging: one changes all the time.
            StoreGone, StoreFull: as the store's.
        """
        for _ in range(_TRIES):
            found = await asyncio.to_thread(self._look, root, action)
            missing = set((await self._cass.missing(found.values())).digests)
            wanted = {path: digest for path, digest in found.items() if digest in missing}
            if not wanted:
                return found
            stored = await self._cass.put_paths([f"{root}/{path}" for path in wanted])
            if stored == list(wanted.values()):
                return found
        raise InputsChanging(f"{action.title}: its sources change while they are read")

    def _look(self, root: str, action: Action) -> dict[str, str]:
        found = {}
        for path in self._paths(root, action):
            if not path.isprintable() and any("\ud800" <= char <= "\udfff" for char in path):
                continue  # no UTF-8, which nothing that is sent can hold: not seen by compilers
            digest = self._digests.digest(f"{root}/{path}")
            if digest is not None:
                found[path] = digest
        return found

    def _paths(self, root: str, action: Action) -> Iterable[str]:
        sources = action.sources
        if isinstance(sources, Tree):
            files = files_below(_below(root, sources.directory), stop_at=CARGO_MANIFEST)
            prefix = f"{sources.directory}/" if sources.directory else ""
            return [
                prefix + path for path in files if not sources.patterns or fits_any(sources.patterns, path)
            ]
        if isinstance(sources, Unit):
            return c_includes.reachable(
                sources.path,
                sources.include,
                lambda path: self._includes_of(f"{root}/{path}"),
                lambda: files_below(root),
            )
        return ()

    def _includes_of(self, path: str) -> Includes | None:
        if not os.path.isfile(path):
            return None
        digest = self._digests.digest(path)
        if digest is None:
            return None
        known = self._includes.get(digest)
        if known is None:
            with open(digests.open_file(path), "rb") as file:
                known = c_includes.includes_of(file.read(_MAX_SOURCE_BYTES))
            if len(self._includes) >= _KEPT_INCLUDES:
                self._includes.clear()
            self._includes[digest] = known
        return known

    def read_files(
        self, root: str, reads: Iterable[str], declared: Mapping[str, str], started_ns: int
    ) -> dict[str, str] | None:
        """Return the digests of what a tool says that it read; None if that cannot be known for sure.

        Args:
            root: the source root.
            reads: paths: relative to the root, or absolute.
            declared: what it was given.
            started_ns: when it began to run, since 1970.
        """
        found: dict[str, str] = {}
        for path in reads:
            inside = os.path.relpath(path, root) if path.startswith(root + "/") else path
            if path in declared:
                found[path] = declared[path]
            elif path.startswith("/"):
                # Read where it is and not from the store: known only if it did not change since.
                digest = self._unchanged_since(path, started_ns)
                if digest is None or declared.get(inside, digest) != digest:
                    return None
                found[inside] = digest
        return found

    def _unchanged_since(self, path: str, started_ns: int) -> str | None:
        try:
            if not is_settled(signature_of(os.stat(path)), started_ns):
                return None
            return self._digests.digest(path)
        except OSError:
            return None


def absences(root: str, action: Action, files: Iterable[str]) -> list[str]:
    """Return where nothing is, and a new file would be read in the place of one that was."""
    if isinstance(action.sources, Unit):
        found = c_includes.shadows(files, action.sources.include)
    elif isinstance(action.sources, Tree):
        found = {_other_module(path) for path in files if path.endswith(".rs")}
    else:
        return []
    return sorted(path for path in found if not os.path.lexists(_below(root, path)))


def _other_module(path: str) -> str:
    """Return the other path at which Rust looks for a module: both at once are an error."""
    if path.endswith("/mod.rs"):
        return path.removesuffix("/mod.rs") + ".rs"
    return path.removesuffix(".rs") + "/mod.rs"


def _below(root: str, path: str) -> str:
    return os.path.join(root, path) if path else root

"""Which files an action may read, and giving them to the store.

Owns the way from an action's sources to digests that the store has.  The bytes in the store are
the bytes that are hashed: the digest comes from the store's own copy, so a file that changes meanwhile
cannot be compiled under the key of another content.
"""

from __future__ import annotations

import asyncio
import functools
import os
import posixpath
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from vx import digests
from vx.aether import script_sees
from vx.aether.folders import digests_of, names_as_they_are, names_below, names_in
from vx.aether.lookups import ALL_BELOW, AS_IT_IS, Lookups
from vx.aether.undeclared import judge
from vx.aether.vain_paths import LeftOut, is_made_up, still_absent, vain_paths
from vx.cass_client import CassClient
from vx.file_digests import FileDigests, is_settled, signature_of
from vx.interfaces import is_sendable
from vx.project import c_includes, link_search
from vx.project.action import Action, TranslationUnit, Tree, located, named
from vx.project.c_includes import Includes
from vx.project.c_plan import SOURCE_ENDINGS
from vx.project.patterns import fits_any
from vx.project.tree import files_below, shown

CARGO_MANIFEST: Final = "Cargo.toml"
# Files that change faster than they are read are somebody's log, not source.
_TRIES: Final = 5
# `#include` lines of files by their content; a large project has some thousand.
_KEPT_INCLUDES: Final = 20_000
# A larger file is not source, and reading it for `#include` would be for nothing.
_MAX_SOURCE_BYTES: Final = 32 << 20
# What linkers read says nothing of other files; what a linker script (`libc.so`) names is read itself.
_NO_TEXT: Final = (".a", ".o", ".so", ".rlib", ".rmeta")


class InputsChanging(Exception):
    """A source changed again and again while it was read."""


class NameNotText(Exception):
    """A source includes a file whose name is not UTF-8, which no job can be given."""

    def __init__(self, source: str, path: str) -> None:
        super().__init__(f"{source}: it includes '{shown(path)}', whose name is not UTF-8")


class Undeclared(Exception):
    """A tool opened files that nothing declares; the text names the first."""

    def __init__(self, paths: list[str]) -> None:
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        super().__init__(f"it opened {paths[0]!r}{more}, which nothing declares")


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

    async def declare(self, root: str, action: Action, more: Iterable[str] = ()) -> dict[str, str]:
        """Return the digests of all that an action may read, by path; the store has them.

        Args:
            root: the source root.
            action: the action.
            more: further files that it may read, on top of those that its sources name.

        Raises:
            OSError: a file cannot be read.
            InputsChanging: one changes all the time.
            NameNotText: one cannot be given to a job.
            StoreGone, StoreFull: as the store's.
        """
        for _ in range(_TRIES):
            found = await asyncio.to_thread(self._look, root, action, more)
            missing = set((await self._cass.missing(found.values())).digests)
            wanted = {path: digest for path, digest in found.items() if digest in missing}
            if not wanted:
                return found
            stored = await self._cass.put_paths([located(root, action.sources, path) for path in wanted])
            if stored == list(wanted.values()):
                return found
        raise InputsChanging(f"{action.title}: its sources change while they are read")

    def _look(self, root: str, action: Action, more: Iterable[str]) -> dict[str, str]:
        found = {}
        for path in dict.fromkeys((*self._paths(root, action), *more)):
            if not is_sendable(path):
                continue
            digest = self._digests.digest(located(root, action.sources, path))
            if digest is not None:
                found[path] = digest
        return found

    def _paths(self, root: str, action: Action) -> Iterable[str]:
        sources = action.sources
        if isinstance(sources, Tree):
            base = sources.origin or _below(root, sources.directory)
            files = files_below(
                base, stop_at="" if sources.origin else CARGO_MANIFEST, whole=bool(sources.origin)
            )
            prefix = f"{sources.directory}/" if sources.directory else ""
            return [
                prefix + path for path in files if not sources.patterns or fits_any(sources.patterns, path)
            ]
        if isinstance(sources, TranslationUnit):
            return c_includes.reachable(
                sources.path,
                sources.include,
                lambda path: self._includes_of_input(root, action, path),
                lambda: files_below(root),
                sources.forced,
                sources.macros,
            )
        return ()

    def _includes_of_input(self, root: str, action: Action, path: str) -> Includes | None:
        if not is_sendable(path) and os.path.isfile(f"{root}/{path}"):
            raise NameNotText(action.title, path)
        return self._includes_of(f"{root}/{path}")

    async def learn(self, made: Iterable[str]) -> None:
        """Read outputs of other actions, by their digests, for the files that they include.

        Raises:
            BlobMissing, StoreGone: as the store's.
        """
        for digest in made:
            if digest not in self._includes:
                self._includes[digest] = c_includes.includes_of(await self._cass.read(digest))

    def _includes_of(self, path: str, digest: str | None = None) -> Includes | None:
        if not os.path.isfile(path):
            return None
        found = self._digests.digest(path)
        if found is None or digest not in (None, found):
            return None
        known = self._includes.get(found)
        if known is None:
            with open(digests.open_file(path), "rb") as file:
                data = file.read(_MAX_SOURCE_BYTES)
            known = c_includes.includes_of(data)
            if len(data) < _MAX_SOURCE_BYTES and digests.of_bytes(data) != found:
                return known if digest is None else None  # it changed just now
            if len(self._includes) >= _KEPT_INCLUDES:
                self._includes.clear()
            self._includes[found] = known
        return known

    def conditions(
        self,
        root: str,
        action: Action,
        reads: Iterable[str],
        declared: Mapping[str, str],
        started_ns: int,
        seen: Lookups | None = None,
        generated: Mapping[str, str] = {},
    ) -> tuple[dict[str, str], list[str]] | None:
        """Return what a tool's result depends on: digests by path, and paths at which nothing may come.

        None if that cannot be known for sure: something changed while it ran, or it does not tell.

        Raises:
            LeftOut: it looked for files of the project that it was not given.
            Undeclared: it opened files that it must not see.

        Args:
            root: the source root.
            action: what ran.
            reads: paths that it says it read: relative to the root, or absolute.
            declared: the digests of its inputs.
            started_ns: when it began to run, since 1970.
            seen: its look-ups; None where they are not known.
            generated: digests of what other actions made and it read; each was given to `learn`.
        """
        if not action.tells or (action.silent and seen is None):
            return None
        known = tuple(f"{one}/" for one in action.known)
        counted = [path for path in reads if not path.startswith(known)] if known else list(reads)
        named_folders: dict[str, str] = {}
        if action.kind == "script":
            unchanged = functools.partial(self._unchanged_since, started_ns=started_ns)
            found_below = script_sees.below_named(root, action, counted, declared, started_ns, unchanged)
            if found_below is None:
                return None
            named_folders = found_below
            counted = _with_folders(counted, declared, named_folders)
        missing = {one for one in counted if action.kind == "script" and _is_missing(one)}
        files = self._read_files(root, [one for one in counted if one not in missing], declared, started_ns)
        told = self._told(root, action, files, declared) if files is not None else None
        if files is None or told is None:
            now = self._told_now(root, counted)
            self._check_left_out(root, action, vain_paths(action, now, now), declared)
            return None
        told |= {path: self._includes[one] for path, one in generated.items() if one in self._includes}
        # What of its inputs a command read, nothing tells: all count.
        files |= declared if action.silent or action.kind == "step" else {}
        files |= _untold(action, counted, told, declared, self._own_names(root, action, declared))
        files |= named_folders
        if seen is not None:
            files |= {path: declared[path] for path in seen.inside if path in declared}
            names = digests_of(
                seen.folders, declared, started_ns, functools.partial(located, root, action.sources)
            )
            if names is None:
                return None
            files |= names
        silent = {one for one in _silent_reads(action, told, files, declared) if not is_made_up(one)}
        read = self._read_in_silence(silent, files, declared, started_ns)
        # A file that changed meanwhile and that it opened cannot be told from an undeclared one.
        more = None if read is None else self._opened(root, action, seen, files | read, declared, started_ns)
        asked_only = read.keys() - files.keys() - more.keys() if read and more is not None else set()
        files |= {**(read or {}), **(more or {})}
        vain = vain_paths(action, told, files, asked_only, seen) | set(
            seen.sought if seen is not None else ()
        )
        if action.kind == "script":
            vain.update(path for path in counted if path not in files and not path.endswith("/"))
        # First: a run that is not kept is used all the same.
        absent = still_absent(self._digests, root, action, vain, silent, declared, started_ns)
        if read is None or more is None or absent is None:
            return None
        return {**files, **absent.folders}, sorted(absent.paths - files.keys())

    def _read_in_silence(
        self, paths: Iterable[str], known: Mapping[str, str], declared: Mapping[str, str], started_ns: int
    ) -> dict[str, str] | None:
        found = {}
        for path in paths:
            if path in declared:
                found[path] = declared[path]
            elif path not in known and path.startswith("/") and os.path.isfile(path):
                digest = self._unchanged_since(path, started_ns)
                if digest is None:
                    return None
                found[path] = digest
        return found

    def listing(self, root: str, action: Action, folder: str) -> str:
        """Return what tells the names in a folder, which ends with a slash, from others."""
        if folder.endswith(AS_IT_IS):
            return names_as_they_are(folder, located(root, action.sources, folder))
        if folder.startswith("/"):
            return names_in(folder)
        return names_below(self._paths(root, action), folder)

    def _own_names(self, root: str, action: Action, declared: Mapping[str, str]) -> Iterable[str]:
        """Return the inputs whose names count: a build script may have got more than its package has."""
        if action.kind != "script":
            return declared
        return [path for path in self._paths(root, action) if path in declared]

    def _opened(
        self,
        root: str,
        action: Action,
        seen: Lookups | None,
        files: Mapping[str, str],
        declared: Mapping[str, str],
        started_ns: int,
    ) -> dict[str, str] | None:
        """Return what counts of the files that a tool opened and does not tell of; None if one changed."""
        machine = set(action.machine)
        elsewhere: list[str] = []
        own: dict[str, str] = {}
        of_project: list[str] = []
        for path in seen.opened if seen is not None else ():
            inside = named(root, action.sources, path)
            if inside in declared:  # a macro reads it where it is, and not the copy that is given to it
                own[inside] = path
            elif action.reads_all and not inside.startswith(("/", ".vx/")):
                of_project.append(path)  # a macro's own package, by the directory that was compiled into it
            elif os.path.realpath(path) not in machine:
                elsewhere.append(path)
        if any(self._unchanged_since(path, started_ns) != declared[inside] for inside, path in own.items()):
            return None
        judged = judge(elsewhere, action, files)
        if judged.undeclared:
            raise Undeclared(judged.undeclared)
        found = self._read_files(root, [*judged.counted, *of_project], {}, started_ns)
        return None if found is None else {**found, **{inside: declared[inside] for inside in own}}

    def _told_now(self, root: str, reads: Iterable[str]) -> dict[str, Includes]:
        """Return what each source that was read says by now."""
        found = {}
        for path in reads:
            told = None if path.endswith(_NO_TEXT) else self._includes_of(_below(root, path))
            if told is not None:
                found[path] = told
        return found

    def _check_left_out(self, root: str, action: Action, vain: set[str], declared: Mapping[str, str]) -> None:
        if not isinstance(action.sources, TranslationUnit):
            return
        inside = [one for one in vain - declared.keys() if not one.startswith("/")]
        if left_out := [one for one in inside if os.path.isfile(_below(root, one))]:
            raise LeftOut(sorted(left_out))

    def _read_files(
        self, root: str, reads: Iterable[str], declared: Mapping[str, str], started_ns: int
    ) -> dict[str, str] | None:
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

    def _told(
        self, root: str, action: Action, files: Mapping[str, str], declared: Mapping[str, str]
    ) -> dict[str, Includes] | None:
        """Return what each source that was read says; None where one has another content by now."""
        found: dict[str, Includes] = {}
        if action.kind == "script":
            return found
        for path, digest in files.items():
            if path not in declared and not path.startswith("/"):
                continue
            if path.startswith("/") and path.endswith(_NO_TEXT):
                continue
            where = located(root, action.sources, path)
            told = self._includes.get(digest) or self._includes_of(where, digest)
            if told is None:
                return None
            found[path] = told
        return found

    def _unchanged_since(self, path: str, started_ns: int) -> str | None:
        try:
            digest = self._digests.digest(path)
            # After reading: a change meanwhile shows in the times.
            return digest if is_settled(signature_of(os.stat(path)), started_ns) else None
        except OSError:
            return None


def left_over(root: str, action: Action, declared: Mapping[str, str], *, everything: bool) -> list[str]:
    """Return the files of the project, or of the folders that it searches, that a source did not get."""
    if not isinstance(action.sources, TranslationUnit):
        return []
    if everything:
        return sorted({one for one in files_below(root) if is_sendable(one)} - declared.keys())
    inside = [one for one in action.sources.folders.angled if not one.startswith("/")]
    found = {
        f"{folder}/{path}" if folder else path
        for folder in inside
        if os.path.isdir(_below(root, folder))
        for path in files_below(_below(root, folder))
        if not path.endswith(SOURCE_ENDINGS) and is_sendable(path)
    }
    return sorted(found - declared.keys())


def beyond_package(
    root: str, action: Action, unread: Iterable[str], declared: Mapping[str, str]
) -> list[str]:
    """Return the files of the project that a crate includes and its package does not have.

    Args:
        root: the source root.
        action: it.
        unread: paths that its compiler could not read.
        declared: the files that it got.
    """
    found = {posixpath.normpath(posixpath.join(action.cwd, path)) for path in unread}
    inside = {one for one in found if not one.startswith(("/", "..", ".vx/"))}
    return sorted(one for one in inside - declared.keys() if os.path.isfile(_below(root, one)))


def _silent_reads(
    action: Action, told: Mapping[str, Includes], files: Mapping[str, str], declared: Mapping[str, str]
) -> set[str]:
    """Return the paths that a tool may have read, or looked at, and says nothing of."""
    found = {path for one in told.values() for path in one.absolute}
    found.update(action.files)
    if action.kind == "rustc":
        named = {*action.linked, *(name for one in told.values() for name in one.linked)}
        for library in named:
            found.update(link_search.files_of(library, action.libraries))
    found |= link_search.vain((one for one in files if one.startswith("/")), action.libraries)
    if isinstance(action.sources, TranslationUnit):

        def exists(path: str) -> bool:
            return path in declared or (path.startswith("/") and os.path.isfile(path))

        found |= c_includes.asked(told, action.sources.folders, exists, action.sources.macros)
    return found


def _untold(
    action: Action,
    counted: Iterable[str],
    told: Mapping[str, Includes],
    declared: Mapping[str, str],
    names: Iterable[str],
) -> dict[str, str]:
    """Return the digests of what nobody tells: a macro's reads, the assembler's, the names in a folder."""
    whole = action.reads_all or any(one.assembles for one in told.values())
    folders = [path for path in counted if path.endswith("/")]
    if action.reads_all and isinstance(action.sources, Tree):
        folders.append(f"{action.sources.directory or '.'}/")
    if action.silent and action.sources is not None:
        folders.append("./")  # a pattern may mean one more file than before
    return {
        **(declared if whole else {}),
        **{folder: names_below(names, folder) for folder in folders},
    }


def _is_missing(path: str) -> bool:
    return path.startswith("/") and not os.path.lexists(path)


def _with_folders(
    paths: Iterable[str], declared: Mapping[str, str], known: Collection[str] = ()
) -> list[str]:
    """Return the paths, each folder as all files in it, and itself with a slash: its names count, too.

    Args:
        paths: the paths.
        declared: the files that the action was given.
        known: folders of which all that is below is known already, with `ALL_BELOW` at their ends.
    """
    found: dict[str, None] = {}
    for path in paths:
        if f"{path}{ALL_BELOW}" in known:
            continue
        inside = [one for one in declared if one.startswith(f"{path}/") or path == "."]
        if path not in declared and inside:
            found |= dict.fromkeys([*inside, f"{path}/"])
        else:
            found[path] = None
    return list(found)


def _below(root: str, path: str) -> str:
    return os.path.join(root, path) if path else root

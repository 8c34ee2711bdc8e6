"""Builds that found everything, remembered whole: the next one looks at each file once, and asks for nothing.

Owns the memory of what a project's last build depended on.  A build of a thousand sources has as many
entries, which name the same headers again and again, and the same folders for what must not come; here each
stands once.  A plan that is not equal, a file that is another or a folder that changed: then the build goes
its usual way.  `finished_builds` keeps them over restarts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from vx import digests
from vx.aether.finished_builds import VERSION, FinishedBuildFiles, SavedBuild
from vx.aether.lookups import ALL_BELOW, AS_IT_IS
from vx.aether.memory import ActionResult, Memory
from vx.file_digests import FileDigests, Signature, is_settled, signature_of
from vx.keys.recipe import InputRecord
from vx.project.action import Action, Plan
from vx.reports import run_files
from vx.reports.report import ActionReport

# Projects and profiles; of a thousand sources each takes a few megabytes.
MAX_KEPT: Final = 16
_UNSEEN: Final = Signature(-1, 0, 0, 0, 0)

# What a folder looked like, None for none; and the paths below at which nothing may come.
Watched = tuple[Signature | None, list[str]]


class FinishedAction(NamedTuple):
    """An action as it was done, completed by its build scripts, and what it depended on."""

    action: Action
    entry: InputRecord


class FinishedBuild(msgspec.Struct):
    """What a build found.

    Attributes:
        plan: it, without the caller's variables; of one that was read from the disk its digest.
        results: of its actions.
        reports: of its actions, all of them cached.
        run: the id of a run whose report has them; "" for none yet.
        epoch: of the memory of the store when it was found.
        env: the variables that were read.
        files: digests by absolute path.
        folders: where something has to come first, by absolute path: what each looked like, and the paths.
        listed: folders whose names count, by absolute path: what each looked like.
        is_complete: whether `reports` are whole; those of a build from the disk are the report's of `run`.
        written: `run` as the disk has it; None for a build that is not there.
    """

    plan: Plan | str
    results: dict[str, ActionResult]
    reports: dict[str, ActionReport]
    run: str
    epoch: int
    env: dict[str, str | None]
    files: dict[str, str]
    folders: dict[str, Watched]
    listed: dict[str, Signature]
    is_complete: bool = True
    written: str | None = None


class Unchanged:
    """The memory.

    Args:
        file_digests: the memory of files.
        memory: what the store has.
        listing: returns what tells the names below a folder, as an action's entries have it.
        disk: keeps builds over restarts.
    """

    def __init__(
        self,
        file_digests: FileDigests,
        memory: Memory,
        listing: Callable[[str, Action, str], str],
        disk: FinishedBuildFiles,
    ) -> None:
        self._digests = file_digests
        self._memory = memory
        self._listing = listing
        self._disk = disk
        self._kept: dict[tuple[str, str], FinishedBuild] = {}
        self._cleared = 0

    def keep(
        self,
        plan: Plan,
        results: dict[str, ActionResult],
        reports: Mapping[str, ActionReport],
        actions: Iterable[FinishedAction],
    ) -> None:
        """Remember a build, which the next one finds whole.

        Raises:
            OSError: a folder cannot be read.
        """
        now = FinishedBuild(_without_variables(plan), results, {}, "", self._memory.epoch, {}, {}, {}, {})
        absent: dict[str, None] = {}
        for action, entry in actions:
            if not self._add(plan, action, entry, now):
                return  # it changed while we looked
            absent.update(dict.fromkeys(plan.absolute(path) for path in entry.absent))
        _watch(absent, now.folders)
        if any(map(os.path.exists, absent)):
            return
        # The next build finds what this one made.
        now.reports = {
            name: msgspec.structs.replace(one, outcome="cached", why=[], duration_ms=0)
            for name, one in reports.items()
        }
        self._keep(_key(plan), now)

    def _add(self, plan: Plan, action: Action, entry: InputRecord, build: FinishedBuild) -> bool:
        """Add what an action depends on; return False if that is another by now."""
        for path, digest in entry.files.items():
            if path.endswith("/"):
                # The folders before their names: one that changes after that looks otherwise.
                everything = path.endswith(ALL_BELOW)
                below = everything or (not path.startswith("/") and not path.endswith(AS_IT_IS))
                build.listed |= _states(plan.absolute(path), below=below, everything=everything)
                if self._listing(plan.root, action, path) != digest:
                    return False
            elif build.files.setdefault(plan.absolute(path), digest) != digest:
                return False
        return all(
            build.env.setdefault(name, value) == value
            for name, value in entry.env.items()
            if name not in action.env
        )

    def _keep(self, key: tuple[str, str], build: FinishedBuild) -> None:
        self._kept.pop(key, None)
        self._kept[key] = build
        while len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def found(self, plan: Plan) -> FinishedBuild | None:
        """Return what a build of this plan finds, if nothing that it depends on has changed.

        Raises:
            OSError: a file cannot be read.
        """
        key = _key(plan)
        kept = self._kept.get(key) or self._read(key)
        if kept is None or kept.epoch != self._memory.epoch or not _is_of(plan, kept):
            return None
        if any(plan.variables.get(name) != value for name, value in kept.env.items()):
            return None
        if not self._digests.all_are(kept.files):
            return None
        if any(_signature(folder) != before for folder, before in kept.listed.items()):
            return None
        if not _nothing_came(kept):
            return None
        if not kept.is_complete and not run_files.is_there(plan.project_dir, kept.run):
            return None
        return kept

    # --- over restarts ----------------------------------------------------------------------------

    def _read(self, key: tuple[str, str]) -> FinishedBuild | None:
        """Return a build that an earlier aether kept."""
        if self._memory.epoch:  # the store has lost some of what that believed of it
            return None
        saved = self._disk.read(*key)
        if saved is None:
            return None
        reports = saved.reports or {
            name: ActionReport(name, name, "cached", result=one.key) for name, one in saved.results.items()
        }
        build = FinishedBuild(
            saved.plan,
            saved.results,
            reports,
            saved.run,
            self._memory.epoch,
            saved.env,
            saved.files,
            saved.folders,
            saved.listed,
            bool(saved.reports) or not saved.run,
            saved.run,
        )
        self._keep(key, build)
        return build

    def write(self) -> None:
        """Keep over restarts all that came since the last time."""
        if self._memory.epoch != self._cleared:
            self._disk.clear()
            self._cleared = self._memory.epoch
        for key, build in list(self._kept.items()):
            if build.epoch == self._memory.epoch and build.written != build.run:
                build.written = build.run
                self._disk.write(_saved(key, build))


def _key(plan: Plan) -> tuple[str, str]:
    return plan.project_dir, plan.profile


def _without_variables(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, variables={})


def _digest_of(plan: Plan) -> str:
    return digests.of_bytes(msgspec.msgpack.encode(plan))


def _is_of(plan: Plan, kept: FinishedBuild) -> bool:
    """Whether a build is one of this plan; variables of the caller that nothing reads do not count."""
    bare = _without_variables(plan)
    if isinstance(kept.plan, str):
        if _digest_of(bare) != kept.plan:
            return False
        kept.plan = bare
        kept.reports = {
            one.id: msgspec.structs.replace(kept.reports[one.id], title=one.title) for one in plan.actions
        }
        return True
    return kept.plan == bare


def _saved(key: tuple[str, str], build: FinishedBuild) -> SavedBuild:
    plan = build.plan if isinstance(build.plan, str) else _digest_of(build.plan)
    reports = {} if build.run else build.reports
    return SavedBuild(
        VERSION,
        *key,
        plan,
        build.results,
        reports,
        build.run,
        build.env,
        build.files,
        build.folders,
        build.listed,
    )


def _nothing_came(build: FinishedBuild) -> bool:
    """Whether nothing has come to the paths that count."""
    changed = [one for one, (before, _) in build.folders.items() if _signature(one) != before]
    if not changed:
        return True
    watched = {folder: (before, list(paths)) for folder, (before, paths) in build.folders.items()}
    paths = [path for one in changed for path in watched.pop(one)[1]]
    _watch(paths, watched)
    if any(map(os.path.exists, paths)):
        return False
    build.folders = watched  # at once: another build may be looking
    return True


def _watch(paths: Iterable[str], watched: dict[str, Watched]) -> None:
    """Add paths to the folders in which something has to come first, before something can come to them.

    The caller looks at the paths after this, and not before.
    """
    asked_ns = time.time_ns()
    nearest: dict[str, str] = {}
    for path in paths:
        above = os.path.dirname(path)
        folder = nearest.get(above)
        if folder is None:
            folder = nearest[above] = _nearest(above)
        if folder not in watched:
            now = _signature(folder)
            # One that may change again without looking otherwise is looked at again.
            settled = now is None or is_settled(now, asked_ns)
            watched[folder] = now if settled else _UNSEEN, []
        watched[folder][1].append(path)


def _nearest(folder: str) -> str:
    """Return the folder, or the one above that is there: a crate has thousands of `name/mod.rs` that are not.

    The way ends at a link that leads nowhere, whose target may come without a change of the folder above.
    """
    while not os.path.lexists(folder) and (above := os.path.dirname(folder)) != folder:
        folder = above
    return folder


def _states(folder: str, *, below: bool, everything: bool) -> dict[str, Signature]:
    """Return the state of a folder, and of those below; of one that changed just now, one never met.

    Args:
        folder: absolute.
        below: whether those below count.
        everything: whether hidden ones do.
    """
    found: dict[str, Signature] = {}
    asked_ns = time.time_ns()
    for directory, names, _ in os.walk(folder):
        names[:] = [one for one in names if below and (everything or not one.startswith("."))]
        now = _signature(directory)
        found[directory] = now if now is not None and is_settled(now, asked_ns) else _UNSEEN
    return found


def _signature(folder: str) -> Signature | None:
    try:
        return signature_of(os.stat(folder))
    except OSError:
        return None

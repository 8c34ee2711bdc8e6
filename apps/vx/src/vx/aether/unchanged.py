"""Builds that found everything, remembered whole: the next one looks at each file once, and asks for nothing.

Owns the memory of what a project's last build depended on.  A build of a thousand sources has as many
entries, which name the same headers again and again, and the same folders for what must not come; here each
stands once.  A plan that is not equal, a file that is another or a folder that changed: then the build goes
its usual way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from vx.aether.memory import ActionResult, Memory
from vx.file_digests import FileDigests, Signature, is_settled, signature_of
from vx.keys.recipe import InputRecord
from vx.project.action import Plan
from vx.reports.report import ActionReport

# Projects and profiles; of a thousand sources each takes a few megabytes.
MAX_KEPT: Final = 16
_UNSEEN: Final = Signature(-1, 0, 0, 0, 0)


class FinishedBuild(msgspec.Struct):
    """What a build found.

    Attributes:
        plan: it.
        results: of its actions.
        reports: of its actions, all of them cached.
        run: the id of a run whose report has them; "" for none yet.
        epoch: of the memory of the store when it was found.
        files: digests by absolute path.
        folders: where something may come, by absolute path: what each looked like, and the paths.
        listed: folders whose names count, by absolute path: what each looked like.
    """

    plan: Plan
    results: dict[str, ActionResult]
    reports: dict[str, ActionReport]
    run: str
    epoch: int
    files: dict[str, str]
    folders: dict[str, tuple[Signature | None, list[str]]]
    listed: dict[str, Signature] = {}


class Unchanged:
    """The memory.

    Args:
        file_digests: the memory of files.
        memory: what the store has.
    """

    def __init__(self, file_digests: FileDigests, memory: Memory) -> None:
        self._digests = file_digests
        self._memory = memory
        self._kept: dict[tuple[str, str], FinishedBuild] = {}

    def keep(
        self,
        plan: Plan,
        results: dict[str, ActionResult],
        reports: dict[str, ActionReport],
        entries: Iterable[InputRecord],
    ) -> None:
        """Remember a build that found everything."""
        files: dict[str, str] = {}
        absent: dict[str, None] = {}
        listed: dict[str, Signature] = {}
        for entry in entries:
            for path, digest in entry.files.items():
                if path.endswith("/"):
                    listed |= _below(plan.absolute(path))
                elif files.setdefault(plan.absolute(path), digest) != digest:
                    return  # it changed while we looked
            absent.update(dict.fromkeys(plan.absolute(path) for path in entry.absent))
        self._kept.pop(_key(plan), None)
        self._kept[_key(plan)] = FinishedBuild(
            plan, results, reports, "", self._memory.epoch, files, _folders(absent), listed
        )
        while len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def found(self, plan: Plan) -> FinishedBuild | None:
        """Return what a build of this plan finds, if nothing that it depends on has changed.

        Raises:
            OSError: a file cannot be read.
        """
        kept = self._kept.get(_key(plan))
        if kept is None or kept.epoch != self._memory.epoch or kept.plan != plan:
            return None
        for path, digest in kept.files.items():
            if self._digests.digest(path) != digest:
                return None
        if any(_signature(folder) != before for folder, before in kept.listed.items()):
            return None
        for folder, (before, paths) in kept.folders.items():
            asked_ns = time.time_ns()
            now = _signature(folder)
            if now == before:
                continue
            if now is not None and any(map(os.path.exists, paths)):
                return None
            # One that may change again without looking otherwise is looked at again.
            settled = now is None or is_settled(now, asked_ns)
            kept.folders[folder] = (now if settled else _UNSEEN, paths)
        return kept


def _key(plan: Plan) -> tuple[str, str]:
    return plan.project_dir, plan.profile


def _folders(absent: Iterable[str]) -> dict[str, tuple[Signature | None, list[str]]]:
    """Return the paths by their folders; none has been looked at."""
    found: dict[str, tuple[Signature | None, list[str]]] = {}
    for path in absent:
        found.setdefault(os.path.dirname(path), (_UNSEEN, []))[1].append(path)
    return found


def _below(folder: str) -> dict[str, Signature]:
    """Return the state of a folder and those below; for one that changed just now, one that is never met."""
    found: dict[str, Signature] = {}
    asked_ns = time.time_ns()
    for directory, names, _ in os.walk(folder):
        names[:] = [one for one in names if not one.startswith(".")]
        now = _signature(directory)
        found[directory] = now if now is not None and is_settled(now, asked_ns) else _UNSEEN
    return found


def _signature(folder: str) -> Signature | None:
    try:
        return signature_of(os.stat(folder))
    except OSError:
        return None

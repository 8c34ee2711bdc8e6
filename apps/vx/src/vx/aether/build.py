"""One build, from the directory in which it was asked for to its report.

Owns the order of things: the project is read and planned, known results are found without asking
anybody, the rest is obtained side by side as far as it does not need each other, outputs are put, the
report is written.  A build that is cancelled, or fails, writes its report too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from vx import __version__
from vx.aether.actions import Actions
from vx.aether.build_events import BuildEvents
from vx.aether.condition_cache import ConditionCache
from vx.aether.interface import BuildEvent, ServiceDied
from vx.aether.memory import ActionResult
from vx.aether.outcomes import ActionFailed, Obtained, StoreForgot
from vx.aether.placing import is_placed, place
from vx.aether.planning import NoProject, Planner, Request, find_project
from vx.aether.schedule import ActionSchedule
from vx.aether.unchanged import FinishedAction, FinishedBuild
from vx.cass_client import StoreGone
from vx.file_digests import FileDigests
from vx.interfaces import Blob, BlobMissing
from vx.project.action import Action, Plan
from vx.project.errors import ProjectInvalid
from vx.project.toolchain import CompilerMissing
from vx.reports import run_files
from vx.reports.report import CANCELLED, FORMAT, NOT_KEPT, ActionReport, RunReport
from vx.reports.ulid import ulid

logger = logging.getLogger("aether")

# How often a build begins again because the store lost results that this process remembered.
_TRIES: Final = 3
# Actions that are looked up before others have their turn: a few milliseconds.
_IN_ONE_GO: Final = 50


class BuildFailed(Exception):
    """The build cannot be done; the text says why, in one line."""


class Build:
    """One build.

    Args:
        request: the caller's.
        actions: what all builds share.
        planner: reads projects.
        file_digests: the memory of files.
        tell: is given each event.
    """

    def __init__(
        self,
        request: Request,
        actions: Actions,
        planner: Planner,
        file_digests: FileDigests,
        tell: Callable[[BuildEvent], None],
    ) -> None:
        self.project_dir = ""
        self._request = request
        self._actions = actions
        self._planner = planner
        self._digests = file_digests
        self._tell = BuildEvents(tell)
        self._plan: Plan | None = None
        self._results: dict[str, ActionResult] = {}
        self._reports: dict[str, ActionReport] = {}
        self._entries: list[FinishedAction] | None = []
        self._kept: FinishedBuild | None = None
        self._outputs: list[str] = []
        self._started = time.monotonic()
        self._started_s = time.time()
        self._stack = AsyncExitStack()
        self._held = False
        self._remote: list[str] = []

    async def run(self) -> None:
        """Do it; the last event is `finished`."""
        error = ""
        try:
            async with self._stack:
                await self._build()
        except asyncio.CancelledError:
            self._finish(CANCELLED)
            raise
        except ServiceDied as died:
            error = f"{died.service} died: {died.reason}; its log is {died.log}"
        except (BuildFailed, NoProject, ActionFailed, ProjectInvalid, CompilerMissing) as failed:
            error = str(failed)
        except OSError as failed:
            error = f"{failed.filename or self._request.directory}: {failed.strerror or failed}"
        except Exception as failed:
            logger.exception("a build failed in an unexpected way")
            error = f"aether failed: {type(failed).__name__}: {failed}; its log has more"
        self._finish(error)

    async def _build(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._request.why_not:
            await self._tell_why_not()
            return
        # In a thread: a project may have thousands of manifests, and others build meanwhile.
        self._plan = plan = await asyncio.to_thread(self._read_project)
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._find_or_obtain(plan)
                await self._place_all(plan)
                await self._compare(plan)
                _refuse_failed_tests(plan, self._reports)
            except StoreForgot:
                logger.warning("the store has lost results that it had; checking again")
                self._actions.memory.forget()
                self._results, self._reports, self._kept = {}, {}, None
                if not tries_left:
                    raise BuildFailed("the store loses results: see `vx verify`") from None
            else:
                return

    # --- the project ------------------------------------------------------------------------------

    def _read_project(self) -> Plan:
        self.project_dir = directory = find_project(self._request.directory)
        try:
            plan = self._planner.plan(directory, self._request, self._fetching)
        except ProjectInvalid:
            self.project_dir = self._planner.project_dir_of(directory)
            raise
        self.project_dir = plan.project_dir
        return plan

    def _fetching(self) -> None:
        """Tell that crates are fetched; called in a thread."""
        self._loop.call_soon_threadsafe(self._tell.note, "fetching crates")

    async def _tell_why_not(self) -> None:
        """Tell all that would be refused."""
        directory = find_project(self._request.directory)
        reasons = await asyncio.to_thread(self._planner.why_not, directory, self._request, self._fetching)
        for reason in reasons:
            self._tell.note(reason)
        if reasons:
            count = f"{len(reasons)} reasons" if len(reasons) > 1 else "one reason"
            raise BuildFailed(f"{directory}: {count} why vx does not build it")

    # --- the actions ------------------------------------------------------------------------------

    async def _find_or_obtain(self, plan: Plan) -> None:
        unchanged = self._actions.unchanged
        self._kept = await asyncio.to_thread(unchanged.found, plan)
        if self._kept is not None:
            self._results, self._reports = self._kept.results, self._kept.reports
            for action in plan.actions:
                if said := self._results[action.id].said:
                    self._tell.ended(action.title, "cached", 0, said)
            return
        await asyncio.to_thread(self._planner.check_sources, plan)
        self._results, self._reports, self._entries = {}, {}, []
        await self._obtain_all(plan)
        if self._entries is not None:
            await asyncio.to_thread(unchanged.keep, plan, self._results, self._reports, self._entries)

    async def _obtain_all(self, plan: Plan) -> None:
        rest: list[Action] = []
        seen = ConditionCache()
        for number, action in enumerate(plan.actions):
            if number % _IN_ONE_GO == 0:
                await asyncio.sleep(0)  # others build meanwhile
            known = all(one in self._results for one in action.after)
            found = self._actions.remembered(plan, action, self._results, seen) if known else None
            if found is None:
                rest.append(action)
            else:
                self._note(found)
        if not rest:
            return
        run_files.make_vx_dir(plan.project_dir, self._request.umask)  # refused before anything runs
        self._tell.planned(len(plan.actions), len(plan.actions) - len(rest))
        await self._hold()
        async with self._actions.shared.watched(self._remote, self._tell.note):
            await self._run_all(plan, ActionSchedule(rest))

    async def _run_all(self, plan: Plan, schedule: ActionSchedule) -> None:
        under_way: dict[asyncio.Task[None], Action] = {}
        try:
            while True:
                for action in schedule.begin():
                    under_way[asyncio.create_task(self._obtain(plan, action))] = action
                if not under_way:
                    return
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                failed = [error for one in done if (error := one.exception()) is not None]
                if failed:
                    # A tool's own error before what follows from it.
                    raise next((one for one in failed if isinstance(one, ActionFailed)), failed[0])
                for one in done:
                    schedule.end(under_way.pop(one))
        finally:
            for one in under_way:
                one.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _obtain(self, plan: Plan, action: Action) -> None:
        try:
            found = await self._actions.obtain(
                plan, action, self._results, lambda: self._tell.started(action.title)
            )
        except ActionFailed as failed:
            self._note_failed(action, failed)
            if not action.is_test:
                raise
        else:
            self._note(found)

    async def _hold(self) -> None:
        """Have the store keep all that this build uses until its end."""
        if self._held:
            return
        ends = self._actions.services.cass.ends
        await self._actions.services.cass.ready()
        try:
            await self._stack.enter_async_context(self._actions.cass.hold())
        except StoreGone as error:
            raise await self._actions.services.cass.lost(ends, error.reason) from error
        self._held = True

    def _note(self, found: Obtained) -> None:
        entry = found.entry
        if entry is None:
            self._entries = None
        elif self._entries is not None:
            self._entries.append(FinishedAction(found.action, entry))
        self._results[found.action.id] = found.result
        self._reports[found.action.id] = ActionReport(
            found.action.id,
            found.action.title,
            found.outcome,
            found.recipe,
            found.parts,
            entry.files if entry is not None else {},
            entry.env if entry is not None else {},
            found.why,
            found.result.key or NOT_KEPT,
            found.duration_ms,
        )
        self._tell.ended(found.action.title, found.outcome, found.duration_ms, found.result.said)

    def _note_failed(self, action: Action, failed: ActionFailed) -> None:
        self._entries = None
        self._reports[action.id] = ActionReport(
            action.id, action.title, "failed", failed.recipe, failed.parts, why=failed.why
        )
        self._tell.ended(action.title, "failed", 0, failed.said)

    async def _compare(self, plan: Plan) -> None:
        """Make some of the results again, chosen at random, and tell whether they are what the store has."""
        chosen = random.sample(plan.actions, min(self._request.rebuild, len(plan.actions)))
        if chosen:
            await self._hold()
        for action in chosen:
            self._tell.compared(action.title, await self._actions.again(plan, action, self._results))

    # --- outputs ----------------------------------------------------------------------------------

    async def _place_all(self, plan: Plan) -> None:
        wanted: list[tuple[str, Blob]] = []
        for action in plan.actions:
            for output, name in action.places.items():
                path = f"{plan.build_dir}/{name}"
                blob = self._results[action.id].outputs[output]
                self._outputs.append(path)
                if not is_placed(self._digests, path, blob.digest, executable=blob.executable):
                    wanted.append((path, blob))
        if wanted:
            await self._hold()
            await self._place(wanted)

    async def _place(self, wanted: list[tuple[str, Blob]]) -> None:
        ends = self._actions.services.cass.ends
        try:
            files = await self._actions.cass.get([blob.digest for _, blob in wanted])
        except BlobMissing as error:
            self._outputs.clear()
            raise StoreForgot from error
        except StoreGone as error:
            raise await self._actions.services.cass.lost(ends, error.reason) from error
        try:
            assert self._plan is not None
            run_files.make_vx_dir(self._plan.project_dir, self._request.umask)
            for (path, blob), file in zip(wanted, files, strict=True):
                await asyncio.to_thread(
                    place,
                    file.fileno(),
                    self._plan.project_dir,
                    path.removeprefix(f"{self._plan.project_dir}/"),
                    executable=blob.executable,
                    umask=self._request.umask,
                )
                self._digests.learned(path, blob.digest)
        finally:
            for file in files:
                file.close()

    # --- the end ----------------------------------------------------------------------------------

    def _finish(self, error: str) -> None:
        report = self._report(error)
        try:
            run_id = report.id if self.project_dir else ""
            if run_id:
                _write(self.project_dir, report, self._request.umask, self._kept)
        except OSError as failed:
            run_id = ""
            folder = failed.filename or run_files.runs_dir(self.project_dir)  # a full disk names no file
            self._tell.note(f"no report was written in {folder}: {failed.strerror}")
            error = error or f"{folder}: {failed.strerror}"
        if error:
            logger.info("a build of %s failed: %s", self.project_dir or self._request.directory, error)
        self._tell.finished(report, error, run_id, _passed(self._plan, self._reports))

    def _report(self, error: str) -> RunReport:
        plan = self._plan
        done = self._reports
        left = [one for one in plan.actions if one.id not in done] if plan is not None and error else []
        return RunReport(
            FORMAT,
            ulid(int(self._started_s * 1000), secrets.token_bytes(10)),
            not error,
            error,
            plan.name if plan is not None else os.path.basename(self.project_dir),
            self.project_dir,
            self._request.profile,
            plan.platform if plan is not None else "",
            self._started_s,
            round((time.monotonic() - self._started) * 1000),
            __version__,
            [*done.values(), *(ActionReport(one.id, one.title, "cancelled") for one in left)],
            self._outputs if not error else [],
            remote=self._remote,
        )


def _passed(plan: Plan | None, reports: Mapping[str, ActionReport]) -> int:
    """Return how many tests passed, now or before."""
    tests = [reports.get(one.id) for one in plan.actions if one.is_test] if plan is not None else []
    return sum(one is not None and one.outcome in ("cached", "shared", "executed") for one in tests)


def _refuse_failed_tests(plan: Plan, reports: Mapping[str, ActionReport]) -> None:
    tests = [one for one in plan.actions if one.is_test]
    failed = sorted(one.title for one in tests if reports[one.id].outcome == "failed")
    if failed:
        raise BuildFailed(f"{len(failed)} of {len(tests)} tests failed: {', '.join(failed)}")


def _write(project_dir: str, report: RunReport, umask: int, kept: FinishedBuild | None) -> None:
    """Write a report, short where another run's has the same actions: a thousand sources are written once."""
    if kept is None or not report.success:
        run_files.write(project_dir, report, umask)
    elif kept.run and run_files.is_there(project_dir, kept.run):
        run_files.write(project_dir, msgspec.structs.replace(report, actions=[], same_as=kept.run), umask)
    else:
        run_files.write(project_dir, report, umask)
        kept.run = report.id

"""One action: found, joined with another build's that is running it, or run.

Owns the order: this process's memory, the store, a run that is under way, a run of our own.  Shared runs are
`flights`', and the call of rhea is `rhea_jobs`'.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from daemonry import errors
from vx import home
from vx.aether import diagnostics, rhea_jobs, script_sees
from vx.aether.condition_cache import ConditionCache
from vx.aether.finished_builds import FinishedBuildFiles
from vx.aether.flights import Flights
from vx.aether.inputs import Inputs, InputsChanging, NameNotText, Undeclared, beyond_package, left_over
from vx.aether.lookups import lookups_of
from vx.aether.memory import ActionResult, Memory
from vx.aether.outcomes import ActionFailed, Finished, Obtained
from vx.aether.services import OwnedServices
from vx.aether.shared import SharedCacheState
from vx.aether.unchanged import Unchanged
from vx.aether.vain_paths import LeftOut
from vx.cargo import script
from vx.cargo.script import ScriptOutput
from vx.cass_client import CassClient, StoreGone
from vx.file_digests import FileDigests
from vx.interfaces import Done, StoreFull, StoreLost, StoreTrouble
from vx.keys import recipe
from vx.keys.recipe import Conditions, InputRecord
from vx.project.action import GENERATED_DIR, Action, Plan, located

# Of the reasons why a result was not found; a branch that was changed has thousands.
MAX_REASONS: Final = 20

# Given to a compilation that failed, to see whether it fails with them, too.
FEW_FILES: Final = 200

NEVER_BUILT: Final = "nothing like it is in the store"


class _PreparedAction(NamedTuple):
    """One action of one build.

    Attributes:
        plan: the build's.
        action: the action, completed by the words of its build scripts.
        results: of the actions that it needs, by their ids.
        parts: its recipe's parts.
        key: its recipe's key.
    """

    plan: Plan
    action: Action
    results: Mapping[str, ActionResult]
    parts: dict[str, str]
    key: str


class _RunOutcome(msgspec.Struct, frozen=True):
    """A run that succeeded, before anything is stored.

    Attributes:
        done: how it ended.
        said: its diagnostics.
        told: the words of a build script for cargo.
        env: the variables that it read.
        found: the files that it read and those that must not come; None where those are not known for sure.
    """

    done: Done
    said: str
    told: str
    env: dict[str, str | None]
    found: tuple[dict[str, str], list[str]] | None


class Actions:
    """Shared by all builds.

    Args:
        services: cass and rhea.
        file_digests: the memory of files.

    Attributes:
        runs: how many were run so far.
        shared: the cache behind the store.
    """

    def __init__(self, services: OwnedServices, file_digests: FileDigests) -> None:
        self.services = services
        self.cass = CassClient(services.cass.endpoint)
        self.shared = SharedCacheState(self.cass)
        self.memory = Memory(self.cass)
        self.runs = 0
        self._digests = file_digests
        self._inputs = Inputs(file_digests, self.cass)
        kept = FinishedBuildFiles(home.finished_builds_dir())
        self.unchanged = Unchanged(file_digests, self.memory, self._inputs.listing, kept)
        self._flights = Flights()

    def remembered(
        self, plan: Plan, action: Action, results: Mapping[str, ActionResult], seen: ConditionCache
    ) -> Obtained | None:
        """Return an action's result if this process knows it, without asking anybody.

        Args:
            plan: the build that it belongs to.
            action: the action.
            results: of the actions that it needs, by their ids.
            seen: the files that this build has looked at already.

        Raises:
            OSError: a source cannot be read.
        """
        target = _target(plan, action, results)
        entries = self.memory.known_entries(target.key)
        if not entries:
            return None
        entry = recipe.holding(entries, seen.over(self._now(plan, target.action)))
        result = self.memory.known_result(entry.result) if entry is not None else None
        if result is None:
            return None
        return Obtained(target.action, "cached", result, target.key, target.parts, entry)

    async def obtain(
        self, plan: Plan, action: Action, results: Mapping[str, ActionResult], on_run: Callable[[], None]
    ) -> Obtained:
        """Return an action's result, whatever it takes.

        Args:
            plan: the build that it belongs to.
            action: the action.
            results: of the actions that it needs, by their ids.
            on_run: is called when the tool begins to run for it.

        Raises:
            ActionFailed: the tool failed, or cannot run.
            ServiceDied: cass or rhea went away.
            StoreForgot: begin again.
            OSError: a source cannot be read.
        """
        target = _target(plan, action, results)
        why: list[str] = []
        try:
            return await self._obtain(target, why, on_run)
        except ActionFailed as error:
            error.recipe, error.parts, error.why = target.key, target.parts, why
            raise

    async def _obtain(self, target: _PreparedAction, why: list[str], on_run: Callable[[], None]) -> Obtained:
        ends = self.services.cass.ends, self.services.rhea.ends
        try:
            found = await self._look_up(target, why)
            if found is not None:
                return Obtained(target.action, "cached", found.result, target.key, target.parts, found.entry)
            declared = await self._inputs.declare(target.plan.root, target.action)
            return await self._fly(target, declared, why, on_run)
        except StoreGone as error:
            raise await self.services.cass.lost(ends[0], error.reason) from error
        except StoreLost as error:
            raise await self.services.cass.lost(ends[0], error.reason) from error
        except errors.ConnectionLost as error:
            raise await self.services.rhea.lost(ends[1], str(error)) from error
        except (InputsChanging, NameNotText) as error:
            raise ActionFailed(str(error)) from error
        except (StoreFull, StoreTrouble) as error:
            raise ActionFailed(f"{error.path}: {error.reason}") from error

    async def _look_up(self, target: _PreparedAction, why: list[str]) -> Finished | None:
        """Return the store's result; where there is none, fill `why` with the reasons."""
        entries = await self.memory.entries(target.key)
        now = self._now(target.plan, target.action)
        entry = recipe.holding(entries, now)
        if entry is None and self.shared.url:
            entries = await self.memory.shared_entries(target.key)
            entry = recipe.holding(entries, now)
        outputs = target.action.outputs
        result = await self.memory.result(entry.result, outputs) if entry is not None else None
        if result is not None:
            return Finished(result, entry)
        if entry is not None:
            why[:] = ["its earlier result is not in the store any more"]
        elif entries:
            why[:] = recipe.why_not(entries[-1], now)[:MAX_REASONS]
        else:
            why[:] = [NEVER_BUILT]
        return None

    def _now(self, plan: Plan, action: Action) -> Conditions:
        def digest(path: str) -> str | None:
            if path.endswith("/"):
                return self._inputs.listing(plan.root, action, path)
            return self._digests.digest(located(plan.root, action.sources, path))

        return Conditions(
            digest,
            lambda path: os.path.exists(located(plan.root, action.sources, path)),
            ChainMap(action.env, plan.variables),
        )

    # --- runs -------------------------------------------------------------------------------------

    async def _fly(
        self, target: _PreparedAction, declared: dict[str, str], why: list[str], on_run: Callable[[], None]
    ) -> Obtained:
        started_s = time.monotonic()
        flight_key = recipe.flight_key(target.key, declared)
        begun = functools.cache(on_run)  # the caller hears of the first of two runs in a row
        start = functools.partial(self._run, target, declared)
        while True:
            finished, ours = await self._flights.join(flight_key, target.action.title, start, begun)
            # Another checkout's run counts for ours only where the files that it read are the same here.
            found = finished if ours else await self._look_up(target, [])
            if found is not None:
                took_ms = round((time.monotonic() - started_s) * 1000)
                return Obtained(
                    action=target.action,
                    outcome="executed" if ours else "shared",
                    result=found.result,
                    recipe=target.key,
                    parts=target.parts,
                    entry=found.entry,
                    why=why,
                    duration_ms=took_ms,
                )

    async def _run(
        self, target: _PreparedAction, declared: dict[str, str], on_begin: Callable[[], None]
    ) -> Finished:
        run = await self._execute(target, declared, on_begin)
        outputs = {blob.name: blob for blob in run.done.outputs}
        if run.found is None:
            return Finished(ActionResult("", outputs, run.said, run.done.wall_ms, run.told), None)
        files, absent = run.found
        result_key = recipe.result_key(target.key, files, absent, run.env)
        entry = InputRecord(files, absent, run.env, result_key)
        result = ActionResult(result_key, outputs, run.said, run.done.wall_ms, run.told)
        return Finished(await self.memory.learn(target.key, entry, result), entry)

    async def again(self, plan: Plan, action: Action, results: Mapping[str, ActionResult]) -> list[str]:
        """Run an action whose result is known, without the store's; return the outputs that differ.

        Raises:
            As `obtain`.
        """
        target = _target(plan, action, results)
        ends = self.services.cass.ends, self.services.rhea.ends
        try:
            declared = await self._inputs.declare(plan.root, target.action)
            run = await self._execute(target, declared, lambda: None)
        except (StoreGone, StoreLost) as error:
            raise await self.services.cass.lost(ends[0], error.reason) from error
        except errors.ConnectionLost as error:
            raise await self.services.rhea.lost(ends[1], str(error)) from error
        made = {blob.name: blob.digest for blob in run.done.outputs}
        known = {name: blob.digest for name, blob in results[action.id].outputs.items()}
        return sorted(name for name in made.keys() | known.keys() if made.get(name) != known.get(name))

    async def _execute(
        self, target: _PreparedAction, declared: dict[str, str], on_begin: Callable[[], None]
    ) -> _RunOutcome:
        """Run an action, until it had all that it reads."""
        plan, action, results = target.plan, target.action, target.results
        variables = await self._variables(target)
        more: dict[str, None] = {}
        while True:
            folders = [one for one in more if one.endswith("/")]
            job = rhea_jobs.job_of(action, results, declared, variables, folders)
            started_ns = time.time_ns()
            done, said, out = await rhea_jobs.perform(self.services.rhea, action, job, on_begin)
            self.runs += 1
            self.shared.note_job(done)
            words, told = _words_of(action, done, out)
            asked_for = [*done.env_reads, *(told.env_changed if told is not None else ())]
            read = {name: plan.variables[name] for name in asked_for if name in plan.variables}
            if not read.keys() <= job.env.keys():
                variables |= read  # it reads one that it did not get: now it does
                continue
            if told is not None:
                said, done = _of_script(action, told, said, done)
            try:
                if told is not None:
                    await asyncio.to_thread(_check_script, plan, action, done, (*declared, *folders))
                found = await self._files_read(target, done, said, declared, started_ns)
                said += diagnostics.of_refused_writes(action, done)
            except LeftOut as error:
                if more.keys() >= set(error.paths):
                    raise ActionFailed(f"{action.title}: {error.paths[0]} comes and goes") from error
                more |= dict.fromkeys(error.paths)
                files = [one for one in more if not one.endswith("/")]
                declared = await self._inputs.declare(plan.root, action, files)
                continue
            except Undeclared as error:
                raise ActionFailed(f"{action.title}: {error}", said) from error
            break
        env = {name: value for name, value in done.env_reads.items() if name in job.env or value is None}
        env |= {name: job.env[name] for name in env if script.ROOT_MARK in job.env.get(name, "")}
        env |= {name: job.env.get(name) for name in asked_for if told is not None}
        return _RunOutcome(done, said, words, env, found)

    async def _files_read(
        self, target: _PreparedAction, done: Done, said: str, declared: Mapping[str, str], started_ns: int
    ) -> tuple[dict[str, str], list[str]] | None:
        """Return the files that a run read and those that must not come; None where they are not known.

        Raises:
            LeftOut: it did not get files that it would read.
            Undeclared: it read files that it may not read.
            ActionFailed: it failed.
        """
        plan, action = target.plan, target.action
        if done.exit_code == 0:
            made = {
                need.path: target.results[need.action].outputs[need.output].digest for need in action.needs
            }
            reads = [path for path in done.reads if not path.startswith(".vx/")]
            read = {
                one: made[one] for one in done.reads if one.startswith(f"{GENERATED_DIR}/") and one in made
            }
            await self._inputs.learn(read.values())
            return await asyncio.to_thread(
                self._inputs.conditions,
                plan.root,
                action,
                reads,
                declared,
                started_ns,
                lookups_of(done, plan.root, action),
                read,
            )
        # A header of the system may include one of the project's, or would in the place of its own.
        missing = diagnostics.is_file_missing(said)
        others = await asyncio.to_thread(left_over, plan.root, action, declared, everything=missing)
        if others and (missing or len(others) <= FEW_FILES):
            raise LeftOut(others)
        if others := beyond_package(plan.root, action, diagnostics.unread(said), declared):
            raise LeftOut(others)
        raise ActionFailed(rhea_jobs.why_failed(action, done, said), said)

    async def _variables(self, target: _PreparedAction) -> dict[str, str]:
        """Return the caller's variables that the action has read before: it will read them again."""
        variables = target.plan.variables
        read = {name for entry in await self.memory.entries(target.key) for name in entry.env}
        return {name: variables[name] for name in read if name in variables}


def _words_of(action: Action, done: Done, out: str) -> tuple[str, ScriptOutput | None]:
    """Return the words of a build script for cargo, and the same parsed; of other actions "" and None."""
    if action.kind != "script":
        return "", None
    words = script.marked(out, done.root)
    if len(words) > script.MAX_WORDS_CHARS:
        most = script.MAX_WORDS_CHARS >> 10
        raise ActionFailed(f"{action.title}: it prints more than {most} KiB to cargo")
    return words, script.parse(words)


def _of_script(action: Action, told: ScriptOutput, said: str, done: Done) -> tuple[str, Done]:
    """Return a build script's output as people see it, and how it ended, with the reads that it names."""
    failed = done.exit_code != 0 or told.failed
    said = script.shown(told, action, said, failed=failed)
    code = done.exit_code or int(failed)
    return said, msgspec.structs.replace(done, exit_code=code, reads=script.reads(told, action))


def _check_script(plan: Plan, action: Action, done: Done, given: Collection[str]) -> None:
    """See that a build script has found all that it would find with cargo.

    Raises:
        LeftOut: it has not, and its run does not count.
        ActionFailed: it cannot.
    """
    for path in done.reads:
        if script_sees.is_beyond(path) and os.path.lexists(os.path.join(plan.root, path)):
            raise ActionFailed(f"{action.title}: it names {path!r}, which is outside of the project")
    if left_out := script_sees.not_given(done, plan.root, action, given):
        raise LeftOut(left_out)


def _target(plan: Plan, action: Action, results: Mapping[str, ActionResult]) -> _PreparedAction:
    """Return an action of a build with its recipe, completed by the words of its build scripts."""
    if action.scripts:
        known = {use.action: results[use.action] for use in action.scripts}
        action = script.completed(
            action, {one: script.ran(it.told, tuple(it.outputs)) for one, it in known.items()}
        )
    needed = {need.path: results[need.action].outputs[need.output].digest for need in action.needs}
    parts = recipe.recipe_parts(action, needed)
    return _PreparedAction(plan, action, results, parts, recipe.recipe_key(parts))

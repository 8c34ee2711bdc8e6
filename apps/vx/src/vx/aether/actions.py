"""One action: found, joined with another build's that is running it, or run.

Owns the order: this process's memory, the store, a run that is under way, a run of our own.  A run
belongs to all builds that wait for it; when the last of them is gone it is cancelled, and with it the
compiler.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections import ChainMap
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, cast

import msgspec

from daemonry import AsyncClient, CallError, errors
from daemonry.backoff import delays
from vx import home
from vx.aether import diagnostics
from vx.aether.inputs import Inputs, InputsChanging, LeftOut, Undeclared
from vx.aether.interface import ServiceDied
from vx.aether.memory import Memory, Result
from vx.aether.services import Service, Services
from vx.aether.unchanged import Unchanged
from vx.cargo import script
from vx.cargo.script import Told
from vx.cass_client import CassClient, StoreGone
from vx.file_digests import FileDigests
from vx.interfaces import (
    Done,
    Input,
    InputsMissing,
    Job,
    JobInvalid,
    OutputsMissing,
    Rhea,
    RunnerLost,
    ScratchFull,
    StoreFull,
    StoreLost,
    StoreTrouble,
    ToolMissing,
)
from vx.keys import recipe
from vx.keys.recipe import Conditions, Entry
from vx.project.action import GENERATED_DIR, SCRIPTS_DIR, Action, Plan, located
from vx.reports.report import Outcome

logger = logging.getLogger("aether")

# Of the reasons why a result was not found; a branch that was changed has thousands.
MAX_REASONS: Final = 20
# Waiting in rhea's queue is without limit; this is for connecting.
_CONNECT_TIMEOUT_S: Final = 5.0
# Between two looks whether rhea has room: a compilation takes a tenth of a second, or several.
_ROOM_FIRST_S: Final = 0.05
_ROOM_MOST_S: Final = 1.0

# With less than this a program is hardly linked.
FULL_BELOW_BYTES: Final = 16 << 20

# Given to a compilation that failed, to see whether it fails with them, too.
FEW_FILES: Final = 200

NEVER_BUILT: Final = "nothing like it is in the store"


class Obtained(msgspec.Struct, frozen=True):
    """An action that is done.

    Attributes:
        action: which.
        outcome: how.
        result: what it made.
        recipe: its recipe's key.
        parts: its recipe's parts.
        entry: what it read; None where that could not be known for sure.
        why: for what had to run: which conditions did not hold.
        duration_ms: how long it ran, now.
    """

    action: Action
    outcome: Outcome
    result: Result
    recipe: str
    parts: dict[str, str]
    entry: Entry | None
    why: list[str] = []
    duration_ms: int = 0


class ActionFailed(Exception):
    """A tool said no.

    Attributes:
        said: its diagnostics, with colours.
        reason: in one line.
        recipe, parts, why: as `Obtained`.
    """

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.said = said
        self.recipe = ""
        self.parts: dict[str, str] = {}
        self.why: list[str] = []


class StoreForgot(Exception):
    """The store has lost what this process remembered of it: all has to be looked up anew."""


class Finished(msgspec.Struct, frozen=True):
    """A run that succeeded."""

    result: Result
    entry: Entry | None


class _Made(msgspec.Struct, frozen=True):
    """A run that succeeded, before anything is kept.

    Attributes:
        done: how it ended.
        said: its diagnostics.
        told: what a build script said to cargo.
        env: the variables that it read.
        found: the files that it read and those that must not come; None where that is not known for sure.
    """

    done: Done
    said: str
    told: str
    env: dict[str, str | None]
    found: tuple[dict[str, str], list[str]] | None


class _Flight:
    """A run, who wants to know when its tool begins, and how many wait for it."""

    task: asyncio.Task[Finished]

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting = 0
        self._begun = False
        self._on_begin: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Take that the tool runs, and waits for a place no longer."""
        self._begun = True
        for tell in self._on_begin:
            tell()

    def when_begun(self, tell: Callable[[], None]) -> None:
        """Have it told, now if it is so already."""
        self._on_begin.append(tell)
        if self._begun:
            tell()


class Seen:
    """Files as one build found them: a header is looked at once, and not for each source that includes it."""

    def __init__(self) -> None:
        self._digests: dict[str, str | None] = {}
        self._exists: dict[str, bool] = {}

    def conditions(self, now: Conditions) -> Conditions:
        """Return the same conditions, each file looked at once."""

        def digest(path: str) -> str | None:
            if path not in self._digests:
                self._digests[path] = now.digest(path)
            return self._digests[path]

        def exists(path: str) -> bool:
            found = self._exists.get(path)
            if found is None:
                found = self._exists[path] = now.exists(path)
            return found

        return Conditions(digest, exists, now.env)


class Actions:
    """What all builds share.

    Args:
        services: cass and rhea.
        file_digests: the memory of files.

    Attributes:
        runs: how many were run so far.
    """

    def __init__(self, services: Services, file_digests: FileDigests) -> None:
        self.services = services
        self.cass = CassClient(services.cass.endpoint)
        self.memory = Memory(self.cass)
        self.unchanged = Unchanged(file_digests, self.memory)
        self.runs = 0
        self._digests = file_digests
        self._inputs = Inputs(file_digests, self.cass)
        self._flights: dict[str, _Flight] = {}

    def remembered(
        self, plan: Plan, action: Action, results: Mapping[str, Result], seen: Seen
    ) -> Obtained | None:
        """Return an action's result if this process knows it, without asking anybody.

        Args:
            plan: the build that it belongs to.
            action: the action.
            results: of the actions that it needs, by their ids.
            seen: what this build has looked at already.

        Raises:
            OSError: a source cannot be read.
        """
        action = _completed(action, results)
        parts, key = _recipe(action, results)
        entries = self.memory.known_entries(key)
        if not entries:
            return None
        entry = recipe.holding(entries, seen.conditions(self._now(plan, action)))
        result = self.memory.known_result(entry.result) if entry is not None else None
        return Obtained(action, "cached", result, key, parts, entry) if result is not None else None

    async def obtain(
        self, plan: Plan, action: Action, results: Mapping[str, Result], on_run: Callable[[], None]
    ) -> Obtained:
        """Return an action's result, whatever it takes.

        Args:
            plan: the build that it belongs to.
            action: the action.
            results: of the actions that it needs, by their ids.
            on_run: is called when the tool begins to run for it.

        Raises:
            ActionFailed: the tool says no, or cannot run.
            ServiceDied: cass or rhea went away.
            StoreForgot: begin again.
            OSError: a source cannot be read.
        """
        action = _completed(action, results)
        parts, key = _recipe(action, results)
        why: list[str] = []
        try:
            return await self._obtain(plan, action, results, on_run, (key, parts, why))
        except ActionFailed as error:
            error.recipe, error.parts, error.why = key, parts, why
            raise

    async def _obtain(
        self,
        plan: Plan,
        action: Action,
        results: Mapping[str, Result],
        on_run: Callable[[], None],
        asked: tuple[str, dict[str, str], list[str]],
    ) -> Obtained:
        key, parts, why = asked
        ends = self.services.cass.ends, self.services.rhea.ends
        try:
            found = await self._look_up(plan, action, key, why)
            if found is not None:
                return Obtained(action, "cached", found.result, key, parts, found.entry)
            declared = await self._inputs.declare(plan.root, action)
            return await self._fly(plan, action, results, on_run, (key, parts, why), declared)
        except StoreGone as error:
            raise await self.services.cass.lost(ends[0], error.reason) from error
        except StoreLost as error:
            raise await self.services.cass.lost(ends[0], error.reason) from error
        except errors.ConnectionLost as error:
            raise await self.services.rhea.lost(ends[1], str(error)) from error
        except InputsChanging as error:
            raise ActionFailed(str(error)) from error
        except (StoreFull, StoreTrouble) as error:
            raise ActionFailed(f"{error.path}: {error.reason}") from error

    async def _look_up(self, plan: Plan, action: Action, key: str, why: list[str]) -> Finished | None:
        entries = await self.memory.entries(key)
        now = self._now(plan, action)
        entry = recipe.holding(entries, now)
        result = await self.memory.result(entry.result) if entry is not None else None
        if result is not None:
            return Finished(result, entry)
        if entry is not None:
            why[:] = ["what it had made is not in the store any more"]
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
        self,
        plan: Plan,
        action: Action,
        results: Mapping[str, Result],
        on_run: Callable[[], None],
        asked: tuple[str, dict[str, str], list[str]],
        declared: dict[str, str],
    ) -> Obtained:
        key, parts, why = asked
        started_s = time.monotonic()
        flight_key = recipe.flight_key(key, declared)
        begun = functools.cache(on_run)  # two runs in a row are one to who waits
        while True:
            flight = self._flights.get(flight_key)
            ours = flight is None or flight.task.done()
            if flight is None or flight.task.done():
                flight = self._flights[flight_key] = _Flight(flight_key)
                run = self._run(plan, action, results, (key, declared), flight.begin)
                flight.task = asyncio.create_task(run, name=action.title)
                flight.task.add_done_callback(functools.partial(self._land, flight))
            flight.when_begun(begun)
            finished = await self._wait_for(flight)
            took_ms = round((time.monotonic() - started_s) * 1000)
            if ours:
                return Obtained(action, "executed", finished.result, key, parts, finished.entry, why, took_ms)
            # Another checkout's run counts for ours only where what it read is the same here.
            found = await self._look_up(plan, action, key, [])
            if found is not None:
                return Obtained(action, "shared", found.result, key, parts, found.entry, why, took_ms)

    async def _wait_for(self, flight: _Flight) -> Finished:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                flight.task.cancel()
                self._forget(flight)  # who comes now starts another: this one is ending

    def _forget(self, flight: _Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def _land(self, flight: _Flight, _task: asyncio.Task[Finished]) -> None:
        self._forget(flight)
        if not flight.task.cancelled():
            flight.task.exception()  # looked at: who waited was told, if anybody still did

    async def _run(
        self,
        plan: Plan,
        action: Action,
        results: Mapping[str, Result],
        asked: tuple[str, Mapping[str, str]],
        on_begin: Callable[[], None],
    ) -> Finished:
        key = asked[0]
        made = await self._made(plan, action, results, asked, on_begin)
        outputs = {blob.name: blob for blob in made.done.outputs}
        if made.found is None:
            return Finished(Result("", outputs, made.said, made.done.wall_ms, made.told), None)
        files, absent = made.found
        result_key = recipe.result_key(key, files, absent, made.env)
        entry = Entry(files, absent, made.env, result_key)
        result = Result(result_key, outputs, made.said, made.done.wall_ms, made.told)
        return Finished(await self.memory.learn(key, entry, result), entry)

    async def again(self, plan: Plan, action: Action, results: Mapping[str, Result]) -> list[str]:
        """Run an action whose result is known, without the store's; return the outputs that are otherwise.

        Raises:
            As `obtain`.
        """
        action = _completed(action, results)
        _, key = _recipe(action, results)
        ends = self.services.cass.ends, self.services.rhea.ends
        try:
            declared = await self._inputs.declare(plan.root, action)
            again = await self._made(plan, action, results, (key, declared), lambda: None)
        except (StoreGone, StoreLost) as error:
            raise await self.services.cass.lost(ends[0], error.reason) from error
        except errors.ConnectionLost as error:
            raise await self.services.rhea.lost(ends[1], str(error)) from error
        made = {blob.name: blob.digest for blob in again.done.outputs}
        known = {name: blob.digest for name, blob in results[action.id].outputs.items()}
        return sorted(name for name in made.keys() | known.keys() if made.get(name) != known.get(name))

    async def _made(
        self,
        plan: Plan,
        action: Action,
        results: Mapping[str, Result],
        asked: tuple[str, Mapping[str, str]],
        on_begin: Callable[[], None],
    ) -> _Made:
        """Run an action, until it had all that it reads."""
        key, declared = asked
        variables = await self._variables(plan, action, key)
        more: dict[str, None] = {}
        while True:
            job = _job(action, results, declared, variables)
            started_ns = time.time_ns()
            done, said, out = await self._perform(action, job, on_begin)
            self.runs += 1
            words = script.marked(out, done.root) if action.kind == "script" else ""
            if len(words) > script.MAX_WORDS_CHARS:
                most = script.MAX_WORDS_CHARS >> 10
                raise ActionFailed(f"{action.title}: it says more than {most} KiB to cargo")
            told = script.parse(words) if action.kind == "script" else None
            asked_for = [*done.env_reads, *(told.env_changed if told is not None else ())]
            read = {name: plan.variables[name] for name in asked_for if name in plan.variables}
            if not read.keys() <= job.env.keys():
                variables |= read  # it reads one that it did not get: now it does
                continue
            if told is not None:
                said, done = _of_script(action, told, said, done)
            try:
                made = {need.path: results[need.action].outputs[need.output].digest for need in action.needs}
                found = await self._what_it_read(plan, action, done, said, (declared, made), started_ns)
            except LeftOut as error:
                if more.keys() >= set(error.paths):
                    raise ActionFailed(f"{action.title}: {error.paths[0]} comes and goes") from error
                more |= dict.fromkeys(error.paths)
                declared = await self._inputs.declare(plan.root, action, more)
                continue
            except Undeclared as error:
                raise ActionFailed(f"{action.title}: {error}", said) from error
            break
        env = {name: value for name, value in done.env_reads.items() if name in job.env or value is None}
        env |= {name: job.env[name] for name in env if script.ROOT_MARK in job.env.get(name, "")}
        env |= {name: job.env.get(name) for name in asked_for if told is not None}
        return _Made(done, said, words, env, found)

    async def _what_it_read(
        self,
        plan: Plan,
        action: Action,
        done: Done,
        said: str,
        given: tuple[Mapping[str, str], Mapping[str, str]],
        started_ns: int,
    ) -> tuple[dict[str, str], list[str]] | None:
        declared, made = given
        if done.exit_code == 0:
            reads = [path for path in done.reads if not path.startswith(".vx/")]
            read = {
                one: made[one] for one in done.reads if one.startswith(f"{GENERATED_DIR}/") and one in made
            }
            await self._inputs.learn(read.values())
            return await asyncio.to_thread(
                self._inputs.conditions, plan.root, action, reads, declared, started_ns, done.opened, read
            )
        # A header of the system may include one of the project's, or would in the place of its own.
        others = await asyncio.to_thread(self._inputs.folders, plan.root, action, declared)
        if others and (len(others) <= FEW_FILES or diagnostics.is_file_missing(said)):
            raise LeftOut(others)
        raise ActionFailed(_why_failed(action, done, said), said)

    async def _variables(self, plan: Plan, action: Action, key: str) -> dict[str, str]:
        """Return the caller's variables that the action has read before: it will read them again."""
        read = {name for entry in await self.memory.entries(key) for name in entry.env}
        return {name: plan.variables[name] for name in read if name in plan.variables}

    async def _perform(self, action: Action, job: Job, on_begin: Callable[[], None]) -> tuple[Done, str, str]:
        """Have rhea run a job, once it takes more: other builds may have given it all that it takes."""
        for delay_s in delays(_ROOM_FIRST_S, _ROOM_MOST_S):
            try:
                return await _ask_rhea(self.services.rhea, action, job, on_begin)
            except errors.Overloaded:
                await asyncio.sleep(delay_s)
        raise AssertionError("delays end")


async def _ask_rhea(
    service: Service, action: Action, job: Job, on_begin: Callable[[], None]
) -> tuple[Done, str, str]:
    await service.ready()
    try:
        client = await AsyncClient.connect(service.endpoint, _CONNECT_TIMEOUT_S)
    except errors.ConnectError as error:
        raise errors.ConnectionLost(str(service.endpoint), "no") from error
    said: list[str] = []
    out: list[str] = []
    try:
        # A job waits for its place as long as those before it take.
        events = client.proxy(Rhea, timeout_s=float("inf")).run(job)
        async with aclosing(cast("AsyncGenerator[object, None]", events)):
            async for event in events:
                if event.started is not None:
                    on_begin()
                if event.output is not None and event.output.stream == "stderr":
                    said.append(event.output.text)
                elif event.output is not None:
                    out.append(event.output.text)
                if event.done is not None:
                    return event.done, diagnostics.rendered(action.kind, "".join(said)), "".join(out)
        raise errors.ConnectionLost(client.peer, "maybe")
    except InputsMissing as error:
        raise StoreForgot from error
    except (JobInvalid, ToolMissing, OutputsMissing, ScratchFull, RunnerLost) as error:
        raise ActionFailed(f"{action.title}: {_told(error)}") from error
    finally:
        client.close()


def _of_script(action: Action, told: Told, said: str, done: Done) -> tuple[str, Done]:
    """Return what people are shown of a build script, and how it ended, with the reads that it names."""
    failed = done.exit_code != 0 or told.failed
    said = script.shown(told, action, said, failed=failed)
    code = done.exit_code or int(failed)
    return said, msgspec.structs.replace(done, exit_code=code, reads=script.reads(told, action))


def _completed(action: Action, results: Mapping[str, Result]) -> Action:
    """Return an action with what its build scripts said."""
    if not action.scripts:
        return action
    known = {use.action: results[use.action] for use in action.scripts}
    return script.completed(
        action, {one: script.ran(it.told, tuple(it.outputs)) for one, it in known.items()}
    )


def _recipe(action: Action, results: Mapping[str, Result]) -> tuple[dict[str, str], str]:
    needed = {need.path: results[need.action].outputs[need.output].digest for need in action.needs}
    parts = recipe.recipe_parts(action, needed)
    return parts, recipe.recipe_key(parts)


def _job(
    action: Action,
    results: Mapping[str, Result],
    declared: Mapping[str, str],
    variables: Mapping[str, str],
) -> Job:
    inputs = [Input(path, digest) for path, digest in declared.items()]
    for need in action.needs:
        program = need.path == action.tool.path  # a build script
        marked = need.path.startswith(f"{SCRIPTS_DIR}/")
        inputs.append(Input(need.path, results[need.action].outputs[need.output].digest, program, marked))
    return Job(
        command=action.command(),
        inputs=inputs,
        outputs=list(action.outputs),
        env={**variables, **action.env},
        cwd=action.cwd,
        output_dirs=[action.output_dir] if action.output_dir else [],
        tool="step" if action.kind == "script" else action.kind,
        dep_files=list(action.dep_files),
        title=action.title,
        marks=action.kind == "script",
    )


def _why_failed(action: Action, done: Done, said: str) -> str:
    if done.timed_out:
        return f"{action.title}: took too long"
    if done.exit_code < 0:
        return f"{action.title}: {action.tool.name} was killed by signal {-done.exit_code}"
    first = diagnostics.first_error(said) or f"it ended with {done.exit_code}"
    free_bytes = _free_bytes()
    if free_bytes < FULL_BELOW_BYTES:  # linkers that map their output die of it without a word
        first += f" (the disk of {home.home_dir()} is full: {free_bytes >> 10} KiB are free)"
    return first if first.startswith(action.title) else f"{action.title}: {first}"


def _free_bytes() -> int:
    try:
        found = os.statvfs(home.home_dir())
    except OSError:
        return FULL_BELOW_BYTES
    return found.f_bavail * found.f_frsize


def _told(error: CallError) -> str:
    reason = getattr(error, "reason", "")
    if isinstance(error, ToolMissing):
        return f"{error.program} cannot be run: {reason}"
    if isinstance(error, OutputsMissing):
        return f"it made no {', '.join(error.names)}"
    return str(reason)


__all__ = ["NEVER_BUILT", "ActionFailed", "Actions", "Obtained", "Seen", "ServiceDied", "StoreForgot"]

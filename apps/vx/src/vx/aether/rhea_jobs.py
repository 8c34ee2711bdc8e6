"""An action as a job of rhea: its inputs and command, the call, and why it failed in a sentence."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final, cast

from daemonry import AsyncClient, CallError, errors
from daemonry.backoff import delays
from vx import home
from vx.aether import diagnostics
from vx.aether.memory import ActionResult
from vx.aether.outcomes import ActionFailed, StoreForgot
from vx.aether.services import OwnedService
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
    ToolMissing,
)
from vx.project.action import SCRIPTS_DIR, Action

# Waiting in rhea's queue is without limit; this is for connecting.
_CONNECT_TIMEOUT_S: Final = 5.0
# Between two looks whether rhea has room: a compilation takes a tenth of a second, or several.
_ROOM_FIRST_S: Final = 0.05
_ROOM_MOST_S: Final = 1.0

# With less than this a program is hardly linked.
FULL_BELOW_BYTES: Final = 16 << 20


def job_of(
    action: Action,
    results: Mapping[str, ActionResult],
    declared: Mapping[str, str],
    variables: Mapping[str, str],
    folders: Iterable[str] = (),
) -> Job:
    """Return the job that runs an action.

    Args:
        action: the action.
        results: of the actions that it needs, by their ids.
        declared: the digests of its input files, by their paths.
        variables: the caller's variables that it reads.
        folders: directories that are there, each with a slash at its end.
    """
    inputs = [Input(path, digest) for path, digest in declared.items()]
    for need in action.needs:
        program = need.runs or need.path == action.tool.path  # a build script
        marked = need.path.startswith(f"{SCRIPTS_DIR}/")
        inputs.append(Input(need.path, results[need.action].outputs[need.output].digest, program, marked))
    return Job(
        command=action.command(),
        inputs=inputs,
        outputs=list(action.outputs),
        env={**variables, **action.env},
        cwd=action.cwd,
        folders=[one.rstrip("/") for one in folders],
        output_dirs=[action.output_dir] if action.output_dir else [],
        tool="step" if action.kind == "script" else action.kind,
        dep_files=list(action.dep_files),
        title=action.title,
        marks=action.kind == "script",
        watch_looks=action.asks,
    )


async def perform(
    rhea: OwnedService, action: Action, job: Job, on_begin: Callable[[], None]
) -> tuple[Done, str, str]:
    """Run a job in rhea; wait until rhea takes more jobs, for other builds may have filled its queue.

    Returns:
        How it ended, its diagnostics, and its output.

    Raises:
        ActionFailed: the job cannot run.
        StoreForgot: an input is not in the store any more.
        errors.ConnectionLost: rhea went away.
    """
    for delay_s in delays(_ROOM_FIRST_S, _ROOM_MOST_S):
        try:
            return await _ask(rhea, action, job, on_begin)
        except errors.Overloaded:
            await asyncio.sleep(delay_s)
    raise AssertionError("delays end")


async def _ask(
    rhea: OwnedService, action: Action, job: Job, on_begin: Callable[[], None]
) -> tuple[Done, str, str]:
    await rhea.ready()
    try:
        client = await AsyncClient.connect(rhea.endpoint, _CONNECT_TIMEOUT_S)
    except errors.ConnectError as error:
        raise errors.ConnectionLost(str(rhea.endpoint), "no") from error
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
                    text = diagnostics.rendered(action.kind, "".join(said))
                    text += diagnostics.of_cut_output(text, event.done)
                    return event.done, _shown(action, event.done, text, "".join(out)), "".join(out)
        raise errors.ConnectionLost(client.peer, "maybe")
    except errors.Draining as error:  # somebody stops it
        raise errors.ConnectionLost(client.peer, error.ran) from error
    except InputsMissing as error:
        raise StoreForgot from error
    except (JobInvalid, ToolMissing, OutputsMissing, ScratchFull, RunnerLost) as error:
        raise ActionFailed(f"{action.title}: {_reason_of(error)}") from error
    finally:
        client.close()


def why_failed(action: Action, done: Done, said: str) -> str:
    """Return why a job that ended with an error failed, in one line."""
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


def _reason_of(error: CallError) -> str:
    reason = getattr(error, "reason", "")
    if isinstance(error, ToolMissing):
        return f"{error.program} cannot be run: {reason}"
    if isinstance(error, OutputsMissing):
        return f"it made no {', '.join(error.names)}"
    if isinstance(error, ScratchFull):
        return f"{error.path}: {reason}"
    return str(reason)


def _shown(action: Action, done: Done, said: str, out: str) -> str:
    """Return what people see of a job: of a test that passed nothing, of one that failed all."""
    if not action.is_test:
        return said
    return out + said if done.exit_code else ""

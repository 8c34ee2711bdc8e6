"""From running to gone: the work is watched, then drained, and what does not end is named and left behind.

Owns the order of the end on the loop, and the end at once where the loop does not come to it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from daemonry import clock
from daemonry.daemon import crash_report
from daemonry.daemon.lifecycle import Happened
from daemonry.runtime.failure_text import one_line

if TYPE_CHECKING:
    from daemonry.daemon.definition import Daemon
    from daemonry.process.place import Place
    from daemonry.runtime.control_state import Life
    from daemonry.runtime.publishing import Publication
    from daemonry.runtime.stage_results import Listening, Serving
    from daemonry.runtime.tasks import Workload
    from daemonry.service.server.standby import Standby

logger: logging.Logger = logging.getLogger("daemonry.daemon")

_JOBS_LOOK_S = 0.05


def run_until_end(serving: Serving) -> None:
    """Have the loop do `work_until_end`; where the program stops the loop, drain as after a failure."""
    runner = serving.listening.prepared.runner
    task = runner.get_loop().create_task(work_until_end(serving), name="daemon")
    while not task.done():
        try:
            runner.run(_ended(task))
        except RuntimeError as error:
            if task.done():
                raise
            _note_stopped_loop(serving, error)


async def _ended(task: asyncio.Task[None]) -> None:
    await task


def _note_stopped_loop(serving: Serving, error: RuntimeError) -> None:
    prepared = serving.listening.prepared
    state, place = prepared.state, prepared.request.place
    if state.stopping.is_set():
        return
    state.failed = error
    told = "the program stopped the event loop; `run.stop()` ends a daemon"
    logger.error("%s", told)
    crash_report.write_note(place, f"{place.name}: ended because {told} (see {place.log_path})")
    state.happened(Happened.FAILED)


async def work_until_end(serving: Serving) -> None:
    """Do the program's work until it ends or a stop is asked, then drain."""
    listening, prepared = serving.listening, serving.listening.prepared
    daemon, state, workload = prepared.request.daemon, prepared.state, listening.workload
    idle = listening.idle
    watching = asyncio.create_task(idle.watch(), name="idle") if idle is not None else None
    stop = asyncio.create_task(state.wait_stop_asked())
    workload.start(daemon.works, serving.run, asyncio.get_running_loop())
    await asyncio.wait((stop, *workload.futures), return_when=asyncio.FIRST_COMPLETED)
    note_ended_work(state, workload, prepared.request.place)
    if not state.handed_over:
        prepared.found.notifier.stopping()
    announce_end(listening)
    retiring = asyncio.ensure_future(_retire(serving))
    await drain(daemon, state, workload, listening.server.drain)
    await retiring
    stop.cancel()
    if watching is not None:
        watching.cancel()


def announce_end(listening: Listening) -> None:
    """Mark the record as draining; tell a home what the exit code does not: no failure, no work done."""
    request, state = listening.prepared.request, listening.prepared.state
    if request.in_home is not None and state.ended_by:
        request.in_home.say_end(state.ended_by)
    listening.publication.mark_draining()


def note_ended_work(state: Life, workload: Workload, place: Place) -> None:
    """Have the daemon end because work has ended, unless it ends already; say which, and why."""
    for job, error in workload.ended():
        if state.stopping.is_set():
            return
        if error is None:
            logger.info("%s is done", job.name)
            state.happened(Happened.WORK_DONE)
            continue
        state.failed = error
        logger.error("%s failed: %s", job.name, one_line(error), exc_info=error)
        reason = f"{place.name}: ended because {job.name} failed: {one_line(error)}"
        crash_report.write_note(place, f"{reason} (see {place.log_path})")
        state.happened(Happened.FAILED)


async def drain(
    daemon: Daemon,
    state: Life,
    workload: Workload,
    drain_calls: Callable[[float], Coroutine[Any, Any, list[str]]],
) -> None:
    """Run the stop hook, let work and calls come to their end, and say what did not.

    Args:
        daemon: the definition, with the hook and the time that all of this may take.
        state: the daemon's state, which has ended to admit calls; it is STOPPED afterwards.
        workload: the work.
        drain_calls: waits for calls for so many seconds, and returns the names of those that are left.
    """
    timeout_s = daemon.drain_timeout_s
    deadline = clock.Deadline(timeout_s)
    calls = asyncio.create_task(drain_calls(timeout_s), name="calls")
    await _run_stop_hook(daemon)
    left = await workload.drain(deadline.remaining_s() or 0.0)
    for job, error in workload.ended():
        if error is not None and error is not state.failed:  # that one is why it ends
            logger.error("%s failed while it ended: %s", job.name, one_line(error), exc_info=error)
    for job in left:
        logger.error("still at work after %g s and left behind: %s", timeout_s, job.where())
    cut_off = await calls
    for name in cut_off:
        logger.error("still running after %g s and cut off: %s", timeout_s, name)
    state.happened(Happened.DRAIN_EXPIRED if left or cut_off else Happened.DRAINED)


async def _run_stop_hook(daemon: Daemon) -> None:
    try:
        result = daemon.stop_hook() if daemon.stop_hook is not None else None
        if inspect.isawaitable(result):
            async with asyncio.timeout(daemon.drain_timeout_s):
                await result
    except Exception:
        logger.exception("the stop hook failed")


async def _retire(serving: Serving) -> None:
    """Serve the connections on that were accepted before another process took over."""
    prepared = serving.listening.prepared
    if not prepared.state.handed_over:
        return
    deadline = clock.Deadline(prepared.request.daemon.drain_timeout_s)
    await serving.listening.server.retire(deadline)
    while prepared.state.jobs.running and not deadline.expired:  # noqa: ASYNC110  # they end in any thread
        await asyncio.sleep(_JOBS_LOOK_S)


class ImmediateEnd:
    """Ends the process from the watchdog's thread, without the loop.

    Args:
        standby: knows the clients that wait.
        publication: the files to remove.
        kept: whether a service manager keeps the socket.
    """

    def __init__(self, standby: Standby, publication: Publication, *, kept: bool) -> None:
        self._standby = standby
        self._publication = publication
        self._kept = kept

    def __call__(self, code: int) -> None:
        """Refuse those who wait, remove our files, and end with an exit code."""
        try:
            # A socket that a service manager keeps is the next daemon's too, with the clients that wait.
            self._standby.refuse_all(also_at_listener=not self._kept)
        except Exception:
            logger.exception("clients that wait could not be refused")
        self._publication.withdraw()
        os._exit(code)

"""A daemon's work while it runs: started, watched, told to end, waited for.

Owns tasks and threads.  `async` work is a task, cancelled when the drain begins.  Plain work
runs in a thread, which cannot be cancelled: it sees `run.stopping` or it is left behind.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from daemonry.service.server.code_position import frame_of, where
from daemonry.stop_iteration import called

if TYPE_CHECKING:
    from daemonry.daemon.context import Run

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class Workload:
    """All work of one daemon; none until `start`."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __repr__(self) -> str:
        return f"Workload({', '.join(self.where()) or 'nothing runs'})"

    def start(self, hooks: Iterable[Callable[[Run], Any]], run: Run, loop: asyncio.AbstractEventLoop) -> None:
        """Begin each hook's work."""
        self._jobs = [Job(hook, run, loop) for hook in hooks]

    @property
    def futures(self) -> list[asyncio.Future[None]]:
        """A future for each piece of work; done when the work ends."""
        return [job.done for job in self._jobs]

    def where(self) -> list[str]:
        """Return what still runs, and where it is; from any thread."""
        return [job.where() for job in self._jobs if not job.done.done()]

    def ended(self) -> list[tuple[Job, BaseException | None]]:
        """Return the tasks that have ended, each with the exception that it raised, if any."""
        return [(job, _error(job)) for job in self._jobs if job.done.done()]

    async def drain(self, timeout_s: float) -> list[Job]:
        """Ask all work to end, wait, and return what did not."""
        return await drain(self._jobs, timeout_s)


class Job:
    """One piece of work.

    Attributes:
        name: the function's name.
        done: a future of the loop, with the work's exception if it raised.
    """

    def __init__(self, hook: Callable[[Run], Any], run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self.name: str = getattr(hook, "__qualname__", None) or repr(hook)
        self._thread_id: int | None = None
        self.done: asyncio.Future[None]
        if _is_async(hook):
            self.done = loop.create_task(hook(run), name=self.name)
        else:
            self.done = loop.create_future()
            threading.Thread(
                target=self._in_thread, args=(hook, run, loop), name=self.name, daemon=True
            ).start()

    def cancel(self) -> None:
        """Ask it to end: a task is cancelled, a thread sees `run.stopping`."""
        if isinstance(self.done, asyncio.Task):
            self.done.cancel()

    def where(self) -> str:
        """Return where it is now, as `name at file:line in function`."""
        if isinstance(self.done, asyncio.Task):
            stack = self.done.get_stack()
            return f"{self.name} at {where(stack[-1] if stack else None)}"
        return f"{self.name} at {where(frame_of(self._thread_id))}"

    def _in_thread(self, hook: Callable[[Run], Any], run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self._thread_id = threading.get_ident()
        error: BaseException | None = None
        try:
            called(hook, run)
        except BaseException as raised:  # noqa: BLE001  # handed to the loop as the work's outcome
            error = raised
        try:
            loop.call_soon_threadsafe(self._finish, error)
        except RuntimeError:
            logger.warning("%s ended after the daemon", self.name)

    def _finish(self, error: BaseException | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


def _error(job: Job) -> BaseException | None:
    return None if job.done.cancelled() else job.done.exception()


def _is_async(hook: Callable[..., Any]) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None))  # noqa: B004


async def drain(jobs: list[Job], timeout_s: float) -> list[Job]:
    """Ask all jobs to end, wait, and return those that did not."""
    for job in jobs:
        job.cancel()
    pending = [job.done for job in jobs if not job.done.done()]
    if pending:
        await asyncio.wait(pending, timeout=timeout_s)
    return [job for job in jobs if not job.done.done()]

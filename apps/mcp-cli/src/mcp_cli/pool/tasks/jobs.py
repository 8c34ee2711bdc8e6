"""Tool calls that outlive their caller: held by the daemon, their results kept on the disk.

Owns each job's life.  Its files are `files`'s, and survive the daemon: a job that was under way
when the daemon ended is of unknown outcome, unless its server runs it as a task of its own, which is followed
again when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec

from daemonry import CallError
from daemonry.spelling import nearest
from mcp_cli.names import NAME
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.outcomes import ended, outcome
from mcp_cli.pool.server import ManagedServer
from mcp_cli.pool.tasks import remote
from mcp_cli.pool.tasks.files import JobRecord, MemoryFiles
from mcp_cli.pool.tasks.remote import RemoteTask
from mcp_cli.pool.tools import ListedTool
from mcp_cli.protocol import interfaces
from mcp_cli.protocol.interfaces import (
    Event,
    MaybeRan,
    NoSuchTask,
    NotFinished,
    TaskEnded,
    TaskState,
    TimedOut,
    TooManyTasks,
)

logger = logging.getLogger("mcp_cli.jobs")

# So many at a time: each has a call under way at a server.
MOST_RUNNING: Final = 2000
# Ended jobs are kept for so long, and so many of them; the oldest go first.
KEEP_S: Final = 7 * 24 * 3600.0
MOST_KEPT: Final = 5000
RUNNING: Final = ("working", "input_required")
# The questions that are left open until somebody answers.
ANSWERED: Final = ("elicitation/create",)

Busy = Callable[[], AbstractContextManager[None]]


class Job:
    """One job that is under way in this process."""

    def __init__(self, record: JobRecord, call: PendingCall) -> None:
        self.record = record
        self.call = call
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False

    def tell(self) -> None:
        """Wake whoever follows it."""
        self.changed.set()
        self.changed = asyncio.Event()


class Jobs:
    """The jobs of one daemon.

    Args:
        files: where they are kept.
        busy: gives a context in which the daemon does not end for want of work.
    """

    def __init__(self, files: Any = None, busy: Busy = contextlib.nullcontext) -> None:
        self._files = MemoryFiles() if files is None else files
        self._busy = busy
        self._records: dict[str, JobRecord] = {}
        self._running: dict[str, Job] = {}

    def load(self) -> None:
        """Take over what a daemon before this one has left."""
        for record in self._files.load():
            task = record.task
            if task.status in RUNNING and not record.handle:
                task.ended_at = time.time()
                if record.asked:
                    task.status, task.error = "unknown", "the daemon ended in the call"
                else:
                    task.status, task.error = (
                        "failed",
                        "the daemon ended before the call was sent; nothing ran",
                    )
                self._files.save(record)
            task.questions = []
            self._records[task.id] = record
        self.prune()

    def prune(self) -> None:
        """Let go of what ended long ago, and of the oldest beyond a number."""
        over = sorted(
            (
                one
                for one in self._records.values()
                if one.task.status not in RUNNING and one.task.id not in self._running
            ),
            key=lambda one: one.task.ended_at,
        )
        too_many = max(len(over) - MOST_KEPT, 0)
        for at, record in enumerate(over):
            if at < too_many or time.time() - record.task.ended_at > KEEP_S:
                self._records.pop(record.task.id, None)
                self._files.remove(record.task.id)

    def every(self) -> list[TaskState]:
        """Return all tasks, the oldest first."""
        return [
            self.state(one)
            for one in sorted(self._records, key=lambda one: self._records[one].task.created_at)
        ]

    def state(self, task_id: str) -> TaskState:
        """Return one task.

        Raises:
            NoSuchTask: there is none of this id.
        """
        record = self._records.get(task_id)
        if record is None:
            raise NoSuchTask(id=task_id, nearest=nearest(task_id, self._records))
        job = self._running.get(task_id)
        if job is not None and record.task.status in RUNNING:
            record.task.questions = sorted(job.call.questions)
            record.task.status = "input_required" if job.call.questions else "working"
        return record.task

    # --- their life ------------------------------------------------------------------------------

    async def start(
        self, kept: ManagedServer, tool: ListedTool, arguments: dict[str, Any], idle_s: float
    ) -> TaskState:
        """Begin a job.

        Raises:
            TooManyTasks: so many are under way; nothing ran.
        """
        if len(self._running) >= MOST_RUNNING:
            raise TooManyTasks(limit=MOST_RUNNING)
        task_id = secrets.token_hex(4)
        while task_id in self._records:
            task_id = secrets.token_hex(4)
        task = TaskState(id=task_id, server=kept.server.name, tool=tool.name, created_at=time.time())
        record = JobRecord(task)
        await self._save(record)
        self._records[task_id] = record
        call = PendingCall(tool.name, idle_s, ANSWERED)
        call.task = task_id
        params = {"name": tool.name, "arguments": arguments}

        async def work(job: Job) -> bytes:
            await kept.ready(call.note)
            record.asked = True
            await self._save(record)
            return await remote.called(kept, call, tool, params, lambda handle: self._remote(job, handle))

        self._begin(record, call, work, tool)
        return task

    def _begin(
        self, record: JobRecord, call: PendingCall, work: Callable[[Job], Any], tool: ListedTool | None
    ) -> Job:
        job = Job(record, call)
        self._running[record.task.id] = job
        job.task = asyncio.create_task(self._run(job, work, tool), name=f"task {record.task.id}")
        return job

    def _remote(self, job: Job, handle: RemoteTask) -> None:
        job.record.handle = handle
        job.record.task.remote = handle.id
        self._files.save(job.record)

    async def _run(self, job: Job, work: Callable[[Job], Any], tool: ListedTool | None) -> None:
        record, task = job.record, job.record.task
        began = time.monotonic()
        listening = asyncio.create_task(self._listen(job))
        try:
            with self._busy():
                result = await work(job)
                last = outcome(tool, result, began)
                await asyncio.to_thread(self._files.save_result, task.id, result)
                task.status, task.is_error = "completed", last.is_error
                task.result_bytes, record.schema_error = len(result), last.schema_error
                record.ms = last.ms
        except asyncio.CancelledError:
            if job.cancelled:
                task.status, task.error = "cancelled", "it was cancelled; its outcome is unknown"
            elif not record.handle:
                task.status, task.error = "unknown", "the daemon was stopped in the call"
        except CallError as error:
            unknown = isinstance(error, MaybeRan | TimedOut)
            task.status = "unknown" if unknown else "failed"
            record.error, record.fields = type(error).__name__, msgspec.json.encode(error.parameters).decode()
            task.error = str(getattr(error, "reason", "") or getattr(error, "message", "") or error)
        except OSError as error:
            task.status, task.error = "unknown", f"its result could not be kept: {error.strerror}"
        except Exception as error:
            logger.exception("task %s", task.id)
            task.status, task.error = "unknown", f"the daemon failed in the call: {type(error).__name__}"
        finally:
            listening.cancel()
            if task.status not in RUNNING:
                task.ended_at = time.time()
            task.questions = []
            del self._running[task.id]
            try:
                self._files.save(record)
            except OSError as error:
                logger.warning("task %s could not be kept: %s", task.id, error)
            job.tell()

    async def _listen(self, job: Job) -> None:
        while True:
            event = await job.call.told()
            if event.text and event.kind in ("progress", "note"):
                job.record.task.message = event.text
            job.tell()

    async def _save(self, record: JobRecord) -> None:
        await asyncio.to_thread(self._files.save, record)

    # --- requests of clients -----------------------------------------------------------------------

    async def follow(
        self, task_id: str, kept: ManagedServer | None, timeout_s: float | None
    ) -> AsyncGenerator[Event, None]:
        """Yield a task's progress and its end.

        Args:
            task_id: whose.
            kept: its server, where the caller gave its definition.
            timeout_s: how long it is waited for; 0 for not at all, None for as long as it takes.

        Raises:
            NoSuchTask, NotFinished, and what its call came to.
        """
        record = self._records[self.state(task_id).id]
        self._resume(record, kept)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        said = ""
        asked: set[str] = set()
        while (job := self._running.get(task_id)) is not None:
            changed = job.changed
            if record.task.message != said:
                said = record.task.message
                yield Event(kind="progress", text=said)
            for number in sorted(job.call.questions - asked):
                asked.add(number)
                text = f"{task_id} waits for an answer: {NAME} answer {number} ... (see {NAME} questions)"
                yield Event(kind="note", level="warning", text=text)
            left_s = None if until is None else until - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise NotFinished(id=task_id, seconds=timeout_s or 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await changed.wait()
        for event in await self._end_of(record):
            yield event

    async def _end_of(self, record: JobRecord) -> list[Event]:
        task = record.task
        if task.status == "completed":
            result = await asyncio.to_thread(self._files.result, task.id)
            if result is None:
                raise TaskEnded(id=task.id, status="unknown", reason="its result is not on the disk any more")
            last = outcome(None, result, 0.0)
            last.ms, last.schema_error = record.ms, record.schema_error
            last.plain = last.plain and not record.schema_error
            return ended(result, last)
        kind = getattr(interfaces, record.error, None) if record.error else None
        if kind is not None:
            raise kind(**msgspec.json.decode(record.fields))
        if task.status in RUNNING:
            raise TaskEnded(
                id=task.id, status="unknown", reason="its server is in no configuration that was given"
            )
        raise TaskEnded(id=task.id, status=task.status, reason=task.error)

    def _resume(self, record: JobRecord, kept: ManagedServer | None) -> None:
        """Follow a server's own task again that a daemon before this one has begun."""
        task, handle = record.task, record.handle
        if task.status not in RUNNING or task.id in self._running or handle is None or kept is None:
            return
        call = PendingCall(task.tool, kept.server.timeout_s, ANSWERED)
        call.task = task.id

        async def work(_job: Job) -> bytes:
            return await remote.followed(kept, call, handle)

        self._begin(record, call, work, None)

    async def cancel(self, task_id: str, kept: ManagedServer | None) -> TaskState:
        """Cancel a task, and return its state afterwards.

        Raises:
            NoSuchTask: there is none of this id.
        """
        record = self._records[self.state(task_id).id]
        self._resume(record, kept)
        job = self._running.get(task_id)
        if job is not None and job.task is not None:
            job.cancelled = True
            job.task.cancel()
            await asyncio.wait((job.task,))
        return self.state(task_id)

    async def close(self) -> None:
        """End all that are under way; they are of unknown outcome then."""
        tasks = [job.task for job in self._running.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

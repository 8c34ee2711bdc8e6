"""rhea as a service: jobs from other processes, a few at the same time.

Owns a job's way: a place, its inputs from the store, the command, its outputs into the store.  What
a job comes to is decided by `job`; directories are `scratch`'s, processes `commands`'.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from daemonry.errors import CallFailed
from vx import depfile
from vx.cass_client import CassClient, StoreGone
from vx.interfaces import (
    Blob,
    BlobMissing,
    Done,
    Input,
    InputsMissing,
    Job,
    JobEvent,
    JobInvalid,
    Output,
    OutputsMissing,
    Rhea,
    RheaStats,
    RunnerLost,
    ScratchFull,
    Started,
    StoreFull,
    StoreLost,
    ToolMissing,
    is_sendable,
)
from vx.rhea import job as jobs
from vx.rhea.commands import CommandEnd, CommandRunner, Lost, NotStarted, RunningCommand
from vx.rhea.job import JobPlan
from vx.rhea.scratch import OutputUnsound, Scratch, Scratches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vx.rhea.remote_jobs import RemoteJobs  # gRPC: only where a remote is set

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

# Copying inputs and removing directories; more would wait for the same disk.
MAX_THREADS: Final = 4
# Inputs whose descriptors are held at the same time, for one job.
INPUTS_AT_ONCE: Final = 64
# A dependency file lists the files that were read; the largest of glibc's has 100 KiB.
MAX_DEP_FILE_BYTES: Final = 16 << 20
# Between a command's end and its pipes': all who could hold them have been killed.
PIPE_END_S: Final = 2.0


class RheaService(Rhea):
    """The interface's implementation.

    Args:
        cass: the store.
        scratches: where jobs run.
        limit: how many jobs run at the same time.
        sandbox_off: why jobs are not watched; "" where they are.
    """

    def __init__(
        self, cass: CassClient, scratches: Scratches, limit: int, sandbox_off: str = "not asked for"
    ) -> None:
        self.sandbox_off = sandbox_off
        self.cass = cass
        self.scratches = scratches
        self.commands = CommandRunner()
        self._limit = limit
        self._places = asyncio.Semaphore(limit)
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="scratch")
        self._performing: dict[_Performance, None] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._waiting = 0
        self._finished = 0
        self._failed = 0
        self._cancelled = 0
        self._remote: RemoteJobs | None = None

    def use_remote(self, remote: RemoteJobs) -> None:
        """Have jobs run on another machine's workers."""
        self._remote = remote

    async def run(self, job: Job) -> AsyncIterator[JobEvent]:
        """Run a job."""
        plan = jobs.plan(job)
        not_there = ""
        if self._remote is not None and self._remote.takes(job, is_full=self._places.locked()):
            from vx.rhea.remote_jobs import NotThere

            try:
                yield JobEvent(started=Started(0, 0))
                done = await self._remote.run(plan)
            except NotThere as error:
                not_there = error.reason
            else:
                self._finished += 1
                if done.stderr is not None:
                    text = (await self.cass.read(done.stderr.digest)).decode("utf-8", "replace")
                    yield JobEvent(output=Output("stderr", text.replace("\0", "\ufffd")))
                yield JobEvent(done=done)
                return
        asked_s = time.monotonic()
        await self._take_place()
        one = _Performance(self, plan)
        self._performing[one] = None
        self._idle.clear()
        try:
            pid = await one.start()
            yield JobEvent(started=Started(pid, round((time.monotonic() - asked_s) * 1000)))
            while (outputs := await one.outputs()) is not None:
                for output in outputs:
                    yield JobEvent(output=output)
            done = await one.finish()
            self._count(one, ok=done.exit_code == 0)
            yield JobEvent(done=msgspec.structs.replace(done, not_there=not_there))
        except Exception:
            self._count(one, ok=False)
            raise
        finally:
            # To its end, also when this is cancelled once more: the command is killed, the directory goes.
            await asyncio.shield(asyncio.ensure_future(self._leave(one)))

    async def stats(self) -> RheaStats:
        """Return rhea in numbers."""
        return RheaStats(
            limit=self._limit,
            running=len(self._performing),
            waiting=self._waiting,
            finished=self._finished,
            failed=self._failed,
            cancelled=self._cancelled,
            titles=[one.plan.title for one in self._performing],
            sandbox_off=self.sandbox_off,
        )

    # --- the daemon's -----------------------------------------------------------------------------

    def fields(self) -> dict[str, Any]:
        """Return the further fields of STATUS."""
        return {
            "jobs_limit": self._limit,
            "jobs_running": len(self._performing),
            "jobs_waiting": self._waiting,
            "jobs_finished": self._finished,
            "jobs_failed": self._failed,
            "jobs_cancelled": self._cancelled,
            "sandbox": f"off: {self.sandbox_off}" if self.sandbox_off else "on",
            "jobs": [one.plan.title for one in self._performing],
            **({"remote": self._remote.url, "jobs_remote": self._remote.done} if self._remote else {}),
        }

    async def idle(self) -> None:
        """Return when no job runs."""
        await self._idle.wait()

    def close(self) -> None:
        """Kill what still runs and remove the scratch directories."""
        if self._remote is not None:
            self._remote.close()
        self.commands.close()
        self.cass.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.scratches.close()

    async def in_thread(
        self, function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Value:
        """Do what blocks in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))

    async def _take_place(self) -> None:
        self._waiting += 1
        try:
            await self._places.acquire()
        except asyncio.CancelledError:
            self._cancelled += 1
            raise
        finally:
            self._waiting -= 1

    async def _leave(self, one: _Performance) -> None:
        try:
            await one.close()
        finally:
            self._places.release()
            del self._performing[one]
            self._cancelled += not one.counted
            if not self._performing:
                self._idle.set()

    def _count(self, one: _Performance, *, ok: bool) -> None:
        if not one.counted:
            one.counted = True
            self._finished += ok
            self._failed += not ok


class _Performance:
    """One job under way.

    Attributes:
        plan: the job's.
        counted: whether it is among the finished or the failed.
    """

    def __init__(self, service: RheaService, plan: JobPlan) -> None:
        self.plan = plan
        self.counted = False
        self._service = service
        self._scratch: Scratch | None = None
        self._command: RunningCommand | None = None
        self._began_s = 0.0
        self._timed_out = False

    async def start(self) -> int:
        """Have the command run; return its pid.

        Raises:
            InputsMissing, StoreLost, ScratchFull, ToolMissing, RunnerLost, JobInvalid.
        """
        scratch = await self._make_scratch()
        for begin in range(0, len(self.plan.job.inputs), INPUTS_AT_ONCE):
            await self._put(scratch, self.plan.job.inputs[begin : begin + INPUTS_AT_ONCE])
        words = self.plan.command(scratch.root)
        environment = self.plan.environment(scratch.root, scratch.tmp)
        directory = f"{scratch.root}/{self.plan.job.cwd}".rstrip("/")
        try:
            watched = None if self._service.sandbox_off else self._watched(scratch)
            self._command = await self._service.commands.run(words, environment, directory, watched)
        except NotStarted as error:
            if error.errno == errno.E2BIG:
                raise JobInvalid(reason="the command line is too long for this system") from None
            raise ToolMissing(program=self.plan.job.command[0], reason=str(error)) from None
        except Lost as error:
            raise RunnerLost(reason=str(error)) from None
        self._began_s = time.monotonic()
        return self._command.pid

    async def outputs(self) -> list[Output] | None:
        """Return the command's output since the last time; None when it is over and all was returned."""
        command = self._running()
        while not (told := _told_by(command)) and not command.is_over:
            command.changed.clear()
            await self._wait_for_change(command)
        return told or None

    async def finish(self) -> Done:
        """Keep what the command made, and return how it ended.

        Raises:
            RunnerLost, OutputsMissing, JobInvalid, StoreLost, StoreFull.
        """
        command, scratch = self._running(), self._scratch
        assert scratch is not None
        wall_ms = round((time.monotonic() - self._began_s) * 1000)
        try:
            ended: CommandEnd = command.ended.result()
        except Lost as error:
            raise RunnerLost(reason=str(error)) from None
        outputs: list[Blob] = []
        if ended.status == 0 and not self._timed_out:
            outputs = await self._keep_outputs(scratch)
        stdout = await self._keep_stream("stdout", bytes(command.out.kept))
        stderr = await self._keep_stream("stderr", bytes(command.err.kept))
        read = await self._service.in_thread(self._read, scratch)
        reads = jobs.reads(read.paths, scratch.root, self.plan.job.cwd, scratch.tmp)
        trace = await self._service.in_thread(scratch.traced)
        return Done(
            exit_code=ended.status,
            timed_out=self._timed_out,
            outputs=outputs,
            stdout=stdout,
            stderr=stderr,
            cut_bytes=command.out.cut_bytes + command.err.cut_bytes,
            reads=reads,
            undeclared=[path for path in reads if path.startswith("/")],
            opened=trace.opened if trace is not None else None,
            opened_inside=_sendable(trace.inside) if trace is not None else [],
            opened_folders=_sendable(trace.folders) if trace is not None else [],
            sought=_sendable(trace.sought) if trace is not None else [],
            refused=_sendable(trace.refused) if trace is not None else [],
            env_reads=read.env,
            wall_ms=wall_ms,
            cpu_ms=ended.cpu_ms,
            max_rss_kib=ended.rss_kib,
            root=scratch.root,
        )

    def _watched(self, scratch: Scratch) -> tuple[str, list[str], bool, list[str]]:
        writable = [scratch.tmp, *(f"{scratch.root}/{one}".rstrip("/") for one in self.plan.writable)]
        return scratch.trace, [scratch.root, scratch.tmp], self.plan.job.watch_looks, writable

    async def close(self) -> None:
        """Kill the command if it runs, and remove the directory."""
        if self._command is not None:
            await self._service.commands.end(self._command)
        if self._scratch is not None:
            await self._service.in_thread(self._scratch.remove)

    # --- beginning --------------------------------------------------------------------------------

    async def _make_scratch(self) -> Scratch:
        try:
            self._scratch = await self._service.in_thread(self._service.scratches.make, self.plan.folders)
        except OSError as error:
            raise self._no_room(error) from error
        return self._scratch

    async def _put(self, scratch: Scratch, inputs: Sequence[Input]) -> None:
        try:
            files = await self._service.cass.get([one.digest for one in inputs])
        except BlobMissing as error:
            raise InputsMissing(digests=await self._all_missing(error.digests)) from None
        except (StoreGone, CallFailed) as error:
            raise self._lost(error) from error
        try:
            await self._service.in_thread(
                scratch.put,
                inputs,
                [file.fileno() for file in files],
                may_write=self.plan.job.tool == "step",
                writable=self.plan.job.marks,
            )
        except OSError as error:
            raise self._no_room(error) from error
        finally:
            for file in files:
                file.close()

    async def _all_missing(self, known: list[str]) -> list[str]:
        """Return every input that the store does not have, so that the caller puts all of them at once."""
        try:
            missing = await self._service.cass.missing(one.digest for one in self.plan.job.inputs)
        except (StoreGone, CallFailed):
            return known
        return list(dict.fromkeys([*known, *missing.digests]))

    # --- while it runs ----------------------------------------------------------------------------

    def _running(self) -> RunningCommand:
        assert self._command is not None
        return self._command

    async def _wait_for_change(self, command: RunningCommand) -> None:
        if command.ended.done() or self._timed_out:
            left_s = PIPE_END_S
        else:
            left_s = self._began_s + self.plan.timeout_s - time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                await command.changed.wait()
        except TimeoutError:
            if command.ended.done():
                command.close_pipes()  # somebody out of the runner's reach holds them
            else:
                self._timed_out = True
                await self._service.commands.kill(command)

    # --- ending -----------------------------------------------------------------------------------

    async def _keep_outputs(self, scratch: Scratch) -> list[Blob]:
        try:
            found, absent = await self._service.in_thread(self._open_outputs, scratch)
        except OutputUnsound as error:
            raise JobInvalid(reason=str(error)) from None
        except OSError as error:
            raise self._no_room(error) from error
        try:
            if absent:
                raise OutputsMissing(names=absent)
            kept = await self._store(list(found.values()))
            return [_blob(name, digest, fd) for (name, fd), digest in zip(found.items(), kept, strict=True)]
        finally:
            for fd in found.values():
                os.close(fd)

    def _open_outputs(self, scratch: Scratch) -> tuple[dict[str, int], list[str]]:
        names = list(self.plan.job.outputs)
        if self.plan.job.marks and (path := scratch.laid_out.changed(self.plan.job.output_dirs)):
            raise OutputUnsound(f"it changed {path!r}, and a build script may write to OUT_DIR alone")
        for folder in self.plan.job.output_dirs:
            if self.plan.job.marks:
                scratch.mark(folder)
            names += scratch.files_below(folder)
        return scratch.open_outputs(dict.fromkeys(names))

    async def _keep_stream(self, name: str, data: bytes) -> Blob | None:
        if not data:
            return None
        try:
            return Blob(name, await self._service.cass.put_bytes(data), len(data))
        except StoreFull:
            raise
        except (StoreGone, CallFailed) as error:
            raise self._lost(error) from error

    async def _store(self, fds: list[int]) -> list[str]:
        try:
            return await self._service.cass.put_fds(fds)
        except StoreFull:
            raise
        except (StoreGone, CallFailed) as error:
            raise self._lost(error) from error

    def _read(self, scratch: Scratch) -> depfile.Read:
        paths: list[str] = []
        env: dict[str, str | None] = {}
        for name in self.plan.job.dep_files:
            read = depfile.parse(scratch.read_text(name, MAX_DEP_FILE_BYTES))
            paths += read.paths
            env |= read.env
        return depfile.Read(paths, env)

    def _lost(self, error: Exception) -> StoreLost:
        reason = error.reason if isinstance(error, StoreGone) else str(error)
        return StoreLost(endpoint=str(self._service.cass.endpoint), reason=reason)

    def _no_room(self, error: OSError) -> ScratchFull:
        path = error.filename or self._service.scratches.path
        return ScratchFull(path=os.fsdecode(path), reason=error.strerror or str(error))


def _sendable(paths: Iterable[str]) -> list[str]:
    return [one for one in paths if is_sendable(one)]


def _told_by(command: RunningCommand) -> list[Output]:
    told = []
    for stream, captured in (("stdout", command.out), ("stderr", command.err)):
        text = captured.take_text()
        if text:
            told.append(Output(stream, text))  # type: ignore[arg-type]
    return told


def _blob(name: str, digest: str, fd: int) -> Blob:
    found = os.fstat(fd)
    return Blob(name, digest, found.st_size, bool(found.st_mode & 0o111))

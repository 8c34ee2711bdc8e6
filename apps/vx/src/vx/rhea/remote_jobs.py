"""Jobs that run on the workers of another machine.

Owns a job's way there and back: its inputs to the server's storage, the Action, the outputs into the store,
and whether the result is one that this machine would have made: the files outside its directory that the
compiler read there are the same here.  Whatever is otherwise makes the job run here (`NotThere`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from vx import depfile, digests
from vx.cass_client import CassClient, StoreGone
from vx.interfaces import Blob, Done, InputsMissing, Job, RemoteBlob, RemoteLost
from vx.remote import actions, server
from vx.remote.actions import RemoteAction
from vx.remote.digest_functions import RemoteDigest
from vx.remote.execution import Execution, LivenessProbe
from vx.remote.failures import RemoteFailed, RemotePaused
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.server import Server, digest_of
from vx.remote.settings import RemoteSettings
from vx.reproducible import JOB_ENVIRONMENT
from vx.rhea import job as jobs
from vx.rhea.job import JobPlan

logger = logging.getLogger("vx.rhea")

Value = TypeVar("Value")

# Jobs that wait for workers at the same time, each a thread that sleeps.
MAX_JOBS: Final = 64
MAX_OUTPUT_BYTES: Final = 8 << 20
# Beyond the job's own time: a farm's queue.
_QUEUE_S: Final = 600.0
_IDENTITY_S: Final = 30.0


class NotThere(Exception):
    """A job has to run here.

    Attributes:
        reason: why, for people; "" where there is nothing to tell.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class RemoteJobs:
    """The workers that run jobs.

    Args:
        settings: where they are.
        cass: the store.
    """

    def __init__(self, settings: RemoteSettings, cass: CassClient) -> None:
        self.url = settings.executor
        self.done = 0
        self._settings = settings
        self._cass = cass
        self._executor = Server(settings.executor, settings)
        self._storage = Server(settings.storage, settings)
        self._watch = LivenessProbe(self._executor)
        self._threads = ThreadPoolExecutor(MAX_JOBS, thread_name_prefix="remote")
        self._compilers: dict[tuple[object, ...], str] = {}
        self._asking = threading.Lock()
        self._digests: dict[tuple[object, ...], str] = {}

    def takes(self, job: Job, *, is_full: bool) -> bool:
        """Whether a job is to run there.

        Args:
            job: it.
            is_full: whether it would have to wait for a place here.
        """
        return actions.goes_there(job) and (self._settings.when == "miss" or is_full)

    async def run(self, plan: JobPlan) -> Done:
        """Run a job there.

        Raises:
            NotThere: run it here; nothing of it is kept.
            InputsMissing: the store does not have its inputs.
        """
        failures = self._executor.failures
        try:
            failures.check(time.monotonic())
            done = await self._run(plan)
        except RemotePaused:
            raise NotThere from None  # those that failed have told
        except RemoteFailed as error:
            failures.failed(error.reason, time.monotonic())
            raise NotThere(error.reason) from None
        except RemoteLost as error:
            raise NotThere(error.reason) from None
        except StoreGone as error:
            raise NotThere(f"the store is gone: {error.reason}") from None
        failures.succeeded()
        self.done += 1
        return done

    def close(self) -> None:
        """Give up what runs."""
        self._executor.rpc.close()
        self._storage.rpc.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, plan: JobPlan) -> Done:
        started_s = time.monotonic()
        names = await self._push(plan.job)
        action = await self._in_thread(partial(self._prepare, plan, names))
        for skip_cache in (False, True):
            result = await self._execute(action, plan.timeout_s, skip_cache=skip_cache)
            if result.exit_code == actions.OTHER_COMPILER:
                raise NotThere(f"its workers have another {os.path.basename(plan.job.command[0])}")
            if result.exit_code:
                raise NotThere  # what does not compile there is tried here, and told from here
            try:
                return await self._taken(plan, result, started_s)
            except RemoteLost as error:
                if skip_cache:
                    raise
                logger.info("outputs are not there any more, and are made again: %s", error.reason)
        raise AssertionError("the second try returns or raises")

    async def _push(self, job: Job) -> dict[str, RemoteDigest]:
        wanted = list(dict.fromkeys(one.digest for one in job.inputs))
        missing = await self._cass.missing(wanted)
        if missing.digests:
            raise InputsMissing(digests=missing.digests)
        names = dict(zip(wanted, await self._cass.push(wanted), strict=True))
        return {one.path: RemoteDigest(names[one.digest].hash, names[one.digest].size) for one in job.inputs}

    def _prepare(self, plan: JobPlan, names: dict[str, RemoteDigest]) -> RemoteAction:
        function = self._storage.capabilities().function
        compiler = self._compiler(plan.job)
        platform = self._settings.platform
        action = actions.action(plan.job, plan.folders, names, compiler, platform, plan.timeout_s, function)
        self._storage.put({digest: server.of_bytes(data) for digest, data in action.blobs.items()})
        return action

    async def _execute(
        self, action: RemoteAction, timeout_s: float, *, skip_cache: bool
    ) -> reapi.ActionResult:
        execution = Execution(self._executor, self._watch)
        run = partial(execution.run, action.digest, timeout_s + _QUEUE_S, skip_cache=skip_cache)
        try:
            return (await self._in_thread(run)).result
        except asyncio.CancelledError:
            execution.cancel()
            raise

    async def _taken(self, plan: JobPlan, result: reapi.ActionResult, started_s: float) -> Done:
        job = plan.job
        found = {one.path: one for one in result.output_files}
        wanted = [*job.outputs, *job.dep_files, actions.SEEN]
        absent = [one for one in wanted if one not in found]
        if absent:
            raise NotThere(f"its worker made no {absent[0]}")
        told = [digest_of(found[one].digest) for one in wanted]
        kept = await self._cass.pull([RemoteBlob(*one) for one in told])
        ours = dict(zip(wanted, kept, strict=True))
        seen = actions.seen(await self._text(ours[actions.SEEN], told[-1].size))
        read = await self._read(job, ours)
        reads = jobs.reads(read.paths, seen.root, job.cwd, f"{seen.root}/{actions.TMP}")
        outside = [path for path in reads if path.startswith("/")]
        await self._in_thread(partial(self._check_same, outside, seen.files))
        streams = [
            await self._stream("stdout", result.stdout_raw, result.stdout_digest),
            await self._stream("stderr", result.stderr_raw, result.stderr_digest),
        ]
        return Done(
            exit_code=0,
            timed_out=False,
            outputs=[
                Blob(one, ours[one], found[one].digest.size_bytes, found[one].is_executable)
                for one in job.outputs
            ],
            stdout=streams[0],
            stderr=streams[1],
            cut_bytes=0,
            reads=reads,
            undeclared=outside,
            env_reads=read.env,
            wall_ms=round((time.monotonic() - started_s) * 1000),
            cpu_ms=0,
            max_rss_kib=0,
            root=seen.root,
            remote=self.url,
        )

    async def _read(self, job: Job, ours: dict[str, str]) -> depfile.Read:
        paths: list[str] = []
        env: dict[str, str | None] = {}
        for name in job.dep_files:
            text = (await self._cass.read(ours[name])).decode("utf-8", "surrogateescape")
            one = depfile.parse(text)
            paths += one.paths
            env |= one.env
        return depfile.Read(paths, env)

    async def _text(self, digest: str, size: int) -> bytes:
        if size > actions.MAX_SEEN_BYTES:
            raise RemoteFailed("a worker's list of files is too long")
        return await self._cass.read(digest)

    async def _stream(self, name: str, raw: bytes, digest: reapi.Digest) -> Blob | None:
        if not raw and digest.size_bytes:
            read = partial(self._storage.read, digest_of(digest), MAX_OUTPUT_BYTES)
            raw = await self._in_thread(read)
        if not raw:
            return None
        return Blob(name, await self._cass.put_bytes(raw), len(raw))

    # --- this machine and that --------------------------------------------------------------------

    def _compiler(self, job: Job) -> str:
        """Return what tells this machine's compiler from others.

        Raises:
            NotThere: it cannot be found out.
        """
        path = os.path.realpath(job.command[0])
        with self._asking:  # the first job asks, and the others of a build wait for its answer
            try:
                found = os.stat(path)
            except OSError as error:
                raise NotThere(f"{path}: {error.strerror}") from None
            key = (job.command[0], job.tool, path, found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._compilers.get(key)
            if known is None:
                known = self._compilers[key] = _identity(job)
        if not known:
            raise NotThere(f"{path} did not say which compiler it is")
        return known

    def _check_same(self, paths: list[str], there: dict[str, str]) -> None:
        """Return if files that a worker's compiler read are the same here.

        Raises:
            NotThere: one is not.
        """
        for path in paths:
            ours = self._sha256(path)
            if ours is None or there.get(path) != ours:
                raise NotThere(f"its workers have another {path}")

    def _sha256(self, path: str) -> str | None:
        try:
            found = os.stat(path)
            key = (path, found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._digests.get(key)
            if known is None:
                with open(digests.open_file(path), "rb") as file:
                    known = self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        return known

    async def _in_thread(self, function: Callable[[], Value]) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function)


def _identity(job: Job) -> str:
    """Return what tells this machine's compiler from others; "" where it does not answer."""
    asked = ["/bin/sh", "-c", actions.identity_script(job)]
    try:
        running = subprocess.Popen(
            asked,
            env=dict(JOB_ENVIRONMENT),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return ""
    with running:
        try:
            told, _ = running.communicate(timeout=_IDENTITY_S)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # the compiler is the shell's child
            return ""
    return hashlib.sha256(told).hexdigest()

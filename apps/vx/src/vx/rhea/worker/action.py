"""One Action of a lease: its inputs from the farm's storage, its command, its outputs back.

Owns that way, and the error that the farm gets where it fails: the Action's own (nobody should try again),
or one of this machine (another may).  The command runs as rhea's jobs do: in a scratch directory, watched and
confined where the kernel can, with bounded output.  It and all that it started are dead before its outputs
are looked at, and when this is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from vx.interfaces import Input
from vx.remote.digest_functions import RemoteDigest
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.server import BlobAbsent, Server, digest_of
from vx.reproducible import JOB_ENVIRONMENT
from vx.rhea.commands import CommandRunner, Lost, NotStarted, RunningCommand
from vx.rhea.job import JOB_TIMEOUT_S
from vx.rhea.scratch import Scratch, Scratches
from vx.rhea.worker import outputs
from vx.rhea.worker.blob_files import BlobFiles
from vx.rhea.worker.input_tree import InputTree, TreeRefused, input_tree, relative

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage

Value = TypeVar("Value")
Message = TypeVar("Message", reapi.Action, reapi.Command)

# gRPC's numbers.  UNAVAILABLE has a farm try the Action again, elsewhere.
OK: Final = 0
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
FAILED_PRECONDITION: Final = 9
UNAVAILABLE: Final = 14

# Descriptors held at the same time for one Action, as rhea's jobs.
_INPUTS_AT_ONCE: Final = 64
# Between a command's end and its pipes: all who could hold them have been killed.
_PIPE_END_S: Final = 2.0


class LeaseEnd(NamedTuple):
    """How a lease ended.

    Attributes:
        result: of the command; None where none ran to its end.
        code: gRPC's.
        reason: in one line; "" where all is well.
    """

    result: reapi.ActionResult | None
    code: int = OK
    reason: str = ""


class _Refused(Exception):
    """An Action cannot be run; args: a code and the reason."""


class ActionRunner:
    """Runs Actions in scratch directories.

    Args:
        server: the farm's storage.
        name: this worker's, for the results.
        scratches: where commands run.
        sandbox_off: why they are not watched; "" where they are.
        places: how many run at the same time.
    """

    def __init__(
        self, server: Server, name: str, scratches: Scratches, sandbox_off: str, places: int
    ) -> None:
        self._server = server
        self._name = name
        self._scratches = scratches
        self._sandbox_off = sandbox_off
        self._blobs = BlobFiles(f"{scratches.path}/blobs", server)
        self._threads = ThreadPoolExecutor(2 * places, thread_name_prefix="action")
        self.commands = CommandRunner()

    async def run(self, payload: AnyMessage) -> LeaseEnd:
        """Run the Action of a lease.

        Args:
            payload: the Action, or its digest.
        """
        try:
            return await self._run(payload)
        except _Refused as error:
            code, reason = error.args
            return LeaseEnd(None, code, reason)
        except TreeRefused as error:
            return LeaseEnd(None, INVALID_ARGUMENT, str(error))
        except BlobAbsent as error:
            return LeaseEnd(None, FAILED_PRECONDITION, error.reason)
        except (RemoteFailed, Lost, OSError) as error:
            return LeaseEnd(None, UNAVAILABLE, f"{self._name}: {error}")

    def close(self) -> None:
        """Kill all commands, and remove their directories."""
        self.commands.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._scratches.close()

    async def _run(self, payload: AnyMessage) -> LeaseEnd:
        times = reapi.ExecutedActionMetadata(worker=self._name)
        times.worker_start_timestamp.GetCurrentTime()
        times.input_fetch_start_timestamp.GetCurrentTime()
        action = await self._in_thread(partial(self._action, payload))
        command = await self._in_thread(partial(self._message, action.command_digest, reapi.Command))
        paths = outputs.wanted(command)
        read = self._blobs.read
        tree = await self._in_thread(partial(input_tree, _named(action.input_root_digest), read))
        cwd = relative(command.working_directory, "working directory")
        scratch = await self._in_thread(partial(self._scratches.make, _folders(tree, cwd, paths)))
        try:
            await self._put(scratch, tree)
            times.input_fetch_completed_timestamp.GetCurrentTime()
            return await self._perform(scratch, action, command, (cwd, paths), times)
        finally:
            await asyncio.shield(asyncio.ensure_future(self._in_thread(scratch.remove)))

    async def _perform(
        self,
        scratch: Scratch,
        action: reapi.Action,
        command: reapi.Command,
        places: tuple[str, list[str]],
        times: reapi.ExecutedActionMetadata,
    ) -> LeaseEnd:
        folder = f"{scratch.root}/{places[0]}".rstrip("/")
        timeout_s = action.timeout.seconds + action.timeout.nanos / 1e9
        timeout_s = min(timeout_s, JOB_TIMEOUT_S) if timeout_s > 0 else JOB_TIMEOUT_S
        times.execution_start_timestamp.GetCurrentTime()
        running = await self._start(scratch, command, folder)
        try:
            timed_out = await self._ended(running, timeout_s)
            status = running.ended.result().status
        finally:
            await asyncio.shield(asyncio.ensure_future(self.commands.end(running)))
        times.execution_completed_timestamp.GetCurrentTime()
        times.output_upload_start_timestamp.GetCurrentTime()
        found = await self._in_thread(partial(self._collect, scratch.root, folder, places[1], running))
        times.output_upload_completed_timestamp.GetCurrentTime()
        times.worker_completed_timestamp.GetCurrentTime()
        # A signal's number as a shell reports it: the field is that of a process's exit.
        found.exit_code = status if status >= 0 else 128 - status
        found.execution_metadata.CopyFrom(times)
        if timed_out:
            return LeaseEnd(found, DEADLINE_EXCEEDED, f"not done after {timeout_s:g} s")
        return LeaseEnd(found)

    # --- before -----------------------------------------------------------------------------------

    def _action(self, payload: AnyMessage) -> reapi.Action:
        try:
            if payload.TypeName() == reapi.Action.DESCRIPTOR.full_name:
                return reapi.Action.FromString(payload.value)
            if payload.TypeName() == reapi.Digest.DESCRIPTOR.full_name:
                return self._message(reapi.Digest.FromString(payload.value), reapi.Action)
        except DecodeError:
            pass
        raise _Refused(INVALID_ARGUMENT, "the lease has neither an Action nor its digest")

    def _message(self, digest: reapi.Digest, kind: Callable[[], Message]) -> Message:
        named = _named(digest)
        made = kind()
        try:
            made.MergeFromString(self._blobs.read([named])[named] if named.size else b"")
        except DecodeError:
            raise _Refused(INVALID_ARGUMENT, "the Action cannot be read") from None
        return made

    async def _put(self, scratch: Scratch, tree: InputTree) -> None:
        for begin in range(0, len(tree.files), _INPUTS_AT_ONCE):
            await self._in_thread(partial(self._put_some, scratch, tree, begin))
        await self._in_thread(partial(_link, scratch.root, tree))

    def _put_some(self, scratch: Scratch, tree: InputTree, begin: int) -> None:
        files = tree.files[begin : begin + _INPUTS_AT_ONCE]
        fds = self._blobs.open(one.digest for one in files)
        try:
            inputs = [Input(one.path, one.digest.hash, one.executable) for one in files]
            # Copies: through a link a command would write into what other Actions are given.
            scratch.put(inputs, [fds[one.digest] for one in files], may_write=True)
        finally:
            for fd in fds.values():
                os.close(fd)

    async def _start(self, scratch: Scratch, command: reapi.Command, folder: str) -> RunningCommand:
        declared = {one.name: one.value for one in command.environment_variables}
        environment = {**JOB_ENVIRONMENT, "HOME": scratch.tmp, "TMPDIR": scratch.tmp, **declared}
        words = list(command.arguments)
        if not words or not words[0]:
            raise _Refused(INVALID_ARGUMENT, "the Action has no command")
        if any("\0" in word for word in (*words, *environment, *environment.values())) or any(
            not name or "=" in name for name in declared
        ):
            raise _Refused(INVALID_ARGUMENT, "the Action's command has a word that no system takes")
        if "/" not in words[0]:
            words[0] = shutil.which(words[0], path=environment["PATH"]) or words[0]
        inside = [scratch.root, scratch.tmp]
        watched = None if self._sandbox_off else (scratch.trace, inside, False, inside)
        try:
            return await self.commands.run(words, environment, folder, watched)
        except NotStarted as error:
            reason = f"{command.arguments[0][:200]!r} cannot be run: {error}"
            raise _Refused(INVALID_ARGUMENT, reason) from None

    # --- after ------------------------------------------------------------------------------------

    async def _ended(self, running: RunningCommand, timeout_s: float) -> bool:
        """Return when a command is over; whether it was killed because its time was."""
        until_s = time.monotonic() + timeout_s
        timed_out = False
        while not running.is_over:
            running.changed.clear()
            over = running.ended.done()
            try:
                async with asyncio.timeout(_PIPE_END_S if over else until_s - time.monotonic()):
                    await running.changed.wait()
            except TimeoutError:
                if running.ended.done():
                    running.close_pipes()  # somebody out of the runner's reach holds them
                else:
                    timed_out = True
                    await self.commands.kill(running)
        return timed_out

    def _collect(
        self, root: str, folder: str, paths: list[str], running: RunningCommand
    ) -> reapi.ActionResult:
        found = outputs.Outputs(root, self._server.capabilities().function)
        found.collect(folder, paths)
        raw, digest = found.stream(bytes(running.out.kept))
        found.result.stdout_raw = raw
        if digest is not None:
            found.result.stdout_digest.CopyFrom(digest)
        raw, digest = found.stream(bytes(running.err.kept))
        found.result.stderr_raw = raw
        if digest is not None:
            found.result.stderr_digest.CopyFrom(digest)
        if found.blobs:
            self._server.put(found.blobs)
        return found.result

    async def _in_thread(self, function: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _named(digest: reapi.Digest) -> RemoteDigest:
    try:
        return digest_of(digest)
    except RemoteFailed as error:
        raise _Refused(INVALID_ARGUMENT, error.reason) from None


def _folders(tree: InputTree, cwd: str, paths: list[str]) -> list[str]:
    """Return the folders to make: the tree's, and those that the API has a worker make.

    Raises:
        TreeRefused: the working directory is not a folder.
    """
    others = {one.path for one in tree.files} | {path for path, _ in tree.links}
    made = dict.fromkeys(tree.folders)
    parents = [posixpath.dirname(f"{cwd}/{path}".lstrip("/")) for path in paths if path]
    for folder in (cwd, *parents):
        at = ""
        for part in folder.split("/") if folder else ():
            at = f"{at}/{part}".lstrip("/")
            if at in others:  # through a link it would be made elsewhere
                break
            made.setdefault(at)
    if cwd and cwd not in made:
        raise TreeRefused(f"the working directory {cwd[:200]!r} is not a folder")
    return list(made)


def _link(root: str, tree: InputTree) -> None:
    for path, target in tree.links:
        with contextlib.suppress(FileExistsError):
            os.symlink(target, f"{root}/{path}")

"""Commands under way: asked of the runner, watched on rhea's loop.

Owns the runner's process: started when the first command comes, and again after its death; and the
pipes through which commands write.  How commands are forked and killed is the runner's.
"""

from __future__ import annotations

import array
import asyncio
import codecs
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vx.rhea import runner

logger = logging.getLogger("vx.rhea")

# The most that is kept of each of a command's two streams.  A compiler that says more says the same again.
MAX_STREAM_BYTES: Final = 8 << 20
READ_BYTES: Final = 1 << 16
_MAX_MESSAGE_BYTES: Final = 4096
# As a file of its own it would not find `sandbox`; of this package both load nothing else.
_ABOVE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(runner.__file__))))
_RUN: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from vx.rhea.runner import main; main()"
# The runner kills in milliseconds; after this it is taken for stuck, and killed itself.
KILL_TIMEOUT_S: Final = 5.0


class NotStarted(Exception):
    """A command could not be executed.  Attributes: errno."""

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno


class Lost(Exception):
    """The runner died, and the command with it."""


class CommandEnd:
    """How a command ended.

    Attributes:
        status: its exit code, or minus the signal's number.
        cpu_ms: the processor time of it and its children.
        rss_kib: the largest of them.
    """

    __slots__ = ("cpu_ms", "rss_kib", "status")

    def __init__(self, status: int, cpu_ms: int, rss_kib: int) -> None:
        self.status = status
        self.cpu_ms = cpu_ms
        self.rss_kib = rss_kib


class Captured:
    """One of a command's streams: all that is kept of it, and what nobody has taken yet as text.

    Args:
        told: called when there is more, and at the end.

    Attributes:
        kept: the bytes, at most `MAX_STREAM_BYTES`.
        cut_bytes: how many more came.
        ended: whether no more comes.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self.kept = bytearray()
        self.cut_bytes = 0
        self.ended = False
        self._told = told
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._loop = asyncio.get_running_loop()
        self._fd, self._other_end = os.pipe()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._read)

    def take_text(self) -> str:
        """Return what came since the last time, as text without NUL."""
        text, self._text = self._text, ""
        return text

    def give_other_end(self) -> int:
        """Return the end to write to, which is the caller's to close."""
        fd, self._other_end = self._other_end, -1
        return fd

    def close(self) -> None:
        """Read no more.  Twice is not an error."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._other_end >= 0:
            os.close(self._other_end)
            self._other_end = -1
        self.ended = True
        self._told()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        room = MAX_STREAM_BYTES - len(self.kept)
        self.cut_bytes += max(0, len(data) - room)
        self.kept += data[:room]
        self._text += self._decoder.decode(data[:room], final=not data).replace("\0", "\ufffd")
        if data:
            self._told()
        else:
            self.close()


class RunningCommand:
    """A command that runs.

    Attributes:
        pid: of its process, once it has started.
        out: its standard output.
        err: its standard error.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self.changed = asyncio.Event()
        self.out = Captured(self.changed.set)
        self.err = Captured(self.changed.set)
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[CommandEnd] = loop.create_future()

    def heard(self, fields: Mapping[str, Any]) -> None:
        """Take what the runner tells of it."""
        if "pid" in fields:
            self.pid = fields["pid"]
            if not self.started.done():
                self.started.set_result(self.pid)
        elif "errno" in fields:
            self._fail(NotStarted(fields["errno"]))
        elif not self.ended.done():
            self.ended.set_result(CommandEnd(fields["status"], fields["cpu_ms"], fields["rss_kib"]))
        self.changed.set()

    def lost(self) -> None:
        """Take that the runner is gone."""
        self._fail(Lost("the process that runs commands died"))
        self.changed.set()

    def close_pipes(self) -> None:
        """Read no more of its output."""
        self.out.close()
        self.err.close()

    def close(self) -> None:
        """Let go of it."""
        self.close_pipes()
        for future in (self.started, self.ended):
            if not future.cancel() and not future.cancelled():
                future.exception()  # retrieved, so that asyncio does not complain

    @property
    def is_over(self) -> bool:
        """Whether it has ended and all that it wrote was read."""
        return self.ended.done() and self.out.ended and self.err.ended

    def _fail(self, error: Exception) -> None:
        for future in (self.started, self.ended):
            if not future.done():
                future.set_exception(error)


class CommandRunner:
    """Runs commands by way of a runner."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._commands: dict[str, RunningCommand] = {}
        self._number = 0
        self._starting = asyncio.Lock()
        self._restarting: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Have a runner, and nothing that an earlier one has left.

        Raises:
            Lost: it cannot be started.
        """
        async with self._starting:
            if self._control is not None:
                return
            if self._process is not None:
                await asyncio.to_thread(_clear_away, self._process)
                self._process = None
            try:
                self._process, control = _start_runner()
            except OSError as error:
                raise Lost(f"the process that runs commands cannot be started: {error}") from error
            self._control = control
            asyncio.get_running_loop().add_reader(control.fileno(), self._hear)

    async def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        watched: tuple[str, list[str], bool, list[str]] | None = None,
    ) -> RunningCommand:
        """Start a command; it is the caller's to `end`.

        Args:
            words: what to run.
            environment: its variables.
            directory: where it runs.
            watched: the file for its look-ups (`sandbox.Trace`); the directories that are its own, the
                first of them where it runs; whether stat and access count, too; and the directories below
                which alone it may write.  None for a command that is not watched.

        Raises:
            NotStarted: it cannot be executed.
            Lost: the runner died.
        """
        await self.start()
        self._number += 1
        command = RunningCommand(str(self._number))
        self._commands[command.name] = command
        try:
            self._send_run(command, json.dumps([list(words), dict(environment), directory, watched]).encode())
            await asyncio.shield(command.started)
        except BaseException:
            await asyncio.shield(self.end(command))
            raise
        return command

    async def end(self, command: RunningCommand) -> None:
        """Kill a command and all that it has started, if they still run, and let go of it."""
        try:
            if not command.ended.done():
                await self.kill(command)
        finally:
            self._commands.pop(command.name, None)
            command.close()

    def close(self) -> None:
        """Kill all commands, and end the runner."""
        self._lose("rhea ends")
        if self._restarting is not None:
            self._restarting.cancel()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_TIMEOUT_S)

    async def kill(self, command: RunningCommand) -> None:
        """Kill a command and all that it has started; returns when they are gone."""
        if self._control is None:
            return
        with contextlib.suppress(OSError):
            self._control.send(f"kill {command.name}".encode())
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await asyncio.wait((command.ended,))
        except TimeoutError:
            logger.error("the runner does not answer; it is killed, with all commands")
            if self._process is not None:
                self._process.kill()

    def _send_run(self, command: RunningCommand, spec: bytes) -> None:
        assert self._control is not None
        file = os.memfd_create("job", os.MFD_CLOEXEC)
        fds = (command.out.give_other_end(), command.err.give_other_end(), file)
        try:
            with open(file, "wb", closefd=False) as writing:
                writing.write(spec)
            rights = array.array("i", fds).tobytes()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            self._control.sendmsg([f"run {command.name}".encode()], ancillary)
        except OSError as error:
            raise Lost(f"the process that runs commands does not take them: {error.strerror}") from error
        finally:
            for fd in fds:
                os.close(fd)

    def _hear(self) -> None:
        assert self._control is not None
        try:
            message = self._control.recv(_MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._lose("it died")
            self._restarting = asyncio.ensure_future(self._restart())
            return
        fields = json.loads(message)
        command = self._commands.get(fields["id"])
        if command is not None:
            command.heard(fields)

    async def _restart(self) -> None:
        # At once, not with the next command: what the runner has left is to end.
        try:
            await self.start()
        except Lost as error:
            logger.error("%s", error)

    def _lose(self, why: str) -> None:
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._control = None
        if self._commands:
            logger.warning("the runner is gone (%s), and %d commands with it", why, len(self._commands))
        for command in list(self._commands.values()):
            command.lost()


def _start_runner() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _RUN, _ABOVE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return process, ours


def _clear_away(process: subprocess.Popen[bytes]) -> None:
    """Kill a runner that is lost, and the processes that became ours by its death."""
    process.kill()
    process.wait()
    runner.kill_children()


def become_subreaper() -> None:
    """Have what a killed runner leaves become this process's children."""
    runner.become_subreaper()

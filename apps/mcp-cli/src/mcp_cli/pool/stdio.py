"""A server that is a child process: its pipes, its lines, its stderr, its end.

Owns the process from its start to its end, and the cutting of its output into messages.  The SDK gets
streams from here rather than starting the process itself: so the process is owned by the daemon and ends with
it, a result's bytes can be passed on as they came, and a line that is not a message is reported as well.

A line on stdout that is not a JSON object is garbage: it is reported, and the connection goes on.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from typing import Final, Self

from daemonry import Owned, spawn_owned
from mcp_cli.pool import processes
from mcp_cli.pool.results import brief
from mcp_cli.protocol.interfaces import Server

# Variables that any server gets.  Others are named in the configuration: what the shell has that
# happens to start the daemon must not decide how a server works.
INHERITED: Final = ("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
INHERITED_PREFIXES: Final = ("LC_", "XDG_")

# A message that is longer is taken for an endless one.
MAX_MESSAGE_BYTES: Final = 256 << 20
# What may wait to be understood before the pipe is not read.
MAX_WAITING_BYTES: Final = 16 << 20
# The same in lines.  An answer waits until all lines before it are understood: behind 16 MiB of small
# notifications, on a busy machine, it came after half a minute.
MOST_WAITING_LINES: Final = 2_000
# The memory that a line costs in addition to its bytes.
LINE_BYTES: Final = 64
# So many lines in a row may be taken before others have their turn: a server that never stops writing would
# leave them none.
LINES_IN_A_ROW: Final = 100
# What may wait for a server that does not read before its senders do.
MAX_UNSENT_BYTES: Final = 1 << 20
STDERR_LINES: Final = 40
STDERR_LINE_CHARS: Final = 1000
# After the end of input, and after SIGTERM: servers that save something need a moment; `npx` and `uvx`, which
# stand before the server, take SIGTERM to mean both.
END_S: Final = 0.5
# The same where a command has its answer and a person waits for its prompt; a server of Node that has a timer
# or a question open does not end by itself at all.
COMMAND_END_S: Final = 0.15
TERM_S: Final = 1.0
# The same for its children in groups or sessions of their own, and for those that outlived it.
STRAY_S: Final = 1.0
# Between the end of its output and its exit.
EXIT_S: Final = 0.5


class SpawnFailed(Exception):
    """The command could not be started; its text says why."""


def environment(own: dict[str, str]) -> dict[str, str]:
    """Return a server's environment: the few variables that all get, and its own."""
    base = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    return {**base, **own}


def _directory(server: Server) -> str:
    """Return where a server runs: the configured directory, else the user's home, else `/`."""
    own = os.environ.get("HOME", "")
    return server.cwd or (own if os.path.isdir(own) else "/")


def _why_not(error: OSError, server: Server, directory: str) -> str:
    reason = error.strerror or str(error)
    if error.filename == directory:  # the kernel has one message for a directory and for a program
        return f"{reason}: its directory {directory}"
    return f"{reason}: {server.command}"


def _check(server: Server, env: dict[str, str]) -> None:
    """Look whether a server can be started at all, for a better reason than the kernel gives.

    Raises:
        SpawnFailed: it cannot.
    """
    if server.cwd and not os.path.isdir(server.cwd):
        raise SpawnFailed(f"its directory is not there: {server.cwd}")
    path = env.get("PATH", os.defpath)
    inside = os.path.join(server.cwd or ".", server.command)
    if not shutil.which(server.command, path=path) and not ("/" in server.command and os.path.exists(inside)):
        raise SpawnFailed(f"command not found: {server.command} (PATH={path})")


class _PipeLines(asyncio.Protocol):
    """Cuts what a pipe brings into lines; of one that is too long, only the beginning is kept."""

    def __init__(
        self,
        on_line: Callable[[bytes], None],
        on_end: Callable[[], None],
        most_bytes: int,
        on_too_long: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_line = on_line
        self._on_end = on_end
        self._on_too_long = on_too_long
        self._most_bytes = most_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self._dropping = False

    def data_received(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._add(first)
        for part in others:
            self._finish()
            self._add(part)

    def _add(self, part: bytes) -> None:
        if self._dropping or not part:
            return
        self._parts.append(part)
        self._held += len(part)
        if self._held > self._most_bytes:
            self._dropping = True
            self._parts = [self._parts[0][:200]]
            self._on_too_long()

    def _finish(self) -> None:
        line = b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        self._dropping = False
        self._on_line(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._parts:
            self._finish()
        self._on_end()


class _Writer(asyncio.BaseProtocol):
    """Tells when a pipe takes more, and when it has ended."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.lost = False

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.room.set()


class StdioProcess:
    """A server's process.

    Args:
        server: its definition.
        on_stderr: called with each line that it writes there.

    Attributes:
        pid: 0 before it is started.
        stderr: its last lines there.
        ended: set when its output has ended.
        endless: whether it wrote so long a line that no more is read.
    """

    def __init__(self, server: Server, on_stderr: Callable[[str], None]) -> None:
        self.server = server
        self.pid = 0
        self.stderr: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self.ended = asyncio.Event()
        self.endless = False
        self._on_stderr = on_stderr
        self._child: Owned | None = None
        self._lines: collections.deque[bytes] = collections.deque()
        self._waiting_bytes = 0
        self._taken = 0
        self._arrived = asyncio.Event()
        self._reading: asyncio.ReadTransport | None = None
        self._errors: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None
        self._writer = _Writer()
        self._paused = False
        self._leftovers: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it.

        Raises:
            SpawnFailed: it cannot be started.
        """
        server = self.server
        env = environment(server.env)
        argv = [server.command, *server.args]
        _check(server, env)
        directory = _directory(server)
        pipes = [os.pipe() for _ in range(3)]
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = pipes
        try:
            # Two processes are started, which takes a moment; others are started at the same time.
            self._child = await asyncio.to_thread(
                spawn_owned,
                argv,
                env=env,
                cwd=directory,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        except OSError as error:
            for fd in (to_stdin, from_stdout, from_stderr):
                os.close(fd)
            raise SpawnFailed(_why_not(error, server, directory)) from None
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        self.pid = self._child.pid
        loop = asyncio.get_running_loop()
        self._writing, _ = await loop.connect_write_pipe(
            lambda: self._writer, os.fdopen(to_stdin, "wb", buffering=0)
        )
        self._writing.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self._reading, _ = await loop.connect_read_pipe(
            lambda: _PipeLines(self._line, self._end, MAX_MESSAGE_BYTES, self._too_long),
            os.fdopen(from_stdout, "rb", buffering=0),
        )
        self._errors, _ = await loop.connect_read_pipe(
            lambda: _PipeLines(self._stderr_line, lambda: None, STDERR_LINE_CHARS * 4),
            os.fdopen(from_stderr, "rb", buffering=0),
        )
        self._leftovers = asyncio.create_task(self._end_without_output())

    async def _end_without_output(self) -> None:
        """Take a crash for the end of the output, which a child that the server left may hold open for ever.

        A command that ends with 0 may have left the server itself: it goes on for as long as its output.
        """
        assert self._child is not None
        if await self._child.wait_ended() == 0:
            return
        await asyncio.sleep(EXIT_S)  # for what is in the pipe
        while self._paused:  # noqa: ASYNC110  # until its reader has taken more
            await asyncio.sleep(EXIT_S)
        self._end()

    async def receive(self) -> bytes | None:
        """Return the next line that is not empty; None at the end, or before one that is endless."""
        while True:
            while self._lines:
                line = self._lines.popleft()
                self._waiting_bytes -= len(line) + LINE_BYTES
                self._taken += 1
                if self._taken % LINES_IN_A_ROW == 0:
                    await asyncio.sleep(0)
                if self._paused and not self._full() and self._reading is not None:
                    self._paused = False
                    self._reading.resume_reading()
                if line.strip():
                    return line
            if self.ended.is_set() or self.endless:
                return None
            self._arrived.clear()
            await self._arrived.wait()

    async def send(self, line: bytes) -> None:
        """Write a line; waits while much is waiting to be read.

        Raises:
            BrokenPipeError: the server does not read any more.
        """
        writing = self._writing
        if writing is None or self._writer.lost or writing.is_closing():
            raise BrokenPipeError
        writing.write(line + b"\n")
        await self._writer.room.wait()

    async def exit_text(self) -> str:
        """Say how it ended, once its output has ended; waits a moment for its exit."""
        if self._child is None:
            return "was never started"
        code = await self._exit(EXIT_S)
        if code is None:
            return "closed its output"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    async def end(self, patience_s: float = END_S) -> None:
        """End it: end of input, then SIGTERM, then SIGKILL, to its group and its children elsewhere.

        Args:
            patience_s: between end of input and SIGTERM, in seconds.
        """
        if self._leftovers is not None:
            self._leftovers.cancel()
        if self._writing is not None:
            self._writing.close()
        if self._child is not None:
            if await self._exit(patience_s) is None:
                self._child.send_signal(signal.SIGTERM)
                await self._exit(TERM_S)
            await asyncio.to_thread(processes.end_all, self._child, STRAY_S)
        for transport in (self._reading, self._errors):
            if transport is not None:
                transport.close()
        if self._writing is not None and not self._writer.lost:
            self._writing.abort()  # a close would wait for the bytes that it never read
        self._end()

    async def _exit(self, timeout_s: float) -> int | None:
        assert self._child is not None
        try:
            async with asyncio.timeout(timeout_s):
                return await self._child.wait_ended()
        except TimeoutError:
            return None

    def _line(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line) + LINE_BYTES
        if self._full() and not self._paused and self._reading is not None:
            self._paused = True
            self._reading.pause_reading()
        self._arrived.set()

    def _full(self) -> bool:
        """Whether so much waits that the pipe is not read."""
        return self._waiting_bytes > MAX_WAITING_BYTES or len(self._lines) > MOST_WAITING_LINES

    def _too_long(self) -> None:
        self.endless = True
        if not self._paused and self._reading is not None:
            self._reading.pause_reading()
        self._arrived.set()

    def _end(self) -> None:
        self.ended.set()
        self._arrived.set()

    def _stderr_line(self, line: bytes) -> None:
        text = brief(line.decode("utf-8", "replace").replace("\0", ""), STDERR_LINE_CHARS)
        if text:
            self.stderr.append(text)
            self._on_stderr(text)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.end()

"""Is it ready?  The six ways in which a service can show it.

    message     a line {"ready": {...}} on the descriptor in DAEMONRY_READY_FD, as our own daemons send it
    notify      READY=1 to the socket in NOTIFY_SOCKET (sd_notify(3))
    socket      a socket that accepts; the service's own Unix socket only if the service accepts
    http        an HTTP status
    command     a command that exits with 0
    output      a line of its output that a regular expression finds

A service that shows nothing is ready when it has lived for a moment.

Owns waiting for each.  Those that the service tells by itself cost nothing while they wait; the
others are tried at growing intervals until the service is ready.  Later looks are `liveness`'s.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from daemonry import strict_json
from daemonry.backoff import delays
from daemonry.errors import BadFrame, DaemonryError
from daemonry.home.run.process_run import ProcessRun
from daemonry.home.service import Kind, Ready, Service
from daemonry.home.service_log import Output, ServiceLog, by_line
from daemonry.limits import READY_ATTEMPT_S, READY_RETRY_FIRST_S, READY_RETRY_MAX_S, STARTED_AFTER_S
from daemonry.process import platform
from daemonry.transport.connect import connect
from daemonry.transport.credentials import peer_of
from daemonry.transport.endpoint import Endpoint

READY_FD_VARIABLE: Final = "DAEMONRY_READY_FD"
NOTIFY_VARIABLE: Final = "NOTIFY_SOCKET"
_EXIT_AFTER_PIPE_S: Final = 0.5

# Runs a command for a service and returns its exit code.
RunCommand = Callable[[tuple[str, ...], float], Awaitable[int]]


class NotReady(Exception):
    """It has not shown to be ready, and the reason."""


class Channel:
    """What a service tells its supervisor through, by itself: made before its process.

    Attributes:
        extra: variables that it needs for that.
        pass_fds: descriptors that it gets.
        refusal: why it says that it will not be ready, or "".
        tells: its last words about its state, or "".

    Args:
        kinds: `Kind.MESSAGE` and `Kind.NOTIFY`, as far as they are needed.
        beat_s: how often it must say that it is alive, in seconds; 0 for never.
    """

    def __init__(self, kinds: Collection[Kind], beat_s: float = 0.0) -> None:
        self.extra: dict[str, str] = {}
        self.pass_fds: tuple[int, ...] = ()
        self.refusal: str = ""
        self.tells: str = ""
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._output: Output | None = None
        self._socket: socket.socket | None = None
        self._remove = ""
        self._beats = False
        if Kind.MESSAGE in kinds:
            self._open_pipe()
        if Kind.NOTIFY in kinds:
            self._open_socket()
            if beat_s:
                self.extra["WATCHDOG_USEC"] = str(int(beat_s * 1e6))

    def started(self) -> None:
        """Close what only the service's process needs."""
        for fd in self.pass_fds:
            os.close(fd)
        self.pass_fds = ()

    def close(self) -> None:
        """Close all of it.  Twice is not an error."""
        self.started()
        if self._output is not None:
            self._output.finish()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            if self._remove:
                with suppress(OSError):  # below a directory that others clean
                    os.unlink(self._remove)
        if not self._ready.done():
            self._ready.cancel()
        elif not self._ready.cancelled():
            self._ready.exception()  # the error was logged; nobody waits any more

    async def wait(self) -> None:
        """Return when the service says that it is ready.

        Raises:
            NotReady: it says that it will not be.
        """
        await asyncio.shield(self._ready)

    async def beat_within(self, every_s: float) -> bool:
        """Wait the whole time, in seconds, and return whether the service said that it is alive."""
        await asyncio.sleep(every_s)
        beats, self._beats = self._beats, False
        return beats

    def _open_pipe(self) -> None:
        far, near = os.pipe()
        self.pass_fds = (near,)
        self.extra[READY_FD_VARIABLE] = str(near)
        # The same as `process.spawn` gives to our own daemons; they close it when they are ready.
        self.extra["DAEMONRY_BOOT"] = strict_json.encode({"ready_fd": near})
        self._output = Output(asyncio.get_running_loop(), far, by_line(self._message), self._closed)

    def _closed(self) -> None:
        # The pipe of a process that ends closes first, and how it ended says more.
        asyncio.get_running_loop().call_later(
            _EXIT_AFTER_PIPE_S, self._fail, "it closed its ready pipe without a word"
        )

    def _refused(self, reason: str) -> None:
        self.refusal = reason
        self._fail(reason)

    def _message(self, line: str) -> None:
        try:
            message = strict_json.decode_object(line)
        except BadFrame:
            return  # not ours: a library wrote to every descriptor that it found
        if "ready" in message:
            self.tells = ""  # the stage was one of its start
            self._done()
        elif isinstance(failed := message.get("failed"), dict):
            self._refused(f"{failed.get('error', 'it says that it failed')} ({failed.get('stage', 'start')})")
        elif isinstance(running := message.get("running"), dict):
            self._refused(f"it runs already, outside of this home (pid {running.get('pid')})")
        elif "alive" in message:
            self._beats = True
        elif isinstance(stage := message.get("stage"), str):
            self.tells = stage

    def _open_socket(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        name = f"daemonry-notify-{os.urandom(8).hex()}"
        if platform.HAS_ABSTRACT_SOCKETS:
            self._socket.bind(f"\0{name}")
            self.extra[NOTIFY_VARIABLE] = f"@{name}"
        else:
            import tempfile

            self._remove = os.path.join(tempfile.gettempdir(), name)
            self._socket.bind(self._remove)
            os.chmod(self._remove, 0o600)
            self.extra[NOTIFY_VARIABLE] = self._remove
        asyncio.get_running_loop().add_reader(self._socket, self._notified)

    def _notified(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        for line in data.decode("utf-8", "replace").split("\n"):
            name, _, value = line.partition("=")
            if name == "READY" and value == "1":
                self._done()
            elif name == "WATCHDOG" and value == "1":
                self._beats = True
            elif name == "STATUS":
                self.tells = value
            elif name == "ERRNO" and value.isdigit():
                self._refused(f"it says {os.strerror(int(value))!r}")

    def _done(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(NotReady(reason))


async def wait_ready(
    service: Service, run: ProcessRun, channel: Channel, log: ServiceLog, command: RunCommand
) -> None:
    """Return when a service is ready.

    Args:
        service: the service, and how it shows its readiness.
        run: its process.
        channel: its own messages come in there.
        log: its log.
        command: runs the command that the service's file names.

    Raises:
        NotReady: it was not within its time, or says that it will not be; with the reason.
    """
    ready = service.ready
    attempts = ProbeAttempts(ready, service.socket_path, run, command)
    try:
        async with asyncio.timeout(ready.timeout_s):
            if ready.kind in (Kind.MESSAGE, Kind.NOTIFY):
                await channel.wait()
            elif ready.kind is Kind.OUTPUT:
                await _line(ready, log)
            elif ready.kind is Kind.STARTED:
                await asyncio.sleep(STARTED_AFTER_S)
            else:
                await attempts.until_ready()
    except TimeoutError:
        last = attempts.last or (channel.tells and f"it says: {channel.tells}") or _nothing_yet(ready)
        raise NotReady(f"not ready within {ready.timeout_s:g} s: {last}") from None


def _nothing_yet(ready: Ready) -> str:
    if ready.kind is Kind.OUTPUT:
        return f"no line with {ready.target!r}"
    return "no message" if ready.kind is Kind.MESSAGE else "no READY=1"


async def _line(ready: Ready, log: ServiceLog) -> None:
    pattern = re.compile(ready.target)
    found: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(line: str) -> None:
        if pattern.search(line) and not found.done():
            found.set_result(None)

    log.watches.append(look)
    try:
        await found
    finally:
        log.watches.remove(look)


class ProbeAttempts:
    """Tries what a service cannot tell by itself.

    Args:
        way: a socket, an HTTP status or a command.
        own_socket: the path of the service's socket.
        run: its process.
        command: runs the command that the service's file names.

    Attributes:
        last: why the last attempt failed.
    """

    def __init__(self, way: Ready, own_socket: str, run: ProcessRun, command: RunCommand) -> None:
        self.last: str = ""
        self._way = way
        self._own_socket = own_socket
        self._run = run
        self._command = command

    async def until_ready(self) -> None:
        """Try at growing intervals, until one succeeds."""
        for delay_s in delays(READY_RETRY_FIRST_S, READY_RETRY_MAX_S):
            if await self.once(READY_ATTEMPT_S):
                return
            await asyncio.sleep(delay_s)

    async def once(self, timeout_s: float) -> bool:
        """Try once, for so many seconds, and return whether it succeeded."""
        try:
            return await self.KINDS[self._way.kind](self, timeout_s)
        except TimeoutError:
            self.last = f"no answer within {timeout_s:g} s"
        except (OSError, DaemonryError) as error:
            self.last = str(error)
        return False

    async def _accepts(self, timeout_s: float) -> bool:
        # A look whether somebody listens there needs no proof of identity.
        endpoint = Endpoint.parse(self._way.target).unproved()
        stream = await asyncio.to_thread(connect, endpoint, timeout_s)
        sock = stream.take_socket()
        pid = peer_of(sock).pid if endpoint.path == self._own_socket else None
        sock.close()
        # A socket that another run left, or that something else listens at, does not make this one ready.
        if pid and not await asyncio.to_thread(self._run.owns, pid):
            self.last = f"{endpoint} is answered by another process (pid {pid})"
            return False
        return True

    async def _answers(self, timeout_s: float) -> bool:
        async with asyncio.timeout(timeout_s):
            status = await _http_status(self._way.target, self._own_socket)
        meant = self._way.status
        if status == meant or (meant is None and 200 <= status <= 299):
            return True
        self.last = f"{self._way.target} answers with {status}"
        return False

    async def _exits(self, timeout_s: float) -> bool:
        code = await self._command(self._way.words, timeout_s)
        self.last = f"{self._way.words[0]} {how_it_ended(code)}"
        return code == 0

    # The kinds that are tried, for `ready` and for `alive`; the others are waited for.
    KINDS: Final = {Kind.SOCKET: _accepts, Kind.HTTP: _answers, Kind.COMMAND: _exits}


async def _http_status(url: str, own_socket: str) -> int:
    """Ask for `url`, or for a path over the service's own socket; return the status.

    Raises:
        OSError: there is no connection, or what answers does not speak HTTP.
    """
    from urllib.parse import urlsplit  # which loads a lot, and few services need

    parts = urlsplit(url)
    async with _connected(parts.hostname, parts.port or 80, own_socket) as (reader, writer):
        where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2] or "localhost"
        request = f"GET {where} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: daemonry\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        try:
            line = await reader.readline()
            await _to_the_end(reader)
        except ValueError:  # longer than any line of HTTP
            line = b""
    found = re.match(rb"HTTP/\d\.\d (\d{3})\b", line)
    if found is None:
        raise OSError(f"{url} does not answer in HTTP")
    return int(found[1])


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    """Read the rest for a moment: many servers log a complaint about a client that leaves early."""
    try:
        async with asyncio.timeout(READY_RETRY_MAX_S):
            while await reader.read(1 << 16):
                pass
    except TimeoutError:
        pass


@asynccontextmanager
async def _connected(
    host: str | None, port: int, own_socket: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    if host is None:
        reader, writer = await asyncio.open_unix_connection(own_socket, limit=1 << 16)
    else:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 16)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


def how_it_ended(code: int | None) -> str:
    """Return an exit code as people say it."""
    if code is None:
        return "ended"
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"exited with {code}"

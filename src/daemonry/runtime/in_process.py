"""A daemon's interfaces served in this process: no socket file, no lock, no other process.

Owns the loop that serves them, in a thread of its own, and one connection, a pair of sockets.  The
calls go through the same code as in a daemon, so results and errors are the same.  It lives as long
as the connection: work is ended and the stop hook run when the client closes, or when the
interpreter ends.  There is no configuration file to reload, no log file, and nobody else can connect.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import threading
from _socket import socket as Socket
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from daemonry.clock import Deadline
from daemonry.daemon.context import Run
from daemonry.daemon.lifecycle import Happened
from daemonry.errors import DaemonryError, NotReadyInTime, StartFailed, TargetInvalid
from daemonry.limits import DRAIN_GRACE_S, MAX_HANDLER_THREADS
from daemonry.process.forks import not_for_children
from daemonry.runtime.control_state import Life
from daemonry.runtime.tasks import Job, drain
from daemonry.service.server import bounds
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.failures import Failures
from daemonry.service.server.varlink_connection import VarlinkConnection
from daemonry.transport.stream import Stream

if TYPE_CHECKING:
    from typing import Any

    from daemonry.daemon.definition import Daemon

logger = logging.getLogger("daemonry.daemon")


class DirectStream(Stream):
    """The caller's end.  Closing it returns when what was served has ended."""

    __slots__ = ("_server",)

    def __init__(self, sock: Socket, peer: str, server: _Server) -> None:
        super().__init__(sock, peer)
        self._server = server

    def close(self) -> None:
        """End the connection, and what it was connected to."""
        super().close()
        self._server.wait_ended()

    def take_socket(self) -> Socket:
        """As `Stream.take_socket`; what is served ends when that socket is closed."""
        return super().take_socket()


def serve(daemon: Daemon | None, target: str, deadline: Deadline) -> Stream:
    """Serve a daemon's interfaces in this process and return a stream to them.

    Raises:
        StartFailed: its configuration or its setup did not work; the error tells the reason.
        NotReadyInTime: its setup takes longer; it is cancelled.
        TargetInvalid: there is no definition to serve, only a name.
    """
    if daemon is None:
        raise TargetInvalid(
            target, "to serve it in this process takes its definition: give its module or file"
        )
    server = _Server(daemon)
    return server.start(deadline)


class _Server:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._place = daemon.place()
        self._ready: Future[None] = Future()
        self._stage = "config"
        self._thread = threading.Thread(target=self._run, name=f"daemonry-direct-{daemon.name}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gone: asyncio.Event | None = None

    def start(self, deadline: Deadline) -> Stream:
        from socket import socketpair

        ours, theirs = socketpair()
        self._sock = Socket(fileno=theirs.detach())
        self._sock.setblocking(False)
        stream = DirectStream(Socket(fileno=ours.detach()), f"{self._daemon.name} in this process", self)
        self._thread.start()
        try:
            self._ready.result(deadline.remaining_s())
        except TimeoutError:
            stream.close()
            raise NotReadyInTime(
                self._daemon.name, self._stage, deadline.timeout_s or 0.0, threading.get_native_id()
            ) from None
        except DaemonryError:
            stream.close()
            raise
        except Exception as error:
            stream.close()
            raise StartFailed(self._daemon.name, self._stage, str(error) or type(error).__name__) from error
        atexit.register(self._end_at_exit)
        not_for_children(self)
        return stream

    def drop_in_child(self) -> None:
        """Close this process's copy of the daemon's end; the thread that serves it is not here."""
        atexit.unregister(self._end_at_exit)
        self._loop = None
        self._sock.close()

    def wait_ended(self) -> None:
        """Return when the thread has ended, or has had the time that a drain may take."""
        atexit.unregister(self._end_at_exit)
        if self._thread is not threading.current_thread():
            self._thread.join(self._daemon.drain_timeout_s + DRAIN_GRACE_S)

    def _end_at_exit(self) -> None:
        loop, gone = self._loop, self._gone
        if loop is not None and gone is not None:
            try:
                loop.call_soon_threadsafe(gone.set)
            except RuntimeError:
                return  # it has ended
            self._thread.join(self._daemon.drain_timeout_s + DRAIN_GRACE_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live())
        except BaseException as error:  # told to the caller, who waits
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                logger.error("%s, served in this process, failed", self._daemon.name, exc_info=error)
        finally:
            self._sock.close()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._gone = loop, asyncio.Event()
        life = Life(self._daemon, self._load_config(), self._config_path())
        life.attach(loop)
        run = Run(life, self._place)
        failures = Failures(show_errors=self._daemon.show_errors)
        calls = Calls(life.closed_to_work, failures=failures)
        calls.serve(VarlinkService(calls, ("daemonry", self._daemon.name, self._daemon.version, "")))
        calls.serve(Control(life, calls.tap, life.wait_changed, self._place.log_path))
        await self._set_up(run)
        for implementation in self._daemon.services:
            calls.serve(implementation)
        life.happened(Happened.READY)
        jobs = [Job(hook, run, loop) for hook in self._daemon.works]
        gone = self._gone
        with ThreadPoolExecutor(MAX_HANDLER_THREADS, thread_name_prefix="daemonry-handler") as threads:
            connection = VarlinkConnection(
                loop,
                loop,
                self._sock,
                calls,
                threads,
                lambda connection: gone.set(),
                self._daemon.limits or bounds.DEFAULT,
            )
            connection.begin(b"")
            self._ready.set_result(None)
            stop = asyncio.create_task(life.wait_stop_asked())
            wait_gone = asyncio.create_task(gone.wait())
            try:
                await asyncio.wait((stop, wait_gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                life.happened(Happened.STOP_ASKED)
                stop.cancel()
                wait_gone.cancel()
                await self._end(jobs)
                life.happened(Happened.DRAINED)
                connection.close()
                threads.shutdown(wait=False, cancel_futures=True)

    async def _set_up(self, run: Run) -> None:
        self._stage = "setup"
        for hook in self._daemon.setups:
            result = hook(run)
            if inspect.isawaitable(result):
                await result

    async def _end(self, jobs: list[Job]) -> None:
        deadline = Deadline(self._daemon.drain_timeout_s)
        try:
            result = self._daemon.stop_hook() if self._daemon.stop_hook is not None else None
            if inspect.isawaitable(result):
                async with asyncio.timeout(self._daemon.drain_timeout_s):
                    await result
        except Exception:
            logger.exception("the stop hook failed")
        for job in await drain(jobs, deadline.remaining_s() or 0.0):
            logger.error("still at work and left behind: %s", job.where())

    def _config_path(self) -> str:
        return self._daemon.config_path() if self._daemon.config_type is not None else ""

    def _load_config(self) -> Any:
        if self._daemon.config_type is None:
            return None
        from daemonry.daemon import config

        return config.load(self._config_path(), config.resolve(self._daemon.config_type), must_exist=False)

"""A daemon's interfaces served in this process: no socket file, no lock, no other process.

Owns the loop that serves them, in a thread of its own, and one connection, a pair of sockets.  The
calls go through the same code as in a daemon, so results and errors are the same.  It lives as long
as the connection: work is ended and the stop hook run when the client closes, or when the
interpreter ends.  There is no configuration file to reload, no log file, and nobody else can connect.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from _socket import socket as Socket
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, NamedTuple

from daemonry.daemon.context import Run
from daemonry.daemon.lifecycle import Happened
from daemonry.daemon.served import Services
from daemonry.errors import DaemonryError, NotReadyInTime, Refused, StartFailed, TargetInvalid
from daemonry.limits import DRAIN_GRACE_S, MAX_HANDLER_THREADS
from daemonry.process.forks import not_for_children
from daemonry.runtime.control_state import Life
from daemonry.runtime.failure_text import one_line
from daemonry.runtime.setting_up import (
    become_ready,
    builtin_calls,
    load_config,
    run_setup_hooks,
    usual_config_path,
)
from daemonry.runtime.shutdown import drain
from daemonry.runtime.stages import Plan, Stage, Stages
from daemonry.runtime.tasks import Workload
from daemonry.service.server import bounds
from daemonry.service.server.varlink.connection import VarlinkConnection
from daemonry.transport.stream import Stream

if TYPE_CHECKING:
    from daemonry.clock import Deadline
    from daemonry.daemon.definition import Daemon
    from daemonry.process.place import Place
    from daemonry.service.server.dispatch import Calls

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class DirectStream(Stream):
    """The caller's end.  Closing it returns when the served daemon has ended."""

    __slots__ = ("_server",)

    def __init__(self, sock: Socket, peer: str, server: _ServingThread) -> None:
        super().__init__(sock, peer)
        self._server = server

    def close(self) -> None:
        """End the connection, and the daemon behind it."""
        super().close()
        self._server.wait_ended()

    def take_socket(self) -> Socket:
        """As `Stream.take_socket`; the daemon ends when that socket is closed."""
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
    server = _ServingThread(daemon)
    return server.start(deadline)


class _Request(NamedTuple):
    """The daemon to be served.

    Attributes:
        daemon: its definition.
        place: where its files would be.
        sock: the daemon's end of the connection.
        closed: done when the daemon is to end, whatever the client does; from any thread.
    """

    daemon: Daemon
    place: Place
    sock: Socket
    closed: Future[None]


class _InProcessConfigured(NamedTuple):
    """After `configure`.

    Attributes:
        request: the daemon to be served.
        state: the daemon's state.
        calls: the interfaces that are served.
        runner: the loop's runner.
        run: what the program's hooks are given.
    """

    request: _Request
    state: Life
    calls: Calls
    runner: asyncio.Runner
    run: Run


class _Connected(NamedTuple):
    """After `connect`.

    Attributes:
        configured: the result of the stage before.
        workload: the program's work.
        threads: run the handlers that block.
        connection: the daemon's end.
    """

    configured: _InProcessConfigured
    workload: Workload
    threads: ThreadPoolExecutor
    connection: VarlinkConnection


def configure(request: _Request) -> _InProcessConfigured:
    """Read the configuration; make the loop."""
    daemon = request.daemon
    path = usual_config_path(daemon)
    state = Life(daemon, load_config(daemon, path, must_exist=False), path)
    # Called at once if it is closed by now.
    request.closed.add_done_callback(lambda closed: state.happened(Happened.STOP_ASKED))
    runner = asyncio.Runner()
    state.attach(runner.get_loop())
    calls = builtin_calls(daemon, request.place, state, log_path="")
    return _InProcessConfigured(
        request, state, calls, runner, Run(state, request.place, Services(daemon.services))
    )


def close(configured: _InProcessConfigured) -> None:
    """Close the loop."""
    configured.runner.close()


def set_up(configured: _InProcessConfigured) -> _InProcessConfigured:
    """Run the program's setup."""
    daemon = configured.request.daemon
    configured.runner.run(run_setup_hooks(daemon, configured.state, configured.run))
    return configured


def connect(configured: _InProcessConfigured) -> _Connected:
    """Serve the program's interfaces on the connection; begin its work."""
    return configured.runner.run(_connect(configured))


async def _connect(configured: _InProcessConfigured) -> _Connected:
    request = configured.request
    for implementation in configured.run.services.all():
        configured.calls.serve(implementation)
    become_ready(configured.state)
    loop = asyncio.get_running_loop()
    workload = Workload()
    configured.state.held_up_by = workload.where
    workload.start(request.daemon.works, configured.run, loop)
    threads = ThreadPoolExecutor(MAX_HANDLER_THREADS, thread_name_prefix="daemonry-handler")
    connection = VarlinkConnection(
        loop,
        loop,
        request.sock,
        configured.calls,
        threads,
        lambda connection: _stop(configured.state),
        request.daemon.limits or bounds.DEFAULT,
    )
    connection.begin(b"")
    return _Connected(configured, workload, threads, connection)


def _stop(state: Life) -> None:
    state.happened(Happened.STOP_ASKED)


def end(connected: _Connected) -> None:
    """Drain the work; close the connection."""
    connected.configured.runner.run(_end(connected))
    connected.threads.shutdown(cancel_futures=True)


async def _end(connected: _Connected) -> None:
    state = connected.configured.state
    state.happened(Happened.STOP_ASKED)
    await drain(connected.configured.request.daemon, state, connected.workload, _no_calls)
    connected.connection.close()
    connected.configured.calls.stepper.close()


async def _no_calls(timeout_s: float) -> list[str]:
    return []  # the one client has closed its end, or the process ends


SERVE: Final[Plan[_Request, _Connected]] = (
    Plan.of(Stage("config", configure, close)).then(Stage("setup", set_up)).then(Stage("setup", connect, end))
)


class _ServingThread:
    """The thread that serves one connection.

    Args:
        daemon: the definition.
    """

    def __init__(self, daemon: Daemon) -> None:
        from socket import socketpair

        ours, theirs = socketpair()
        sock = Socket(fileno=theirs.detach())
        sock.setblocking(False)
        self._daemon = daemon
        self._request = _Request(daemon, daemon.place(), sock, Future())
        self._stream = DirectStream(Socket(fileno=ours.detach()), f"{daemon.name} in this process", self)
        self._ready: Future[None] = Future()
        self._stage = ""
        self._stages = Stages(self._enter)
        self._thread = threading.Thread(target=self._run, name=f"daemonry-direct-{daemon.name}", daemon=True)

    def __repr__(self) -> str:
        return f"<daemon {self._daemon.name}, in this process: {self._stages!r}>"

    def start(self, deadline: Deadline) -> Stream:
        self._thread.start()
        if not wait((self._ready,), deadline.remaining_s()).done:
            pid = threading.get_native_id()
            self._request.closed.set_result(None)  # cancels its setup
            self._stream.close()
            raise NotReadyInTime(self._daemon.name, self._stage, deadline.timeout_s or 0.0, pid)
        error = self._ready.exception()
        if error is not None:
            self._stream.close()
            if isinstance(error, DaemonryError) and not isinstance(error, Refused):
                raise error
            reason = str(error) or type(error).__name__
            raise StartFailed(self._daemon.name, self._stage, reason) from error
        atexit.register(self._end_at_exit)
        not_for_children(self)
        return self._stream

    def drop_in_child(self) -> None:
        """Close this process's copy of the daemon's end; the thread that serves it is not here."""
        atexit.unregister(self._end_at_exit)
        self._request.sock.close()

    def wait_ended(self) -> None:
        """Return when the thread has ended, or has had the time that a drain may take."""
        atexit.unregister(self._end_at_exit)
        if self._thread is not threading.current_thread():
            self._thread.join(self._daemon.drain_timeout_s + DRAIN_GRACE_S)

    def _end_at_exit(self) -> None:
        if not self._request.closed.done():
            self._request.closed.set_result(None)
        self._thread.join(self._daemon.drain_timeout_s + DRAIN_GRACE_S)

    def _enter(self, stage: str) -> None:
        self._stage = stage

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # the caller, who waits, raises it
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                logger.error("%s, served in this process, failed", self._daemon.name, exc_info=error)
        finally:
            self._request.sock.close()

    def _serve(self) -> None:
        try:
            connected = self._stages.perform(SERVE, self._request)
            self._ready.set_result(None)
            connected.configured.runner.run(connected.configured.state.wait_stop_asked())
        finally:
            for error in self._stages.undo():
                logger.error("%s, served in this process: %s", self._daemon.name, one_line(error))

"""From an empty process to a daemon that answers commands: the stages up to `serve`, and how each is undone.

Owns the stages of the process and of the socket.  The program's setup and the moment of being ready are
`announcing`'s; the order of all of them is `runner`'s.
"""

from __future__ import annotations

import asyncio
import faulthandler
import io
import logging
import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from daemonry import clock
from daemonry.daemon import crash_report, single_instance
from daemonry.daemon.context import Run
from daemonry.daemon.served import Services
from daemonry.errors import NotRunning, Refused, UnsafePath
from daemonry.limits import START_TIMEOUT_S
from daemonry.process import activated, atomic_file, logs, record, scarcity
from daemonry.process.notify import Notifier
from daemonry.process.place import registry_dir
from daemonry.runtime.control_plane import ControlPlane
from daemonry.runtime.control_state import Life
from daemonry.runtime.fingerprint import Settings
from daemonry.runtime.handover import HandOver, NewSide, OldSide
from daemonry.runtime.hosts import HandOverHost, IdleDaemon
from daemonry.runtime.http_side import http_side
from daemonry.runtime.idle_shutdown import Idle
from daemonry.runtime.in_home import make_way, take_name
from daemonry.runtime.publishing import HeldLock, Publication
from daemonry.runtime.self_check import SelfCheck
from daemonry.runtime.setting_up import builtin_calls, load_config, usual_config_path
from daemonry.runtime.shutdown import ImmediateEnd
from daemonry.runtime.signals import Signals
from daemonry.runtime.stage_results import (
    Configured,
    Directories,
    Listening,
    Locks,
    Logged,
    Prepared,
    Serving,
)
from daemonry.runtime.stuck_control import StuckControl
from daemonry.runtime.tasks import Workload
from daemonry.runtime.turns import turns_of
from daemonry.runtime.watchdog import Guardian
from daemonry.service.server import bounds
from daemonry.service.server.server import Server
from daemonry.service.server.standby import Standby
from daemonry.transport.endpoint import FD, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.http.process_http import ProcessHttp
    from daemonry.process.place import Place
    from daemonry.runtime.start_request import StartRequest
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.foreign import Foreign
    from daemonry.transport.unix import Leftovers

logger: logging.Logger = logging.getLogger("daemonry.daemon")


# --- directories ----------------------------------------------------------------------------------


def check_directories(request: StartRequest) -> Directories:
    """Make or check the state directory; take a socket that a service manager opened."""
    _keep_last_words(request)
    notifier = Notifier.of_environment()
    if request.record_path != request.place.record_path:
        raise Refused(
            f"its files would be in {request.place.host_dir}, and its starter looks at "
            f"{request.record_path}: name the variables that its place depends on in "
            "Daemon(environment=...)"
        )
    socket_fd = activated.take_socket()
    single_instance.prepare(request.place)
    return Directories(request, socket_fd, notifier)


def _keep_last_words(request: StartRequest) -> None:
    """Have the crash file get what the interpreter says of a crash, and each line that is printed."""
    if sys.stderr is not None and not faulthandler.is_enabled():
        faulthandler.enable()
    if not request.foreground and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


# --- lock -----------------------------------------------------------------------------------------


def take_locks(found: Directories) -> Locks:
    """Take the start lock, or the one handed over; take those of name and life, unless to take over."""
    request = found.request
    deadline = clock.Deadline(START_TIMEOUT_S)
    start_lock = request.start_lock or single_instance.take_start_lock(request.place, deadline)
    locks = Locks(found, start_lock, HeldLock(None), HeldLock(None))
    try:
        _become_the_one(locks, deadline)
    except BaseException:
        release_locks(locks)
        raise
    return locks


def _become_the_one(locks: Locks, deadline: clock.Deadline) -> None:
    """Take the locks of name and life; a daemon outside of its home makes way for the home's."""
    request = locks.found.request
    take_over = request.take_over
    if request.in_home is not None and not take_over:
        take_over = make_way(request.place, _usual_endpoint(request), deadline)
    if not take_over or request.in_home is None:
        locks.name.replace(take_name(request.place, request.in_home))
    if not take_over:
        locks.life.replace(single_instance.take_life_lock(request.place, deadline))
    if request.in_home is not None:
        request.in_home.say()


def release_locks(locks: Locks) -> None:
    """Release all of them."""
    locks.name.release()
    locks.life.release()
    locks.start_lock.release()


def open_log(locks: Locks) -> Logged:
    """Open the log."""
    request = locks.found.request
    place = request.place
    try:
        log_file = logs.set_up(place.log_path, level=request.log_level, terminal=request.foreground)
    except OSError as error:
        raise UnsafePath(place.log_path, f"cannot be written: {error.strerror}") from error
    return Logged(locks, log_file)


def look_at_last_run(logged: Logged) -> Logged:
    """Remove what killed writers left; tell the next client of a last run that ended without cleaning up."""
    request = logged.locks.found.request
    place = request.place
    for directory in (place.host_dir, os.path.dirname(place.host_dir), registry_dir()):
        atomic_file.sweep(directory)
    if logged.locks.life.lock is not None:
        _note_last_run(place, foreground=request.foreground)
    return logged


def _note_last_run(place: Place, *, foreground: bool) -> None:
    left = record.read(place.record_path)
    if left is None:
        return
    logger.warning("the run of pid %d ended without cleaning up", left.pid)
    # The crash file was rolled when this process was started.
    output = place.crash_path + ("" if foreground else ".prev")
    crash_report.write_note(place, crash_report.describe(left, output))
    try:
        os.unlink(place.record_path)  # noted: a start that fails now must not have it noted again
    except OSError as error:
        logger.warning("the record could not be removed: %s", error)


# --- config ---------------------------------------------------------------------------------------


def read_config(logged: Logged) -> Configured:
    """Read the configuration."""
    request = logged.locks.found.request
    path = request.config_path or usual_config_path(request.daemon)
    settings = Settings(path)
    config = load_config(request.daemon, path, must_exist=request.config_path is not None)
    return Configured(logged, Life(request.daemon, config, path, settings))


def prepare_process(configured: Configured) -> Prepared:
    """Note signals from now on."""
    locks = configured.logged.locks
    guardian = Guardian()
    if _is_main_thread():
        guardian.listen_to_signals()
    return Prepared(
        locks.found.request,
        locks.found,
        locks,
        configured.logged.log_file,
        configured.state,
        guardian,
        asyncio.Runner(loop_factory=_loop_factory()),
    )


def close_process(prepared: Prepared) -> None:
    """Close the loop, which waits for its threads."""
    prepared.runner.close()
    if not _is_main_thread():
        # In the main thread the guardian goes on: threads that do not end must not keep the process.
        prepared.guardian.close()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop factory where it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


# --- bind, or take over ---------------------------------------------------------------------------


def bind(prepared: Prepared) -> Listening:
    """Make the socket; write the record."""
    calls = _calls(prepared)
    server, http = _make_server(prepared, calls)
    server.bind()
    listening = _listening(prepared, calls, server, None, http)
    listening.publication.publish(ready=False)
    return listening


def withdraw(listening: Listening) -> None:
    """Remove the socket, then the record."""
    listening.publication.withdraw()


def adopt(prepared: Prepared) -> Listening:
    """Ask the daemon that runs for its socket and its life lock; it still accepts."""
    place = prepared.request.place
    running = record.read(place.record_path)
    if running is None:
        raise NotRunning(place.name)
    calls = _calls(prepared)
    server, http = _make_server(prepared, calls)
    if str(server.endpoint) != running.endpoint:
        raise Refused(f"it listens at {running.endpoint} and not at {server.endpoint}: restart it")
    new_side = NewSide.ask(place, Endpoint.parse(running.endpoint))
    server.adopt(new_side.listener)
    return _listening(prepared, calls, server, new_side, http)


def give_up(listening: Listening) -> None:
    """Leave everything to the daemon that runs; once it has handed over, as for `bind`."""
    if listening.new_side is not None:
        listening.new_side.give_up()
    listening.publication.withdraw()


def _calls(prepared: Prepared) -> Calls:
    request = prepared.request
    return builtin_calls(request.daemon, request.place, prepared.state, log_path=request.place.log_path)


def _make_server(prepared: Prepared, calls: Calls) -> tuple[Server, ProcessHttp | None]:
    place, limits = prepared.request.place, prepared.request.daemon.limits or bounds.DEFAULT
    servers: list[Server] = []
    http = http_side(prepared.state, calls, place, limits, servers)
    servers.append(_server(prepared, calls, None if http is None else http.door))
    return servers[0], http


def _server(prepared: Prepared, calls: Calls, http: Foreign | None) -> Server:
    daemon, place, socket_fd = prepared.request.daemon, prepared.request.place, prepared.found.socket_fd
    limits, token_path = daemon.limits or bounds.DEFAULT, place.token_path
    if socket_fd is not None:  # what the service manager made, and will hand over again
        proof = Endpoint.parse(daemon.endpoint).proof if daemon.endpoint is not None else None
        endpoint = Endpoint("", FD, socket_fd, proof)
        return Server(endpoint, calls=calls, limits=limits, token_path=token_path, http=http)
    if daemon.endpoint is not None:
        return Server(daemon.endpoint, calls=calls, limits=limits, token_path=token_path, http=http)
    # In a directory that a program chose, only a stale socket of ours is ours to remove.
    leftovers: Leftovers = "replace" if place.own is None else "refuse"
    endpoint = _usual_endpoint(prepared.request)
    return Server(endpoint, leftovers=leftovers, calls=calls, limits=limits, http=http)


def _usual_endpoint(request: StartRequest) -> Endpoint:
    """Return where the daemon listens unless a service manager opened the socket."""
    if request.daemon.endpoint is not None:
        return Endpoint.parse(request.daemon.endpoint)
    return Endpoint.unix(request.place.socket_path)


def _listening(
    prepared: Prepared, calls: Calls, server: Server, new_side: NewSide | None, http: ProcessHttp | None
) -> Listening:
    request, state = prepared.request, prepared.state
    publication = Publication(request, server, prepared.locks.life, prepared.locks.name)
    old_side = OldSide(HandOverHost(state, server, publication, prepared.log_file, http))
    if request.in_home is None:  # a home starts its services itself, and would know nothing of the new one
        calls.serve_when_asked(HandOver(old_side))
    idle = None
    if request.daemon.idle_timeout_s is not None:
        kept = prepared.found.socket_fd is not None
        host = IdleDaemon(state, calls, server, publication, old_side, kept=kept)
        idle = Idle(request.daemon.idle_timeout_s, host)
        state.more_fields.append(idle.fields)
    state.more_fields.append(server.fields)
    if request.in_home is not None:
        state.more_fields.append(request.in_home.fields)
    workload = Workload()
    state.held_up_by = lambda: workload.where() + server.calls_under_way
    return Listening(prepared, calls, server, publication, workload, idle, new_side, http)


# --- serve ----------------------------------------------------------------------------------------


def serve(listening: Listening) -> Serving:
    """Make the loop, and answer commands on it; watch it from a thread."""
    prepared = listening.prepared
    state, server, notifier = prepared.state, listening.server, prepared.found.notifier
    scarcity.check_descriptors()
    loop = prepared.runner.get_loop()
    state.attach(loop)
    turns = turns_of(loop)
    turns.follow(state.when_asked.append)
    standby = Standby(
        loop, threading.get_ident(), server, partial(StuckControl, state), lambda: turns.ran_at_s
    )
    end_at_once = ImmediateEnd(standby, listening.publication, kept=prepared.found.socket_fd is not None)
    plane = ControlPlane(loop, state, server, standby, notifier)
    signals = Signals(state, server, notifier, end_at_once, listening.idle)
    if listening.http is not None and listening.new_side is None:
        listening.http.open(loop)
    _guard(listening, plane, SelfCheck(listening, plane, end_at_once), signals)
    return Serving(
        listening, plane, Run(state, prepared.request.place, Services(prepared.request.daemon.services))
    )


def _guard(listening: Listening, plane: ControlPlane, check: SelfCheck, signals: Signals) -> None:
    """Have the guardian wait for all that it is to see: a file's notices, another listener, the end."""
    prepared, server = listening.prepared, listening.server
    guardian, loop = prepared.guardian, prepared.runner.get_loop()

    def have_noted() -> None:
        try:
            loop.call_soon_threadsafe(_nothing)
        except RuntimeError:
            pass  # closed: the main thread runs

    def listener_changed() -> None:
        check.note_listener()
        guardian.wake()

    server.file_calls = asyncio.Event()
    server.listener_changed = listener_changed
    prepared.state.changed.append(guardian.wake)
    plane.ended = guardian.wake
    guardian.start(check, signals.react, have_noted)


def _nothing() -> None:
    """Has the main thread run."""


def stop_serving(serving: Serving) -> None:
    """Answer no more; refuse those who wait."""
    prepared = serving.listening.prepared
    refuse = prepared.found.socket_fd is None and not prepared.state.handed_over
    prepared.runner.run(_stop_serving(serving, refuse=refuse))


async def _stop_serving(serving: Serving, *, refuse: bool) -> None:
    await serving.plane.close(refuse=refuse)
    if serving.listening.http is not None:
        serving.listening.http.close()
        await asyncio.sleep(0)  # the writes of closed connections happen now

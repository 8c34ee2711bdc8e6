"""What each stage of a start makes, as frozen values: the next stage takes it.

Owns the values and nothing of the making.  A later value has the earlier ones that are still needed; none
has a field that is filled in afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import asyncio

    from daemonry.daemon.context import Run
    from daemonry.http.process_http import ProcessHttp
    from daemonry.process.lock import Lock
    from daemonry.process.logs import LogFile
    from daemonry.process.notify import Notifier
    from daemonry.runtime.control_plane import ControlPlane
    from daemonry.runtime.control_state import Life
    from daemonry.runtime.handover import NewSide
    from daemonry.runtime.idle_shutdown import Idle
    from daemonry.runtime.publishing import HeldLock, Publication
    from daemonry.runtime.start_request import StartRequest
    from daemonry.runtime.tasks import Workload
    from daemonry.runtime.watchdog import Guardian
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.server import Server


class Directories(msgspec.Struct, frozen=True):
    """After `check_directories`.

    Attributes:
        request: the process's instructions.
        socket_fd: the socket that a service manager opened; None without one.
        notifier: speaks to the service manager.
    """

    request: StartRequest
    socket_fd: int | None
    notifier: Notifier


class Locks(msgspec.Struct, frozen=True):
    """After `take_locks`.

    Attributes:
        found: the result of the stage before.
        start_lock: the start lock, held until the daemon is ready.
        life: the life lock; one that is given by the daemon that runs is not there yet.
        name: the lock by which a home's daemon and others of its name exclude each other.
    """

    found: Directories
    start_lock: Lock
    life: HeldLock
    name: HeldLock


class Logged(msgspec.Struct, frozen=True):
    """After `open_log`.

    Attributes:
        locks: the locks.
        log_file: the log.
    """

    locks: Locks
    log_file: LogFile


class Configured(msgspec.Struct, frozen=True):
    """After `read_config`.

    Attributes:
        logged: the result of the stage before.
        state: the daemon's state, with its configuration.
    """

    logged: Logged
    state: Life


class Prepared(msgspec.Struct, frozen=True):
    """After `prepare_process`.

    Attributes:
        request: the process's instructions.
        found: the socket and the notifier of a service manager.
        locks: the locks.
        log_file: the log.
        state: the daemon's state.
        guardian: notes signals already; its thread does not run yet.
        runner: the runner of the loop, which is made by its first use.
    """

    request: StartRequest
    found: Directories
    locks: Locks
    log_file: LogFile
    state: Life
    guardian: Guardian
    runner: asyncio.Runner


class Listening(msgspec.Struct, frozen=True):
    """After `bind` or `adopt`.

    Attributes:
        prepared: the result of the stage before.
        calls: the interfaces that are served.
        server: the server, bound, or with the listener of the daemon that runs.
        publication: what shows others that this is the daemon.
        workload: the program's work, not begun.
        idle: looks for the time to end by itself; None where that never comes.
        new_side: the hand-over under way, if this takes over.
        http: its HTTP, if it has any.
    """

    prepared: Prepared
    calls: Calls
    server: Server
    publication: Publication
    workload: Workload
    idle: Idle | None
    new_side: NewSide | None
    http: ProcessHttp | None


class Serving(msgspec.Struct, frozen=True):
    """After `serve`: the control plane answers.

    Attributes:
        listening: the result of the stage before.
        plane: the control plane.
        run: what the program's hooks are given.
    """

    listening: Listening
    plane: ControlPlane
    run: Run

"""Starting a daemon in the background, and learning at once how that went.

Owns the starter's side: the start lock, the new process, the pipe on which it reports.  The
daemon's side is `run`.  The start lock is handed to the new process by its descriptor, so that
no moment exists in which nobody holds it.
"""

from __future__ import annotations

import os

from daemonry.clock import Deadline
from daemonry.daemon import crash_report, single_instance
from daemonry.daemon.recipe import remember
from daemonry.errors import AlreadyRunning, NotReadyInTime, StartFailed
from daemonry.launch import zygote
from daemonry.limits import LOCK_PROBE_PATIENCE_S, START_TIMEOUT_S
from daemonry.process import crash_file, homes, readiness
from daemonry.process.environment import patterns_of
from daemonry.process.lock import is_held
from daemonry.process.program import launching as program
from daemonry.process.record import DaemonRecord
from daemonry.process.spawn import Spawned, environment_of, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from daemonry.daemon.recipe import Recipe
    from daemonry.launch.zygote.asking import Forked
    from daemonry.process.homes import Owner
    from daemonry.process.lock import Lock
    from daemonry.process.place import Place


# How long a process that has closed its report takes to end, at most.
_END_PATIENCE_S = LOCK_PROBE_PATIENCE_S * 8


def start(
    place: Place,
    recipe: Recipe,
    *,
    timeout_s: float = START_TIMEOUT_S,
    progress: Callable[[str], None] = lambda stage: None,
) -> DaemonRecord:
    """Start the daemon and return its record once it is ready.

    Args:
        place: where its files are.
        recipe: how it is started; a service of a home is started by the home, in its own way.
        timeout_s: how long it may take, in seconds, waiting for other starts included.
        progress: called with each stage as it begins.

    Raises:
        AlreadyRunning: somebody is this daemon.
        StartFailed: it did not come up; the error tells the stage and the reason.
        NotReadyInTime: it lives and has not said that it is ready; it is left to go on.
        DeadlineExceeded: another start was under way, or the last run was ending, all the time.
        UnsafePath: its directories cannot be used.
    """
    deadline = Deadline(timeout_s)
    owner = homes.owner_of(place)
    if owner is not None:
        return _start_in_home(owner, place.name, deadline, progress)
    single_instance.prepare(place)
    start_lock = single_instance.take_start_lock(place, deadline)
    if os.path.exists(place.socket_path):
        found = _start_by_manager(place, start_lock, deadline, progress)
        if found is not None:
            return found
        start_lock = single_instance.take_start_lock(place, deadline)
    return start_locked(place, recipe, start_lock, deadline, progress)


def _start_by_manager(
    place: Place, start_lock: Lock, deadline: Deadline, progress: Callable[[str], None]
) -> DaemonRecord | None:
    """Return the record of a daemon that the service manager, who keeps its socket, has started; else None.

    The start lock is let go of: the daemon takes it.
    """
    from daemonry.launch import managers_socket

    try:
        single_instance.await_vacancy(place, deadline)
        stream = managers_socket.knock_at_manager(place)
    finally:
        start_lock.release()
    if stream is None:
        return None
    progress("service manager")
    try:
        return managers_socket.await_started(place, deadline)
    finally:
        stream.close()


def _start_in_home(
    owner: Owner, name: str, deadline: Deadline, progress: Callable[[str], None]
) -> DaemonRecord:
    from daemonry.launch import of_home
    from daemonry.process import record

    running = record.read(owner.place.record_path)
    if running is not None and running.ready and not running.draining and is_held(owner.place.life_lock_path):
        raise AlreadyRunning(name, running.pid, running.endpoint)
    progress("home")
    of_home.start(owner, deadline)
    return of_home.ready_record(owner, name)


def start_locked(  # as `start`
    place: Place,
    recipe: Recipe,
    start_lock: Lock,
    deadline: Deadline,
    progress: Callable[[str], None] = lambda stage: None,
    env: Mapping[str, str] | None = None,
    *,
    take_over: bool = False,
) -> DaemonRecord:
    """As `start`, for a caller that has the start lock already; it is let go of, whatever happens.

    Args:
        place: where its files are.
        recipe: how it is started.
        start_lock: the lock.
        deadline: when it has to be ready.
        progress: called with each stage as it begins.
        env: further variables of the daemon's environment.
        take_over: whether it takes over from the daemon that runs.
    """
    try:
        if not take_over:
            single_instance.await_vacancy(place, deadline)
        remember(place, recipe)
        read_fd, write_fd = os.pipe()
        try:
            progress("spawn")
            process = _spawn(place, recipe, start_lock, write_fd, env or {}, take_over=take_over)
        finally:
            os.close(write_fd)
    finally:
        # The new process holds the lock now, or nobody needs it.
        start_lock.forget()
    try:
        return _await_ready(place, process, read_fd, deadline, progress)
    finally:
        os.close(read_fd)


def _spawn(
    place: Place,
    recipe: Recipe,
    start_lock: Lock,
    write_fd: int,
    env: Mapping[str, str],
    *,
    take_over: bool,
) -> Spawned | Forked:
    boot: dict[str, Any] = {
        "ready_fd": write_fd,
        "lock_fd": start_lock.fd,
        "import_path": recipe.import_path,
        "record_path": place.record_path,
    }
    if take_over:
        boot["take_over"] = True
    if recipe.words != program.USUAL:
        boot["program"] = program.file()
    words = ["run", recipe.target, *recipe.arguments]
    takes = patterns_of(place.name, recipe.environment)
    pass_fds = (write_fd, start_lock.fd)
    try:
        if env.get(zygote.SETTING, os.environ.get(zygote.SETTING)) == "1":
            from daemonry.launch.zygote import asking

            wish = asking.Wish(recipe.python, recipe.words, words, boot, pass_fds, place.crash_path)
            forked = asking.forked(wish, environment_of(env, takes), take_over=take_over)
            if forked is not None:
                return forked
        return spawn(words, boot, pass_fds, place.crash_path, recipe.python, env, takes, recipe.words)
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        raise StartFailed(place.name, "spawn", told) from error


def _await_ready(
    place: Place,
    process: Spawned | Forked,
    read_fd: int,
    deadline: Deadline,
    progress: Callable[[str], None],
) -> DaemonRecord:
    stage = "spawn"
    for message in readiness.messages(read_fd, deadline):
        if message is None:
            process.let_go()  # it goes on, and nobody waits for it
            raise NotReadyInTime(place.name, stage, deadline.timeout_s or 0.0, process.pid)
        if "ready" in message:
            process.let_go()
            return DaemonRecord.from_fields(message["ready"])
        if "running" in message:
            process.wait(_END_PATIENCE_S)
            raise AlreadyRunning(place.name, message["running"]["pid"], message["running"]["endpoint"])
        if "failed" in message:
            failed = message["failed"]
            raise StartFailed(
                place.name,
                failed["stage"],
                failed["error"],
                process.wait(_END_PATIENCE_S),
                _besides(failed["error"], crash_file.tail(place.crash_path)),
            )
        stage = message.get("stage", stage)
        progress(stage)
    status = process.wait(_END_PATIENCE_S)
    crash_report.note_if_crashed(place)  # told here, so not to the next client
    raise StartFailed(place.name, stage, _how_it_ended(status), status, crash_file.tail(place.crash_path))


def _besides(reason: str, output: str) -> str:
    """Return what the process wrote, less the reason that it reported, which it writes last."""
    *before, last = output.splitlines() or [""]
    return "\n".join(before) if last.endswith(reason) else output


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "the process closed its report and goes on"
    if status < 0:
        import signal

        return f"the process was killed by {signal.Signals(-status).name}"
    return f"the process ended with status {status} before it was ready"

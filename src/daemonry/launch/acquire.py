"""Getting a daemon up that does not serve: waiting for another starter, starting it, or replacing it.

Owns the order: the start lock, another look, the start, the connection.  Of any number who want the
same daemon one has the lock and starts; the others wait, look now and then, and connect.  They never
start what serves by then, and a service of a home is started by the home, which is asked.  Nothing is
started unless nobody holds the life lock: a daemon that is busy, and one that we may not talk to, is
not an absent one.
"""

from __future__ import annotations

import os

from daemonry import clock, faults
from daemonry.backoff import delays
from daemonry.daemon.instance import Instance
from daemonry.launch import attach
from daemonry.limits import LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S
from daemonry.process import homes
from daemonry.process.lock import Lock
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemonry.clock import Deadline
    from daemonry.daemon.definition import Daemon
    from daemonry.daemon.recipe import Recipe
    from daemonry.daemon.versions import Versions
    from daemonry.process.homes import Owner
    from daemonry.process.place import Place
    from daemonry.transport.endpoint import Endpoint
    from daemonry.transport.stream import Stream


class ClientRequest(Value):
    """What the caller of `ensure` asked for; see there."""

    __slots__ = ("arguments", "daemon", "env", "mode", "on_stage", "versions")
    arguments: tuple[str, ...]
    daemon: Daemon | None
    env: Mapping[str, str]
    mode: str
    on_stage: Callable[[str], None]
    versions: Versions | None

    def __init__(
        self,
        arguments: tuple[str, ...],
        daemon: Daemon | None,
        env: Mapping[str, str],
        mode: str,
        on_stage: Callable[[str], None],
        versions: Versions | None,
    ) -> None:
        self._set(
            arguments=arguments, daemon=daemon, env=env, mode=mode, on_stage=on_stage, versions=versions
        )


def bring_up(place: Place, wanted: ClientRequest, deadline: Deadline) -> tuple[Stream, Endpoint]:
    """Return a stream to the daemon once it serves.

    Raises:
        As `ensure`.
    """
    instance = Instance(place)
    if wanted.mode == "auto":
        return _found_or_started(instance, wanted, deadline)
    return _found(instance, wanted, deadline)


def _found(instance: Instance, wanted: ClientRequest, deadline: Deadline) -> tuple[Stream, Endpoint]:
    """Return a stream to a daemon that somebody else starts."""
    knock = None
    try:
        for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
            owner = _owner(instance)
            if owner is not None:
                instance = Instance(owner.place)
            stream = _look(instance, wanted, deadline)
            if stream is not None:
                return stream
            if wanted.mode == "require" and not _is_coming(instance):
                hint = _hint(instance, wanted) if owner is None else f"{owner} starts it when it is needed"
                raise faults.NotRunning(instance.name, hint)
            if owner is not None and wanted.mode == "supervised":
                _start_in_home(owner, instance, wanted, deadline)
                continue
            knock = knock or _knock(instance, wanted)
            if not deadline.sleep(delay_s):
                break
    finally:
        if knock is not None:
            knock.close()
    if instance.lock_held() is not False:
        raise _not_in_time(instance, deadline)
    hint = f"nobody started it within {deadline.timeout_s:g} s"
    raise faults.NotRunning(instance.name, hint)


def _knock(instance: Instance, wanted: ClientRequest) -> Stream | None:
    """Return a stream to who listens for a daemon that is not there; None where nobody does, or need not."""
    if wanted.mode != "supervised":
        return None
    from daemonry.launch import managers_socket
    from daemonry.transport.endpoint import Endpoint

    assert instance.place is not None
    declared = wanted.daemon.endpoint if wanted.daemon is not None else None
    try:
        endpoint = Endpoint.parse(declared) if declared else Endpoint.unix(instance.place.socket_path)
    except faults.DaemonryError:
        return None
    return managers_socket.knock(endpoint)


def _found_or_started(
    instance: Instance, wanted: ClientRequest, deadline: Deadline
) -> tuple[Stream, Endpoint]:
    from daemonry.daemon import single_instance
    from daemonry.launch import start_failure

    assert instance.place is not None
    place = instance.place
    began_s = clock.monotonic()
    asked_manager = False
    for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
        owner = homes.owner_of(place)
        if owner is not None:
            instance = Instance(owner.place)
            stream = _in_home(owner, instance, wanted, deadline)
            if stream is not None:
                return stream
            if not deadline.sleep(delay_s):
                break
            continue
        instance = Instance(place)
        single_instance.prepare(place)
        lock = Lock.try_take(place.start_lock_path)
        try:
            # Another look, now that nobody can be starting it; without the lock, who does may be done.
            stream = _look(instance, wanted, deadline)
            if stream is not None:
                return stream
            if lock is not None:
                if not asked_manager and _is_kept(instance):
                    asked_manager = True
                    lock.release()
                    lock = None
                    _start_by_manager(place, wanted, deadline)
                    continue
                recipe = _recipe(instance, wanted)
                start_failure.raise_if_since(place, began_s, recipe)
                _start(instance, wanted, recipe, lock, deadline)
                lock = None
                continue
        finally:
            if lock is not None:
                lock.release()
        if not deadline.sleep(delay_s):
            break
    raise _not_in_time(instance, deadline)


def _is_kept(instance: Instance) -> bool:
    """Whether a daemon that is not there has a socket: a rare case, so what knows more is not imported."""
    assert instance.place is not None
    return os.path.exists(instance.place.socket_path) and instance.lock_held() is False


def _start_by_manager(place: Place, wanted: ClientRequest, deadline: Deadline) -> None:
    """Have a service manager start the daemon whose socket it keeps; nothing where none does."""
    from daemonry.launch import managers_socket

    stream = managers_socket.knock_at_manager(place)
    if stream is not None:
        wanted.on_stage("service manager")
        try:
            managers_socket.await_started(place, deadline)
        finally:
            stream.close()


def _in_home(
    owner: Owner, instance: Instance, wanted: ClientRequest, deadline: Deadline
) -> tuple[Stream, Endpoint] | None:
    """Return a stream to a daemon that a home runs, started or replaced by the home; None to look again.

    Raises:
        StartFailed: it does not become ready.
        VersionMismatch: what the home runs is of a version that the caller does not take.
    """
    for looks_again in (True, False):
        stream = _look(instance, wanted, deadline)
        if stream is not None or not looks_again:
            return stream
        _start_in_home(owner, instance, wanted, deadline)
    return None


def _start_in_home(owner: Owner, instance: Instance, wanted: ClientRequest, deadline: Deadline) -> None:
    from daemonry.launch import of_home

    pid = instance.pid()
    reason = _why_replace(instance, wanted)
    if not reason or pid is None:
        wanted.on_stage("home")
        of_home.start(owner, deadline)
        return
    wanted.on_stage(f"replace: {reason}")
    try:
        of_home.replace(owner, pid, deadline)
    except faults.StartFailed as error:
        running = owner.claim.version
        wish = wanted.daemon.version if wanted.daemon is not None else ""
        raise faults.VersionMismatch(instance.name, running, wish, f"{reason}; {error.error}") from None


def _owner(instance: Instance) -> Owner | None:
    assert instance.place is not None
    return homes.owner_of(instance.place)


def _start(instance: Instance, wanted: ClientRequest, recipe: Recipe, lock: Lock, deadline: Deadline) -> None:
    """Start the daemon, or replace the one that runs; the lock is let go of."""
    from daemonry.launch import start_failure
    from daemonry.launch.start import start_locked

    place = instance.place
    assert place is not None
    try:
        reason = _why_replace(instance, wanted)
        if reason:
            from daemonry.launch.upgrade import upgrade_locked

            wanted.on_stage(f"replace: {reason}")
            upgrade_locked(place, recipe, lock, deadline, wanted.on_stage, wanted.env)
        else:
            start_locked(place, recipe, lock, deadline, wanted.on_stage, wanted.env)
    except faults.StartFailed as error:
        if homes.owner_of(place) is not None:
            return  # a home has come up with it meanwhile
        start_failure.note(place, error, recipe)
        raise
    except faults.AlreadyRunning:
        pass  # it lives, and cannot be reached just now: it sees to its socket within a second or two
    finally:
        lock.forget()


def _why_replace(instance: Instance, wanted: ClientRequest) -> str:
    """Return why the daemon that runs is to be replaced; "" if it is not, or none runs."""
    if wanted.daemon is None:
        return attach.why_stale(instance)
    policy = wanted.versions or wanted.daemon.versions
    verdict = attach.replaceable(instance, policy, wanted.daemon.version)
    return attach.why_stale(instance) if verdict is None else verdict.reason


def _look(instance: Instance, wanted: ClientRequest, deadline: Deadline) -> tuple[Stream, Endpoint] | None:
    assert instance.place is not None
    return attach.reach(instance.place, deadline, wanted.daemon, wanted.versions, wanted.mode)


def _is_coming(instance: Instance) -> bool:
    """Whether somebody is the daemon, or is starting it.

    Raises:
        AccessDenied: we may not know, and would not by waiting.
    """
    from daemonry.daemon import liveness
    from daemonry.process import lock

    assert instance.place is not None
    held = instance.lock_held()
    if held is None and instance.liveness().answer == liveness.DENIED:
        reason = f"cannot find out whether {instance.name} runs"
        raise faults.AccessDenied(instance.place.life_lock_path, reason)
    return held is not False or lock.is_held(instance.place.start_lock_path) is not False


def _recipe(instance: Instance, wanted: ClientRequest) -> Recipe:
    from daemonry.daemon.recipe import needed, recipe_of

    daemon = wanted.daemon
    assert instance.place is not None
    if daemon is not None:
        return recipe_of(daemon, wanted.arguments)
    recipe = needed(instance.place)
    arguments = wanted.arguments or recipe.arguments
    return recipe.with_arguments(arguments)


def _hint(instance: Instance, wanted: ClientRequest) -> str:
    target = instance.name
    if wanted.daemon is not None:
        try:
            target = wanted.daemon.target()
        except faults.TargetInvalid:
            return ""
    return f"start it with: daemonry start {target}"


def _not_in_time(instance: Instance, deadline: Deadline) -> faults.DeadlineExceeded:
    pid = instance.pid()
    subject = instance.name if pid is None else f"{instance.name} (pid {pid})"
    return faults.DeadlineExceeded("start", deadline.timeout_s or 0.0, "no", subject)

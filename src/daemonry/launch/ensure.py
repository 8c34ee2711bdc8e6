"""Get or spawn: a connected client of a daemon, started first if it is not there.

Owns the quick way: a daemon that serves costs the reading of its record and a connection, and
nothing else is imported.  Everything beyond that (waiting, starting, replacing) is `bring_up`'s, and
serving in this process is `direct`'s.
"""

from __future__ import annotations

import os

from daemonry.clock import Deadline
from daemonry.launch.attach import reach
from daemonry.process.place import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from daemonry.daemon.definition import Daemon
    from daemonry.daemon.versions import Versions
    from daemonry.service.client.asynchronous import AsyncClient
    from daemonry.service.client.blocking import Client
    from daemonry.transport.endpoint import Endpoint
    from daemonry.transport.stream import Stream

    Mode = Literal["auto", "require", "direct", "supervised"]

ENSURE_TIMEOUT_S = 30.0
MODES = ("auto", "require", "direct", "supervised")


def ensure(
    target: Daemon | str,
    *,
    timeout: float = ENSURE_TIMEOUT_S,
    mode: Mode = "auto",
    versions: Versions | None = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Client:
    """Return a client that is connected to a daemon which is ready, starting it if it is not there.

    Args:
        target: a `Daemon`, or how one is found: `module:attribute`, `/file.py:attribute`, or the
            name of one that was started here before.
        timeout: how long all of it may take, in seconds.
        mode: "auto" connects or starts; "require" never starts; "supervised" never starts and waits
            for who does; "direct" serves the daemon's interfaces in this process, without a socket
            file and without another process, until the client is closed.
        versions: what to do about a daemon of another version; by default what the `Daemon` says.
        arguments: options of `run` for a daemon that is started: `--config FILE`.
        env: values of its environment, for a daemon that is started.
        on_stage: called with each stage of a start, and the reason of a restart.

    The client connects again in the same way: a call that found its connection ended before anything
    was sent is made on a new one, for which the daemon is started again if it had ended.  That never
    replaces a daemon of another version.

    Raises:
        NotRunning: it is not there, and `mode` is "require", or nobody started it in time.
        StartFailed: it did not come up; the error tells the stage and the reason.
        NotReadyInTime, DeadlineExceeded: it is there, or is being started, and was not ready in time.
        AccessDenied: somebody may be there, and we may not talk to them; nothing was started.
        TargetInvalid: the target names no daemon, or none that can be started.
        VersionMismatch: the daemon's version is not one that `versions` takes.
        UnsafePath: its directories cannot be used.
    """
    from daemonry.service.client.blocking import Client

    way = _Way(target, mode, versions, arguments, env, on_stage)
    return Client(*way.stream(timeout), way)


async def ensure_async(
    target: Daemon | str,
    *,
    timeout: float = ENSURE_TIMEOUT_S,  # noqa: ASYNC109  # as the blocking one; all of it has one deadline
    mode: Mode = "auto",
    versions: Versions | None = None,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> AsyncClient:
    """As `ensure`, for the running loop, which goes on meanwhile; `on_stage` is called on it."""
    import asyncio

    from daemonry.service.client.asynchronous import AsyncClient

    loop = asyncio.get_running_loop()

    def tell(stage: str) -> None:
        assert on_stage is not None
        if not loop.is_closed():
            loop.call_soon_threadsafe(on_stage, stage)

    way = _AsyncWay(target, mode, versions, arguments, env, tell if on_stage is not None else None)
    stream, endpoint = await way.made(timeout)
    return AsyncClient(stream.take_socket(), stream.peer, endpoint, way)


class _Way:
    """How a client finds or starts its daemon; pickled with it, but for who hears of the stages."""

    __slots__ = ("_settings",)

    def __init__(self, *settings: Any) -> None:
        self._settings = settings

    def stream(self, timeout_s: float) -> tuple[Stream, Endpoint | None]:
        target, *others = self._settings
        return _stream(target, timeout_s, *others)

    def __call__(self, endpoint: Endpoint, timeout_s: float) -> Any:
        return self.stream(timeout_s)[0]

    def __reduce__(self) -> tuple[Any, ...]:
        target, mode, versions, arguments, env, _on_stage = self._settings
        name = target if isinstance(target, str) else target.target()
        return type(self), (name, mode, versions, tuple(arguments), env and dict(env), None)


class _AsyncWay(_Way):
    __slots__ = ()

    async def made(self, timeout_s: float) -> tuple[Stream, Endpoint | None]:
        from daemonry.service.client.in_thread import made_in_thread

        return await made_in_thread(lambda: self.stream(timeout_s), lambda made: made[0])

    async def __call__(self, endpoint: Endpoint, timeout_s: float) -> Any:
        return (await self.made(timeout_s))[0]


def _stream(
    target: Daemon | str,
    timeout_s: float,
    mode: str,
    versions: Versions | None,
    arguments: Sequence[str],
    env: Mapping[str, str] | None,
    on_stage: Callable[[str], None] | None,
) -> tuple[Stream, Endpoint | None]:
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r} and not one of {', '.join(MODES)}")
    deadline = Deadline(timeout_s)
    daemon = _defined(target)
    if mode == "direct":
        from daemonry.runtime.in_process import serve

        return serve(daemon, str(target), deadline), None
    place = daemon.place() if daemon is not None else _place_of(str(target))
    reached = reach(place, deadline, daemon, versions, mode)
    if reached is not None:
        return reached
    from daemonry.launch.acquire import ClientRequest, bring_up

    wanted = ClientRequest(tuple(arguments), daemon, dict(env or {}), mode, on_stage or _ignore, versions)
    return bring_up(place, wanted, deadline)


def _defined(target: Daemon | str) -> Daemon | None:
    if not isinstance(target, str):
        return target
    if ":" not in target and not target.endswith(".py"):
        return None
    from daemonry.daemon.loader import load

    return load(target)


def _place_of(name: str) -> Place:
    place = Place.of(name)
    if not os.path.exists(place.record_path):
        from daemonry.process import registry

        return registry.locate(place)
    return place


def _ignore(stage: str) -> None:
    pass

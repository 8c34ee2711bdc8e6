"""What a home's supervisor can be asked: the interface org.daemonry.Home.

Owns the calls and their types.  STATUS, RELOAD, STOP, PING and VERSION of the text dialect mean what
they mean everywhere; what a call does is `supervisor`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from daemonry.home.event import Event
from daemonry.service.interface.declare import CallError, Interface


@dataclass
class ServiceStatus:
    """How one service is.

    Attributes:
        name: its name.
        state: its state, as docs/homes.md draws them.
        pid: its process id while it has one.
        since: when it came into that state, in seconds since 1970.
        restarts: how often it was started again by itself.
        last_exit: how it ended last, or null.
        readiness: how it shows that it is ready.
        note: why it is not ready, or its own words about its state, or null.
        needs: the services that it needs.
        groups: the groups that it belongs to.
        daemon: the name of the daemon of daemonry that it is, or null.
        version: that daemon's version, or null.
        endpoint: where that daemon is reached while it runs, or null.
    """

    name: str
    state: str
    pid: int | None
    since: float
    restarts: int
    last_exit: str | None
    readiness: str
    note: str | None
    needs: list[str]
    groups: list[str] = field(default_factory=list)
    daemon: str | None = None
    version: str | None = None
    endpoint: str | None = None


@dataclass
class ServiceUse:
    """The resources of one service, with all of its processes.

    Attributes:
        name: its name.
        memory_bytes: resident memory; shared pages count for each process.
        cpu_s: processor time since its start, in seconds.
        wake_ups: how often its threads have waited and were woken.
    """

    name: str
    memory_bytes: int
    cpu_s: float
    wake_ups: int


class NoSuchService(CallError):
    """The home has no service, or group, of that name."""

    name: str
    known: list[str]


class NotUp(CallError):
    """The service did not become ready."""

    name: str
    reason: str


class GoingDown(CallError):
    """The home goes down, and starts nothing any more."""


class HomeFileInvalid(CallError):
    """The home's file cannot be used; what runs goes on as it is."""

    reason: str


class HomeServices(Protocol):
    """What does the calls of `HomeControl`: the services of a home, as `Supervisor` keeps them."""

    def statuses(self) -> list[ServiceStatus]:
        """Return how each service is, in the order in which they start."""

    async def uses(self) -> list[ServiceUse]:
        """See `HomeControl.uses`."""

    async def start(self, name: str) -> ServiceStatus:
        """See `HomeControl.start`."""

    async def stop_service(self, name: str) -> ServiceStatus:
        """See `HomeControl.stop`."""

    async def replace(self, name: str, pid: int, version: str) -> ServiceStatus:
        """See `HomeControl.replace`."""

    async def restart(self, name: str) -> ServiceStatus:
        """See `HomeControl.restart`."""

    def start_several(self, names: list[str]) -> AsyncIterator[Event]:
        """See `HomeControl.start_several`."""

    def stop_several(self, names: list[str]) -> AsyncIterator[Event]:
        """See `HomeControl.stop_several`."""

    def restart_several(self, names: list[str]) -> AsyncIterator[Event]:
        """See `HomeControl.restart_several`."""

    async def reload(self) -> str:
        """See `HomeControl.reload`."""

    def settle(self) -> AsyncIterator[Event]:
        """See `HomeControl.settle`."""

    def down(self) -> AsyncIterator[Event]:
        """See `HomeControl.down`."""


class HomeControl(
    Interface, name="org.daemonry.Home", errors=(NoSuchService, NotUp, GoingDown, HomeFileInvalid)
):
    """Asks and commands the supervisor of a home."""

    def __init__(self, supervisor: HomeServices | None = None) -> None:
        self._supervisor = supervisor

    async def services(self) -> list[ServiceStatus]:
        """Return how each service is, in the order in which they start."""
        assert self._supervisor is not None
        return self._supervisor.statuses()

    async def uses(self) -> list[ServiceUse]:
        """Return the memory, processor time and wake-ups of the services that run."""
        assert self._supervisor is not None
        return await self._supervisor.uses()

    async def start(self, service: str) -> ServiceStatus:
        """Start a service that does not run, with the services it needs, and return when it is ready."""
        assert self._supervisor is not None
        return await self._supervisor.start(service)

    async def stop(self, service: str) -> ServiceStatus:
        """Stop a service, and return when it has; those that need it are left alone."""
        assert self._supervisor is not None
        return await self._supervisor.stop_service(service)

    async def replace(self, service: str, pid: int, version: str) -> ServiceStatus:
        """Stop a service and start it, unless its process is another than `pid` by now.

        For callers that want another version of the service's daemon than `version`.  If that start
        brings no other, the service is not started again for that reason.
        """
        assert self._supervisor is not None
        return await self._supervisor.replace(service, pid, version)

    async def restart(self, service: str) -> ServiceStatus:
        """Stop a service and start it, and return when it is ready."""
        assert self._supervisor is not None
        return await self._supervisor.restart(service)

    async def start_several(self, names: list[str]) -> AsyncIterator[Event]:
        """Start services, and those that they need; reply with events until each goes no further.

        Args:
            names: names of services and of groups; none for all that are stopped.
        """
        assert self._supervisor is not None
        async for event in self._supervisor.start_several(names):
            yield event

    async def stop_several(self, names: list[str]) -> AsyncIterator[Event]:
        """Stop services, and reply with events until they have stopped; services that need them go on.

        Args:
            names: names of services and of groups; none for all.  The supervisor stays.
        """
        assert self._supervisor is not None
        async for event in self._supervisor.stop_several(names):
            yield event

    async def restart_several(self, names: list[str]) -> AsyncIterator[Event]:
        """Stop services and start them; reply with events until each goes no further.

        Args:
            names: names of services and of groups; none for all.
        """
        assert self._supervisor is not None
        async for event in self._supervisor.restart_several(names):
            yield event

    async def reload(self) -> str:
        """Read home.toml again and apply what differs; return that in words."""
        assert self._supervisor is not None
        return await self._supervisor.reload()

    async def settle(self) -> AsyncIterator[Event]:
        """Reply with the last event of each settled service, and further ones until all are settled."""
        assert self._supervisor is not None
        async for event in self._supervisor.settle():
            yield event

    async def down(self) -> AsyncIterator[Event]:
        """Stop all services, those that others need last, and tell what happens; then the supervisor ends."""
        assert self._supervisor is not None
        async for event in self._supervisor.down():
            yield event

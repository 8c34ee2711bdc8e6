"""Interfaces that every server has: org.varlink.service, and org.daemonry.Control.

Owns what they answer.  The first is the protocol's own (varlink.org, Service); the second is the
control plane for programs: what STATUS, PAUSE, RESUME, RELOAD and STOP are for people.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Final

import msgspec

from daemonry import errors
from daemonry.limits import FOLLOW_POLL_S
from daemonry.process import log_reader
from daemonry.service.interface.declare import CallError, Interface, method
from daemonry.service.server.control import ControlState
from daemonry.service.server.dispatch import CONTROL, Calls
from daemonry.service.server.tap import TapEvent, Watcher
from daemonry.wire import idl, varlink


def _error(name: str, doc: str, /, **fields: idl.Type) -> idl.ErrorType:
    return idl.ErrorType(name, idl.Struct(tuple(idl.Field(*field) for field in fields.items())), doc)


_TEXT: Final = idl.Basic.STRING
_MAYBE_TEXT: Final = idl.Optional(idl.Basic.STRING)


class Info(msgspec.Struct):
    """Who serves, and what."""

    vendor: str
    product: str
    version: str
    url: str
    interfaces: list[str]


class Description(msgspec.Struct):
    """An interface, in the interface language."""

    description: str


class VarlinkService(Interface, name=varlink.SERVICE):
    """The Varlink Service Interface is provided by every varlink service.

    It describes the service and the interfaces that it implements.
    """

    server_errors: ClassVar[tuple[idl.ErrorType, ...]] = (
        _error("InterfaceNotFound", "There is no such interface.", interface=_TEXT, nearest=_MAYBE_TEXT),
        _error("MethodNotFound", "The interface has no such method.", method=_TEXT, nearest=_MAYBE_TEXT),
        _error("MethodNotImplemented", "This service does not have the method.", method=_TEXT),
        _error(
            "InvalidParameter",
            "A parameter is missing, unknown or of another type.",
            parameter=_TEXT,
            reason=_MAYBE_TEXT,
        ),
        _error("PermissionDenied", "The caller may not do that."),
        _error("ExpectedMore", "The method gives several replies; call it with `more`."),
    )

    def __init__(self, calls: Calls, info: tuple[str, str, str, str]) -> None:
        self._calls = calls
        self._info = info

    def get_info(self) -> Info:
        """Get a list of all the interfaces a service provides and information about it."""
        return Info(*self._info, self._calls.names)

    def get_interface_description(self, interface: str) -> Description:
        """Get the description of an interface that is implemented by this service."""
        found = self._calls.interface(interface)
        if found is None:
            raise errors.InterfaceNotFound(varlink.INTERFACE_NOT_FOUND, {"interface": interface})
        return Description(found.text)


class Refusal(CallError):
    """The daemon said no, and why."""

    message: str


class Status(msgspec.Struct):
    """How the daemon is: what STATUS tells."""

    status: dict[str, Any]


class Note(msgspec.Struct):
    """A note for the sender; "" for none."""

    note: str


class Counts(msgspec.Struct):
    """How much the daemon has to do: calls of the program's own interfaces since it started, and now."""

    begun: int
    running: int


class LogLine(msgspec.Struct):
    """One line of the daemon's log, as it is stored."""

    line: dict[str, Any]


class Control(Interface, name=CONTROL, errors=(Refusal,)):
    """The daemon itself: how it is, and what it is to do."""

    server_errors: ClassVar[tuple[idl.ErrorType, ...]] = (
        _error("Paused", "The daemon is paused and takes no work."),
        _error(
            "Draining",
            "The daemon is ending: it takes no work, or ends a stream that has begun.",
            begun=idl.Basic.BOOL,
        ),
        _error(
            "Overloaded", "The daemon has all the work, or connections, that it takes.", limit=idl.Basic.INT
        ),
        _error(
            "Failed",
            "The handler failed; the daemon's log tells more.",
            message=_TEXT,
            method=_MAYBE_TEXT,
            exception=_MAYBE_TEXT,
            traceback=_MAYBE_TEXT,
            log=_MAYBE_TEXT,
        ),
        _error(
            "BadReply",
            "The handler returned what its signature does not allow; that was not sent.",
            method=_TEXT,
            reason=_TEXT,
            log=_MAYBE_TEXT,
        ),
        _error("ProtocolViolation", "The message was not a call; the connection ends.", reason=_TEXT),
        _error(
            "ExpectedUpgrade", "The method gives the connection away; call it with `upgrade`.", method=_TEXT
        ),
        _error("NotUpgradable", "The method does not give the connection away.", method=_TEXT),
    )

    def __init__(
        self,
        state: ControlState,
        calls: Calls,
        changes: Callable[[], Awaitable[None]] | None = None,
        log_path: str = "",
    ) -> None:
        self._state = state
        self._calls = calls
        self._changes = changes
        self._log_path = log_path

    @method(reads=True)
    async def get_status(self) -> Status:
        """Return what STATUS tells."""
        return Status(dict(await self._ask("get_status")))

    @method(reads=True)
    def get_counts(self) -> Counts:
        """Return how many calls have begun since the start, and how many run."""
        return Counts(self._calls.begun, self._calls.running)

    async def pause(self) -> None:
        """Stop working, go on answering."""
        await self._ask("pause")

    async def resume(self) -> None:
        """Work again."""
        await self._ask("resume")

    async def reload(self) -> Note:
        """Read the configuration again."""
        return Note(await self._ask("reload_config") or "")

    async def stop(self) -> None:
        """Begin to stop; the reply comes at once."""
        await self._ask("stop")

    @method(reads=True)
    async def subscribe(self) -> AsyncIterator[Status]:
        """Return how the daemon is now, and again whenever its state changes."""
        while True:
            changed = asyncio.ensure_future(self._changes()) if self._changes is not None else None
            try:
                yield Status(dict(await self._ask("get_status")))
                if changed is None:
                    return
                await changed
            finally:
                if changed is not None:
                    changed.cancel()

    @method(reads=True)
    async def tap(self, payloads: bool = False) -> AsyncIterator[TapEvent]:
        """Return the calls that are under way, then each as it begins and ends.

        Parameters are shown only where `payloads` asks for them.
        """
        with Watcher(self._calls.tap, payloads=payloads) as watcher:
            async for event in watcher.events():
                yield event

    @method(reads=True)
    async def tail_log(self, lines: int = 20, follow: bool = False) -> AsyncIterator[LogLine]:
        """Return the log's last lines (0 for all), and then, if asked to follow, each new one."""
        follower = log_reader.Follower(self._log_path, log_reader.last(lines))
        try:
            while True:
                for line in follower.lines():
                    yield LogLine(log_reader.parsed(line))
                if not follow:
                    return
                await asyncio.sleep(FOLLOW_POLL_S)
        finally:
            follower.close()

    async def _ask(self, name: str) -> Any:
        method = getattr(self._state, name, None)
        if method is None:
            raise errors.MethodNotImplemented(varlink.METHOD_NOT_IMPLEMENTED, {"method": name})
        try:
            result = method()
            return await result if inspect.isawaitable(result) else result
        except errors.DaemonryError as error:
            raise Refusal(message=str(error)) from None

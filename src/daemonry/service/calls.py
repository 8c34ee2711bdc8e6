"""Answering calls: which interfaces a server has, and what one call of a method comes to.

Owns the table of methods, the conversion of parameters and results, and which exception is which
error on the wire.  Knows no sockets and no order of calls: those are `varlink_connection`'s.

What a handler raises:

    a `CallError` that its interface declares     that error
    another `CallFailed`                          that error, by its own name
    anything else                                 org.daemonry.Control.Failed, and a trace in the log
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from daemonry import errors
from daemonry.service.handler import Context
from daemonry.service.interface import RESULT, CallError, Described, Interface, Method, described
from daemonry.transport.credentials import Peer
from daemonry.wire import varlink
from daemonry.wire.varlink import Call, Reply

logger = logging.getLogger("daemonry.calls")

CONTROL: Final = "org.daemonry.Control"
FAILED: Final = f"{CONTROL}.Failed"
PROTOCOL_VIOLATION: Final = f"{CONTROL}.ProtocolViolation"

# Interfaces that answer while a daemon is paused or ending: they are about the daemon itself.
_ALWAYS_OPEN = frozenset((varlink.SERVICE, CONTROL))

Gate = Callable[[], errors.CallFailed | None]


class Bound:
    """A method of a served interface, with what it is called on.

    Attributes:
        function: the implementation's method.
        kind: "plain", "async", "stream" or "thread".
        method: the interface's method.
        open: whether it is answered also while the daemon is paused or ending.
        where: the interface it belongs to.
    """

    __slots__ = ("function", "kind", "method", "open", "where")

    def __init__(self, where: Described, method: Method, implementation: Interface) -> None:
        self.where = where
        self.method = method
        self.function: Callable[..., Any] = getattr(implementation, method.python_name)
        self.open = where.name in _ALWAYS_OPEN
        if method.streams:
            self.kind = "stream"
        elif inspect.iscoroutinefunction(self.function):
            self.kind = "async"
        else:
            self.kind = "thread" if method.marks.blocking else "plain"

    def arguments(self, call: Call, context: Context | None) -> dict[str, Any]:
        """Return the keyword arguments of a call.

        Raises:
            InvalidParameter: one is missing, unknown or of another type.
        """
        method = self.method
        try:
            fields = msgspec.convert(_without_nulls(call.parameters), method.parameters)
        except msgspec.ValidationError as error:
            raise _invalid(error) from None
        arguments = {name: getattr(fields, name) for name in method.names}
        if method.context:
            arguments[method.context] = context
        return arguments

    def reply(self, result: Any, *, continues: bool = False) -> Reply:
        """Return a handler's result as a reply."""
        if self.method.wraps:
            return Reply({RESULT: result}, continues)
        return Reply(result, continues)

    def error(self, raised: BaseException) -> Reply:
        """Return what a handler's exception is on the wire."""
        if isinstance(raised, CallError):
            if self.where.errors.get(type(raised).__name__) is type(raised):
                return Reply(raised.parameters, error=f"{self.where.name}.{type(raised).__name__}")
        elif isinstance(raised, errors.CallFailed):
            return Reply(raised.parameters, error=raised.error)
        name = f"{self.where.name}.{self.method.name}"
        logger.error("%s failed", name, exc_info=raised)
        return Reply({"message": f"{type(raised).__name__} in {name}"}, error=FAILED)


def _without_nulls(parameters: dict[str, Any]) -> dict[str, Any]:
    # A parameter that may be left out may also be null (varlink.github.io#36): the default counts.
    if None in parameters.values():
        return {name: value for name, value in parameters.items() if value is not None}
    return parameters


def _invalid(error: msgspec.ValidationError) -> errors.InvalidParameter:
    """Return the error that names the parameter.

    msgspec says "Expected `int`, got `str` - at `$.count`", "Object missing required field `count`",
    or "Object contains unknown field `count`".
    """
    reason, _, where = str(error).partition(" - at `$")
    parameter = where.strip("`.")
    if not parameter:
        parameter = reason.partition("`")[2].partition("`")[0]
    return errors.InvalidParameter(
        varlink.INVALID_PARAMETER, {"parameter": parameter, "reason": reason[:1].lower() + reason[1:]}
    )


class Calls:
    """The interfaces of a server.

    Args:
        gate: returns why work is not taken now, or None.
    """

    def __init__(self, gate: Gate = lambda: None) -> None:
        self._gate = gate
        self._interfaces: dict[str, Described] = {}
        self._methods: dict[str, Bound] = {}

    @property
    def interfaces(self) -> dict[str, Described]:
        """What is served, by name."""
        return self._interfaces

    def serve(self, implementation: Interface) -> None:
        """Answer the calls of an implementation's interface.

        Raises:
            ValueError: its interface is served already.
            NotDescribable: a type in it has no form in the interface language.
        """
        where = described(type(implementation))
        if where.name in self._interfaces:
            raise ValueError(f"the interface {where.name} is served already")
        self._interfaces[where.name] = where
        for method in where.methods.values():
            self._methods[f"{where.name}.{method.name}"] = Bound(where, method, implementation)

    def find(self, call: Call) -> Bound:
        """Return the method that a call names, if it may be called now.

        Raises:
            InterfaceNotFound, MethodNotFound: there is none.
            ExpectedMore: it gives several replies, and the caller takes one.
            Paused, Draining, Overloaded: work is not taken now.
        """
        bound = self._methods.get(call.method)
        if bound is None:
            raise self._not_found(call.method)
        if not bound.open and (closed := self._gate()) is not None:
            raise closed
        if bound.kind == "stream" and not call.more:
            raise errors.ExpectedMore(varlink.EXPECTED_MORE)
        return bound

    def _not_found(self, name: str) -> errors.CallFailed:
        interface, method = varlink.split_name(name)
        if interface not in self._interfaces:
            return errors.InterfaceNotFound(varlink.INTERFACE_NOT_FOUND, {"interface": interface})
        return errors.MethodNotFound(varlink.METHOD_NOT_FOUND, {"method": method})


def context_of(call: Call, peer: Peer) -> Context:
    """Return what a handler may know of a call."""
    return Context(call.method, peer, more=call.more, oneway=call.oneway)


def refusal(raised: errors.CallFailed) -> Reply:
    """Return the reply for a call that was not begun."""
    return Reply(raised.parameters, error=raised.error)


async def replies(bound: Bound, results: AsyncIterator[Any]) -> AsyncIterator[Reply]:
    """Yield a stream's replies, the last one marked as such.

    A result is passed on as soon as it is there.  Whether it is the last is known only if the
    generator ends without waiting; otherwise an empty reply ends the stream.
    """
    pending: Any = None
    held = False
    step: Awaitable[Any]
    iterator = results.__aiter__()
    while True:
        step = iterator.__anext__()
        done, outcome = _step(step)
        if not done:
            if held:
                yield bound.reply(pending, continues=True)
                held = False
            try:
                outcome = await _rest(step, outcome)
            except StopAsyncIteration:
                break
        elif isinstance(outcome, StopAsyncIteration):
            break
        if held:
            yield bound.reply(pending, continues=True)
        pending, held = outcome, True
    yield bound.reply(pending) if held else Reply()


def _step(awaitable: Awaitable[Any]) -> tuple[bool, Any]:
    """Run an awaitable until it first waits: (True, its outcome) or (False, what it waits for)."""
    try:
        return False, awaitable.__await__().send(None)
    except StopIteration as ended:
        return True, ended.value
    except StopAsyncIteration as ended:
        return True, ended


async def _rest(step: Awaitable[Any], waiting_for: Any) -> Any:
    return await _Continued(step, waiting_for)


class _Continued:
    """An awaitable that was begun by hand and goes on in a task."""

    __slots__ = ("_step", "_waiting_for")

    def __init__(self, step: Awaitable[Any], waiting_for: Any) -> None:
        self._step = step
        self._waiting_for = waiting_for

    def __await__(self) -> Any:
        begun = self._step.__await__()
        waiting_for = self._waiting_for
        while True:
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001  # a cancellation belongs to the generator
                try:
                    waiting_for = begun.throw(error)
                except StopIteration as ended:
                    return ended.value
            else:
                try:
                    waiting_for = begun.send(sent)
                except StopIteration as ended:
                    return ended.value

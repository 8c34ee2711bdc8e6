"""Answering calls: which interfaces a server has, and the result of one call of a method.

Owns the table of methods, and the conversion of parameters and results.  Which exception is which
error on the wire is `failures`'s.  Knows no sockets and no order of calls: those are
`varlink.connection`'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from types import CoroutineType
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from daemonry import errors
from daemonry.limits import LOOKED_UP_BYTES
from daemonry.service.interface.declare import Described, Interface, Method, described, place_of
from daemonry.service.interface.descriptors import giver, taker
from daemonry.service.interface.handler import Context
from daemonry.service.native_answers import NativeAnswers
from daemonry.service.server import reply_check
from daemonry.service.server.failures import Failures, invalid_parameter
from daemonry.service.server.slow_calls import Stopwatch
from daemonry.service.server.stepping import Stepper, Suspended
from daemonry.service.server.streams.item_frames import ItemFrames
from daemonry.service.server.tap import Tap
from daemonry.spelling import nearest
from daemonry.stop_iteration import called
from daemonry.transport.ancillary import Fd
from daemonry.transport.credentials import Peer
from daemonry.wire import fast_varlink, varlink
from daemonry.wire.typed_reply import call_reader, never_proved
from daemonry.wire.varlink import (
    FRAME_END,
    MAX_FRAME_BYTES,
    METHOD_HEAD,
    PARAMETERS_HEAD,
    AnyCall,
    Reply,
)

CONTROL: Final = "org.daemonry.Control"
DEBUG: Final = "org.daemonry.Debug"
PROTOCOL_VIOLATION: Final = f"{CONTROL}.ProtocolViolation"
DRAINING: Final = f"{CONTROL}.Draining"
OVERLOADED: Final = f"{CONTROL}.Overloaded"
EXPECTED_UPGRADE: Final = f"{CONTROL}.ExpectedUpgrade"
NOT_UPGRADABLE: Final = f"{CONTROL}.NotUpgradable"

# Interfaces that answer while a daemon is paused, ending or overloaded: they are about the daemon itself.
_ALWAYS_OPEN = frozenset((varlink.SERVICE, CONTROL, DEBUG, f"{CONTROL}.HandOver", f"{CONTROL}.Http"))
# Calls that run at the same time, over all connections; those that answer at once do not count.
# systemd serves 4,096 connections with a call each; a Python handler is heavier.
MAX_RUNNING: Final = 1024

_NONE = type(None)

Gate = Callable[[], errors.CallFailed | None]
# Returns a handler that makes a span of each call: of a method's full name and kind, and the caller's trace.
Spans = Callable[[str, str, Callable[..., Any], "Mapping[str, str] | None"], Callable[..., Any]]
Ready = Callable[[], "bytes | Ran | None"]
# Makes a call with the fields of the method's `parameters`, or with none.
Answer = Callable[..., "bytes | Ran | None"]


class Bound:
    """A method of a served interface, with the object that it is called on.

    Attributes:
        full_name: its name on the wire, with the interface's.
        function: the implementation's method.
        kind: "plain", "async", "stream" or "thread".
        method: the interface's method.
        open: whether it is answered also while the daemon is paused, ending or overloaded.
        reads: whether it is answered also while the daemon is paused, since it changes nothing.
        at_once: whether it may be done when its function returns, or takes its first step, and needs to
            know nothing of the call.
        read: makes a frame that calls it, with its NUL, the `parameters` or a tuple of the same fields, or
            NotImplemented where only `arguments` can tell.
        frame: makes what such a function returned the reply as it is sent; raises NotSendable for what
            only `reply` can judge.
        where: the interface it belongs to.
    """

    __slots__ = (
        "_check",
        "_form",
        "_handler",
        "_plain_reply",
        "_spans",
        "_untraced",
        "at_once",
        "frame",
        "full_name",
        "function",
        "items",
        "kind",
        "method",
        "open",
        "read",
        "reads",
        "where",
    )

    def __init__(
        self, where: Described, method: Method, implementation: Interface, spans: Spans | None = None
    ) -> None:
        self.where: Described = where
        self.method: Method = method
        self.full_name: str = f"{where.name}.{method.name}"
        self.function: Callable[..., Any] = getattr(implementation, method.python_name)
        self.open: bool = where.name in _ALWAYS_OPEN
        self.reads: bool = method.marks.reads
        self._plain_reply = not method.gives_fds and method.write_reply is None
        if method.streams:
            self.kind: str = "stream"
        elif inspect.iscoroutinefunction(self.function):
            self.kind = "async"
        else:
            self.kind = "thread" if method.marks.blocking else "plain"
        self._handler = self.function
        if self.kind == "thread":
            self.function = partial(called, self.function)
        self._untraced = self.function
        self._spans = None if self.open else spans
        if self._spans is not None:
            self.function = self._spans(self.full_name, self.kind, self.function, None)
        needs_more = method.context or method.takes_fds or method.upgrades
        self.at_once: bool = self.kind in ("plain", "async") and self._plain_reply and not needs_more
        self.read: Callable[[bytes], Any] = never_proved
        if self.at_once and method.names and method.read_parameters is None:
            head = METHOD_HEAD + self.full_name.encode() + PARAMETERS_HEAD
            self.read = call_reader(method.parameters, head)
        self._check: reply_check.Check = reply_check.nothing
        if method.reply is not _NONE:
            self._check = reply_check.checker(method.reply, method.reply_field)
        self.frame: Callable[[Any], bytes] = fast_varlink.frame_nothing
        self._form: Callable[[Any], bytes] = fast_varlink.frame_nothing
        self.items: ItemFrames = ItemFrames()
        if method.reply is not _NONE:
            framed = method.reply, method.reply_field, self._check_plain
            self.frame = fast_varlink.reply_framer(*framed)
            self._form = fast_varlink.reply_framer(*framed, (b"", b""))
            if self.kind == "stream" and self._plain_reply:
                self.items = ItemFrames.of(*framed)

    def traced(self, trace: Mapping[str, str]) -> Bound:
        """Return the method for one call of a caller that is traced; this one where nobody makes spans."""
        if self._spans is None:
            return self
        bound = copy(self)
        bound.function = self._spans(self.full_name, self.kind, self._untraced, trace)
        return bound

    def arguments(
        self, call: AnyCall, context: Context | None, fds: list[Fd] | None = None
    ) -> dict[str, Any]:
        """Return the keyword arguments of a call.

        Raises:
            InvalidParameter: one is missing, unknown or of another type.
        """
        arguments = asdict(self.fields(call, fds))
        if self.method.context:
            arguments[self.method.context] = context
        return arguments

    def fields(self, call: AnyCall, fds: list[Fd] | None) -> Any:
        """Return the parameters of a call as the method's Struct.

        Raises:
            InvalidParameter: as `arguments`.
        """
        method = self.method
        parameters = call.parameters
        try:
            if method.read_parameters is not None:
                parameters = method.read_parameters(parameters)
            if method.takes_fds:
                return msgspec.convert(parameters, method.parameters, dec_hook=taker(fds or []))
            return msgspec.convert(parameters, method.parameters)
        except msgspec.ValidationError as error:
            raise invalid_parameter(error) from None

    def caller(self) -> Callable[[Any], Any]:
        """Return what calls the function with what `read` returned as its arguments."""
        names = self.method.names
        given = ", ".join(f"{name}=fields.{name}" for name in names)
        placed = ", ".join(f"{name}=fields[{place}]" for place, name in enumerate(names))
        written = f"lambda fields: function({placed}) if fields.__class__ is tuple else function({given})"
        call: Callable[[Any], Any] = eval(written, {"function": self.function})  # noqa: S307  # of the signature's own names
        return call

    def reply(self, result: Any, *, continues: bool = False, fds: list[Fd] | None = None) -> Reply:
        """Return a handler's result as a reply; descriptors in it are added to `fds`.

        Raises:
            NotSendable: it is not what the signature says, or has no form.
        """
        method = self.method
        if method.reply is _NONE:
            if result is not None:
                raise reply_check.Misfit(f"expected `None`, got `{type(result).__name__}`")
            return Reply(None, continues)
        if self._plain_reply:
            try:
                return Reply(fast_varlink.Encoded(self._form(result)), continues)
            except errors.LocalProtocolError:
                pass  # what follows says why
        fds = [] if fds is None else fds
        if not self._plain_reply:
            result = self._with_care(result, fds)
        if method.reply_field:
            result = {method.reply_field: result}
        elif result is None or isinstance(result, _NO_OBJECTS):
            raise reply_check.Misfit(f"expected `{_name(method.reply)}`, got `{type(result).__name__}`")
        try:
            encoded = fast_varlink.encode_parameters(result)
        except errors.NotSendable as error:
            raise reply_check.Misfit(f"expected `{_name(method.reply)}`: {error.reason}") from None
        self._check(encoded, len(fds))
        return Reply(fast_varlink.Encoded(encoded), continues)

    def _check_plain(self, parameters: bytes) -> None:
        self._check(parameters, 0)

    def _with_care(self, result: Any, fds: list[Fd]) -> Any:
        """Return plain values for a result with descriptors or sets in it."""
        try:
            plain = msgspec.to_builtins(result, enc_hook=giver(fds))
            return plain if self.method.write_reply is None else self.method.write_reply(plain)
        except Exception as error:  # noqa: BLE001  # it was made for another type
            raise reply_check.Misfit(f"expected `{_name(self.method.reply)}`: {error}") from None

    @property
    def place(self) -> str:
        """The handler's file and line."""
        return place_of(self._handler)


# What JSON has other forms for than an object.
_NO_OBJECTS: Final = (bool, int, float, str, bytes, list, tuple, set, frozenset)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


class Ran:
    """What a call came to that was begun at once, and whose reply cannot just be sent yet.

    Attributes:
        bound: the method.
        error: the exception that it raised; None for none.
        result: the value that it returned; the `Suspended` coroutine of one that waits.
    """

    __slots__ = ("bound", "error", "result")

    def __init__(self, bound: Bound, result: Any, error: BaseException | None = None) -> None:
        self.bound: Bound = bound
        self.result: Any = result
        self.error: BaseException | None = error


class Calls:
    """The interfaces of a server.

    Args:
        gate: returns why work is not taken now, or None.
        most_running: how many calls may run at the same time, not counting those that answer at once.
        failures: makes errors of what handlers raise.
        spans: makes a span of each call of the program's own methods; None for none.

    Attributes:
        answer_at_once: `answer_in_python`, or the same by the native part.
        failures: as given.
        running: how many do; counted by whoever runs them.
        slow_call_s: from when on a call is logged as slow, in seconds; None for never.
        ready: what answers a frame that calls a method at once and gives it nothing; see
            `answer_at_once`, which looks here first, as may who counts function calls.
        tap: tells watchers of calls; told by whoever runs them.
        stepper: begins coroutines; closed by who serves.
        takes_fds: whether any method takes descriptors.
    """

    def __init__(
        self,
        gate: Gate = lambda: None,
        *,
        most_running: int = MAX_RUNNING,
        failures: Failures | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._spans = spans
        self._gate = gate
        self.failures: Failures = failures or Failures()
        self._most_running = most_running
        self.running = 0
        self._begun = 0
        self.slow_call_s: float | None = None
        self.tap: Tap = Tap()
        self.stepper: Stepper = Stepper()
        self.takes_fds: bool = False
        self._served: dict[str, Interface] = {}
        self._interfaces: dict[str, Described] = {}  # those that are worked out
        self._methods: dict[str, Bound] = {}
        self._most_bytes = MAX_FRAME_BYTES
        self.ready: dict[bytes, Ready] = {}
        # Those that answer at once, by how a frame that calls them begins, and what makes such a call.
        self._at_once: dict[bytes, tuple[Bound, Answer]] = {}
        self._native = NativeAnswers.of(self.ready, self.answer_in_python)
        self.answer_at_once: Callable[[bytes], bytes | Ran | None] = (
            self.answer_in_python if self._native is None else self._native.answer
        )

    @property
    def begun(self) -> int:
        """How many calls of the program's own interfaces there have been."""
        return self._begun if self._native is None else self._begun + self._native.begun

    @property
    def most_bytes(self) -> int:
        """How long a reply may be."""
        return self._most_bytes

    @most_bytes.setter
    def most_bytes(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        if self._native is not None:
            self._native.bound_replies(most_bytes)

    @property
    def interfaces(self) -> dict[str, Described]:
        """The interfaces that are served, by name."""
        return {name: self._worked_out(name) for name in self._served}

    def interface(self, name: str) -> Described | None:
        """Return the interface of that name; None where it is not served."""
        return self._worked_out(name) if name in self._served else None

    @property
    def names(self) -> list[str]:
        """The names of the interfaces that are served."""
        return list(self._served)

    def serve(self, implementation: Interface) -> None:
        """Answer the calls of an implementation's interface.

        Raises:
            ValueError: its interface is served already.
            NotDescribable: a type in it has no form in the interface language.
        """
        self._add(described(type(implementation)).name, implementation)
        self._work_out(implementation)

    def serve_when_asked(self, implementation: Interface) -> None:
        """As `serve`, and work out the interface when its first call comes: for most daemons, never.

        For interfaces of ours: their types have forms, and no method takes descriptors, which has to be
        known before a connection is accepted.

        Raises:
            ValueError: its interface is served already.
        """
        self._add(type(implementation).interface_name, implementation)

    def _add(self, name: str, implementation: Interface) -> None:
        if name in self._served:
            raise ValueError(f"the interface {name} is served already")
        self._served[name] = implementation

    def _worked_out(self, name: str) -> Described:
        if name not in self._interfaces:
            self._work_out(self._served[name])
        return self._interfaces[name]

    def _work_out(self, implementation: Interface) -> None:
        where = described(type(implementation))
        self._interfaces[where.name] = where
        for method in where.methods.values():
            bound = Bound(where, method, implementation, self._spans)
            self._methods[bound.full_name] = bound
            self.takes_fds |= method.takes_fds
            if bound.at_once:
                head = METHOD_HEAD + bound.full_name.encode() + PARAMETERS_HEAD
                answer = self._made_ready(bound)
                self._at_once[head] = bound, answer
                if not method.names:
                    self.ready[head + b"{}" + FRAME_END] = answer
                if self._native is not None:
                    self._native.serve(method, head, answer)

    def answer_in_python(self, data: bytes) -> bytes | Ran | None:
        """Answer `data` if it is one call, whole, of a method that is done as its function returns.

        Args:
            data: the bytes that were read; not longer than a call may be.

        Returns:
            The reply as it is sent; None, where nothing ran: whoever goes the whole way finds what is
            wrong, or that nothing is; or the `Ran` of a call whose reply is left to make.
        """
        if len(data) <= LOOKED_UP_BYTES:
            ready = self.ready.get(data)
            if ready is not None:
                return ready()
        found = self._at_once.get(data[: data.find(PARAMETERS_HEAD) + len(PARAMETERS_HEAD)])
        if found is None:
            return None
        bound, answer = found
        try:
            fields = bound.read(data)
            if fields is NotImplemented:
                fields = _fields_at_once(bound, data)
        except Exception:  # noqa: BLE001  # a type's own __post_init__ may raise anything
            return None
        return None if fields is None else answer(fields)

    def _made_ready(self, bound: Bound) -> Answer:
        """Return what makes calls of a method, with all that is known beforehand at hand."""
        if bound.kind == "async":
            return self._made_stepped(bound)
        answer = self._made_plain(bound)
        if self._native is None:
            return answer
        judge, failed = partial(self._judged, bound), partial(Ran, bound, None)
        gate = None if bound.open else self._gate
        around = gate, self.tap.watchers, judge, failed
        return self._native.made_ready(bound.method, bound.function, answer, around, self._most_bytes)

    def _judged(self, bound: Bound, result: Any) -> bytes | Ran:
        """Return the reply for a result, or the `Ran` of one that needs more."""
        try:
            reply = bound.frame(result)
        except errors.LocalProtocolError:
            return Ran(bound, result)
        return reply if len(reply) <= self._most_bytes else Ran(bound, result)

    def _made_plain(self, bound: Bound) -> Answer:
        gate, watchers, function, frame, is_open, reads = (
            *(self._gate, self.tap.watchers),
            *(bound.function, bound.frame, bound.open, bound.reads),
        )
        call = bound.caller()

        def ready(fields: Any = None) -> bytes | Ran | None:
            if watchers:
                return None
            if not is_open:
                closed = gate()
                if closed is not None and not (reads and isinstance(closed, errors.Paused)):
                    return None
                self._begun += 1
            try:
                result = function() if fields is None else call(fields)
            except BaseException as error:  # noqa: BLE001  # whatever a handler raises does not end the daemon
                return Ran(bound, None, error)
            try:
                reply = frame(result)
            except errors.LocalProtocolError:
                return Ran(bound, result)
            return reply if len(reply) <= self._most_bytes else Ran(bound, result)

        return ready

    def _made_stepped(self, bound: Bound) -> Answer:
        """As `_made_ready`, for a coroutine: its first step is taken, and most end with it."""
        gate, watchers, stepper, begin = self._gate, self.tap.watchers, self.stepper, self.stepper.begin
        function, frame, is_open, reads = bound.function, bound.frame, bound.open, bound.reads
        call = bound.caller()

        def ready(fields: Any = None) -> bytes | Ran | None:
            # Slow ones are measured in a task.
            if (
                watchers
                or self.slow_call_s is not None
                or (stepper.waiting is None and not stepper.is_ready())
            ):
                return None
            if not is_open:
                if self.running >= self._most_running:
                    return None
                closed = gate()
                if closed is not None and not (reads and isinstance(closed, errors.Paused)):
                    return None
                self._begun += 1
            try:
                result = function() if fields is None else call(fields)
                if type(result) is CoroutineType:
                    result = begin(result)
            except BaseException as error:  # noqa: BLE001  # as above; it may cancel itself, too
                return Ran(bound, None, error)
            if type(result) is Suspended:
                return Ran(bound, result)
            try:
                reply = frame(result)
            except errors.LocalProtocolError:
                return Ran(bound, result)
            return reply if len(reply) <= self._most_bytes else Ran(bound, result)

        return ready

    def stopwatch(self, bound: Bound) -> Stopwatch | None:
        """Return what measures a call of a method; None where calls are not measured."""
        if self.slow_call_s is None or bound.open:
            return None
        return Stopwatch(bound.full_name, self.slow_call_s)

    def find(self, call: AnyCall) -> Bound:
        """Return the method that a call names, if it may be called now.

        Raises:
            InterfaceNotFound, MethodNotFound: there is none.
            ExpectedMore: it gives several replies, and the caller takes one.
            CallFailed: it upgrades the connection and the caller did not ask for that, or the
                other way round.
            Paused, Draining, Overloaded: work is not taken now.
        """
        bound = self._methods.get(call.method) or self._worked_out_now(call.method)
        if not bound.open:
            self._begun += 1
            self._refuse_work(bound)
        if bound.kind == "stream" and not call.more:
            raise errors.ExpectedMore(varlink.EXPECTED_MORE)
        if bound.method.upgrades is not call.upgrade:
            name = EXPECTED_UPGRADE if bound.method.upgrades else NOT_UPGRADABLE
            raise errors.CallFailed(name, {"method": bound.method.name})
        return bound if call.trace is None else bound.traced(call.trace)

    def _refuse_work(self, bound: Bound) -> None:
        closed = self._gate()
        if closed is not None and not (bound.reads and isinstance(closed, errors.Paused)):
            raise closed
        if self.running >= self._most_running and bound.kind != "plain":
            raise errors.Overloaded(OVERLOADED, {"limit": self._most_running})

    def _worked_out_now(self, name: str) -> Bound:
        """Return a method whose interface was not asked for until now.

        Raises:
            InterfaceNotFound, MethodNotFound: there is none.
        """
        self.interface(varlink.split_name(name)[0])
        bound = self._methods.get(name)
        if bound is None:
            raise self._not_found(name)
        return bound

    def _not_found(self, name: str) -> errors.CallFailed:
        interface, method = varlink.split_name(name)
        if not interface:  # as systemd: the text before the dot is missing, not the interface
            return errors.MethodNotFound(varlink.METHOD_NOT_FOUND, {"method": method})
        where = self._interfaces.get(interface)
        if where is None:
            return errors.InterfaceNotFound(
                varlink.INTERFACE_NOT_FOUND, {"interface": interface, **_nearest(interface, self._served)}
            )
        return errors.MethodNotFound(
            varlink.METHOD_NOT_FOUND, {"method": method, **_nearest(method, where.methods)}
        )


def _fields_at_once(bound: Bound, data: bytes) -> Any:
    if data.find(b"\0") != len(data) - 1:
        return None
    call = fast_varlink.decode_call(data[:-1])
    if call.oneway or call.more or call.upgrade or call.trace is not None:
        return None
    return bound.fields(call, None)


def _nearest(name: str, known: dict[str, Any]) -> dict[str, str]:
    """Return what the sender may have meant, as a field of the error."""
    near = nearest(name, known)
    return {"nearest": near} if near else {}


def context_of(call: AnyCall, peer: Peer) -> Context:
    """Return what a handler may know of a call."""
    return Context(call.method, peer, more=call.more, oneway=call.oneway)


def refusal(raised: errors.CallFailed) -> Reply:
    """Return the reply for a call that was not begun."""
    return Reply(raised.parameters, error=raised.error)

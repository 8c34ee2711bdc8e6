"""Typed proxies: an object with an interface's methods, each of which calls a daemon.

Owns the way from Python arguments to parameters and from replies to Python results, for both
clients.  A proxy is an instance of a subclass of the interface that was given, so type checkers
see its methods; the subclass is made once per interface and kind of client, since to read
signatures takes longer than many calls.  A proxy's own are its client and its timeout.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from daemonry import errors
from daemonry.native_calls import Exchange
from daemonry.native_calls import calls as native_calls
from daemonry.process.forks import held_at_forks
from daemonry.service.client import signatures
from daemonry.service.client.plain_call import Short, wrap_call
from daemonry.service.interface import error_fields
from daemonry.service.interface.declare import CallError, Described, Interface, Method, described
from daemonry.service.interface.descriptors import giver, taker
from daemonry.service.interface.schema import NotDescribable
from daemonry.transport.ancillary import Fd, close_all
from daemonry.wire import fast_varlink
from daemonry.wire.typed_call import CallWriter, call_writer, native_call, never_written
from daemonry.wire.typed_reply import NO_ITEMS, RunReader, item_readers, never_proved, reader
from daemonry.wire.varlink import (
    FRAME_END,
    MAX_FRAME_BYTES,
    METHOD_HEAD,
    PARAMETERS_HEAD,
    encode_name,
    tracing,
)

if TYPE_CHECKING:
    from socket import socket as Socket

    from daemonry.transport.stream import Stream

AnyInterface = TypeVar("AnyInterface", bound=Interface)

# Arguments by the names that are sent, or all of them by place.
Given = Mapping[str, Any] | tuple[Any, ...]


class Converter:
    """One method of one interface, seen from a caller.

    Attributes:
        exchange: sends a call and reads the first bytes of its reply; None without the native part.
        full_name: its name on the wire, with the interface's.
        idempotent: whether the interface declares it idempotent.
        signature: its parameters as callers give them, behind `self`.
        read: makes received bytes the result, or NotImplemented where only `result` can tell.
        native_call: writes calls natively from arguments by place; None for none.
        read_item, read_items: as `read` and `read_run`, for replies of a stream behind which others come.
        read_run: as `read`, of many replies at once, set for pipelines; None to read them one by one.
        takes_none: whether it has no parameters.
        without_arguments: a call without them, as it is sent where nothing is traced.
        write: makes arguments by place the call as it is sent, or None where only `call` can tell.
    """

    __slots__ = (
        "_by_keyword",
        "_by_place",
        "_by_place_count",
        "_head",
        "_method",
        "_own_name",
        "_positional",
        "_required",
        "_where",
        "exchange",
        "full_name",
        "idempotent",
        "native_call",
        "read",
        "read_item",
        "read_items",
        "read_run",
        "signature",
        "takes_none",
        "without_arguments",
        "write",
    )

    def __init__(self, where: Described, method: Method, function: Callable[..., Any]) -> None:
        self.exchange: Exchange | None = None if native_calls is None else native_calls.exchange
        self.full_name: str = f"{where.name}.{method.name}"
        self.idempotent: bool = method.marks.idempotent
        self._where = where
        self._method = method
        self._read_signature(function)
        self._head = METHOD_HEAD + encode_name(self.full_name) + PARAMETERS_HEAD
        self.without_arguments: bytes = self._head + b"{}" + FRAME_END
        self.takes_none: bool = not self._by_keyword and not self._positional
        self.write: CallWriter = never_written
        self.native_call: Any = None
        if self._by_place_count > 0 and method.write_parameters is None:
            kinds = {one.encode_name: one.type for one in msgspec.structs.fields(method.parameters)}
            by_place = [(name, kinds[name]) for name in self._positional]
            self.write = call_writer(self._head, by_place)
            self.native_call = native_call(self._head, by_place)
        common = not (method.gives_fds or method.read_reply)
        self.read: Callable[[bytes], Any] = (
            reader(method.reply, method.reply_field) if common else never_proved
        )
        self.read_run: RunReader | None = None
        items = item_readers(method.reply, method.reply_field) if common and method.streams else NO_ITEMS
        self.read_item, self.read_items = items

    def _read_signature(self, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function)
        # The first is `self`, by whatever name; it stays, since others may be positional only.
        kept = [one for one in signature.parameters.values() if one.name != self._method.context]
        self._own_name = kept[0].name
        self.signature: inspect.Signature = signature.replace(parameters=kept)
        # The conversion of each argument, by place and by keyword.
        own = kept[1:]
        self._positional = tuple(_sent_name(one) for one in own if one.kind is not one.KEYWORD_ONLY)
        self._by_keyword = {one.name: _sent_name(one) for one in own if one.kind is not one.POSITIONAL_ONLY}
        self._required = frozenset(_sent_name(one) for one in own if one.default is one.empty)
        # All of them by place, written out: most calls are made so.
        fits = self._required <= set(self._positional)
        self._by_place_count = len(self._positional) if fits else -1
        items = ", ".join(f"{name!r}: args[{place}]" for place, name in enumerate(self._positional))
        self._by_place: Callable[[tuple[Any, ...]], dict[str, Any]] = eval(f"lambda args: {{{items}}}", {})  # noqa: S307  # of the signature's own names

    @property
    def passes_fds(self) -> bool:
        """Whether descriptors go with the call or its reply."""
        return self._method.takes_fds or self._method.gives_fds

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments, as they are, by the names that are sent.

        Raises:
            TypeError: they do not fit the method.
        """
        if not kwargs and len(args) == self._by_place_count:
            return self._by_place(args)
        if not args and not kwargs and not self._required:
            return {}
        if len(args) > len(self._positional):
            return self._bound(args, kwargs)
        given = dict(zip(self._positional, args, strict=False))
        for name, value in kwargs.items():
            sent = self._by_keyword.get(name)
            if sent is None or sent in given:
                return self._bound(args, kwargs)
            given[sent] = value
        return given if self._required <= given.keys() else self._bound(args, kwargs)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        # Python's own way, for its messages; it takes longer than a call.
        arguments = self.signature.bind(None, *args, **kwargs).arguments
        del arguments[self._own_name]
        return {name.rstrip("_"): value for name, value in arguments.items()}

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Given, bytes | None]:
        """Return the arguments, as `plain` takes them, and the call with them, as `frame` returns it.

        Raises:
            TypeError: they do not fit the method.
            NotSendable: one has no form.
        """
        data = None if kwargs else self.write(args)
        if data is not None:
            return args, data
        given = self.given(args, kwargs)
        return given, self.frame(given)

    def frame(self, given: Mapping[str, Any]) -> bytes | None:
        """Return the call with these arguments as it is sent, with its NUL; None if only `plain` can tell.

        Raises:
            NotSendable: one has no form.
        """
        if not given:
            data = self.without_arguments
        else:
            if self._method.write_parameters is not None:
                given = self.plain(given)
            data = b"".join((self._head, fast_varlink.encode_parameters(given), FRAME_END))
        if tracing.source is not None:
            data = tracing.marked(data[:-1]) + b"\0"
        return data if len(data) <= MAX_FRAME_BYTES else None

    def plain(self, given: Given, fds: list[Fd] | None = None) -> dict[str, Any]:
        """Return the parameters that are sent for arguments, as plain values.

        Args:
            given: what `given` or `call` returned.
            fds: takes the descriptors that go with them.
        """
        if isinstance(given, tuple):
            given = self._by_place(given)
        hook = giver(fds if fds is not None else [])
        fields = {name: msgspec.to_builtins(value, enc_hook=hook) for name, value in given.items()}
        return fields if self._method.write_parameters is None else self._method.write_parameters(fields)

    def result(self, fields: Mapping[str, Any], fds: list[Fd] | None = None) -> Any:
        """Return a reply's fields, and the descriptors that came with it, as the method's own type.

        Raises:
            RemoteProtocolError: they do not fit it.
        """
        method = self._method
        if method.reply is type(None):
            return None
        try:
            value = fields.get(method.reply_field) if method.reply_field else fields
            if method.read_reply is not None:
                value = method.read_reply(value)
            if method.gives_fds:
                return msgspec.convert(value, method.reply, dec_hook=taker(fds or []))
            return msgspec.convert(value, method.reply)
        except msgspec.ValidationError as error:
            raise errors.RemoteProtocolError(f"the reply to {self.full_name} does not fit: {error}") from None
        finally:
            close_all(fds or ())

    def error(self, raised: errors.CallFailed) -> errors.CallFailed:
        """Return an error as the interface declares it, if it does."""
        interface, _, name = raised.error.rpartition(".")
        kind = self._where.errors.get(name) if interface == self._where.name else None
        if kind is None:
            return raised
        try:
            declared: CallError = kind(**error_fields.received(kind, raised.parameters))
        except (TypeError, msgspec.ValidationError):
            return raised
        declared.error = raised.error
        return declared


def _sent_name(parameter: inspect.Parameter) -> str:
    return parameter.name.rstrip("_")


# --- what a proxy calls -----------------------------------------------------------------------


class Caller(Protocol):
    """What a proxy whose methods block needs of its client; see `Client`."""

    def call_typed(self, converter: Converter, given: Given, frame: bytes | None, timeout_s: float) -> Any:
        """Call a method and return its result."""

    def call_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        timeout_s: float = ...,
    ) -> tuple[dict[str, Any], list[Fd]]:
        """Call a method, passing descriptors; return its fields and the descriptors that came back."""

    def stream_typed(
        self, converter: Converter, parameters: Mapping[str, Any], first_s: float
    ) -> Generator[Any, None, None]:
        """Call a method that gives several replies and yield the result of each."""

    def stream_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        first_s: float | None = None,
    ) -> Generator[tuple[dict[str, Any], list[Fd]], None, None]:
        """Call a method that gives several replies and yield the fields and the descriptors of each."""

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered."""

    def upgrade(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = ...
    ) -> tuple[dict[str, Any], Stream]:
        """Call a method and return its fields and the connection, which speaks another protocol now."""


class AsyncCaller(Protocol):
    """What a proxy whose methods are coroutines needs of its client; see `AsyncClient` and `Pool`.

    For methods that pass descriptors or upgrade, it needs an `AsyncConnection`.
    """

    async def call_typed(
        self, converter: Converter, given: Given, frame: bytes | None, timeout_s: float
    ) -> Any:
        """Call a method and return its result."""

    def stream_typed(
        self, converter: Converter, parameters: Mapping[str, Any], first_s: float
    ) -> AsyncGenerator[Any, None]:
        """Call a method that gives several replies and yield the result of each."""

    async def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered."""


class AsyncConnection(AsyncCaller, Protocol):
    """An `AsyncCaller` with a connection of its own, as `AsyncClient` is one."""

    async def call_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        timeout_s: float = ...,
    ) -> tuple[dict[str, Any], list[Fd]]:
        """Call a method, passing descriptors; return its fields and the descriptors that came back."""

    def stream_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        first_s: float | None = None,
    ) -> AsyncGenerator[tuple[dict[str, Any], list[Fd]], None]:
        """Call a method that gives several replies and yield the fields and the descriptors of each."""

    async def upgrade(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = ...
    ) -> tuple[dict[str, Any], Socket, bytes]:
        """Call a method and return its fields, the socket, and the bytes that came early."""


# --- proxies ----------------------------------------------------------------------------------

_Wrap = Callable[[Converter, Method], Any]
# Returns a short call of a method, or None; see `native_way`.
ShortOf = Callable[[Converter], Short | None]


# One thread makes decoders at a time, and no process is forked meanwhile: msgspec keeps the description of a
# Struct on its class before it is complete, and a decoder that another thread makes of that crashes.
_making = held_at_forks


def proxy_class(
    kind: type[AnyInterface],
    made: dict[type[Interface], type[Interface]],
    wrap: _Wrap,
    result: Callable[[Method], Any],
) -> type[Any]:
    """Return the class of proxies of an interface, made the first time and kept."""
    found = made.get(kind)
    if found is not None:
        return found
    with _making:
        found = made.get(kind)
        if found is None:
            found = made[kind] = _made(kind, wrap, result)
    return found


def _made(kind: type[AnyInterface], wrap: _Wrap, result: Callable[[Method], Any]) -> type[Any]:
    where = described(kind)
    own: dict[str, Any] = {"__reduce__": _reduced, "__dir__": _names}
    for method in where.methods.values():
        function = getattr(kind, method.python_name)
        converter = Converter(where, method, function)
        signature = converter.signature.replace(return_annotation=result(method))
        own[method.python_name] = signatures.describe(wrap(converter, method), function, signature)
    return type(f"{kind.__name__}Proxy", (kind,), own)


def _reduced(self: Any) -> tuple[Any, ...]:
    # What travels is the interface and the client, which travels without its connections.
    return _restored, (type(self).__base__, self.__daemonry_client__, self.__daemonry_timeout_s__)


def _names(self: Any) -> list[str]:
    # For completion: the methods, and not what the class has to be an interface.
    hidden = vars(Interface)
    return [name for name in object.__dir__(self) if name.startswith("__") or name not in hidden]


def _restored(kind: type[Any], client: Any, timeout_s: float) -> Any:
    return client.proxy(kind, timeout_s=timeout_s)


def proxy_of(kind: type[Any], client: Any, timeout_s: float) -> Any:
    """Return a proxy of a class that `proxy_class` made."""
    # An implementation's own __init__ is not a proxy's.
    proxy: Any = object.__new__(kind)
    proxy.__daemonry_client__ = client
    proxy.__daemonry_timeout_s__ = timeout_s
    return proxy


_blocking: dict[type[Interface], type[Interface]] = {}
_async: dict[type[Interface], type[Interface]] = {}


def blocking_proxy(
    client: Caller, kind: type[AnyInterface], timeout_s: float, *, short_of: ShortOf
) -> AnyInterface:
    """Return a proxy whose methods block, over `client`.

    Args:
        client: the client.
        kind: the interface.
        timeout_s: for each call, in seconds.
        short_of: what makes calls in one step; the same for all proxies.
    """

    def wrap(converter: Converter, method: Method) -> Any:
        return _wrap_blocking(converter, method, short_of)

    proxy: AnyInterface = proxy_of(
        proxy_class(kind, _blocking, wrap, signatures.blocking_result), client, timeout_s
    )
    return proxy


def _wrap_blocking(converter: Converter, method: Method, short_of: ShortOf) -> Any:
    if method.upgrades:
        return _wrap_upgrade(converter)
    if method.streams:
        return _wrap_stream(converter)
    if method.marks.oneway:
        return _wrap_oneway(converter)
    return _wrap_with_fds(converter) if converter.passes_fds else wrap_call(converter, short_of(converter))


def _wrap_oneway(converter: Converter) -> Any:
    def call(self: Any, /, *args: Any, **kwargs: Any) -> None:
        given = converter.given(args, kwargs)
        self.__daemonry_client__.oneway(converter.full_name, converter.plain(given))

    return call


def _wrap_with_fds(converter: Converter) -> Any:
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        fds: list[Fd] = []
        parameters = converter.plain(converter.given(args, kwargs), fds)
        try:
            fields, received = self.__daemonry_client__.call_with_fds(
                converter.full_name, parameters, fds, timeout_s=self.__daemonry_timeout_s__
            )
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields, received)

    return call


def _wrap_stream(converter: Converter) -> Any:
    def stream(self: Any, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        client: Caller = self.__daemonry_client__
        fds: list[Fd] = []
        parameters = converter.plain(converter.given(args, kwargs), fds)
        first_s = self.__daemonry_timeout_s__
        try:
            if converter.passes_fds:
                with closing(
                    client.stream_with_fds(converter.full_name, parameters, fds, first_s=first_s)
                ) as pairs:
                    for fields, received in pairs:
                        yield converter.result(fields, received)
                return
            with closing(client.stream_typed(converter, parameters, first_s)) as results:
                yield from results
        except errors.CallFailed as error:
            raise converter.error(error) from None

    return stream


def _wrap_upgrade(converter: Converter) -> Any:
    def upgrade(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        parameters = converter.plain(converter.given(args, kwargs))
        try:
            fields, connection = self.__daemonry_client__.upgrade(
                converter.full_name, parameters, timeout_s=self.__daemonry_timeout_s__
            )
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields), connection

    return upgrade


# --- asyncio ----------------------------------------------------------------------------------


def async_proxy(client: AsyncCaller, kind: type[AnyInterface], timeout_s: float) -> AnyInterface:
    """Return a proxy whose methods are coroutines and async iterators, over `client`.

    Raises:
        NotDescribable: `client` is a pool, and a method passes descriptors or upgrades: those need
            a connection of their own.
    """
    if not hasattr(client, "call_with_fds"):
        for method in described(kind).methods.values():
            if method.takes_fds or method.gives_fds or method.upgrades:
                name = f"{described(kind).name}.{method.name}"
                raise NotDescribable(name, method.reply, "passes descriptors or upgrades, which no pool does")
    proxy: AnyInterface = proxy_of(
        proxy_class(kind, _async, _wrap_async, signatures.async_result), client, timeout_s
    )
    return proxy


def _wrap_async(converter: Converter, method: Method) -> Any:
    if method.upgrades:
        return _wrap_async_upgrade(converter)
    if method.streams:
        return _wrap_async_stream(converter)
    if method.marks.oneway:
        return _wrap_async_oneway(converter)
    return _wrap_async_with_fds(converter) if converter.passes_fds else _wrap_async_call(converter)


def _wrap_async_call(converter: Converter) -> Any:
    async def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        given, frame = converter.call(args, kwargs)
        try:
            return await self.__daemonry_client__.call_typed(
                converter, given, frame, self.__daemonry_timeout_s__
            )
        except errors.CallFailed as error:
            raise converter.error(error) from None

    return call


def _wrap_async_oneway(converter: Converter) -> Any:
    async def call(self: Any, /, *args: Any, **kwargs: Any) -> None:
        given = converter.given(args, kwargs)
        await self.__daemonry_client__.oneway(converter.full_name, converter.plain(given))

    return call


def _wrap_async_with_fds(converter: Converter) -> Any:
    async def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        fds: list[Fd] = []
        parameters = converter.plain(converter.given(args, kwargs), fds)
        try:
            fields, received = await self.__daemonry_client__.call_with_fds(
                converter.full_name, parameters, fds, timeout_s=self.__daemonry_timeout_s__
            )
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields, received)

    return call


def _wrap_async_stream(converter: Converter) -> Any:
    async def stream(self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        client: AsyncConnection = self.__daemonry_client__
        fds: list[Fd] = []
        parameters = converter.plain(converter.given(args, kwargs), fds)
        first_s = self.__daemonry_timeout_s__
        try:
            if converter.passes_fds:
                async with aclosing(
                    client.stream_with_fds(converter.full_name, parameters, fds, first_s=first_s)
                ) as pairs:
                    async for fields, received in pairs:
                        yield converter.result(fields, received)
                return
            async with aclosing(client.stream_typed(converter, parameters, first_s)) as results:
                async for result in results:
                    yield result
        except errors.CallFailed as error:
            raise converter.error(error) from None

    return stream


def _wrap_async_upgrade(converter: Converter) -> Any:
    async def upgrade(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        parameters = converter.plain(converter.given(args, kwargs))
        try:
            fields, sock, early = await self.__daemonry_client__.upgrade(
                converter.full_name, parameters, timeout_s=self.__daemonry_timeout_s__
            )
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields), sock, early

    return upgrade

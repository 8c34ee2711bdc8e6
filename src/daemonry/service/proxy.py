"""Typed proxies: an object with an interface's methods, each of which calls a daemon.

Owns the way from Python arguments to parameters and from replies to Python results, for both
clients.  A proxy is an instance of a subclass of the interface that was given, so type checkers
see its methods; the subclass is made once per interface and client.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from daemonry import errors
from daemonry.service.calls import giver, taker
from daemonry.service.interface import CallError, Described, Interface, Method, described
from daemonry.service.schema import NotDescribable
from daemonry.transport.ancillary import Fd, close_all

if TYPE_CHECKING:
    from daemonry.service.aclient import AsyncClient, Pool
    from daemonry.service.blocking import Client

AnyInterface = TypeVar("AnyInterface", bound=Interface)


class Converter:
    """One method of one interface, seen from a caller."""

    def __init__(self, where: Described, method: Method, function: Callable[..., Any]) -> None:
        self.full_name = f"{where.name}.{method.name}"
        self._where = where
        self._method = method
        signature = inspect.signature(function)
        # The first is `self`, by whatever name; it stays, since others may be positional only.
        kept = [one for one in signature.parameters.values() if one.name != method.context]
        self._own_name = kept[0].name
        self._signature = signature.replace(parameters=kept)

    @property
    def passes_fds(self) -> bool:
        """Whether descriptors go with the call or its reply."""
        return self._method.takes_fds or self._method.gives_fds

    def parameters(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], list[Fd]]:
        """Return what is sent for these arguments, and the descriptors that go with it.

        Raises:
            TypeError: they do not fit the method.
        """
        fds: list[Fd] = []
        given = self._signature.bind(None, *args, **kwargs).arguments
        del given[self._own_name]
        hook = giver(fds)
        fields = {
            name.rstrip("_"): msgspec.to_builtins(value, enc_hook=hook) for name, value in given.items()
        }
        if self._method.write_parameters is not None:
            fields = self._method.write_parameters(fields)
        return fields, fds

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
            declared: CallError = kind(**_converted(kind, raised.parameters))
        except (TypeError, msgspec.ValidationError):
            return raised
        declared.error = raised.error
        return declared


def _converted(kind: type[CallError], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: msgspec.convert(fields[name], of) for name, of in kind.fields().items() if name in fields}


def _make(kind: type[AnyInterface], wrap: Callable[[Converter, Method], Any]) -> AnyInterface:
    where = described(kind)
    methods = {
        method.python_name: wrap(Converter(where, method, getattr(kind, method.python_name)), method)
        for method in where.methods.values()
    }
    proxy_type = type(f"{kind.__name__}Proxy", (kind,), methods)
    # An implementation's own __init__ is not a proxy's.
    made: AnyInterface = object.__new__(proxy_type)
    return made


def blocking_proxy(client: Client, kind: type[AnyInterface], timeout_s: float) -> AnyInterface:
    """Return a proxy whose methods block, over `client`."""

    def wrap(converter: Converter, method: Method) -> Any:
        name = converter.full_name

        def call(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
            parameters, fds = converter.parameters(args, kwargs)
            try:
                if method.marks.oneway:
                    return client.oneway(name, parameters)
                if not converter.passes_fds:
                    return converter.result(client.call(name, parameters, timeout_s=timeout_s))
                fields, received = client.call_with_fds(name, parameters, fds, timeout_s=timeout_s)
            except errors.CallFailed as error:
                raise converter.error(error) from None
            return converter.result(fields, received)

        if method.upgrades:
            return _wrap_upgrade(client, converter, timeout_s)
        return _wrap_stream(client, converter) if method.streams else call

    return _make(kind, wrap)


def _wrap_stream(client: Client, converter: Converter) -> Any:
    def stream(_self: Any, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        parameters, fds = converter.parameters(args, kwargs)
        if converter.passes_fds:
            client.accept_fds()
        try:
            with closing(client.stream(converter.full_name, parameters, fds=fds)) as replies:
                for fields in replies:
                    yield converter.result(fields, client.take_fds())
        except errors.CallFailed as error:
            raise converter.error(error) from None

    return stream


def _wrap_upgrade(client: Client, converter: Converter, timeout_s: float) -> Any:
    def upgrade(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
        parameters, _ = converter.parameters(args, kwargs)
        try:
            fields, connection = client.upgrade(converter.full_name, parameters, timeout_s=timeout_s)
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields), connection

    return upgrade


def async_proxy(client: AsyncClient | Pool, kind: type[AnyInterface], timeout_s: float) -> AnyInterface:
    """Return a proxy whose methods are coroutines and async iterators, over `client`.

    Raises:
        NotDescribable: `client` is a pool, and a method passes descriptors or upgrades: those need
            a connection of their own.
    """

    def wrap(converter: Converter, method: Method) -> Any:
        name = converter.full_name

        async def call(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
            parameters, _ = converter.parameters(args, kwargs)
            try:
                if method.marks.oneway:
                    return await client.oneway(name, parameters)
                return converter.result(await client.call(name, parameters, timeout_s=timeout_s))
            except errors.CallFailed as error:
                raise converter.error(error) from None

        async def stream(_self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            parameters, _ = converter.parameters(args, kwargs)
            try:
                async with aclosing(client.stream(name, parameters)) as replies:
                    async for fields in replies:
                        yield converter.result(fields)
            except errors.CallFailed as error:
                raise converter.error(error) from None

        if not (converter.passes_fds or method.upgrades):
            return stream if method.streams else call
        if not hasattr(client, "accept_fds"):
            raise NotDescribable(name, method.reply, "passes descriptors or upgrades, which no pool does")
        return _wrap_special(typing.cast("AsyncClient", client), converter, method, timeout_s)

    return _make(kind, wrap)


def _wrap_special(client: AsyncClient, converter: Converter, method: Method, timeout_s: float) -> Any:
    name = converter.full_name

    async def call(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
        parameters, fds = converter.parameters(args, kwargs)
        try:
            fields, received = await client.call_with_fds(name, parameters, fds, timeout_s=timeout_s)
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields, received)

    async def stream(_self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        parameters, fds = converter.parameters(args, kwargs)
        client.accept_fds()
        try:
            async with aclosing(client.stream(name, parameters, fds=fds)) as replies:
                async for fields in replies:
                    yield converter.result(fields, client.take_fds())
        except errors.CallFailed as error:
            raise converter.error(error) from None

    async def upgrade(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
        parameters, _ = converter.parameters(args, kwargs)
        try:
            fields, sock, early = await client.upgrade(name, parameters, timeout_s=timeout_s)
        except errors.CallFailed as error:
            raise converter.error(error) from None
        return converter.result(fields), sock, early

    return stream if method.streams else upgrade if method.upgrades else call

"""Typed proxies: an object with an interface's methods, each of which calls a daemon.

Owns the way from Python arguments to parameters and from replies to Python results, for both
clients.  A proxy is an instance of a subclass of the interface that was given, so type checkers
see its methods; the subclass is made once per interface and client.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from daemonry import errors
from daemonry.service.interface import RESULT, CallError, Described, Interface, Method, described

if TYPE_CHECKING:
    from daemonry.service.aclient import AsyncClient
    from daemonry.service.blocking import Client

AnyInterface = TypeVar("AnyInterface", bound=Interface)


class Converter:
    """One method of one interface, seen from a caller."""

    def __init__(self, where: Described, method: Method, function: Callable[..., Any]) -> None:
        self.full_name = f"{where.name}.{method.name}"
        self._where = where
        self._method = method
        signature = inspect.signature(function)
        kept = [one for one in list(signature.parameters.values())[1:] if one.name != method.context]
        self._signature = signature.replace(parameters=kept)

    def parameters(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return what is sent for these arguments.

        Raises:
            TypeError: they do not fit the method.
        """
        given = self._signature.bind(*args, **kwargs).arguments
        return {name.rstrip("_"): msgspec.to_builtins(value) for name, value in given.items()}

    def result(self, fields: Mapping[str, Any]) -> Any:
        """Return a reply's fields as the method's own type.

        Raises:
            RemoteProtocolError: they do not fit it.
        """
        method = self._method
        if method.reply is type(None):
            return None
        try:
            return msgspec.convert(fields[RESULT] if method.wraps else fields, method.reply)
        except (msgspec.ValidationError, KeyError) as error:
            raise errors.RemoteProtocolError(f"the reply to {self.full_name} does not fit: {error}") from None

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
        def call(_self: Any, *args: Any, **kwargs: Any) -> Any:
            parameters = converter.parameters(args, kwargs)
            try:
                return converter.result(client.call(converter.full_name, parameters, timeout_s=timeout_s))
            except errors.CallFailed as error:
                raise converter.error(error) from None

        def stream(_self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            parameters = converter.parameters(args, kwargs)
            try:
                yield from map(converter.result, client.stream(converter.full_name, parameters))
            except errors.CallFailed as error:
                raise converter.error(error) from None

        return stream if method.streams else call

    return _make(kind, wrap)


def async_proxy(client: AsyncClient, kind: type[AnyInterface], timeout_s: float) -> AnyInterface:
    """Return a proxy whose methods are coroutines and async iterators, over `client`."""

    def wrap(converter: Converter, method: Method) -> Any:
        async def call(_self: Any, *args: Any, **kwargs: Any) -> Any:
            parameters = converter.parameters(args, kwargs)
            try:
                return converter.result(
                    await client.call(converter.full_name, parameters, timeout_s=timeout_s)
                )
            except errors.CallFailed as error:
                raise converter.error(error) from None

        async def stream(_self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            parameters = converter.parameters(args, kwargs)
            try:
                async for fields in client.stream(converter.full_name, parameters):
                    yield converter.result(fields)
            except errors.CallFailed as error:
                raise converter.error(error) from None

        return stream if method.streams else call

    return _make(kind, wrap)

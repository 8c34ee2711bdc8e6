"""A proxy's function for a method that has one reply and passes no descriptors, over a client that blocks.

Owns the order: the short call of the native part, where there is one, then the way in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from daemonry import errors
from daemonry.wire.varlink import tracing

# Of a proxy and its arguments by place: the result, or NotImplemented where nothing was done.
Short = Callable[[Any, tuple[Any, ...]], Any]


def wrap_call(converter: Any, short: Short | None) -> Any:
    """Return a proxy's function that blocks, for a method with one reply and no descriptors.

    Args:
        converter: the method.
        short: makes its calls in one step; None without the native part.
    """
    if converter.takes_none:
        return _wrap_bare_call(converter, short)

    write: Any = converter.write

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if short is not None and not kwargs:
            result = short(self, args)
            if result is not NotImplemented:
                return result
        given: Any = args
        frame = None if kwargs else write(args)
        if frame is None:
            given, frame = converter.call(args, kwargs)
        try:
            return self.__daemonry_client__.call_typed(converter, given, frame, self.__daemonry_timeout_s__)
        except errors.CallFailed as error:
            raise converter.error(error) from None

    return call


def _wrap_bare_call(converter: Any, short: Short | None) -> Any:
    """Wrap a method without parameters, whose frame is always the same."""
    given: Mapping[str, Any] = {}
    untraced: bytes = converter.without_arguments

    def call(self: Any, /) -> Any:
        if short is not None:
            result = short(self, ())
            if result is not NotImplemented:
                return result
        frame = untraced if tracing.source is None else converter.frame(given)
        try:
            return self.__daemonry_client__.call_typed(converter, given, frame, self.__daemonry_timeout_s__)
        except errors.CallFailed as error:
            raise converter.error(error) from None

    return call

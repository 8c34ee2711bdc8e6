"""The way of a typed call through the optional native part: see `native/calls/call.h`.

Owns the view that the native part has of clients, connections and methods.  It takes a call of a client of
exactly the class that is given, on a free connection that has made calls before, and gives it to
`Client.go_on` where anything but a whole and plain reply comes.  All else goes the way in Python, from its
beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from daemonry import errors
from daemonry.native_calls import calls as native_calls
from daemonry.service.client.conversation import Conversation
from daemonry.service.client.link import Link
from daemonry.service.client.plain_call import Short
from daemonry.transport.stream import Stream
from daemonry.wire.varlink import MAX_FRAME_BYTES, tracing

Way = tuple[Any, ...]


class CalledMethod(Protocol):
    """A method as its proxies see it: see `proxy.Converter`."""

    takes_none: bool
    without_arguments: bytes
    native_call: Any
    read: Callable[[bytes], Any]

    def error(self, raised: errors.CallFailed) -> errors.CallFailed:
        """Return an error as the interface declares it, if it does."""


def way_of(client: type[Any]) -> Way | None:
    """Return the way of a class of blocking clients; None without the native part."""
    if native_calls is None:
        return None
    members = (
        *((client, "_free"), (client, "_waiting"), (client, "_closed"), (Link, "stream"), (Link, "talk")),
        *((Conversation, "at_rest"), (Stream, "counted_s"), (Stream, "sock")),
    )
    return (client, client.call_typed, tracing, *(getattr(kind, name) for kind, name in members))


def short_calls(client: type[Any]) -> Callable[[CalledMethod], Short | None]:
    """Return what makes short calls of methods, by clients of a class."""
    return partial(short_call, way_of(client))


def short_call(way: Way | None, converter: CalledMethod) -> Short | None:
    """Return what makes calls of a method in one step; None for none."""
    write = converter.without_arguments if converter.takes_none else converter.native_call
    if way is None or write is None:
        return None
    read = getattr(converter.read, "__self__", None)
    if type(read) is not native_calls.Reply:
        read = converter.read

    def go_on(client: Any, link: Any, args: tuple[Any, ...], *came: Any) -> Any:
        try:
            return client.go_on(link, converter, args, came)
        except errors.CallFailed as error:
            raise converter.error(error) from None

    made: Short = native_calls.Call(way, write, read, go_on, MAX_FRAME_BYTES).make
    return made

"""What a proxy's methods say of themselves: name, docstring and signature, as the caller gets them.

Owns how a method of an interface reads from outside: without the parameter that takes the `Context`, and with
the result of this kind of client.  `help()`, `inspect.signature` and interactive shells read it.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import AsyncIterator, Iterator
from types import GenericAlias
from typing import Any

from daemonry.service.interface.declare import Method
from daemonry.transport.stream import Stream


def blocking_result(method: Method) -> Any:
    """Return the type that a method returns over a client that blocks."""
    reply = _reply(method)
    if method.upgrades:
        return GenericAlias(tuple, (reply, Stream))
    return GenericAlias(Iterator, (reply,)) if method.streams else reply


def async_result(method: Method) -> Any:
    """Return the type that a method returns over asyncio, once it was awaited."""
    reply = _reply(method)
    if method.upgrades:
        return GenericAlias(tuple, (reply, socket.socket, bytes))
    return GenericAlias(AsyncIterator, (reply,)) if method.streams else reply


def _reply(method: Method) -> Any:
    return None if method.reply is type(None) else method.reply


def describe(call: Any, function: Any, signature: inspect.Signature) -> Any:
    """Give a proxy's function the name and docstring of the function that it calls, and a signature."""
    call.__name__ = function.__name__
    call.__qualname__ = function.__qualname__
    call.__module__ = function.__module__
    call.__doc__ = function.__doc__
    call.__signature__ = signature
    return call

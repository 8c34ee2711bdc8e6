"""Descriptors in parameters and replies: in the message each is an index among those that come with it.

Owns both hooks by which msgspec makes the one of the other, for clients and servers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daemonry.transport.ancillary import Fd


def taker(fds: list[Fd]) -> Callable[[type, Any], Any]:
    """Return the hook by which msgspec makes an index an `Fd` of those that came with the message.

    Each index counts once: two owners of one descriptor would close it under each other.
    """

    def take(kind: type, value: Any) -> Any:
        if kind is not Fd:
            raise NotImplementedError(f"no form for {kind.__name__}")
        # msgspec adds where it is to a ValueError, and to no other.
        if type(value) is not int or not 0 <= value < len(fds):
            raise ValueError("Expected the index of a descriptor that came with the message")
        if fds[value].closed:
            raise ValueError("Expected a descriptor that has no other place in the message")
        return Fd(fds[value].take())

    return take


def giver(fds: list[Fd]) -> Callable[[Any], Any]:
    """Return the hook by which msgspec makes an `Fd` the index that it gets among `fds`."""

    def give(value: Any) -> Any:
        if not isinstance(value, Fd):
            raise NotImplementedError(f"no form for {type(value).__name__}")
        value.fileno()
        fds.append(value)
        return len(fds) - 1

    return give

"""Connections in a dialect that a layer above speaks: the two shapes that the server and that layer share.

Owns the shapes and nothing else.  The server tells the dialects apart by their first bytes, counts the
connection, and ends it as any other; the exchange on it is the layer's (HTTP: `daemonry.http`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemonry.errors import CallFailed
    from daemonry.service.server.fast_connection import FastConnection
    from daemonry.transport.credentials import Peer


class ForeignConnection(Protocol):
    """One such connection."""

    @property
    def peer(self) -> Peer:
        """The user and process at the other end."""

    @property
    def owes(self) -> bool:
        """Whether a call that is the program's runs on it."""

    @property
    def controls(self) -> bool:
        """Whether a request of the control plane runs on it."""

    @property
    def call(self) -> str:
        """The full name of the method that runs; "" for none."""

    @property
    def activity(self) -> int | None:
        """A number that changes whenever the client sends something; None while it is being served."""

    async def drain(self, reason: CallFailed, *, of_control: bool = False) -> None:
        """Let the call in hand come to its end; a stream ends with `reason`."""

    def retire(self) -> None:
        """Take no further request, answer those that have come, and end."""

    def close(self) -> None:
        """End the connection and whatever runs for it.  Twice is not an error."""

    def drop_in_child(self) -> None:
        """Close a forked child's copy, beside the loop."""


class Foreign(Protocol):
    """Speaks such a dialect."""

    def others(self) -> Iterable[ForeignConnection]:
        """Return its connections that came another way than through the server."""

    def take(
        self, fast: FastConnection, data: bytes, closed: Callable[[ForeignConnection], None], *, crowded: bool
    ) -> ForeignConnection:
        """Take a connection whose first bytes were read.

        Args:
            fast: the connection, whose socket nobody watches, and is the layer's from now on.
            data: the bytes that were read.
            closed: to be called once, when the connection is closed.
            crowded: whether what room is left is the control plane's.
        """

"""`org.daemonry.Control.Http`: the address of the page, with a one-time code for a browser.

Owns the interface.  It is asked over the daemon's own socket by `daemonry ui`, so that the caller is the
daemon's user; a daemon that has no port opens one on loopback for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from daemonry.http.problems import Problem
from daemonry.service.interface.declare import CallError, Interface

if TYPE_CHECKING:
    from daemonry.http.door import Door
    from daemonry.http.port import Port


class PageAddress(msgspec.Struct):
    """Where a browser finds the page.

    Attributes:
        url: the address, with a one-time code behind the `#`.
        token_path: the file that has the token for other clients.
    """

    url: str
    token_path: str


class NoPort(CallError):
    """The port cannot be opened."""

    reason: str


class HttpControl(Interface, name="org.daemonry.Control.Http", errors=(NoPort,)):
    """HTTP, as the daemon's user steers it."""

    def __init__(self, door: Door, port: Port) -> None:
        self._door = door
        self._port = port

    async def open_page(self) -> PageAddress:
        """Return the page's address with a new one-time code; open a port on loopback if there is none."""
        try:
            address = self._port.opened()
        except (OSError, Problem) as error:
            raise NoPort(reason=str(error)) from None
        if not address:
            raise NoPort(reason=str(self._port.fields().get("http_error", "no port was opened")))
        return PageAddress(f"{address}/#code={self._door.sessions.make_code()}", self._port.token_path)

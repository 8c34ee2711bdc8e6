"""HTTP of one process, a daemon or a home: the connections of its socket, and its port.

Owns the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemonry.http.door import Door
from daemonry.http.page_address import HttpControl
from daemonry.http.port import Port

if TYPE_CHECKING:
    import asyncio

    from daemonry.daemon.http_settings import Http
    from daemonry.http.host import Host
    from daemonry.service.server.bounds import Bounds
    from daemonry.service.server.dispatch import Calls


class ProcessHttp:
    """HTTP of one process.

    Args:
        host: the process, as HTTP shows it.
        settings: of its program, or its operator.
        bounds: what its server lets clients do.
        calls: its interfaces; the control of HTTP is served with them.

    Attributes:
        door: takes connections.
        port: the TCP port; open where one is named.
    """

    def __init__(self, host: Host, settings: Http, bounds: Bounds, calls: Calls) -> None:
        self.door: Door = Door(host, settings, bounds)
        self.port: Port = Port(self.door, host.token_path)
        calls.serve_when_asked(HttpControl(self.door, self.port))

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen at the port, if one is named.

        Raises:
            UnsafePath: the token could not be written.
        """
        self.port.open(self.door.settings, loop)

    def fields(self) -> dict[str, Any]:
        """Return what STATUS tells of it."""
        return {**self.port.fields(), **self.door.fields()}

    def close(self) -> None:
        """End it.  Twice is not an error."""
        self.port.close()
        self.door.close()

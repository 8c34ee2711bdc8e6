"""Where HTTP comes in: the first request loads the modules that speak it, in a thread, and waits for them.

Owns the loading and the connections that wait for it, and which connections there are of the port.  A
daemon that nobody asks by HTTP has this object, and has imported nothing for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from importlib.util import find_spec
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Final

from daemonry.daemon.http_settings import Http
from daemonry.errors import Refused
from daemonry.http.browser_sessions import BrowserSessions
from daemonry.http.connection import HttpConnection
from daemonry.process.forks import not_for_children
from daemonry.service.server.gate import WrongTokens
from daemonry.transport.credentials import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.http.app import App
    from daemonry.http.host import Host
    from daemonry.service.server.bounds import Bounds
    from daemonry.service.server.fast_connection import FastConnection

logger: logging.Logger = logging.getLogger("daemonry.http")

_NEEDED: Final = ("h11", "prometheus_client", "starlette", "uvicorn")


def check_modules() -> None:
    """Return where HTTP can be spoken; looks for the modules, and loads none.

    Raises:
        Refused: one of them is not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise Refused(
            f"HTTP needs {', '.join(missing)}: install the extra, as in pip install 'daemonry[http]', "
            "or leave HTTP off"
        )


class Door:
    """HTTP for one process; see `service.server.foreign`.

    Args:
        host: the process.
        settings: what its program says of HTTP.
        bounds: what its server lets clients do.

    Attributes:
        hosts: what `Host` may say on the port.
        sessions: the codes and tokens of browsers.
        settings: as given.
        token: the token of the port; "" while there is none.
        wrong: counts those who present another one.
    """

    def __init__(self, host: Host, settings: Http, bounds: Bounds) -> None:
        self.settings = settings
        self.hosts: frozenset[str] = frozenset()
        self.token = ""
        self.sessions: BrowserSessions = BrowserSessions()
        self.wrong: WrongTokens = WrongTokens()
        self._host = host
        self._bounds = bounds
        self._app: App | None = None
        self._loading: asyncio.Task[None] | None = None
        self._waiting: list[HttpConnection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._of_port: dict[HttpConnection, None] = {}  # in the order in which they came
        not_for_children(self)

    # --- connections ----------------------------------------------------------------------------------

    def take(
        self, fast: FastConnection, data: bytes, closed: Callable[[Any], None], *, crowded: bool
    ) -> HttpConnection:
        """Take a connection of the daemon's socket."""
        sock = _as_user_socket(fast.sock)
        connection = HttpConnection(sock, data, fast.peer, closed, crowded=crowded, where=str(fast.peer))
        self._open(connection)
        return connection

    def take_of_port(self, sock: UserSocket, where: str) -> HttpConnection:
        """Take a connection of the port."""

        def closed(connection: HttpConnection) -> None:
            self._of_port.pop(connection, None)

        connection = HttpConnection(sock, b"", Peer.of(None), closed, on_port=True, where=where)
        self._of_port[connection] = None
        self._open(connection)
        return connection

    def others(self) -> Iterable[HttpConnection]:
        """Return the connections that the server does not know: those of the port."""
        return list(self._of_port)

    def tokens(self) -> Iterable[str]:
        """Return the tokens that count now."""
        return [*([self.token] if self.token else []), *self.sessions.tokens()]

    def fields(self) -> dict[str, Any]:
        """Return what STATUS tells of those who presented a wrong token, if any did."""
        return {"http_wrong_tokens": self.wrong.count} if self.wrong.count else {}

    def _open(self, connection: HttpConnection) -> None:
        if self._app is None:
            self._waiting.append(connection)
            if self._loading is None:
                self._loading = asyncio.get_running_loop().create_task(self._load())
            return
        opening = asyncio.get_running_loop().create_task(self._serve(connection, self._app))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(_import_all)
            from daemonry.http.app import App

            self._app = App(
                host=self._host,
                settings=self.settings,
                bounds=self._bounds,
                sessions=self.sessions,
                hosts=lambda: self.hosts,
                tokens=self.tokens,
                wrong=self.wrong,
            )
        except Exception:
            logger.exception("HTTP cannot be loaded")
            for connection in self._waiting:
                connection.close()
        else:
            for connection in self._waiting:
                self._open(connection)
        self._waiting.clear()
        self._loading = None

    async def _serve(self, connection: HttpConnection, app: App) -> None:
        sock = connection.take_socket()
        if sock is None:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: app.protocol(connection), sock)
        except OSError:
            sock.close()
            connection.lost()

    # --- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connections of the port, and what listens for the others."""
        for connection in [*self._of_port, *self._waiting]:
            connection.close()
        if self._app is not None:
            self._app.close()

    def drop_in_child(self) -> None:
        """Close a forked child's copies."""
        for connection in self._of_port:
            connection.drop_in_child()


def _import_all() -> None:
    import daemonry.http.app  # noqa: F401  # in a thread: it takes tenths of a second


def _as_user_socket(sock: Any) -> UserSocket:
    made = UserSocket(fileno=sock.detach())
    made.setblocking(False)
    return made

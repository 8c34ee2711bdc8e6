"""The TCP port of HTTP: bound by us, its token in a file of this user alone, its connections bounded.

Owns listening.  A port that is taken does not end the daemon: it is logged, STATUS says so, and binding is
tried again, which is also how a daemon takes the port over from the one that hands over to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from daemonry.backoff import delays
from daemonry.daemon.http_settings import Http, is_loopback
from daemonry.http.security import allowed_hosts
from daemonry.limits import HTTP_BIND_RETRY_MAX_S, HTTP_BIND_RETRY_S, HTTP_PORT_MOST, LISTEN_BACKLOG
from daemonry.process import token_file
from daemonry.process.forks import not_for_children
from daemonry.service.server.listener.acceptor import Acceptor

if TYPE_CHECKING:
    from _socket import socket as Socket

    from daemonry.http.door import Door

logger: logging.Logger = logging.getLogger("daemonry.http")


class _ListeningSocket:
    """A listening socket, as an acceptor takes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """Return its descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def accept_socket(self) -> Socket | None:
        """Return the next connection; None for none."""
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return None
        return sock

    def close(self) -> None:
        """Listen no more."""
        self._sock.close()


class Port:
    """The port of one process.

    Args:
        door: takes the connections.
        token_path: where the token is made.
    """

    def __init__(self, door: Door, token_path: str) -> None:
        self._door = door
        self._token_path = token_path
        self._listener: _ListeningSocket | None = None
        self._acceptor: Acceptor | None = None
        self._trying: asyncio.Task[None] | None = None
        self._error = ""
        self._told = False
        self._number = 0
        self._made_token = False
        not_for_children(self)

    @property
    def address(self) -> str:
        """Where it listens, as `http://HOST:PORT`; "" where it does not."""
        if self._listener is None:
            return ""
        name = self._door.settings.bind
        if name in ("0.0.0.0", "::"):  # noqa: S104  # looked for, not bound
            name = "127.0.0.1"
        return f"http://{f'[{name}]' if ':' in name else name}:{self._number}"

    def fields(self) -> dict[str, Any]:
        """Return what STATUS tells of it."""
        if self._error:
            return {"http_error": self._error}
        return {"http": self.address} if self.address else {}

    def open(self, settings: Http, loop: asyncio.AbstractEventLoop) -> None:
        """Listen as the settings say; from the loop's thread.

        Raises:
            UnsafePath: the token could not be written.
        """
        if settings.port is None or self._listener is not None or self._trying is not None:
            return
        self._door.settings = settings
        if not self._try(settings, loop):
            self._trying = loop.create_task(self._try_again(settings, loop))

    def opened(self) -> str:
        """Return the address; open a port that the system chooses if none was named.  "" if it is taken."""
        if self._trying is None and self._listener is None:
            self.open(self._door.settings.at(Http(port=0)), asyncio.get_running_loop())
        return self.address

    @property
    def token_path(self) -> str:
        """The file of the token."""
        return self._token_path

    def _try(self, settings: Http, loop: asyncio.AbstractEventLoop) -> bool:
        assert settings.port is not None
        try:
            sock = _bound(settings.bind, settings.port)
        except OSError as error:
            shown = f"{settings.bind}:{settings.port}"
            reason = f"HTTP cannot listen at {shown}: {error.strerror or error}"
            if reason == self._error and not self._told:  # not of a daemon that hands over and is late
                logger.error("%s; trying again", reason)
                self._told = True
            self._error = reason
            return False
        self._error = ""
        self._number = int(sock.getsockname()[1])
        self._listener = _ListeningSocket(sock)
        self._door.token = token_file.make(self._token_path, logger.warning)
        self._made_token = True
        self._door.hosts = allowed_hosts(settings.bind, self._number, settings.hosts)
        self._acceptor = Acceptor(loop, self._listener, self._take)  # type: ignore[arg-type]
        logger.info("HTTP at %s, token in %s", self.address, self._token_path)
        if not is_loopback(settings.bind):
            logger.warning(
                "%s is beyond loopback: the token and all else is sent in the clear", settings.bind
            )
        return True

    async def _try_again(self, settings: Http, loop: asyncio.AbstractEventLoop) -> None:
        pauses = delays(HTTP_BIND_RETRY_S, HTTP_BIND_RETRY_MAX_S)
        while True:
            await asyncio.sleep(next(pauses))
            if self._try(settings, loop):
                self._trying = None
                return

    def _take(self, sock: Any) -> None:
        try:
            where = str(sock.getpeername()[0])
        except OSError:
            sock.close()
            return
        here = list(self._door.others())
        if len(here) >= HTTP_PORT_MOST:
            strangers = [one for one in here if not one.trusted]
            if not strangers:
                sock.close()
                return
            strangers[0].abort()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._door.take_of_port(sock, where)

    def close(self) -> None:
        """Listen no more, and remove the token.  Twice is not an error."""
        if self._trying is not None:
            self._trying.cancel()
            self._trying = None
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._made_token:
            self._made_token = False
            if _holds(self._token_path, self._door.token):
                token_file.remove(self._token_path)
                token_file.remove(self._token_path + ".html")  # what `daemonry ui --open` gave a browser

    def drop_in_child(self) -> None:
        """Close a forked child's copy."""
        if self._listener is not None:
            self._listener.close()
        self._made_token = False


def _holds(path: str, token: str) -> bool:
    """Whether a token's file is the one that we made, and not that of who took over."""
    try:
        return token_file.read(path) == token
    except Exception:  # noqa: BLE001  # it is gone, or somebody's
        return False


def _bound(address: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # connections that are over keep a port for a minute
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1" if address == "localhost" else address, number))
        sock.listen(LISTEN_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock

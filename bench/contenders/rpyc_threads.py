"""rpyc: its threaded server.  The answer is a tuple: a dict would be a reference, asked field by field."""

from __future__ import annotations

import rpyc
from question import answer
from rpyc.utils.factory import unix_connect
from rpyc.utils.server import ThreadedServer


class _Service(rpyc.Service):
    def exposed_status(self) -> tuple[object, ...]:
        return tuple(answer().items())


def serve(path: str) -> None:
    """Answer, for ever."""
    ThreadedServer(_Service, socket_path=path, backlog=4096).start()


class Client:
    """One connection."""

    def __init__(self, path: str) -> None:
        self._connection = unix_connect(path)

    def call(self) -> object:
        """Ask, and wait for the answer."""
        return dict(self._connection.root.status())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

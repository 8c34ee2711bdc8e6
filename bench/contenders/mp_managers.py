"""multiprocessing.managers: an object behind a proxy, over a Unix socket, pickles, a thread for each."""

from __future__ import annotations

from multiprocessing.managers import BaseManager
from typing import Any

from question import answer

_KEY = b"bench"


class _Status:
    def status(self) -> dict[str, Any]:
        return answer()


class _Manager(BaseManager):
    pass


_Manager.register("daemon", callable=_Status)


def serve(path: str) -> None:
    """Answer, for ever."""
    _Manager(address=path, authkey=_KEY).get_server().serve_forever()


class Client:
    """One connection: a proxy has one for each thread."""

    def __init__(self, path: str) -> None:
        self._manager = _Manager(address=path, authkey=_KEY)
        self._manager.connect()
        self._daemon: Any = self._manager.daemon()  # type: ignore[attr-defined]

    def call(self) -> object:
        """Ask, and wait for the answer."""
        return self._daemon.status()

    def close(self) -> None:
        """End the connection."""
        del self._daemon

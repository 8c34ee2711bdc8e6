"""Pyro5: its daemon over a Unix socket, a thread for each connection, serpent."""

from __future__ import annotations

from typing import Any

import Pyro5.api
from question import answer

Pyro5.api.config.THREADPOOL_SIZE = 100


@Pyro5.api.expose
class Status:
    """What is asked."""

    def status(self) -> dict[str, Any]:
        """Return how the daemon is."""
        return answer()


def serve(path: str) -> None:
    """Answer, for ever."""
    daemon = Pyro5.api.Daemon(unixsocket=path)
    daemon.register(Status(), "daemon")
    daemon.requestLoop()


class Client:
    """One connection."""

    def __init__(self, path: str) -> None:
        self._daemon = Pyro5.api.Proxy(f"PYRO:daemon@./u:{path}")

    def call(self) -> object:
        """Ask, and wait for the answer."""
        self._daemon._pyroClaimOwnership()  # noqa: SLF001  # of the thread that made it; its documented way
        return self._daemon.status()

    def close(self) -> None:
        """End the connection."""
        self._daemon._pyroRelease()  # noqa: SLF001  # its documented way

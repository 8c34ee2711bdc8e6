"""python varlink, the reference implementation: its threading server and its client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import varlink
from question import answer

_INTERFACE = "org.example.bench"
_service = varlink.Service("daemonry", "bench", "1", "", interface_dir=str(Path(__file__).parent))
_clients: dict[str, varlink.Client] = {}


class _Handler(varlink.RequestHandler):
    service = _service


@_service.interface(_INTERFACE)
class _Bench:
    def Status(self) -> dict[str, Any]:  # noqa: N802  # the interface's name for it
        return answer()


class _Server(varlink.ThreadingServer):
    request_queue_size = 4096


def serve(path: str) -> None:
    """Answer, for ever."""
    _Server(f"unix:{path}", _Handler).serve_forever()


class Client:
    """One connection; the interface's description is asked for once in a process."""

    def __init__(self, path: str) -> None:
        if path not in _clients:
            _clients[path] = varlink.Client(f"unix:{path}")
        self._connection = _clients[path].open(_INTERFACE)

    def call(self) -> object:
        """Ask, and wait for the answer."""
        return self._connection.Status()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

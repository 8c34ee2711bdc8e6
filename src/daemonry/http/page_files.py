"""The page: files of ours, and those of the program's parts.

Owns which file is at which address, and its media type.  The files are read once; nothing is generated,
so that the strict Content-Security-Policy holds for all of it.
"""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from daemonry.http.problems import Problem
from daemonry.http.requests import query_of
from daemonry.http.responses import json_response
from daemonry.process.regular_file import read_regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from daemonry.daemon.http_settings import Part
    from daemonry.http.host import Host

_FOLDER: Final = os.path.join(os.path.dirname(__file__), "page")
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_MOST_BYTES: Final = 1 << 20


class PageFiles:
    """The page of one process.

    Args:
        host: the process.
        parts: what the program adds.
    """

    def __init__(self, host: Host, parts: Sequence[Part]) -> None:
        self._host = host
        self._parts = {part.name: part for part in parts}
        self._read: dict[str, bytes] = {}

    def all(self) -> list[Route]:
        """Return its routes."""
        return [
            Route("/", self._index),
            Route("/ui/{name}", self._file),
            Route("/parts/{name}.js", self._module),
            Route("/v1/parts", self._list),
            Route("/v1/parts/{name}", self._data),
        ]

    async def _index(self, request: Request) -> Response:
        query_of(request, {})
        return await self._of_path("index.html", os.path.join(_FOLDER, "index.html"))

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _names() or name == "index.html":
            raise Problem(404, "The page has no such file.")
        return await self._of_path(name, os.path.join(_FOLDER, name))

    async def _module(self, request: Request) -> Response:
        part = self._part(request)
        return await self._of_path(f"parts/{part.name}.js", part.module)

    async def _list(self, request: Request) -> Response:
        query_of(request, {})
        parts = [{"name": part.name, "title": part.title} for part in self._parts.values()]
        return json_response(
            {
                "kind": self._host.kind,
                "name": self._host.name,
                "version": self._host.version,
                "parts": parts,
                "services": list(self._host.logs()),
            }
        )

    async def _data(self, request: Request) -> Response:
        query_of(request, {})
        found: Any = self._part(request).data()
        return json_response(await found if inspect.isawaitable(found) else found)

    def _part(self, request: Request) -> Part:
        part = self._parts.get(request.path_params["name"])
        if part is None:
            raise Problem(404, "The page has no such part.")
        return part

    async def _of_path(self, name: str, path: str) -> Response:
        if name not in self._read:
            self._read[name] = await run_in_threadpool(_read, path)
        media_type = _TYPES[os.path.splitext(name)[1]]
        return Response(self._read[name], headers={"content-type": media_type})


def _names() -> frozenset[str]:
    return frozenset(name for name in os.listdir(_FOLDER) if os.path.splitext(name)[1] in _TYPES)


def _read(path: str) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise Problem(500, f"The file of the page cannot be read: {error.strerror}") from None

"""The bounds of an authorization server: how much it says, how long it takes, and where it may be.

Owns the hooks of an HTTP client that see its requests and answers.  Whether its answers are true (issuer,
state, resource) is the SDK's to check.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth import OAuthFlowError

# Metadata of real ones has 2 to 8 KiB, a token with many claims some more.
MAX_ANSWER_BYTES: Final = 1 << 20
# From connecting to each next byte, and for a whole body.
SILENT_S: Final = 10.0
BODY_S: Final = 20.0

_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))


class Unbounded(OAuthFlowError):
    """The authorization server says too much, too slowly, or wants to be asked without encryption."""


Broke = Callable[[Exception], None]
# Of a request's extensions.
_MARK: Final = "mcp_cli.authorizes"


def authorizes(request: httpx2.Request) -> bool:
    """Whether a request is for an authorization server: those of a flow come without our time-outs."""
    return _MARK in request.extensions or "timeout" not in request.extensions


def ask(request: httpx2.Request, server_url: str) -> None:
    """Bound a request to an authorization server.

    Raises:
        Unbounded: it would go unencrypted over a network.
    """
    refuse_plain(str(request.url), server_url)
    request.headers["accept-encoding"] = "identity"
    request.extensions = {**request.extensions, _MARK: True, "timeout": httpx2.Timeout(SILENT_S).as_dict()}


def refuse_plain(url: str, server_url: str) -> None:
    """See to it that a URL is https, of this machine, or of the host that the user reaches without https.

    Raises:
        Unbounded: it is another one.
    """
    parts, own = urlsplit(url), urlsplit(server_url)
    near = parts.hostname in _LOOPBACK or (own.scheme == "http" and parts.hostname == own.hostname)
    if parts.scheme != "https" and not (parts.scheme == "http" and near):
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise Unbounded(f"{where} is to authorize, and tokens travel by https only")


def hear(response: httpx2.Response, broke: Broke) -> None:
    """Bound the body of an authorization server's answer, before anybody reads it.

    Args:
        response: the answer.
        broke: is given the error that is raised, now or while the body is read.

    Raises:
        Unbounded: it is compressed, which nobody asked for: its size is not known before it is unpacked.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        error = Unbounded(f"{response.request.url.host} answered compressed, which nobody asked for")
        broke(error)
        raise error
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedStream(response.stream, response.request.url.host, broke)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, host: str, broke: Broke) -> None:
        self._stream = stream
        self._host = host
        self._broke = broke

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        until = time.monotonic() + BODY_S
        async for data in self._stream:
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise self._too(f"answered with more than {MAX_ANSWER_BYTES >> 20} MiB")
            if time.monotonic() > until:
                raise self._too(f"took more than {BODY_S:g} s for one answer")
            yield data

    def _too(self, what: str) -> Unbounded:
        error = Unbounded(f"{self._host} {what}")
        self._broke(error)
        return error

    async def aclose(self) -> None:
        await self._stream.aclose()

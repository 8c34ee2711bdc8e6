"""`mcp-cli serve`: one MCP server that offers all configured ones, on stdio or HTTP.

Owns the two transports: lines on the standard streams, and streamable HTTP without sessions on loopback.
What the messages mean is `session`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from daemonry import Place, keep_token
from mcp_cli.client.options import Options
from mcp_cli.client.warm import Warm
from mcp_cli.gateway import batches, http_guard, modern
from mcp_cli.gateway.faults import NOT_JSON, PARSE_ERROR
from mcp_cli.gateway.rounds import Rounds
from mcp_cli.gateway.session import GatewaySession
from mcp_cli.gateway.stand_in import StandIn
from mcp_cli.names import NAME

MAX_LINE_BYTES: Final = 64 << 20
# For the requests that still run when the client has ended its input.
DRAIN_S: Final = 10.0
# A wrong token is answered that late, as daemonry does; beyond so many at a time, at once.
WRONG_TOKEN_S: Final = 1.0
MOST_LATE: Final = 64
# Messages that wait for a client that does not read: whoever sends one more waits.
MOST_UNSENT: Final = 100
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")

Tell = Callable[[str, str], None]


def run(
    options: Options,
    only: list[str],
    http_port: int | None = None,
    host: str = "127.0.0.1",
    token_path: str | None = None,
    *,
    stand_in: StandIn | None = None,
) -> int:
    """Serve until the client goes, or until interrupted, and return the exit code.

    Args:
        options: which configuration, which mode.
        only: the servers that are offered; all if empty.
        http_port: of the HTTP server, 0 for any; None for stdio.
        host: the address that it listens at.
        token_path: the file with the token that HTTP requests carry; made if it is not there.  None asks for
            none: anyone who reaches the port may use the configured servers.
        stand_in: as `GatewaySession`.

    Raises:
        UnsafePath: the token's file cannot be used.
    """
    with contextlib.suppress(KeyboardInterrupt):
        if http_port is None:
            asyncio.run(on_stdio(options, only, stand_in=stand_in))
        else:
            asyncio.run(_on_http(options, only, host, http_port, token_path, stand_in=stand_in))
    return 0


def token_in(path: str) -> str:
    """Return the token in a file, made with its directory if it is not there.

    Raises:
        UnsafePath: the file cannot be used.
    """
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    return keep_token(path)


def usual_token_path() -> str:
    """Return where the token of `serve --http` is: one that is kept, for editors have it written down."""
    return Place.of(NAME).file("serve.token")


async def on_stdio(
    options: Options,
    only: list[str],
    tell: Tell = lambda _who, _line: None,
    *,
    stand_in: StandIn | None = None,
) -> None:
    """Serve one client on the standard streams.

    Args:
        options: as `run`.
        only: as `run`.
        tell: called with each message: who sent it, "client" or "server", and its text.
        stand_in: as `run`.
    """
    # What prints by mistake goes to stderr.
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lines = _Lines(stdin)
    lock = asyncio.Lock()

    async def send(line: str) -> None:
        tell("server", line)
        async with lock:
            try:
                await asyncio.to_thread(_write_all, stdout.fileno(), line.encode() + b"\n")
            except BrokenPipeError:
                lines.end()

    warm = Warm(options)
    session = GatewaySession(warm, send, only, stand_in=stand_in)
    try:
        while line := await lines.next():
            text = line.decode("utf-8", "replace").strip()
            if text:
                tell("client", text)
                await session.handle(text)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await session.drain()
    finally:
        await session.close()
        await warm.close()


class _Lines:
    """The lines of a file of any kind, read in a thread that holds up no exit."""

    def __init__(self, file: BinaryIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Queue[bytes] = asyncio.Queue()
        self._file = file
        threading.Thread(target=self._read, name="mcp-cli-stdin", daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            while line := self._file.readline(MAX_LINE_BYTES):
                self._loop.call_soon_threadsafe(self._came.put_nowait, line)
            self._loop.call_soon_threadsafe(self.end)

    async def next(self) -> bytes:
        """Return the next line; nothing at the end."""
        return await self._came.get()

    def end(self) -> None:
        """Have `next` return nothing."""
        self._came.put_nowait(b"")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


async def _on_http(  # as `run`
    options: Options,
    only: list[str],
    host: str,
    port: int,
    token_path: str | None,
    *,
    stand_in: StandIn | None,
) -> None:
    # What the SDK needs anyway; a server on stdio needs neither.
    import uvicorn

    token = None if token_path is None else (token_in(token_path), token_path)
    warm = Warm(options)
    application = _Http(warm, only, token, loopback=host in LOOPBACK, stand_in=stand_in)
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_level="warning",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110  # it tells in no other way
            await asyncio.sleep(0.01)
        if server.started:
            bound = server.servers[0].sockets[0].getsockname()
            shown = f"[{host}]" if ":" in host else host
            if token_path is None:
                told = "open: anyone who reaches the port may use the configured servers"
            else:
                told = f"the token is in {token_path}"
            print(f"{NAME}: serving at http://{shown}:{bound[1]}/mcp ({told})", file=sys.stderr, flush=True)
        await serving
    finally:
        await application.close()
        await warm.close()


class _Http:
    """Streamable HTTP without sessions, as an ASGI application: each POST is answered on its own.

    Args:
        warm: the servers.
        only: those that are offered.
        token: what a request carries, and the file that it is in; None where it carries none.
        loopback: whether only programs of this machine are to reach it: what a browser sends for a page of
            another site, or to a name that is not loopback's, is refused.
        stand_in: as `run`.
    """

    def __init__(
        self,
        warm: Warm,
        only: list[str],
        token: tuple[str, str] | None,
        *,
        loopback: bool,
        stand_in: StandIn | None,
    ) -> None:
        self._warm = warm
        self._only = only
        self._token = token
        self._loopback = loopback
        self._stand_in = stand_in
        self._late = 0
        self._rounds = Rounds()

    async def close(self) -> None:
        """End the calls that wait for answers."""
        await self._rounds.close()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check(scope)
        except http_guard.HttpRefusal as refusal:
            await self._delay(refusal)
            await _plain(send, refusal.status, refusal.why)
            return
        body = await _body(receive)
        if body is None:
            await _plain(send, 413, "the message is too long")
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        await self._post(body, headers, receive, send)

    def _check(self, scope: dict[str, Any]) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if self._loopback:
            http_guard.check_origin(headers, scope["server"][1])
        if self._token is not None:
            http_guard.check_token(headers, *self._token)
        http_guard.check_request(scope["path"], scope["method"], dict(headers).get("content-type", ""))

    async def _delay(self, refusal: http_guard.HttpRefusal) -> None:
        """Answer a wrong token late; not more of them at a time than cost little."""
        if refusal.wrong_token and self._late < MOST_LATE:
            self._late += 1
            try:
                await asyncio.sleep(WRONG_TOKEN_S)
            finally:
                self._late -= 1

    async def _post(self, body: bytes, headers: dict[str, str], receive: Any, send: Any) -> None:
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):  # the second: nested deeper than this interpreter goes
            await _parse_error(send)
            return
        revision = headers.get("mcp-protocol-version", batches.REVISION)
        if isinstance(message, list) and revision == batches.REVISION:
            await self._post_batch(message, receive, send)
            return
        if not isinstance(message, dict):
            await _plain(send, 400, "a message is a JSON object")
            return
        if message.get("method") is None or message.get("id") is None:
            await _plain(send, 202, "")  # a notification, or an answer to no question of ours
            return
        fault = modern.header_fault(message, headers)
        if fault is not None:
            await _error(send, 400, message["id"], fault.code, fault.message)
            return
        session, out = self._session()
        await session.handle(body)
        await _stream(session, out, None, receive, send)

    async def _post_batch(self, members: list[Any], receive: Any, send: Any) -> None:
        """Answer a batch; without a header that names the revision, the protocol has it be 2025-03-26."""
        fault = batches.fault_in_batch(members)
        if fault is not None:
            await _plain(send, 400, fault.message)
            return
        if not any(map(batches.has_answer, members)):
            await _plain(send, 202, "")
            return
        session, out = self._session()
        await _stream(session, out, await session.batches.begin(members), receive, send)

    def _session(self) -> tuple[GatewaySession, asyncio.Queue[str]]:
        """Return a session for one POST, and its messages for the client."""
        out: asyncio.Queue[str] = asyncio.Queue(MOST_UNSENT)
        session = GatewaySession(
            self._warm, out.put, self._only, stand_in=self._stand_in, rounds=self._rounds, pushes=False
        )
        return session, out


async def _stream(
    session: GatewaySession,
    out: asyncio.Queue[str],
    batch: asyncio.Task[None] | None,
    receive: Any,
    send: Any,
) -> None:
    """Send a session's messages until its answer, or until the client goes, and close the session.

    Args:
        session: the session.
        out: its messages.
        batch: the task that ends when the answers to a batch are in `out`, if it has any; None for a request.
        receive: the request, as ASGI has it.
        send: the reply.
    """
    gone = asyncio.create_task(_gone(receive))
    ends = (gone,) if batch is None else (gone, batch)
    try:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")],
            }
        )
        while True:
            getting = asyncio.create_task(out.get())
            await asyncio.wait((getting, *ends), return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                if gone.done():
                    return
                if out.empty():  # the client cancelled each request of the batch
                    await send({"type": "http.response.body", "body": b""})
                    return
                continue
            line = getting.result()
            last = line[0] == "[" or '"method":' not in line[:40]
            await send(
                {
                    "type": "http.response.body",
                    "body": b"event: message\ndata: " + line.encode() + b"\n\n",
                    "more_body": not last,
                }
            )
            if last:
                return
    finally:
        gone.cancel()
        await session.close()


async def _body(receive: Any) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_LINE_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _parse_error(send: Any) -> None:
    await _error(send, 400, None, PARSE_ERROR, NOT_JSON)


async def _error(send: Any, status: int, number: Any, code: int, text: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}})
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


async def _plain(send: Any, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="mcp-cli"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})

"""How one server is started, or reached: its process, the transport, and the older kinds that are tried.

Owns the memory of that from one start to the next: which kind the server is of, the last error, and
the last lines of its standard error.  When it is started is `lifecycle`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from mcp_cli.names import PROTOCOLS
from mcp_cli.pool import processes, redact, sdk
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.stdio import END_S, SpawnFailed, StdioProcess
from mcp_cli.protocol.interfaces import Event, NeedsAuthorization, Server, ServerFailed

if TYPE_CHECKING:
    from mcp_cli.pool.access.loopback import Loopback
    from mcp_cli.pool.callbacks import Hooks
    from mcp_cli.pool.connection import ServerConnection
    from mcp_cli.pool.http.transport import Transport

logger = logging.getLogger("mcp_cli.server")


class Launcher:
    """Makes the connections to one server.

    Args:
        server: its definition.
        hooks: a connection calls these for messages and for questions.
        stderr_line: is given each line of its standard error, without secrets.
        patience_s: how long its process may take to end by itself, in seconds.

    Attributes:
        error: why it is not connected, or was not the last time: `STAGE: REASON`, or how it ended.
        process: its process, while there is one.
    """

    def __init__(
        self, server: Server, hooks: Hooks, stderr_line: Callable[[str], None], patience_s: float = END_S
    ) -> None:
        self.error = ""
        self.process: StdioProcess | None = None
        self._server = server
        self._hooks = hooks
        self._stderr_line = stderr_line
        self._patience_s = patience_s
        self._stderr: list[str] = []
        self._legacy = server.protocol in PROTOCOLS[:-1]
        self._sse = server.kind == "sse"
        self._secrets = redact.secrets_of(
            server.env, server.headers, (server.oauth_client_secret,), (server.url, *server.args)
        )

    def redacted(self, text: str) -> str:
        """Return `text` without the server's secrets."""
        return redact.redacted(text, self._secrets)

    def stderr(self) -> list[str]:
        """Return the last lines of its standard error, without secrets."""
        lines = list(self.process.stderr) if self.process is not None else self._stderr
        return [self.redacted(line) for line in lines]

    def running(self) -> str:
        """Return what its process runs, for people; "" where there is none."""
        return processes.names(self.process.pid) if self.process is not None else ""

    def failed(self, stage: str, reason: str) -> Exception:
        """Return the error to raise where a stage failed; it is logged and remembered."""
        reason = self.redacted(reason)
        self.error = f"{stage}: {reason}"
        logger.warning("%s could not be started: %s: %s", self._server.name, stage, reason)
        if stage == "authorize":
            return NeedsAuthorization(server=self._server.name, reason=reason)
        if stage == "access":
            stage = "authorize"  # nobody's going to a page would help
        return ServerFailed(server=self._server.name, stage=stage, reason=reason, stderr=self.stderr())

    async def connect(self) -> ServerConnection:
        """Make a connection; twice, where the first answer says that the server is of an older kind.

        Raises:
            ServerFailed, NeedsAuthorization: that did not work; no process is left.
        """
        for attempt in range(3):
            process = await self._spawn() if self._server.kind == "stdio" else None
            # The SDK takes most of a second to import: meanwhile the process starts.
            module = await asyncio.to_thread(sdk.connection)
            transport = None
            if process is None:
                transport = module.Transport(self._server, sse=self._sse)
            connection: ServerConnection = module.ServerConnection(
                self._server, self._hooks, process, transport, legacy=self._legacy
            )
            try:
                await connection.open()
            except module.OpenFailed as error:
                await self.drop(process)
                if attempt < 2 and self._try_older(connection, transport):
                    continue
                raise self.failed(error.stage, error.reason) from None
            except BaseException:
                await self.drop(process)
                raise
            self._legacy = self._legacy or not connection.modern
            return connection
        raise AssertionError

    def _try_older(self, connection: ServerConnection, transport: Transport | None) -> bool:
        if transport is not None and transport.maybe_older:
            self._sse = True
            return True
        if not self._legacy and connection.only_discovered:
            # It did not survive a question that servers of before 2026 do not know.
            self._legacy = True
            return True
        return False

    async def _spawn(self) -> StdioProcess:
        process = StdioProcess(self._server, lambda line: self._stderr_line(self.redacted(line)))
        try:
            await process.start()
        except SpawnFailed as error:
            raise self.failed("spawn", str(error)) from None
        self.process = process
        return process

    async def drop(self, process: StdioProcess | None) -> None:
        """End a process, and remember the last lines of its standard error."""
        if process is not None:
            await process.end(self._patience_s)
            self._stderr = list(process.stderr)
            if self.process is process:
                self.process = None

    async def authorize(self, call: PendingCall, loopback: Loopback) -> None:
        """Connect with a user who may grant access.

        Raises:
            ServerFailed, NeedsAuthorization: that did not come about.
        """
        module = await asyncio.to_thread(sdk.connection)

        async def visit(url: str) -> None:
            call.tell(Event(kind="visit", text=url, result=loopback.uri))

        transport = module.Transport(self._server, sse=self._sse, visit=visit, loopback=loopback)
        server = msgspec.structs.replace(self._server, start_timeout_s=call.idle_s)
        connection = module.ServerConnection(server, self._hooks, None, transport, legacy=self._legacy)
        try:
            await connection.open()
        except module.OpenFailed as error:
            raise self.failed(error.stage, error.reason) from None
        await connection.close()

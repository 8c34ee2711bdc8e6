"""The pool in this process: what a client of the daemon can do, without a daemon.

Owns a thread with the loop that the servers live on, and their end.  Several calls may be under way at the
same time, from several threads: a question of one is answered by another.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import queue
import threading
from collections.abc import Coroutine, Generator, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Self, get_type_hints

import msgspec

from daemonry import CallError, errors
from mcp_cli.names import INTERFACE
from mcp_cli.pool.service import ServerPool
from mcp_cli.pool.stdio import END_S

CALL_TIMEOUT_S = 30.0
# What ending the servers may take: end of input, SIGTERM, SIGKILL, one after the other.
CLOSE_S = 10.0
_END = object()


class Direct:
    """The pool, called as a `daemonry.Client` is.

    Args:
        patience_s: how long a server's process may take to end by itself, in seconds.

    Attributes:
        closed: whether it has ended.
    """

    def __init__(self, patience_s: float = END_S) -> None:
        # A command prints the events of its calls; other log lines are for a daemon's log.
        for name in ("mcp_cli", "mcp", "asyncio"):
            logging.getLogger(name).addHandler(logging.NullHandler())
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mcp-cli-pool", daemon=True)
        self._thread.start()
        self._pool = self._run(_made(patience_s)).result()
        self._watch = self._run(self._pool.look_after())
        atexit.register(self.close)

    def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """As `daemonry.Client.call`."""
        function, arguments = self._bound(method, parameters)
        future = self._run(_awaited(function(**arguments)))
        try:
            return _fields(future.result(timeout_s))
        except TimeoutError:
            future.cancel()
            raise errors.DeadlineExceeded("reply", timeout_s, "maybe", "the pool in this process") from None
        except CallError as error:
            raise _failed(error) from None
        except BaseException:
            future.cancel()
            raise

    def stream(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, idle_s: float | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """As `daemonry.Client.stream`; leaving it early cancels the call and nothing else."""
        function, arguments = self._bound(method, parameters)
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()

        async def follow() -> None:
            try:
                async with contextlib.aclosing(function(**arguments)) as generator:
                    async for event in generator:
                        events.put(event)
            except CallError as error:
                events.put(_failed(error))
            finally:
                events.put(_END)

        future = self._run(follow())
        try:
            while True:
                try:
                    event = events.get(timeout=idle_s)
                except queue.Empty:
                    raise errors.DeadlineExceeded(
                        "reply", idle_s or 0.0, "maybe", "the pool in this process"
                    ) from None
                if event is _END:
                    future.result()
                    return
                if isinstance(event, Exception):
                    raise event
                yield _fields(event)
        finally:
            if not future.done():
                future.cancel()
                while events.get() is not _END:  # until the server was notified
                    pass

    def close(self) -> None:
        """End the servers.  Twice is not an error."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        self._watch.cancel()
        try:
            self._run(self._pool.close()).result(CLOSE_S)
        except (TimeoutError, CancelledError):
            pass
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _bound(self, method: str, parameters: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        interface, _, name = method.rpartition(".")
        function = getattr(self._pool, name.lower(), None) if interface == INTERFACE else None
        if function is None:
            raise errors.MethodNotFound("org.varlink.service.MethodNotFound", {"method": method})
        hints = get_type_hints(function)
        return function, {
            key: msgspec.convert(value, hints[key]) for key, value in dict(parameters or {}).items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


async def _made(patience_s: float) -> ServerPool:
    return ServerPool(patience_s)


async def _awaited(result: Any) -> Any:
    return await result


def _fields(value: Any) -> dict[str, Any]:
    """Return a reply's fields, as a client of the daemon gets them."""
    if value is None:
        return {}
    made = msgspec.to_builtins(value)
    return made if isinstance(value, msgspec.Struct) else {"result": made}


def _failed(error: CallError) -> errors.CallFailed:
    return errors.CallFailed(f"{INTERFACE}.{type(error).__name__}", error.parameters)

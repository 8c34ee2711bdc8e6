"""Making a connection in a thread, for a caller on an event loop that may have left when it is made.

Owns the end of such a connection: nobody else knows of it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


Made = TypeVar("Made")


async def made_in_thread(make: Callable[[], Made], connection_of: Callable[[Made], _Closable]) -> Made:
    """Return what `make` returns, which runs in a thread.

    Where this is cancelled meanwhile, the connection in it is closed once it is there.
    """
    context = contextvars.copy_context()
    work = asyncio.get_running_loop().run_in_executor(None, partial(context.run, make))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(partial(_close, connection_of))
        raise


def _close(connection_of: Callable[[Made], _Closable], work: asyncio.Future[Made]) -> None:
    if not work.cancelled() and work.exception() is None:
        connection_of(work.result()).close()

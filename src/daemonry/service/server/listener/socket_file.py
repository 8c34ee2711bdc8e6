"""Looking after a server's socket file while it runs: something may remove or replace it.

Owns when to look: at a notice of the system, where the server asks for notices and the system has them;
at a call from another thread that has such notices already; or else by the clock.  Making the socket again
is `bound_listener`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from daemonry.errors import DaemonryError
from daemonry.limits import SOCKET_CHECK_S
from daemonry.transport.file_watch import watch_entries
from daemonry.transport.unix import UnixListener

if TYPE_CHECKING:
    from daemonry.service.server.listener.bound_listener import BoundListener

logger: logging.Logger = logging.getLogger("daemonry.server")


async def look_after(
    bound: BoundListener,
    check: Callable[[], object],
    *,
    by_notice: bool,
    called: asyncio.Event | None = None,
) -> None:
    """Call `check` whenever the socket file may have changed, until cancelled.

    Args:
        bound: the listener.
        check: makes the socket again if its file is gone; it raises DaemonryError where it cannot.
        by_notice: whether to wait for a notice that the file's directory has changed, if possible.
        called: set by another thread's watcher when it has a notice; None to look by oneself.
    """
    troubled = False
    while True:
        # A place that is taken has no notice for the moment when it is free again.
        if called is not None and not troubled:
            await called.wait()
            called.clear()
        else:
            await _wait_for_change(bound, by_notice=by_notice and not troubled)
        try:
            check()
            troubled = False
        except DaemonryError as error:
            if not troubled:
                logger.error("the socket file is gone and cannot be made again: %s", error)
            troubled = True


async def _wait_for_change(bound: BoundListener, *, by_notice: bool) -> None:
    fd = None
    if by_notice and bound.path is not None and bound.path.startswith("/"):
        fd = watch_entries(os.path.dirname(bound.path))
    if fd is None:
        await asyncio.sleep(SOCKET_CHECK_S)
        return
    loop = asyncio.get_running_loop()
    try:
        # It may have gone before the watch was there.
        if isinstance(bound.accepted_from, UnixListener) and not bound.file_is_lost:
            noticed = asyncio.Event()
            loop.add_reader(fd, noticed.set)
            await noticed.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)

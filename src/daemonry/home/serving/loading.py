"""Loading the modules that answer for a home, beside a loop that starts and watches its services.

Owns the thread.  Loaded on the loop, they would hold it up for some tens of milliseconds: lines that several
services wrote meanwhile would all have the same time.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from daemonry.home.serving.home_server import HomeServer

# How long the loop waits for the interpreter's lock: a tenth of the usual, for lines have their times to it.
_SWITCH_S: Final = 0.0005


async def load() -> type[HomeServer]:
    """Return the server's class, once it and all that it needs are loaded."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[type[HomeServer]] = loop.create_future()

    def tell(found: type[HomeServer] | BaseException) -> None:
        if loaded.done():  # cancelled
            return
        if isinstance(found, BaseException):
            loaded.set_exception(found)
        else:
            loaded.set_result(found)

    def run() -> None:
        try:
            from daemonry.home.serving.home_server import HomeServer
        except BaseException as error:  # noqa: BLE001  # it is the caller's
            loop.call_soon_threadsafe(tell, error)
        else:
            loop.call_soon_threadsafe(tell, HomeServer)

    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        threading.Thread(target=run, name="daemonry-loading").start()
        return await loaded
    finally:
        sys.setswitchinterval(usual_s)

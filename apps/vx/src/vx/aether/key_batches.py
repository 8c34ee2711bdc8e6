"""Single keys that are asked for at the same time, asked for together.

Owns the gathering: a build looks up dozens of actions at once, and a call of the store costs more than a key
in it.  (Facebook's DataLoader is the same idea.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from vx.interfaces import Lookup

# In one call: a quarter of a build's window, so that it goes on with some while it waits for others.
MAX_KEYS: Final = 16


class KeyBatches:
    """Asks for keys with as few calls as it can.

    Args:
        ask: looks some keys up.
    """

    def __init__(self, ask: Callable[[list[str]], Awaitable[Lookup]]) -> None:
        self._ask = ask
        self._waiting: dict[str, asyncio.Future[Lookup]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def look_up(self, key: str) -> Lookup:
        """Return what the call of a key and its neighbours found.

        Raises:
            Whatever the call raises.
        """
        found = self._waiting.get(key)
        if found is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(self._begin)  # those that are about to ask do so before
            found = self._waiting[key] = loop.create_future()
        return await asyncio.shield(found)

    def _begin(self) -> None:
        waiting, self._waiting = list(self._waiting.items()), {}
        for begin in range(0, len(waiting), MAX_KEYS):
            call = asyncio.ensure_future(self._call(dict(waiting[begin : begin + MAX_KEYS])))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, waiting: dict[str, asyncio.Future[Lookup]]) -> None:
        try:
            found = await self._ask(list(waiting))
        except BaseException as error:
            for one in waiting.values():
                one.set_exception(error)
                one.exception()  # nobody may wait for it any more
            if not isinstance(error, Exception):
                raise
        else:
            for one in waiting.values():
                one.set_result(found)

"""The control plane while it answers: the server's task on the loop, a manager's heartbeat, and the standby.

Owns these from `begin` until `close`.  The loop runs between: it is the caller's, who runs stages on it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemonry.daemon.lifecycle import Happened
from daemonry.process.forked_loop import TURN_S, detach
from daemonry.process.forks import not_for_children, tell_of_forks

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.process.notify import Notifier
    from daemonry.runtime.control_state import Life
    from daemonry.service.server.server import Server
    from daemonry.service.server.standby import Standby


class ControlPlane:
    """Answers commands from `__init__` on, whenever the loop runs, until `close`.

    Args:
        loop: the loop; it does not run while this object is made.
        state: the daemon's state.
        server: the server, which listens.
        standby: answers while the loop is stuck.
        notifier: hears the heartbeat too.

    Attributes:
        standby: answers while the loop is stuck.
        closed: whether it answers no more; from any thread.
        ended: called once it is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        state: Life,
        server: Server,
        standby: Standby,
        notifier: Notifier,
    ) -> None:
        self._state = state
        self._server = server
        self.standby = standby
        self._notifier = notifier
        self._cancel = asyncio.Event()
        self.closed: bool = False
        self._loop = loop
        self._serving = loop.create_task(self._serve(), name="control plane")
        self.ended: Callable[[], None] = _nobody
        self._beating = loop.create_task(self._beat(), name="heartbeat")
        self._turns: bool = False  # by the clock, too
        not_for_children(self)
        tell_of_forks(self)

    def __repr__(self) -> str:
        return f"ControlPlane({self._server!r}{', closed' if self.closed else ''})"

    def drop_in_child(self) -> None:
        """Leave the loop and its tasks to the parent; a forked child that ends says nothing about them."""
        detach(self._loop)
        for task in asyncio.all_tasks(self._loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  # asyncio sets it so too

    def forked(self) -> None:
        """Have the loop turn by the clock from now on: a child may take what is to wake it."""
        if not self._turns:
            self._turns = True
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                pass  # closed: the daemon has ended

    def _turn(self) -> None:
        # By `call_soon`: uvloop's timers alone have it look at none of the calls from other threads.
        self._loop.call_later(TURN_S, self._loop.call_soon, self._turn)

    async def close(self, *, refuse: bool) -> None:
        """Answer no more, and wait for the answers under way.

        Args:
            refuse: whether those who wait at the socket are refused; else another process answers them.
        """
        try:
            self._state.happened(Happened.DRAINED)
            self._beating.cancel()
            if refuse:
                self._server.refuse_more()  # those that wait learn the reason, and nobody comes behind
            self._cancel.set()
            await self._serving
        finally:
            self.closed = True
            self.ended()

    async def _serve(self) -> None:
        # The loop's first turn is the setup hooks': a child that one forks there, and that ends by an
        # exception, has a copy of a loop which watches no descriptor of ours yet.
        await asyncio.sleep(0)
        await self._server.run(self._state, self._cancel)

    async def _beat(self) -> None:
        if self._notifier.watchdog_s is None:
            return
        while True:
            self._notifier.beat()
            await asyncio.sleep(self._notifier.watchdog_s / 4)


def _nobody() -> None:
    """Do nothing: nobody wants to know."""

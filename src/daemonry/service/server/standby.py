"""Answers the control plane from another thread while the loop is stuck in a handler.

Owns noticing that it is stuck, and that it is back.  A loop that does its work is asked nothing: a while
after somebody has come its listener is looked at, and a loop that accepts leaves no client waiting there.
Only when one still waits is the loop asked for a sign of life, and only when it gives none
does `stuck_clients` accept and answer them, until it does.  While nobody comes, nothing is looked at.

Code that holds the interpreter's lock without a break stops this thread too.
"""

from __future__ import annotations

import asyncio
import logging
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from daemonry import clock
from daemonry.errors import Draining
from daemonry.service.server.code_position import frame_of, where
from daemonry.service.server.control import ControlState
from daemonry.service.server.refusal import DRAINING, refuse_held
from daemonry.service.server.stuck_clients import StuckClients, is_ready

if TYPE_CHECKING:
    from daemonry.service.server.server import Server

logger: logging.Logger = logging.getLogger("daemonry.standby")


class Standby:
    """Watches one loop and its server; `tick` is called by a thread that is not the loop's.

    Args:
        loop: the loop that serves when it can.
        loop_thread_id: the thread that runs it.
        server: the server whose clients are answered; takes back those that wait for the loop.
        state: makes the state that answers while the loop cannot; its methods are called from the
            ticking thread and return their results at once.
        ran_at_s: returns when the loop was last known to run; None if that is not known.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        loop_thread_id: int,
        server: Server,
        state: Callable[[Standby], ControlState],
        ran_at_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._thread_id = loop_thread_id
        self._server = server
        self._sign_of_life = threading.Event()
        self._asked_at_s: float | None = None
        self._ran_at_s = ran_at_s
        self._stuck_since_s: float | None = None
        self._clients = StuckClients(server, state(self), self._sign_of_life)

    def __repr__(self) -> str:
        stuck_for_s = self.stuck_for_s
        return f"<Standby: {'watching' if stuck_for_s is None else f'stuck for {stuck_for_s:.1f} s'}>"

    @property
    def stuck_for_s(self) -> float | None:
        """For how long the loop has not answered, in seconds; None while it does."""
        return None if self._stuck_since_s is None else clock.monotonic() - self._stuck_since_s

    @property
    def is_quiet(self) -> bool:
        """Whether no client was seen waiting: there is nothing to look at until the next one comes."""
        return self._stuck_since_s is None and self._asked_at_s is None and not len(self._server.held)

    def stuck_at(self) -> str:
        """Return where the loop's thread is now, as `file:line in function`."""
        return where(frame_of(self._thread_id))

    def tick(self, timeout_s: float) -> None:
        """Look once, or, while the loop is stuck, serve for `timeout_s`."""
        if self._stuck_since_s is not None:
            self._clients.serve(timeout_s)
            if self._sign_of_life.is_set():
                self._hand_back()
        elif self._asked_at_s is None:
            if self._clients_wait():
                self._ask()
        elif self._sign_of_life.is_set():
            self._asked_at_s = None
        elif self._clients_wait():
            self._take_over()

    def refuse_all(self, *, also_at_listener: bool) -> None:
        """Refuse all clients that wait, with the end as the reason: the loop will not come to them any more.

        They know then that their calls did not run.  Called by the ticking thread.

        Args:
            also_at_listener: those as well that were not accepted yet, for nobody will.
        """
        if also_at_listener:
            self._clients.accept_all()
        self._server.held.hand_over(lambda one: refuse_held(one, Draining(DRAINING)))
        self.close()

    def close(self) -> None:
        """Watch no client any more; those that are held wait for the loop."""
        self._stuck_since_s = None
        self._clients.close()

    def _clients_wait(self) -> bool:
        if len(self._server.held):  # the loop was back, and got stuck again before it had taken all of them
            return True
        listener = self._server.listener
        return listener is not None and is_ready(listener.fileno(), select.POLLIN)

    def _ask(self) -> None:
        self._sign_of_life.clear()
        self._asked_at_s = clock.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._come_back)
        except RuntimeError:  # closed: the daemon is ending
            self._asked_at_s = None

    def _come_back(self) -> None:
        """Run by the loop, before anything else that it does."""
        self._sign_of_life.set()
        self._server.take_back()

    def _take_over(self) -> None:
        logger.warning("the loop is stuck at %s; answering the control plane beside it", self.stuck_at())
        # Clients may come long after it got stuck, and are shown since when it has been.
        asked_at_s, ran_at_s = self._asked_at_s or 0.0, self._ran_at_s()
        self._stuck_since_s = asked_at_s if ran_at_s is None else min(asked_at_s, ran_at_s)
        self._clients.open()

    def _hand_back(self) -> None:
        logger.warning("the loop answers again after %.1f s", self.stuck_for_s or 0.0)
        self.close()
        self._asked_at_s = None
        try:  # of those that were accepted while the loop came back
            self._loop.call_soon_threadsafe(self._server.take_back)
        except RuntimeError:
            self.refuse_all(also_at_listener=False)

"""The running daemon as an idle end and as a hand-over need it.

Owns what each of their steps does to the server, the publication and the state; the order of the steps is
`idle_shutdown`'s and `handover`'s, which know the daemon by a Protocol each.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from daemonry.daemon.lifecycle import Happened, Phase
from daemonry.transport.endpoint import UNIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.http.process_http import ProcessHttp
    from daemonry.process.lock import Lock
    from daemonry.process.logs import LogFile
    from daemonry.runtime.control_state import Life
    from daemonry.runtime.handover import OldSide
    from daemonry.runtime.publishing import Publication
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.server import Server
    from daemonry.transport.stream import Listener

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class HandOverHost:
    """The daemon that hands itself over."""

    def __init__(
        self,
        state: Life,
        server: Server,
        publication: Publication,
        log_file: LogFile,
        http: ProcessHttp | None = None,
    ) -> None:
        self._http = http
        self._state = state
        self._server = server
        self._publication = publication
        self._log_file = log_file

    def offer(self) -> tuple[Listener, Lock] | None:
        """Return the listener and the life lock; None when there is nothing to hand over now."""
        lock, listener = self._publication.life_lock, self._server.listener
        if lock is None or listener is None or self._state.stopping.is_set():
            return None
        return listener, lock

    def describe(self) -> dict[str, Any]:
        """Return what the new process is to know."""
        return {
            "pid": os.getpid(),
            "version": self._state.version(),
            "paused": self._state.phase is Phase.PAUSED,
        }

    def stop_accepting(self) -> None:
        """Accept no more connections."""
        self._server.stop_accepting()

    def accept_again(self) -> None:
        """Be the daemon as before."""
        self._publication.write_again()
        self._server.accept_from_now()

    def hand_over(self) -> None:
        """Leave the files to the process that is the daemon now, and end."""
        self._publication.disown()
        if self._http is not None:
            self._http.port.close()
        self._log_file.rotate_no_more()
        self._state.handed_over = True
        logger.info("handed over; serves the calls that it accepted, then ends")
        self._state.happened(Happened.HANDED_OVER)


class IdleDaemon:
    """The daemon that ends when it is idle.

    Args:
        state: its state.
        calls: its calls.
        server: its server.
        publication: what shows others that it is the daemon.
        hand_over: the hand-over, which must not be cut short.
        kept: whether a service manager keeps the socket, and starts the next daemon when somebody comes.
    """

    def __init__(
        self,
        state: Life,
        calls: Calls,
        server: Server,
        publication: Publication,
        hand_over: OldSide,
        *,
        kept: bool,
    ) -> None:
        self._state = state
        self._calls = calls
        self._server = server
        self._publication = publication
        self._hand_over = hand_over
        self._kept = kept
        self._tell: Callable[[], None] | None = None
        state.changed.append(self._tell_on_loop)

    @property
    def begun(self) -> tuple[int, int]:
        """How many calls, and how many jobs, have begun so far."""
        return self._calls.begun, self._state.jobs.begun

    @property
    def in_flight(self) -> int:
        """How many calls and jobs there are."""
        return self._calls.running + self._state.jobs.running

    def tell_when_begun(self, tell: Callable[[], None]) -> None:
        """Call `tell`, on the loop, when the next call or job begins, or the phase changes."""
        self._tell = tell
        if tell not in self._state.when_asked:
            self._state.when_asked.append(tell)
        self._state.jobs.when_begun = self._tell_on_loop

    def _tell_on_loop(self) -> None:
        tell, loop = self._tell, self._state.loop
        if tell is None or loop is None:
            return
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            pass  # the loop is closed, and the daemon ends

    @property
    def is_ending(self) -> bool:
        """Whether the daemon ends."""
        return self._state.stopping.is_set()

    @property
    def may_end(self) -> bool:
        """Whether it runs, and no hand-over is under way."""
        return self._state.phase is Phase.RUNNING and not self._hand_over.under_way

    @property
    def newcomers(self) -> int:
        """How many clients have sent nothing yet."""
        return self._server.newcomers

    def announce_end(self, ends: bool) -> None:
        """Say in the record that the daemon ends, or that it does not."""
        self._publication.mark_draining(ends)

    def refuse_more(self) -> int:
        """Let nobody else in but those who wait, and return how many did."""
        if self._kept:
            # To refuse would be to refuse for ever: it is the manager's socket too.  The manager starts the
            # next daemon for a client that waits there.
            self._server.stop_accepting()
            return 0
        return self._server.refuse_more()

    def retire_idle(self) -> None:
        """Have connections on which nothing is in hand take no further call."""
        self._server.retire_idle()

    def accept_again(self) -> None:
        """Listen as before."""
        if self._kept or self._server.endpoint.kind != UNIX:
            # Nothing was refused, and a second listener could not have the first one's port.
            self._server.accept_from_now()
        else:
            self._server.listen_again()

    def end(self) -> bool:
        """Begin to end; False where the phase does not allow it."""
        return self._state.end_idle()

"""What a daemon's hooks are given: the present run, as far as a program may see and steer it.

Owns the public face and no state: its answers and actions are the running daemon's, known here by the
Protocol `RunState` alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from daemonry.daemon.lifecycle import Happened, Phase

if TYPE_CHECKING:
    import threading
    from contextlib import AbstractContextManager

    from daemonry.daemon.served import Kind, Services
    from daemonry.process.place import Place


class JobCounter(Protocol):
    """Counts the daemon's jobs other than calls."""

    def busy(self) -> AbstractContextManager[None]:
        """Return a context in which the daemon is not idle."""
        ...


class RunState(Protocol):
    """The running daemon, as its hooks need it.

    Attributes:
        running: set while the daemon runs; for threads.
        stopping: set once the daemon is to end; for threads.
    """

    running: threading.Event
    stopping: threading.Event

    @property
    def config(self) -> Any:
        """The configuration in force."""
        ...

    @property
    def jobs(self) -> JobCounter:
        """The daemon's jobs other than calls."""
        ...

    @property
    def phase(self) -> Phase:
        """The present phase."""
        ...

    def happened(self, event: Happened) -> bool:
        """Take note of an event that may change the phase."""
        ...

    def stop(self) -> None:
        """End the daemon, as STOP does."""
        ...

    async def wait_running(self) -> None:
        """Return when the daemon runs."""
        ...


class Run:
    """What a daemon's hooks are given: the present run.

    Attributes:
        name: the daemon's name.
        log: a logger of that name, which writes to the daemon's log.
        state_path: a directory for the program's own files; ours alone.
        services: the implementations of this run; a program asks by `service`.
    """

    def __init__(self, state: RunState, place: Place, services: Services) -> None:
        self._state = state
        self.services = services
        self.name: str = place.name
        self.log: logging.Logger = logging.getLogger(place.name)
        self.state_path: str = place.state_path

    @property
    def config(self) -> Any:
        """The configuration in force: always a whole one, exchanged as one by a reload."""
        return self._state.config

    @property
    def paused(self) -> bool:
        """Whether the daemon is paused."""
        return self._state.phase is Phase.PAUSED

    @property
    def stopping(self) -> bool:
        """Whether the daemon is to end; work in a thread looks here."""
        return self._state.stopping.is_set()

    def service(self, kind: type[Kind]) -> Kind:
        """Return this run's implementation of an interface that is served, for hooks that share its state.

        One that `serve` was given the maker of is made when it is first asked for.

        Raises:
            LookupError: no such interface is served.
        """
        return self.services.get(kind)

    def start_paused(self) -> None:
        """Begin paused; for a setup hook, when the daemon was paused as it ended last."""
        self._state.happened(Happened.PAUSE_ASKED)

    def stop(self) -> None:
        """End the daemon.  In a home its restart policy counts, which after a STOP it does not."""
        self._state.happened(Happened.STOP_ASKED)

    def busy(self) -> AbstractContextManager[None]:
        """Return a context in which the daemon is not idle: `with run.busy():` around a job.

        For what goes on after the call that began it has been answered.  From any thread.
        """
        return self._state.jobs.busy()

    async def wait_running(self) -> None:
        """Return at once while the daemon runs, and else when it runs again."""
        await self._state.wait_running()

    def wait_running_in_thread(self) -> bool:
        """Return when the daemon runs; False when it is to end instead.  For work in a thread."""
        self._state.running.wait()
        return not self.stopping

    def sleep_in_thread(self, delay_s: float) -> bool:
        """Sleep; False, and at once, when the daemon is to end.  For work in a thread."""
        return not self._state.stopping.wait(delay_s)

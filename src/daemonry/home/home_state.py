"""The state behind the text dialect of a home: its status, and the commands that a home has.

Owns the answers to these commands.  Those about single services are `answers`'s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from daemonry.errors import Refused
from daemonry.home.child import SATISFIED, ServiceState
from daemonry.home.fleet import Fleet
from daemonry.home.home import Home
from daemonry.runtime.fingerprint import Settings
from daemonry.version import __version__


class HomeState:
    """Answers the control plane for a home.

    Args:
        home: the home's files.
        fleet: its services.
        begin_end: begins to stop all of them, and the supervisor; returns at once.
        reload: reads home.toml again; raises DaemonryError where it cannot be used.

    Attributes:
        file: home.toml, as it was before it was read.
        more_fields: gives further fields of STATUS.
        started_at: when the supervisor started, in seconds since 1970.
    """

    def __init__(
        self,
        home: Home,
        fleet: Fleet,
        begin_end: Callable[[], None],
        reload: Callable[[], Awaitable[str]],
    ) -> None:
        self.more_fields: Callable[[], Mapping[str, Any]] = dict
        self.started_at: float = time.time()
        self.file: Settings = Settings(home.file_path)
        self._directory = home.directory
        self._fleet = fleet
        self._begin_end = begin_end
        self._reload = reload

    def get_status(self) -> dict[str, Any]:
        """Return the fields of STATUS."""
        states = [keeper.state for keeper in self._fleet.keepers.values()]
        return {
            "state": "draining" if self._fleet.ending else "running",
            "pid": os.getpid(),
            "home": self._directory,
            "uptime_secs": int(time.time() - self.started_at),
            "services": len(states),
            "ready": sum(1 for state in states if state in SATISFIED),
            "failed": sum(1 for state in states if state is ServiceState.FAILED),
            **({"config_changed": True} if self.file.changed() else {}),
            **self.more_fields(),
        }

    def pause(self) -> None:
        """Refuse: services are stopped one by one or all together."""
        raise Refused("a home is not paused: take it down, or restart a service")

    def resume(self) -> None:
        """Refuse, as `pause`."""
        self.pause()

    async def reload_config(self) -> str:
        """Read home.toml again, and return the changes in words.

        Raises:
            DaemonryError: it cannot be used; nothing was changed.
        """
        return await self._reload()

    def stop(self) -> None:
        """Begin to stop all; return at once."""
        self._begin_end()

    def version(self) -> str:
        """Return the supervisor's version."""
        return __version__

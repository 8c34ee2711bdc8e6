"""What HTTP needs of the process that it shows: a daemon, or a home's supervisor.

Owns this shape and nothing else; who fills it in is above: `runtime` for a daemon, `home` for a home.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from daemonry.service.server.control import ControlState
from daemonry.service.server.dispatch import Calls


@dataclass(frozen=True)
class Host:
    """The process.

    Attributes:
        kind: "daemon" or "home".
        name: its name.
        version: its version.
        calls: the interfaces that it serves.
        state: what answers commands, as over the text dialect.
        changed: returns when its state is another one than now.
        log_path: its log.
        logs: returns the logs of its services, by name; none for a daemon.
        token_path: where the token of its port is made.
        not_ready: returns why it takes no work now, one word for each reason; none when it does.
        connections: returns how many connections are open.
        config: returns the configuration in force.
        busy: returns a context in which it does not end because it is idle.
        more_metrics: returns further numbers for `/metrics`: name, help, labels, value.
    """

    kind: str
    name: str
    version: str
    calls: Calls
    state: ControlState
    changed: Callable[[], Awaitable[None]]
    log_path: str
    token_path: str
    not_ready: Callable[[], list[str]]
    connections: Callable[[], int] = lambda: 0
    config: Callable[[], Any] = lambda: None
    busy: Callable[[], AbstractContextManager[None]] = nullcontext
    logs: Callable[[], Mapping[str, str]] = dict
    more_metrics: Callable[[], list[tuple[str, str, dict[str, str], float]]] = field(default=list)

    async def status(self) -> dict[str, Any]:
        """Return what STATUS tells."""
        found = self.state.get_status()
        return dict(await found if isinstance(found, Awaitable) else found)

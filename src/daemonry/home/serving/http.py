"""HTTP of a home: the same routes as a daemon's, over the home's socket and a port where home.toml names one.

Owns the join of a supervisor with `daemonry.http`.  Nothing of that is imported for a home without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemonry.home.child import SATISFIED
from daemonry.home.names import RESERVED
from daemonry.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.daemon.http_settings import Http
    from daemonry.home.fleet import Fleet
    from daemonry.home.home import Home
    from daemonry.http.process_http import ProcessHttp
    from daemonry.service.server.control import ControlState
    from daemonry.service.server.dispatch import Calls


def http_of_home(
    *,
    home: Home,
    settings: Http,
    state: ControlState,
    fleet: Fleet,
    calls: Calls,
    connections: Callable[[], int],
) -> ProcessHttp:
    """Return a home's HTTP, whose modules are there: see `http.door.check_modules`."""
    from daemonry.http.host import Host
    from daemonry.http.process_http import ProcessHttp
    from daemonry.service.server import bounds

    def not_ready() -> list[str]:
        return [
            f"{name}: {keeper.state.value}"
            for name, keeper in fleet.keepers.items()
            if keeper.state not in SATISFIED
        ]

    def metrics() -> list[tuple[str, str, dict[str, str], float]]:
        found: list[tuple[str, str, dict[str, str], float]] = []
        for name, keeper in fleet.keepers.items():
            label = {"service": name}
            ready = float(keeper.state in SATISFIED)
            found.append(("daemonry_service_ready", "1 for a service that is ready or done.", label, ready))
            found.append(
                (
                    "daemonry_service_restarts",
                    "Restarts of a service by itself.",
                    label,
                    float(keeper.restarts),
                )
            )
        return found

    host = Host(
        kind="home",
        name=home.name,
        version=__version__,
        calls=calls,
        state=state,
        changed=fleet.wait_changed,
        log_path=home.path(RESERVED, "log"),
        token_path=home.path(RESERVED, "http.token"),
        not_ready=not_ready,
        connections=connections,
        more_metrics=metrics,
        logs=lambda: {name: home.path(name, "log") for name in fleet.keepers},
    )
    return ProcessHttp(host, settings, bounds.DEFAULT, calls)

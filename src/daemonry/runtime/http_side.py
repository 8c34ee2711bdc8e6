"""HTTP of a running daemon: what its program and its operator say of it, and when its port is open.

Owns the join of a daemon's state and server with `daemonry.http`.  A daemon without HTTP imports nothing
of that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daemonry.daemon.lifecycle import Phase
from daemonry.errors import ArgumentInvalid

if TYPE_CHECKING:
    from daemonry.daemon.http_settings import Http
    from daemonry.http.process_http import ProcessHttp
    from daemonry.process.place import Place
    from daemonry.runtime.control_state import Life
    from daemonry.service.server.bounds import Bounds
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.server import Server


def settings_of(state: Life) -> Http | None:
    """Return what the daemon's program says of HTTP, or else its operator; None for no HTTP.

    Raises:
        ArgumentInvalid: it cannot be.
    """
    said = state.daemon.http
    if callable(said):
        said = said(state.config)
    if not said and "DAEMONRY_HTTP" not in os.environ:
        return None
    from daemonry.daemon.http_settings import Http, of_environment

    operator = of_environment(os.environ)
    if not said:
        return operator
    program = Http() if said is True else said
    if not isinstance(program, Http):
        raise ArgumentInvalid("Daemon(http=...)", f"{program!r} is neither True nor an Http(port=...)")
    if operator is None:
        return program if program.on else None
    return program.at(operator) if operator.port is not None else program


def http_side(
    state: Life, calls: Calls, place: Place, bounds: Bounds, connections: list[Server]
) -> ProcessHttp | None:
    """Return a daemon's HTTP; None where it has none.

    Args:
        state: the daemon's state.
        calls: its interfaces.
        place: where its files are.
        bounds: what its server lets clients do.
        connections: its server, once there is one.

    Raises:
        ArgumentInvalid: its settings cannot be.
        Refused: a module is missing.
    """
    settings = settings_of(state)
    if settings is None:
        return None
    from daemonry.http.door import check_modules
    from daemonry.http.host import Host
    from daemonry.http.process_http import ProcessHttp

    check_modules()

    def not_ready() -> list[str]:
        return [] if state.phase is Phase.RUNNING else [state.phase.value]

    host = Host(
        kind="daemon",
        name=place.name,
        version=state.daemon.version,
        calls=calls,
        state=state,
        changed=state.wait_changed,
        log_path=place.log_path,
        token_path=place.http_token_path,
        not_ready=not_ready,
        connections=lambda: sum(server.connections for server in connections),
        config=lambda: state.config,
        busy=state.jobs.busy,
    )
    side = ProcessHttp(host, settings, bounds, calls)
    state.more_fields.append(side.fields)
    return side

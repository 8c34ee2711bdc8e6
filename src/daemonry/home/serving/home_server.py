"""The server of a home's supervisor, which is loaded while its first services start.

Joins its parts: the listener, the interfaces, and HTTP where home.toml has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemonry.home.names import RESERVED
from daemonry.home.serving.answers import Answers
from daemonry.home.serving.control import HomeControl
from daemonry.home.serving.http import http_of_home
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.server import Server
from daemonry.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemonry.daemon.http_settings import Http
    from daemonry.home.fleet import Fleet
    from daemonry.home.home import Home
    from daemonry.home.home_state import HomeState
    from daemonry.http.process_http import ProcessHttp
    from daemonry.service.server.listener.bound_listener import BoundListener


class HomeServer:
    """A server that answers for a home.

    Args:
        home: its files.
        bound: where it listens already.
        state: its state, by the text dialect.
        fleet: its services.
        begin_end: begins to stop all of them, and the supervisor; returns at once.
        reload: reads home.toml again; see `HomeControl.reload`.
        settings: of HTTP; None for none.

    Attributes:
        http: its HTTP; None for none.
        server: the server.
    """

    def __init__(  # what a home is, each by name
        self,
        *,
        home: Home,
        bound: BoundListener,
        state: HomeState,
        fleet: Fleet,
        begin_end: Callable[[], None],
        reload: Callable[[], Awaitable[str]],
        settings: Http | None,
    ) -> None:
        calls = Calls()
        calls.serve_when_asked(VarlinkService(calls, ("daemonry", f"home {home.name}", __version__, "")))
        calls.serve_when_asked(Control(state, calls, fleet.wait_changed, home.path(RESERVED, "log")))
        # Every `up` asks it: to work it out then would hold up the lines of services that start.
        calls.serve(HomeControl(Answers(fleet, begin_end, reload)))
        self.http: ProcessHttp | None = None
        if settings is not None:
            self.http = http_of_home(
                home=home,
                settings=settings,
                state=state,
                fleet=fleet,
                calls=calls,
                connections=lambda: self.server.connections,
            )
            state.more_fields = self.http.fields
        self.server: Server = Server(bound, calls=calls, http=None if self.http is None else self.http.door)
        self.server.awaits_notices = True

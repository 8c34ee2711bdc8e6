"""aether as a daemon.

Owns its definition, and the time after which it ends when nobody wants anything of it.  Its work
is `service`'s, which only the daemon itself imports.
"""

from __future__ import annotations

import os

from vx import home
from vx.home_daemon import HomeDaemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from daemonry import Http, Run
    from vx.aether.recent import RecentBuilds

daemon = HomeDaemon(home.AETHER, "vx.aether.daemon:daemon")

# A working day's pause; its services take some tens of megabytes meanwhile.
IDLE_S: Final = 3 * 3600.0
IDLE_VARIABLE: Final = "VX_IDLE_S"


def idle_limit_s(text: str) -> float | None:
    """Return after how many seconds of quiet aether ends, as the variable says; None if it says nothing."""
    if not text:
        return IDLE_S
    try:
        limit_s = float(text)
    except ValueError:
        return None
    return limit_s if 0 < limit_s < 1e9 else None


daemon.idle_timeout_s = idle_limit_s(os.environ.get(IDLE_VARIABLE, ""))


_recent: list[RecentBuilds] = []


def _http(_config: object) -> Http:
    """Return what the page shows, once DAEMONRY_HTTP turns HTTP on."""
    from daemonry import Http, Part

    module = os.path.join(os.path.dirname(os.path.dirname(__file__)), "page", "builds.js")
    return Http(on=False, parts=[Part("builds", "Builds", module, _builds_shown)])


def _builds_shown() -> dict[str, object]:
    return {"builds": _recent[-1].shown() if _recent else []}


daemon.http = _http


@daemon.setup
async def serve(run: Run) -> None:
    """Start cass and rhea, and answer for all three once they are ready."""
    import asyncio

    from daemonry import Refused
    from vx.aether.interface import ServiceDied
    from vx.aether.service import AetherService
    from vx.aether.services import OwnedServices

    if daemon.idle_timeout_s is None:
        given = os.environ[IDLE_VARIABLE]
        raise Refused(f"{IDLE_VARIABLE} is {given!r}, and not a number of seconds above 0")
    services = OwnedServices()
    service = AetherService(services)
    keepers = [asyncio.create_task(one.keep(), name=f"keeper of {one.name}") for one in services]
    try:
        for one in services:
            await one.ready_or_waiting()
    except BaseException as error:
        await _end(keepers)
        if isinstance(error, ServiceDied):
            raise Refused(f"{error.service} died: {error.reason} (its log is {error.log})") from error
        raise
    daemon.serve(service)
    _recent.append(service.recent)
    daemon.status(service.fields)

    async def keep_services(_run: Run) -> None:
        try:
            await asyncio.gather(*keepers)  # until aether ends
        finally:
            service.close()
            await _end(keepers)

    daemon.work(keep_services)


async def _end(keepers: list[asyncio.Task[None]]) -> None:
    import asyncio

    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)


if TYPE_CHECKING:
    import asyncio

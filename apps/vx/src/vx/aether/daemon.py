"""aether as a daemon.

Owns its definition, and the time after which it ends when nobody wants anything of it.  What it does
is `service`'s, which only the daemon itself imports.
"""

from __future__ import annotations

import os

from vx import home
from vx.home_daemon import HomeDaemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from daemonry import Run

daemon = HomeDaemon(home.AETHER, "vx.aether.daemon:daemon")

# A working day's pause; its services take some tens of megabytes meanwhile.
IDLE_S: Final = 3 * 3600.0
IDLE_VARIABLE: Final = "VX_IDLE_S"
_LOOK_S: Final = 1.0


@daemon.setup
async def serve(run: Run) -> None:
    """Start cass and rhea, and answer for all three once they are ready."""
    import asyncio

    from daemonry import Refused
    from vx.aether.interface import ServiceDied
    from vx.aether.service import AetherService
    from vx.aether.services import Services

    services = Services()
    service = AetherService(services)
    keepers = [asyncio.create_task(one.keep(), name=f"keeper of {one.name}") for one in services]
    try:
        for one in services:
            await one.ready()
    except BaseException as error:
        await _end(keepers)
        if isinstance(error, ServiceDied):
            raise Refused(f"{error.service} died: {error.reason}; its log is {error.log}") from error
        raise
    daemon.serve(service)
    daemon.status(service.fields)
    limit_s = idle_limit_s(os.environ.get(IDLE_VARIABLE, ""))

    async def keep_services(_run: Run) -> None:
        service.begin()
        try:
            while service.idle_s() < limit_s:  # noqa: ASYNC110  # time has no event
                await asyncio.sleep(min(_LOOK_S, limit_s))
            run.log.info("nothing was asked for %g s: ending", limit_s)
        finally:
            service.close()
            await _end(keepers)

    daemon.work(keep_services)


def idle_limit_s(text: str) -> float:
    """Return after how many seconds of quiet aether ends, as the variable says.

    Raises:
        ValueError: it is no number above 0.
    """
    if not text:
        return IDLE_S
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = 0.0
    if not limit_s > 0:
        raise ValueError(f"{IDLE_VARIABLE} is {text!r}, and not a number of seconds above 0")
    return limit_s


async def _end(keepers: list[asyncio.Task[None]]) -> None:
    import asyncio

    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)


if TYPE_CHECKING:
    import asyncio

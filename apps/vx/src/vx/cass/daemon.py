"""cass as a daemon.

Owns its definition.  Its work is `service`'s, which only the daemon itself imports.
"""

from __future__ import annotations

from vx import home
from vx.home_daemon import HomeDaemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry import Run

daemon = HomeDaemon(home.CASS, "vx.cass.daemon:daemon")


@daemon.setup
def serve(run: Run) -> None:
    """Open the store and answer for it."""
    from vx.cass import settings
    from vx.cass.service import CassService
    from vx.cass.store import Store

    store = Store(home.store_dir(), settings.max_bytes())
    service = CassService(store)
    daemon.serve(service)
    daemon.status(service.fields)
    daemon.on_stop(service.close)

    async def keep_bounded(_run: Run) -> None:
        await service.keep_bounded()

    daemon.work(keep_bounded)
    run.log.info("the store is %s, at most %d bytes", store.path, store.max_bytes)

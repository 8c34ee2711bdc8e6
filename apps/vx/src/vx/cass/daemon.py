"""cass as a daemon.

Owns its definition.  Its work is `service`'s, which only the daemon itself imports.
"""

from __future__ import annotations

from vx import home
from vx.home_daemon import HomeDaemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry import Run
    from vx.cass.shared import SharedCache
    from vx.cass.store import Store
    from vx.remote.settings import RemoteSettings

daemon = HomeDaemon(home.CASS, "vx.cass.daemon:daemon")


@daemon.setup
def serve(run: Run) -> None:
    """Open the store and answer for it."""
    from vx.cass import settings
    from vx.cass.service import CassService
    from vx.cass.store import Store
    from vx.remote import settings as remote_settings

    store = Store(home.store_dir(), settings.max_bytes())
    remote = remote_settings.load()
    shared = None
    if remote.storage:
        shared = _shared_cache(store, remote)
        run.log.info("behind the store is %s", remote.storage)
    service = CassService(store, shared)
    daemon.serve(service)
    daemon.status(service.fields)
    daemon.on_stop(service.close)

    async def keep_bounded(_run: Run) -> None:
        await service.keep_bounded()

    daemon.work(keep_bounded)
    run.log.info("the store is %s, at most %d bytes", store.path, store.max_bytes)


def _shared_cache(store: Store, remote: RemoteSettings) -> SharedCache:
    from vx.remote.settings import require_grpc

    require_grpc()
    from vx.cass.shared import SharedCache

    return SharedCache(store, remote, home.digests_path())

"""rhea as a daemon.

Owns its definition.  Its work is `service`'s, which only the daemon itself imports.
"""

from __future__ import annotations

from vx import home
from vx.home_daemon import HomeDaemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry import Run

daemon = HomeDaemon(home.RHEA, "vx.rhea.daemon:daemon")


@daemon.setup
async def serve(run: Run) -> None:
    """Have a runner and a scratch directory, and answer."""
    import asyncio

    from vx.cass_client import CassClient
    from vx.remote import settings as remote_settings
    from vx.rhea import sandbox, settings
    from vx.rhea.commands import become_subreaper
    from vx.rhea.scratch import Scratches
    from vx.rhea.service import RheaService

    become_subreaper()
    limit = settings.job_limit()
    cass = CassClient(home.endpoint(home.CASS))
    off = sandbox.why_not() if settings.is_sandbox_wanted() else f"{settings.SANDBOX_VARIABLE} is off"
    service = RheaService(cass, Scratches(home.scratch_dir()), limit, off)
    await service.commands.start()
    remote = remote_settings.load()
    if remote.executor:
        remote_settings.require_grpc()
        from vx.rhea.remote_jobs import RemoteJobs

        service.use_remote(RemoteJobs(remote, cass))
        run.log.info("jobs run at %s: %s", remote.executor, remote.when)
    daemon.serve(service)
    daemon.status(service.fields)

    async def finish(_run: Run) -> None:
        """When a stop is asked, jobs that run may end; the drain's time bounds that."""
        try:
            await asyncio.Event().wait()
        finally:
            await service.idle()
            service.close()

    daemon.work(finish)
    if off:
        run.log.warning("jobs are not watched: %s", off)
    run.log.info("at most %d jobs at the same time, with the store at %s", limit, cass.endpoint)

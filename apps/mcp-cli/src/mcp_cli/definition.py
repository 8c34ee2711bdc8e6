"""The daemon: its name, its socket, its idle time, and its calls.

Made in every process that looks for the daemon, so nothing heavy is imported here: the pool comes with
the setup, in the daemon alone, and the protocol's SDK with the first server.
"""

from __future__ import annotations

from daemonry import Daemon, Place
from mcp_cli.names import NAME, __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry import Http, Run
    from mcp_cli.pool.service import ServerPool

TTL_VARIABLE = "MCP_DAEMON_TTL"
IDLE_S = 60.0

# Variables of the client that starts it, in addition to the usual ones: how servers over HTTP are reached.
ENVIRONMENT = (
    TTL_VARIABLE,
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_*"),
)


def idle_s() -> float:
    """Return how long the daemon stays without work, in seconds; 0 for as long as it can."""
    import os

    try:
        given_s = float(os.environ.get(TTL_VARIABLE) or IDLE_S)
    except ValueError:
        return IDLE_S
    return given_s if given_s >= 0 else IDLE_S  # which no number is not, either


daemon = Daemon(
    NAME,
    version=__version__,
    endpoint=f"unix:{Place.of(NAME).runtime_dir}/daemon.sock",
    environment=ENVIRONMENT,
    idle_timeout_s=idle_s() or None,
)

_pool: ServerPool | None = None


def _http(_config: object) -> Http:
    """Return what the page shows, once DAEMONRY_HTTP turns HTTP on."""
    import os

    from daemonry import Http, Part

    async def shown() -> dict[str, object]:
        from mcp_cli.pool.page_part import servers_shown

        return {"servers": [] if _pool is None else await servers_shown(_pool)}

    module = os.path.join(os.path.dirname(__file__), "page", "servers.js")
    return Http(on=False, parts=[Part("servers", "Servers", module, shown)])


daemon.http = _http


@daemon.setup
def _setup(run: Run) -> None:
    global _pool  # noqa: PLW0603  # a process is one daemon
    from mcp_cli.pool import sdk
    from mcp_cli.pool.service import ServerPool
    from mcp_cli.pool.tasks.files import JobFiles
    from mcp_cli.pool.tasks.jobs import Jobs

    sdk.trim()
    jobs = Jobs(JobFiles(Place.of(NAME).file("tasks")), run.busy)
    jobs.load()
    _pool = daemon.serve(ServerPool(jobs=jobs))


@daemon.work
async def _look_after(_run: Run) -> None:
    assert _pool is not None
    try:
        await _pool.look_after()
    finally:
        await _pool.close()


@daemon.status
def _fields() -> dict[str, object]:
    if _pool is None:
        return {"servers": 0, "calls": 0}
    return {"servers": _pool.running, "calls": _pool.calls}

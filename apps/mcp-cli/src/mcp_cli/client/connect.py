"""Reaching the daemon that runs, and noticing when it stops answering.

Owns the socket's path (S002: `daemon.sock` in the runtime directory), the plain attempt to connect, and
the probe during a long call.  Starting a daemon is `session`'s.  On the path of every warm call.
"""

from __future__ import annotations

import daemonry
from mcp_cli.names import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from daemonry import Client

# How long a daemon may be silent in a call before it is asked, on another connection, whether it is there.
# Its control plane answers while its work is stuck; a daemon that was stopped or hangs does not.
PROBE_EVERY_S = 10.0
PROBE_TIMEOUT_S = 5.0


def socket_path() -> str:
    """Return where the daemon's socket is, for this user and environment.

    Raises:
        UnsafePath: a variable is not an absolute path.
    """
    return f"{daemonry.Place.of(NAME).runtime_dir}/daemon.sock"


def try_connect() -> Client | None:
    """Return a client of the daemon, or None where none listens.

    Raises:
        AccessDenied: it is another user's.
        DeadlineExceeded: it is there and cannot be reached.
    """
    try:
        return daemonry.Client.connect(f"unix:{socket_path()}")
    except (daemonry.errors.NotListening, daemonry.errors.ConnectionRefused):
        return None


def watched(
    events: Generator[dict[str, Any], None, None], client: Client
) -> Generator[dict[str, Any], None, None]:
    """Yield a call's events, and see to it that a daemon that hangs is not waited for.

    Raises:
        As the events, and DaemonSilent: it does not answer any more.
    """
    import _signal as signal  # type: ignore[import-not-found]  # `signal` costs an enum or two

    def probe(_number: int, _frame: object) -> None:
        from mcp_cli.client import probe as silence

        silence.check(socket_path(), PROBE_TIMEOUT_S)
        signal.setitimer(signal.ITIMER_REAL, PROBE_EVERY_S)  # not sooner: a probe takes its time

    try:
        before = signal.signal(signal.SIGALRM, probe)
    except ValueError:  # not the main thread
        yield from events
        return
    signal.setitimer(signal.ITIMER_REAL, PROBE_EVERY_S)
    try:
        yield from events
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        events.close()
        client.close()

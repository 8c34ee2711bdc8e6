"""Asking a daemon that has been silent for long whether it is there.

Owns the probe and the error.  Imported when there is a silence.
"""

from __future__ import annotations

from daemonry import Endpoint, Instance, errors
from mcp_cli.names import NAME


class DaemonSilent(errors.IpcError):
    """The daemon holds a call and does not answer any more; the call may have run.

    Attributes:
        pid: of the daemon, or None where that is not known.
    """

    def __init__(self, pid: int | None) -> None:
        who = f"the daemon (pid {pid})" if pid else "the daemon"
        super().__init__(f"{who} does not answer any more: the call may have run (mcp-cli daemon restart)")
        self.pid = pid


def check(socket_path: str, timeout_s: float) -> None:
    """Ask the daemon at a socket whether it is there.

    Raises:
        DaemonSilent: it does not answer.
    """
    instance = Instance.named(NAME)
    try:
        Instance(None, Endpoint.unix(socket_path)).request("PING", timeout_s)
    except errors.DeadlineExceeded:
        raise DaemonSilent(instance.pid()) from None
    except errors.DaemonryError:
        return  # gone: the call's own connection tells

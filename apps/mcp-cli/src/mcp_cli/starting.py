"""Starting the daemon for a command that needs it.

Owns the call of `daemonry.ensure` for this program.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import daemonry
from daemonry import Client
from mcp_cli import reach


def started(surroundings: Mapping[str, str], timeout_s: float) -> Client:
    """Return a client of the daemon, which is started if it does not run."""
    import contextlib
    import io

    from daemonry.cli.main import daemon_main
    from mcp_cli.definition import daemon

    os.environ.update(surroundings)
    with contextlib.redirect_stdout(io.StringIO()):
        code = daemon_main(daemon, ["start"])
    if code:
        raise daemonry.errors.StartFailed("mcp-cli", "start", "failed", None, "")
    client = reach.try_connect()
    assert client is not None
    return client

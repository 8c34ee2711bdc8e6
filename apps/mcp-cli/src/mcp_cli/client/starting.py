"""Starting the daemon for a command that needs it.

Owns the call of `daemonry.ensure` for this program, and what a person sees meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from daemonry import Client, ensure
from daemonry.cli.terminal import LiveLine
from mcp_cli.definition import daemon
from mcp_cli.names import NAME


def started(variables: Mapping[str, str], timeout_s: float) -> Client:
    """Return a client of the daemon, which is started if it does not run.

    Args:
        variables: of its environment, in addition to those of this process.
        timeout_s: how long it may take, in seconds.

    Raises:
        As `daemonry.ensure`.
    """
    seen = sys.stderr.isatty()
    line = LiveLine()

    def tell(stage: str) -> None:
        if seen:
            line.over(f"{NAME}: starting the daemon: {stage}")

    try:
        return ensure(daemon, timeout=timeout_s, env=variables, on_stage=tell)
    finally:
        line.clear()

"""Reaching aether when it does not answer at once: absent, starting, ending, or of another version.

Owns what is said meanwhile.  The rest is `daemonry.ensure`'s: one of any number of callers starts it,
and all of them are served.
"""

from __future__ import annotations

import daemonry
from daemonry import Client
from daemonry.cli import kit
from vx import home
from vx.aether.daemon import daemon
from vx.cli.failures import home_trouble

# aether, and behind it cass and rhea: three interpreters and their imports, on a machine whose cores
# compile, maybe for twenty others who wait for the same start.
TIMEOUT_S = 60.0


def reach(*, spawn: bool, quiet: bool = True) -> Client:
    """Return a client that is connected to aether, which is ready.

    Args:
        spawn: whether it may be started.
        quiet: whether a restart is not told.

    Raises:
        As `daemonry.ensure`.
    """
    trouble = home_trouble()
    if trouble is not None:
        raise home.HomeInvalid(trouble)
    if not home.endpoint(home.AETHER).local:
        return Client.connect(home.endpoint(home.AETHER))

    def tell(stage: str) -> None:
        if not quiet and " " in stage:  # a reason, and not the name of a stage
            kit.complain(f"vx: {kit.printable(stage)}")

    return daemonry.ensure(daemon, timeout=TIMEOUT_S, mode="auto" if spawn else "require", on_stage=tell)

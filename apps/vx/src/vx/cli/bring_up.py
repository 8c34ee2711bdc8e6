"""Reaching aether when it does not answer at once: absent, starting, ending, or of another version.

Owns the messages meanwhile.  The rest is `daemonry.ensure`'s: one of any number of callers starts it,
and all of them are served.
"""

from __future__ import annotations

import os
import sys
import time

import daemonry
from daemonry import Client, Instance
from daemonry.cli import kit
from vx import home
from vx.aether.daemon import daemon
from vx.cli.failures import home_trouble

# aether, and behind it cass and rhea: three interpreters and their imports, on a machine whose cores
# compile, maybe for twenty others who wait for the same start.
TIMEOUT_S = 120.0
# An aether of ours takes its lock within some hundredths of a second.
_LOOK_S = 0.01


def reach(*, spawn: bool, quiet: bool = True, die_with_parent: bool = False) -> Client:
    """Return a client that is connected to aether, which is ready.

    Args:
        spawn: whether it may be started.
        quiet: whether a restart is not told.
        die_with_parent: whether one that is started ends with this process.

    Raises:
        As `daemonry.ensure`.
    """
    trouble = home_trouble()
    if trouble is not None:
        raise home.HomeInvalid(trouble)
    endpoints = {one: home.endpoint(one) for one in home.SERVICES}  # an invalid one is refused here
    if not endpoints[home.AETHER].local:
        return Client.connect(endpoints[home.AETHER])

    if die_with_parent and spawn:
        _start_owned()

    def tell(stage: str) -> None:
        if not quiet and " " in stage:  # a reason, and not the name of a stage
            kit.complain(f"vx: {kit.printable(stage)}")

    return daemonry.ensure(daemon, timeout=TIMEOUT_S, mode="auto" if spawn else "require", on_stage=tell)


def _start_owned() -> None:
    """Start aether as this process's own, unless it is there; `ensure` waits until it is ready."""
    global _owned  # noqa: PLW0603  # it has to live as long as this process
    if Instance(home.place(home.AETHER)).lock_held():
        return
    os.makedirs(home.home_dir(), 0o700, exist_ok=True)
    place = home.place(home.AETHER)
    output = daemonry.open_regular(place.crash_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        words = [sys.executable, "-m", "daemonry", "run", daemon.target()]
        _owned = daemonry.spawn_owned(words, cwd="/", stdout=output, stderr=output)
    finally:
        os.close(output)
    until_s = time.monotonic() + TIMEOUT_S
    while not Instance(place).lock_held() and _owned.poll() is None and time.monotonic() < until_s:
        time.sleep(_LOOK_S)


_owned: daemonry.Owned | None = None

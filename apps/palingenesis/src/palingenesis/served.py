"""The daemon as it runs: which of its hooks does what.

Owns the wiring.  Imported by the daemon's own process only; the quick commands see `definition`.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from daemonry import load_config
from daemonry.errors import DaemonryError
from palingenesis.definition import daemon
from palingenesis.keeper import Keeper
from palingenesis.settings import Settings, socket_path, without_effect
from palingenesis.state_file import StateFile

if TYPE_CHECKING:
    from daemonry import Run

__all__ = ["daemon"]

logger = logging.getLogger("palingenesis")


def _endpoint() -> str | None:
    """Return the socket's path if the configuration has one."""
    try:
        path = daemon.config_path()
        return socket_path(load_config(path, Settings).daemon, path)
    except DaemonryError:
        return None  # a later stage of the start reads the configuration and says what is wrong


daemon.endpoint = _endpoint()


@daemon.setup
def restore(run: Run) -> None:
    """Take up the last run's state, before anybody can ask for it."""
    keeper = Keeper(StateFile(os.path.join(run.state_path, "state.json")), daemon.config_path())
    keeper.restore()
    if keeper.state.paused:
        run.start_paused()

    async def begin(run: Run) -> None:
        _apply(run.config)
        await keeper.begin(run.config.monitoring)

    async def reload(settings: Settings) -> None:
        await keeper.reload(settings.monitoring)
        _apply(settings)

    daemon.setup(begin)
    daemon.work(keeper.watch)
    daemon.work(keeper.write_late)
    daemon.whole_status(keeper.status)
    daemon.on_pause(keeper.pause)
    daemon.on_resume(keeper.resume)
    daemon.on_reload(reload)
    daemon.on_stop(keeper.stop)


def _apply(settings: Settings) -> None:
    logging.getLogger().setLevel(settings.daemon.log_level.upper())
    # Its lines would tell of every change in the directory.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    for sentence in without_effect(settings):
        logger.warning("%s", sentence)

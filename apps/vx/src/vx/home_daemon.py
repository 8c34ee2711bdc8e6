"""A service of a home as a daemon: all of its files are in the home, its endpoint is the home's.

Owns the difference from daemonry's usual places.
"""

from __future__ import annotations

import os

import daemonry
from daemonry import Daemon, Place
from vx import __version__, home


class HomeDaemon(Daemon):
    """The daemon of one service in the home that the environment names.

    Args:
        service: its name: one of `home.SERVICES`.
        target: how a new process finds this object.
    """

    def __init__(self, service: str, target: str) -> None:
        if os.environ.get("VX_HOME"):
            # The daemon's own directory is `/`: a relative home would be another one there.
            os.environ["VX_HOME"] = home.home_dir()
        # A variable's endpoint is bound as it is given; the socket in the home is ours to replace.
        endpoint = os.environ.get(f"VX_{service.upper()}", "").strip() or None
        super().__init__(
            service,
            version=__version__,
            endpoint=endpoint,
            environment=("VX_*",),
            place=lambda: _place(service),
            target=target,
        )


def _place(service: str) -> Place:
    try:
        return home.place(service)
    except home.HomeInvalid as error:  # as daemonry's commands know it
        raise daemonry.errors.UnsafePath("~/.vx", str(error)) from None

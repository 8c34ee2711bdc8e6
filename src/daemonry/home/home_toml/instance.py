"""A service to be read: its name, and the table of `home.toml` that describes it.

Owns the value and the path of a service's socket.  A table with `replicas` describes several services.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class NamedService(NamedTuple):
    """A service of a table.

    Attributes:
        name: its name.
        table: its table's name in the file.
        needs: the services that it needs; groups have been replaced by their members.
        groups: names that mean it and others.
        replica: its number among the services of its table, from 1; 0 where it is the only one.
    """

    name: str
    table: str
    needs: tuple[str, ...]
    groups: tuple[str, ...]
    replica: int = 0


def socket_path(directory: str, name: str) -> str:
    """Return the path of a service's own socket in a home's directory."""
    return os.path.join(directory, f"{name}.sock")

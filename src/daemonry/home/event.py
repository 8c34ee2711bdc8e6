"""An event in the life of a service, as its supervisor tells it to whoever watches.

Owns the type, which is also that of `org.daemonry.Home`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Event:
    """What happened to a service.

    Attributes:
        service: its name.
        state: its state now.
        message: how people say it.
        level: "info", "warning" or "error".
    """

    service: str
    state: str
    message: str
    level: str

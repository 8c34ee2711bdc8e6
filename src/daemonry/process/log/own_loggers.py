"""The loggers of this library, which a program's own configuration of logging does not silence.

`logging.config` disables each logger that exists and is not named to it, and
`basicConfig(force=True)` takes the root's handlers away.  A daemon whose program does so would log
neither a failed call nor its own end.
"""

from __future__ import annotations

import logging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = ("calls", "control", "daemon", "debug", "guardian", "home", "http", "server", "standby")
_OWN = "daemonry"


class _Lasting(logging.Logger):
    """A logger that stays enabled."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "disabled":
            super().__setattr__(name, value)


class _OfTheProgram(logging.Handler):
    """The root's handler: passes on all records but those of our own loggers, which have theirs."""

    def __init__(self, to: logging.Handler) -> None:
        super().__init__()
        self.to: logging.Handler = to

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(f"{_OWN}."):
            self.to.handle(record)


def attach(handlers: list[logging.Handler]) -> None:
    """Have each handler get every record of this process once, and ours whatever the program configures."""
    for name in NAMES:
        logging.getLogger(f"{_OWN}.{name}").__class__ = _Lasting
    for handler in handlers:
        logging.getLogger(_OWN).addHandler(handler)
        logging.getLogger().addHandler(_OfTheProgram(handler))


def detach(handler: logging.Handler) -> None:
    """Have a handler get nothing any more."""
    root = logging.getLogger()
    logging.getLogger(_OWN).removeHandler(handler)
    for each in list(root.handlers):
        if isinstance(each, _OfTheProgram) and each.to is handler:
            root.removeHandler(each)

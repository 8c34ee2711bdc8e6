"""The start request of a daemon process: from its starter, or from a person who runs it in the foreground.

Owns the values, and the reading of the boot fields, which `launch.start` writes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from daemonry.process.forks import not_for_children
from daemonry.process.lock import Lock
from daemonry.process.readiness import Reporter
from daemonry.runtime.in_home import InHome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daemonry.daemon.definition import Daemon
    from daemonry.process.place import Place


class _Report(Reporter):
    """The pipe to the starter.  A forked child that kept it would keep the starter waiting after our end."""

    def __init__(self, fd: int | None) -> None:
        super().__init__(fd)
        not_for_children(self)

    def drop_in_child(self) -> None:
        """Close the child's copy."""
        self._close()


class StartRequest(msgspec.Struct, frozen=True):
    """One start of a daemon.

    Attributes:
        daemon: its definition.
        place: where its files are.
        foreground: whether somebody watches: the log goes to standard error too.
        log_level: how much is logged.
        config_path: the configuration file; None for the usual one.
        reporter: tells the starter how it goes.
        start_lock: the start lock, if the starter has handed it over.
        take_over: whether a running daemon is to hand itself over.
        record_path: where the starter looks for the record.
        in_home: the service that the daemon is, if a home runs it.
        program_files: files without which the program is gone: its module, and the one file that it is in.
    """

    daemon: Daemon
    place: Place
    foreground: bool
    log_level: str
    config_path: str | None
    reporter: Reporter
    start_lock: Lock | None
    take_over: bool
    record_path: str
    in_home: InHome | None
    program_files: list[str]

    @classmethod
    def of_boot(
        cls, daemon: Daemon, boot: Mapping[str, Any], config_path: str | None, log_level: str
    ) -> StartRequest:
        """Return the request that a starter's boot fields are; without any, it is the foreground."""
        place = daemon.place()
        in_home = InHome.of_environment(place, daemon.version)
        start_lock = None
        reporter = _Report(boot.get("ready_fd"))
        if "lock_fd" in boot:
            os.set_inheritable(boot["lock_fd"], False)
            start_lock = Lock(place.start_lock_path, boot["lock_fd"])
        return cls(
            daemon,
            place,
            # A home reads what its services print; its readiness message is not a start in the background.
            not boot or in_home is not None,
            log_level,
            config_path,
            reporter,
            start_lock,
            boot.get("take_over") is True,
            boot.get("record_path", place.record_path),
            in_home,
            [daemon.source_path(), boot.get("program", "")],
        )

"""A running daemon's configuration: the value in force, and the last attempt to replace it.

Owns reading the file again, and the fields of STATUS about it.  When to reload is `control_state`'s; the
file's format is `daemon.config`'s.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from daemonry.runtime.fingerprint import Settings
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from daemonry.daemon.definition import Daemon

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class LiveConfig:
    """The configuration of one run of a daemon.

    Args:
        daemon: the definition; its `config_type` is the value's type.
        value: the configuration read at the start, or None.
        path: the file, fixed for the whole run.
        file: the same file as it was before it was read.

    Attributes:
        value: the configuration in force.
        file: the file, for a comparison with what is in force.
    """

    def __init__(self, daemon: Daemon, value: Any, path: str, file: Settings | None = None) -> None:
        self.value: Any = value
        self.file: Settings = file or Settings(path)
        self._daemon = daemon
        self._path = path
        self._existed = os.path.exists(path)
        self._error = ""
        self._restart_needed: list[str] = []

    def read(self) -> tuple[Any, list[str]]:
        """Return the configuration that a reload would put in force, and the fields that need a restart.

        Raises:
            ConfigError: the file is not good.
        """
        kind = self._daemon.config_type
        if kind is None:
            return None, []
        from daemonry.daemon import config

        self.file.reading()
        new: Any = config.load_config(self._path, config.resolve(kind), must_exist=self._existed)
        in_force = config.effective(self.value, new, self._path)
        return in_force, config.compare(self.value, new).restart

    def refuse(self, error: Exception) -> None:
        """Log why a reload failed; STATUS shows the reason until one succeeds."""
        reason = printable(str(error)) or type(error).__name__
        self._error = reason
        logger.error("reload refused: %s", reason)

    def put_in_force(self, new: Any, restart_needed: list[str]) -> str | None:
        """Replace the configuration, and return a note about fields that need a restart, if any do."""
        self.value = new
        self._error = ""
        self.file.counts()
        self._restart_needed = restart_needed
        logger.info("configuration reloaded")
        if not restart_needed:
            return None
        note = f"needs a restart to take effect: {', '.join(restart_needed)}"
        logger.warning("%s", note)
        return note

    def fields(self) -> dict[str, Any]:
        """Return the fields of STATUS about the last reload; {} where nothing is wrong with it."""
        fields: dict[str, Any] = {}
        if self._error:
            fields["config_error"] = self._error
        if self._restart_needed:
            fields["restart_needed"] = self._restart_needed
        return fields

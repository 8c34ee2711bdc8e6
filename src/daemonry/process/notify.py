"""Telling a service manager how it goes: sd_notify(3), without libsystemd.

Owns the protocol: datagrams of NAME=VALUE lines to the socket that $NOTIFY_SOCKET names.  The variable
is taken at the start, so that children do not speak for the daemon.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from daemonry.clock import monotonic

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class Notifier:
    """Speaks to the service manager, if there is one.

    Args:
        address: the socket: a path, or a name in the abstract namespace after `@`; "" for nobody.
        watchdog_s: how often the manager wants to hear that all is well, in seconds; None for never.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = address if address.startswith(("/", "@")) else ""
        self.watchdog_s: float | None = watchdog_s if self._address else None
        self._beaten_at_s = 0.0
        self._failed = False

    @classmethod
    def of_environment(cls) -> Notifier:
        """Return one for what the manager put into the environment, and take it out of there."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        micros = os.environ.pop("WATCHDOG_USEC", "")
        pid = os.environ.pop("WATCHDOG_PID", "")
        wanted = micros.isdigit() and int(micros) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(micros) / 1e6 if wanted else None)

    @property
    def speaks(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Tell that the daemon serves."""
        self._send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; `ready` tells the end of it."""
        micros = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
        self._send(f"RELOADING=1\nMONOTONIC_USEC={micros}")

    def stopping(self, status: str = "draining") -> None:
        """Tell that the end has begun."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Tell people how it goes."""
        self._send(f"STATUS={status}")

    def beat(self) -> None:
        """Tell that all is well, if that is wanted and due: twice in each interval, as systemd advises."""
        if self.watchdog_s is None:
            return
        now_s = monotonic()
        if now_s - self._beaten_at_s >= self.watchdog_s / 2:
            self._beaten_at_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)  # a manager that does not read must not stop the daemon
                sock.sendto(lines.encode(), address)
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.warning("the service manager cannot be notified: %s", error.strerror or error)
            self._failed = True

"""Which process is meant: a pid alone may be somebody else's by now.

Owns telling a process apart from a later one with the same number, and signalling only the one
that is meant.  A zombie counts as gone: it holds nothing and answers nobody.
"""

from __future__ import annotations

import os

from daemonry.process import platform
from daemonry.values import Value


class Identity(Value):
    """One process, of one boot, in one numbering.

    Attributes:
        boot_id: the boot that it belongs to.
        pid: its number.
        pid_namespace: the numbering; "" where there is only one.
        start_time: when it started, in the system's own units.
    """

    __slots__ = ("boot_id", "pid", "pid_namespace", "start_time")
    boot_id: str
    pid: int
    pid_namespace: str
    start_time: int

    def __init__(self, boot_id: str, pid: int, pid_namespace: str, start_time: int) -> None:
        self._set(boot_id=boot_id, pid=pid, pid_namespace=pid_namespace, start_time=start_time)

    @classmethod
    def of_this_process(cls) -> Identity:
        """Return who we are."""
        pid = os.getpid()
        return cls(platform.boot_id(), pid, platform.pid_namespace(), platform.start_time(pid) or 0)

    def foreign(self) -> bool:
        """Whether its number means nothing here: another boot, machine or container."""
        return self.boot_id != platform.boot_id() or self.pid_namespace != platform.pid_namespace()

    def alive(self) -> bool:
        """Whether this very process lives, seen from here."""
        return not self.foreign() and platform.start_time(self.pid) == self.start_time

    def send_signal(self, number: int) -> bool:
        """Send a signal to this very process; False when it is gone or foreign.

        Where the system has pidfds, the process is pinned before it is identified, so the number
        cannot pass to another in between.

        Raises:
            PermissionError: it lives and belongs to another user.
        """
        if self.foreign():
            return False
        if not hasattr(os, "pidfd_open"):
            return self._send_by_number(number)
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive():
                return False
            import signal

            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        return True

    def _send_by_number(self, number: int) -> bool:
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

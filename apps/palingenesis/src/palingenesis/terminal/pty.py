"""One program on a pseudo-terminal of its own.

Owns the pair of descriptors, the monitor's process and its reports.  Nothing here waits: reads and writes
give what there is, and the holder asks for more when a descriptor is ready.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from typing import Any, Final

from palingenesis.terminal import monitor

READ_BYTES: Final = 64 * 2**10

# Of a terminal, as `termios.tcgetattr` gives it.
Modes = list[Any]


class TerminalProgram:
    """A program that runs in a terminal.

    Args:
        words: its words.
        cwd, environment: where it runs, and with which variables.
        modes: what the terminal's modes are at first; None for the system's own.
        size: rows, columns, and the size in pixels.

    Attributes:
        master: the descriptor at which its output is read and its input is written; -1 once it is closed.
        reports: the descriptor of the monitor's reports.
        pid: the program's process, which is its group's too; 0 until that is known.
        status: how it ended, as wait(2) tells; None while it runs.
        start_error: the system's number of the reason why it could not be started; 0 if there is none.
        stopped: the signal that stopped it; 0 while it is not stopped.

    Raises:
        OSError: there is no terminal or process for it.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: str,
        environment: Mapping[str, str],
        modes: Modes | None,
        size: tuple[int, int, int, int],
    ) -> None:
        self.pid = self.start_error = self.stopped = 0
        self.status: int | None = None
        self._unread = b""
        self.master, slave = os.openpty()
        self.reports, report = os.pipe()
        try:
            if modes is not None:
                termios.tcsetattr(slave, termios.TCSANOW, modes)
            self.resize(size)
            os.set_blocking(self.master, False)
            os.set_blocking(self.reports, False)
            self._monitor = subprocess.Popen(
                [sys.executable, "-I", "-S", monitor.__file__, str(report), *words],
                stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=dict(environment),
                pass_fds=[report], start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(self.master)
            os.close(self.reports)
            raise
        finally:
            os.close(slave)
            os.close(report)

    def owns(self, pid: int) -> bool:
        """Whether a process is of this terminal's session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            return os.getsid(pid) == self._monitor.pid
        return False

    def read(self) -> bytes | None:
        """Return its output; nothing where there is none.

        None while no process has the terminal open: that is the end, or one opens it again.  The master is
        kept all the same: to close it would hang up on the monitor, which has the end still to report.
        """
        if self.master < 0:
            return None
        try:
            return os.read(self.master, READ_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return None

    def write(self, data: bytes) -> int:
        """Type as much of `data` as the terminal takes, and return how much that was."""
        if self.master < 0:
            return len(data)
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # it has ended

    def resize(self, size: tuple[int, int, int, int]) -> None:
        """Give the terminal a size; the kernel tells the program where it differs."""
        if self.master >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *size))

    def redraw(self) -> None:
        """Have the program draw its screen, as after a change of its size."""
        self.signal(signal.SIGWINCH)

    def signal(self, number: int) -> None:
        """Send a signal to the foreground group."""
        group = self.pid
        with contextlib.suppress(OSError, termios.error):
            group = os.tcgetpgrp(self.master) if self.master >= 0 else self.pid
        if group > 0 and self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)

    def go_on(self) -> None:
        """Continue it after a stop."""
        if self.pid and self.status is None:
            self.stopped = 0
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGCONT)

    def take_reports(self) -> None:
        """Note what the monitor reports."""
        try:
            data = os.read(self.reports, 4096)
        except BlockingIOError:
            return
        if not data:
            self._close_reports()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, _, number = line.decode("ascii", "replace").partition(" ")
            self._note(word, int(number or 0))

    def _note(self, word: str, number: int) -> None:
        if word == "pid":
            self.pid = number
        elif word == "stopped":
            self.stopped = number
        elif word == "continued":
            self.stopped = 0
        elif word == "failed":
            self.start_error = number
        elif word == "ended":
            self.status = number
            self._close_reports()

    def _close_reports(self) -> None:
        if self.reports >= 0:
            os.close(self.reports)
            self.reports = -1
        if self.status is None:  # somebody killed the monitor, and the kernel hung the terminal up
            self.status = signal.SIGHUP
        self._monitor.wait()

    def close(self) -> None:
        """Let the terminal go; the kernel hangs up on what still runs in it."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        if self.reports >= 0:
            self._close_reports()

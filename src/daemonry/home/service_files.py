"""The files of a running service: its record, its claim, its output on the way to the log, its socket.

Owns making and removing them below the home.  What cannot be removed holds nothing up: see `own_files`.
"""

from __future__ import annotations

import errno
import os
import stat

from daemonry.errors import StaleSocket
from daemonry.home import service_record
from daemonry.home.home import Home
from daemonry.home.own_files import OwnFiles
from daemonry.home.service import Orphan
from daemonry.home.service_log import output_pipe
from daemonry.home.service_record import ServiceRecord
from daemonry.process import homes
from daemonry.process.homes import Claim
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint


class ServiceFiles:
    """The files of one service.

    Args:
        home: the home.
        name: the service.
        files: writes and removes them.

    Attributes:
        record: the content of its record; None while it does not run.
        out_path: where its output is, if it may outlive its supervisor.
    """

    def __init__(self, home: Home, name: str, files: OwnFiles) -> None:
        self.record: ServiceRecord | None = None
        self.out_path: str = home.path(name, "out")
        self._record_path = home.path(name, "json")
        self._files = files
        self._directory = home.directory
        self._name = name

    def write(self, record: ServiceRecord) -> None:
        """Write its record."""
        self.record = record
        self._files.write(self._record_path, lambda: service_record.write(self._record_path, record))

    def forget(self, socket_path: str) -> None:
        """Remove the files that say that it runs; `socket_path` is "" where its socket stays."""
        self.record = None
        if socket_path:
            self.remove_stale_socket(socket_path)
        for path in (self._record_path, self.out_path):
            self._files.remove(path)

    def claim(self, mark: str | None = None) -> Claim | None:
        """Return which daemon it says it is, in the run of `mark` if given; None if it says nothing."""
        found = homes.read_claim(self._directory, self._name)
        return found if found is None or mark is None or found.mark == mark else None

    def remove_claim(self) -> None:
        """Forget that it is a daemon of daemonry."""
        homes.remove_claim(self._directory, self._name)

    def said_end(self, mark: str) -> str:
        """Return how the run of `mark` ended by its own word: `homes.IDLE`, `homes.BY_COMMAND`, or ""."""
        found = self.claim(mark)
        return found.ended if found is not None else ""

    def output_pipe(self, orphan: Orphan) -> tuple[int, int]:
        """Return (reading end, writing end) of the way to the log.

        A service that may outlive us gets a named pipe, which it holds open in both directions
        itself: it never writes to nobody, and the next supervisor opens it by its name.

        Raises:
            OSError: it cannot be made.
        """
        if orphan is Orphan.END:
            return output_pipe()
        path = self.out_path
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        os.mkfifo(path, 0o600)
        far = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return far, os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except BaseException:
            os.close(far)
            raise

    def open_out(self) -> int:
        """Return the reading end of the named pipe that a predecessor made.

        Raises:
            OSError: it is not there any more, or something else is.
        """
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.out_path, flags)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is not the FIFO that it was made as")
        return fd

    def remove_stale_socket(self, path: str) -> None:
        """Remove a socket at which nobody listens: many programs cannot bind where one is."""
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except OSError:
            return  # none there, as a rule; the service will say what else is wrong
        if is_link:  # to where a daemon of daemonry listened
            self._files.remove(path)
            return
        try:
            connect(Endpoint.unix(path), 0.1).close()
        except StaleSocket:
            self._files.remove(path)
        except Exception:  # noqa: BLE001, S110  # somebody lives there: the service will say so
            pass

"""What shows others that this process is the daemon: the life lock, the record, the socket, the list.

    unpublished -> published -> withdrawn    at the end
                             -> disowned     when another process has taken over, or in a forked child

Owns these from the moment the record is written until it is removed, under one mutex: the loop's thread
and the watchdog's both change them.  Before and after, the files are another process's, and nothing is done.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from daemonry.daemon import single_instance
from daemonry.errors import Refused, UnsafePath
from daemonry.process import record, registry
from daemonry.process.forks import not_for_children
from daemonry.process.identity import Identity
from daemonry.process.lock import Lock
from daemonry.process.record import DaemonRecord
from daemonry.runtime.in_home import take_name

if TYPE_CHECKING:
    from daemonry.runtime.start_request import StartRequest
    from daemonry.service.server.server import Server

logger: logging.Logger = logging.getLogger("daemonry.daemon")

# JSON, which the record is, has no infinity; 30 years are as good.
_LONGEST_S = 1e9


class HeldLock:
    """A lock as this process has it: taken at the start, given by another process, or gone.

    Attributes:
        lock: the lock; None while this process does not hold it.
    """

    def __init__(self, lock: Lock | None) -> None:
        self.lock = lock

    def release(self) -> None:
        """Release the lock, if it is here."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def replace(self, lock: Lock | None) -> None:
        """Have another lock, or none, instead; a process that was handed the old one keeps it."""
        if self.lock is not None:
            self.lock.forget()
        self.lock = lock


class Publication:
    """The files by which this process is found as the daemon.

    Args:
        request: which daemon, and where its files are.
        server: the server whose socket is published.
        life: the life lock.
        name: the lock by which a home's daemon and others of its name exclude each other.
    """

    def __init__(self, request: StartRequest, server: Server, life: HeldLock, name: HeldLock) -> None:
        self._daemon = request.daemon
        self._place = request.place
        self._in_home = request.in_home
        self._server = server
        self._life = life
        self._name = name
        self._mutex = threading.Lock()
        self._record: DaemonRecord | None = None
        not_for_children(self)

    def __repr__(self) -> str:
        found = self._record
        state = "not published" if found is None else f"{found.endpoint}, ready={found.ready}"
        return f"Publication({self._place.name}: {state})"

    @property
    def record(self) -> DaemonRecord:
        """The record; only while published."""
        assert self._record is not None
        return self._record

    @property
    def life_lock(self) -> Lock | None:
        """The life lock; None while another process alone has it."""
        return self._life.lock

    def publish(self, *, ready: bool) -> None:
        """Write the record of this run.

        Raises:
            UnsafePath: it cannot be written; the server listens no more.
        """
        written = DaemonRecord(
            False,
            str(self._server.endpoint),
            Identity.of_this_process(),
            self._place.name,
            os.urandom(8).hex(),
            time.time(),
            self._daemon.version,
            ready=ready,
            drain_timeout_s=min(self._daemon.drain_timeout_s, _LONGEST_S),
        )
        try:
            record.write(self._place.record_path, written)
        except OSError as error:
            self._server.cleanup()
            raise UnsafePath(self._place.record_path, f"cannot be written: {error.strerror}") from error
        self._record = written

    def take_over(self, lock: Lock) -> None:
        """Publish with a life lock that another process has given.

        Raises:
            UnsafePath: as `publish`.
        """
        self.publish(ready=True)
        self._life.replace(lock)

    def mark_ready(self) -> None:
        """Say that the setup is done.

        Raises:
            OSError: the record cannot be written.
        """
        if not self.record.ready:
            self._record = self.record.as_ready()
            record.write(self._place.record_path, self._record)

    def mark_draining(self, draining: bool = True) -> None:
        """Tell those who look for the daemon that it ends; or, after all, that it does not."""
        with self._mutex:
            if self._record is None or self._record.draining is draining:
                return
            self._record = self._record.as_draining(draining)
            try:
                record.write(self._place.record_path, self._record)
            except OSError as error:
                logger.warning("the record could not be updated: %s", error)

    def write_again(self) -> None:
        """Write the record as it is, over what another process may have written.

        Raises:
            OSError: it cannot be written.
        """
        record.write(self._place.record_path, self.record)

    def restore(self) -> bool:
        """Make the lock file and the record again if somebody removed them; take a name that became free.

        Without them nobody could find us, or know that we run.

        Returns:
            Whether nothing was amiss; otherwise it should be looked at again in a while.

        Raises:
            OSError, UnsafePath: it cannot be done now.
        """
        with self._mutex:
            if self._life.lock is None or self._record is None:
                return True
            was_well = True
            if not self._life.lock.file_is_there():
                was_well = False
                single_instance.prepare(self._place)
                lock = Lock.try_take(self._place.life_lock_path)
                if lock is None:
                    return False  # a start tries, and will find our socket live
                self._life.replace(lock)
                logger.warning("the life lock's file %s was gone; made again", lock.path)
            if not os.path.exists(self._place.record_path):
                was_well = False
                record.write(self._place.record_path, self._record)
                logger.warning("the record %s was gone; written again", self._place.record_path)
            return self._take_name() and was_well

    def _take_name(self) -> bool:
        """Take the name's lock, which a daemon that handed over to this home's releases when it ends."""
        if self._in_home is not None and self._name.lock is None:
            try:
                self._name.replace(take_name(self._place, self._in_home))
            except Refused:
                # It still ends; until then nobody else starts, for the home says that it has the daemon.
                return False
        return True

    def withdraw(self) -> None:
        """Remove the socket, the entry in the list and the record.  Twice is not an error.

        The life lock stays: it ends with the process.
        """
        with self._mutex:
            if self._life.lock is None or self._record is None:
                return
            self._server.cleanup()
            self._remove_empty_directory()
            registry.remove(self._place)
            # The record goes last: while it is there, the next client knows that we did not finish.
            try:
                os.unlink(self._place.record_path)
            except OSError as error:
                logger.warning("the record could not be removed: %s", error)
            self._record = None

    def disown(self) -> None:
        """Leave everything to the process that has taken over."""
        with self._mutex:
            self._record = None
            self._server.abandon()
            self._life.replace(None)

    def drop_in_child(self) -> None:
        """Leave a forked child nothing to remove."""
        self._record = None

    def _remove_empty_directory(self) -> None:
        # /tmp is everybody's and not cleared when a session ends.  We hold the life lock, so nobody is
        # about to bind in there.
        if self._place.runtime_dir_in_tmp:
            try:
                os.rmdir(self._place.runtime_dir)
            except OSError:
                pass  # there is something in it, or it was never made

"""The record of a service's run: which processes are its, for a supervisor that comes after ours.

Owns the file's form.  It is written before the process is there, with the mark that all of the
service's processes will bear, and again when the process is known, so there is no moment in which
a supervisor can be killed and leave what its successor could not find.
"""

from __future__ import annotations

import hashlib
import os
import re

import msgspec

from daemonry.home.names import RESERVED
from daemonry.home.service import Process
from daemonry.limits import MAX_RECORD_BYTES
from daemonry.process.atomic_file import write_atomically
from daemonry.process.identity import Identity
from daemonry.process.regular_file import read_regular


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one service.

    Attributes:
        service: its name.
        mark: what its processes have in their environment.
        made_of: the fingerprint of what its process was given.
        boot_id, pid_namespace: the boot and the numbering that `pid` is of.
        pid: its first process; 0 before that is there.
        start_time: when that started, in the system's own units.
        started_at: the same, in seconds since 1970.
        ready: whether it has shown to be ready.
        restarts: how often it was started again before.
    """

    service: str
    mark: str
    made_of: str
    boot_id: str = ""
    pid_namespace: str = ""
    pid: int = 0
    start_time: int = 0
    started_at: float = 0.0
    ready: bool = False
    restarts: int = 0

    def identity(self) -> Identity | None:
        """Return its first process, or None where that was never known."""
        if self.pid <= 0:
            return None
        return Identity(self.boot_id, self.pid, self.pid_namespace, self.start_time)

    def of(self, identity: Identity, started_at: float) -> ServiceRecord:
        """Return the same run, whose first process is known."""
        return msgspec.structs.replace(
            self,
            boot_id=identity.boot_id,
            pid_namespace=identity.pid_namespace,
            pid=identity.pid,
            start_time=identity.start_time,
            started_at=started_at,
        )

    def as_ready(self) -> ServiceRecord:
        """Return the same run, that has shown to be ready."""
        return msgspec.structs.replace(self, ready=True)


def fingerprint(process: Process) -> str:
    """Return a text that differs where two processes are given anything different."""
    given = (process.words, process.directory, process.environment, process.orphan.value)
    return hashlib.sha256(repr(given).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def write(path: str, record: ServiceRecord) -> None:
    """Write a record, replacing an older one.

    Raises:
        OSError: it could not be written.
    """
    write_atomically(path, msgspec.json.encode(record) + b"\n", durable=False)


def read_all(directory: str) -> list[ServiceRecord]:
    """Return the records in a home; other files are left alone."""
    found = []
    for name in sorted(os.listdir(directory)):
        service = name.removesuffix(".json")
        if service in {name, RESERVED}:  # no record, or the supervisor's
            continue
        record = _read(os.path.join(directory, name))
        if record is not None and record.service == service and re.fullmatch(r"[0-9a-f]{16}", record.mark):
            found.append(record)
    return found


def _read(path: str) -> ServiceRecord | None:
    try:
        return msgspec.json.decode(read_regular(path, MAX_RECORD_BYTES), type=ServiceRecord)
    except (OSError, msgspec.DecodeError):
        return None

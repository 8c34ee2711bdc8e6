"""Jobs on the disk: two files for each, mode 0600, in a directory of mode 0700.

    ID.json      its state, and how it ended
    ID.result    its result, as the server sent it

Owns the files.  The arguments are in neither: they may be secret, and nothing is ever called again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import msgspec

from daemonry import read_regular, write_atomically
from mcp_cli.pool.tasks.remote import RemoteTask
from mcp_cli.protocol.interfaces import TaskState

MAX_RECORD_BYTES = 1 << 20
MAX_RESULT_BYTES = 512 << 20


class JobRecord(msgspec.Struct, omit_defaults=True):
    """The file of one job; its result is in another.

    Attributes:
        task: its state, as clients see it.
        asked: whether the server was about to be asked, so that it may have run.
        handle: the server's own task.
        error: the name of the error that ended it, and `fields`, JSON.
        ms: how long the server took.
        schema_error: how its result breaks its tool's output schema.
    """

    task: TaskState
    asked: bool = False
    handle: RemoteTask | None = None
    error: str = ""
    fields: str = "{}"
    ms: float = 0.0
    schema_error: str = ""


class JobFiles:
    """The files of a directory, which is made when the first is written."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def load(self) -> Iterator[JobRecord]:
        """Yield the kept jobs; files that cannot be understood are left alone."""
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return
        for name in names:
            if not name.endswith(".json"):
                continue
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                data = read_regular(os.path.join(self._directory, name), MAX_RECORD_BYTES)
                kept = msgspec.json.decode(data, type=JobRecord)
                if f"{kept.task.id}.json" == name:
                    yield kept

    def save(self, kept: JobRecord) -> None:
        """Keep a job.

        Raises:
            OSError: it cannot be written.
        """
        self._write(f"{kept.task.id}.json", msgspec.json.encode(kept))

    def save_result(self, task_id: str, result: bytes) -> None:
        """Keep a result.

        Raises:
            OSError: it cannot be written.
        """
        self._write(f"{task_id}.result", result)

    def _write(self, name: str, data: bytes) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        write_atomically(os.path.join(self._directory, name), data, mode=0o600)

    def result(self, task_id: str) -> bytes | None:
        """Return a result; None where it is not there."""
        with contextlib.suppress(OSError):
            return read_regular(os.path.join(self._directory, f"{task_id}.result"), MAX_RESULT_BYTES)
        return None

    def remove(self, task_id: str) -> None:
        """Remove a job's files."""
        for ending in ("json", "result"):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._directory, f"{task_id}.{ending}"))


class MemoryFiles:
    """The same without a disk, for a pool that lives as long as one command."""

    def __init__(self) -> None:
        self._results: dict[str, bytes] = {}

    def load(self) -> Iterator[JobRecord]:
        """Yield nothing."""
        return iter(())

    def save(self, kept: JobRecord) -> None:
        """Do nothing: the job itself is there."""

    def save_result(self, task_id: str, result: bytes) -> None:
        """Keep a result."""
        self._results[task_id] = result

    def result(self, task_id: str) -> bytes | None:
        """Return a result."""
        return self._results.get(task_id)

    def remove(self, task_id: str) -> None:
        """Let go of a result."""
        self._results.pop(task_id, None)

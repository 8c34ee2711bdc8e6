"""Single fields of a record's file: where a daemon is reached, and its process id.

Owns reading the file, for those who need no more than that: every quick command does, and the whole
record is a class of many fields (`record`).
"""

from __future__ import annotations

from daemonry import faults, strict_json
from daemonry.limits import MAX_RECORD_BYTES
from daemonry.process.regular_file import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_fields(path: str) -> dict[str, Any]:
    """Return the fields of the record at `path`, unchecked; {} when there is none that can be read."""
    try:
        data = read_regular(path, MAX_RECORD_BYTES)
    except OSError:  # named first and alone: the other errors are loaded where there is one
        return {}
    try:
        return strict_json.decode_object(data.decode(), with_names=True)
    except (ValueError, faults.BadFrame):
        return {}


def read_endpoint(path: str) -> str | None:
    """Return only where the record at `path` says that the daemon is reached; None when it does not."""
    endpoint = read_fields(path).get("endpoint")
    return endpoint if isinstance(endpoint, str) else None


def read_pid(path: str) -> int | None:
    """Return only the process id in the record at `path`; None when it has none."""
    pid = read_fields(path).get("pid")
    return pid if isinstance(pid, int) else None

"""The record: who runs where.  Information, never proof: the life lock is the truth.

Owns the file's form.  Written by the holder of the life lock after it listens, removed by it
before it lets go; one that lies there while nobody holds the lock was left by a crash.
"""

from __future__ import annotations

from daemonry import strict_json
from daemonry.limits import DRAIN_TIMEOUT_S
from daemonry.process.record_fields import read_fields
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daemonry.process.identity import Identity


class DaemonRecord(Value):
    """One run of a daemon.

    Attributes:
        draining: whether it has been asked to stop.
        endpoint: where it is reached, as text.
        identity: its process.
        name: the daemon's name.
        nonce: differs between any two runs.
        started_at: wall-clock time of the start, in seconds since 1970, for people.
        version: the program's version.
        ready: whether it serves; false between the making of its socket and the end of its setup.
        drain_timeout_s: how long its work may take to end after a stop was asked, in seconds.
    """

    __slots__ = (  # noqa: RUF023  # in the order of the arguments
        "draining",
        "endpoint",
        "identity",
        "name",
        "nonce",
        "started_at",
        "version",
        "ready",
        "drain_timeout_s",
    )
    draining: bool
    endpoint: str
    identity: Identity
    name: str
    nonce: str
    started_at: float
    version: str
    ready: bool
    drain_timeout_s: float

    def __init__(  # noqa: PLR0913, PLR0917  # one for each field of the file
        self,
        draining: bool,
        endpoint: str,
        identity: Identity,
        name: str,
        nonce: str,
        started_at: float,
        version: str,
        ready: bool = True,
        drain_timeout_s: float = DRAIN_TIMEOUT_S,
    ) -> None:
        self._set(
            draining=draining,
            endpoint=endpoint,
            identity=identity,
            name=name,
            nonce=nonce,
            started_at=started_at,
            version=version,
            ready=ready,
            drain_timeout_s=drain_timeout_s,
        )

    @property
    def pid(self) -> int:
        """The process id, for people; signals go through `identity`."""
        return self.identity.pid

    def as_draining(self, draining: bool = True) -> DaemonRecord:
        """Return the same run, asked to stop; or, after all, not."""
        return self._but(draining=draining)

    def as_ready(self) -> DaemonRecord:
        """Return the same run, whose setup is done."""
        return self._but(ready=True)

    def _but(self, **changes: bool) -> DaemonRecord:
        return DaemonRecord(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})

    def to_fields(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {
            "name": self.name,
            "version": self.version,
            "endpoint": self.endpoint,
            "pid": self.identity.pid,
            "start_time": self.identity.start_time,
            "boot_id": self.identity.boot_id,
            "pid_namespace": self.identity.pid_namespace,
            "nonce": self.nonce,
            "started_at": self.started_at,
            "draining": self.draining,
            "ready": self.ready,
            "drain_timeout_s": self.drain_timeout_s,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> DaemonRecord:
        """Return the record that a file holds; keys that we do not know are left alone.

        Raises:
            ValueError: a field is missing or of another type.
        """
        from daemonry.process.identity import Identity

        try:
            identity = Identity(
                _text(fields["boot_id"]),
                _pid(fields["pid"]),
                _text(fields["pid_namespace"]),
                _whole(fields["start_time"]),
            )
            return cls(
                fields.get("draining") is True,
                _text(fields["endpoint"]),
                identity,
                _text(fields["name"]),
                _text(fields["nonce"]),
                float(fields["started_at"]),
                _text(fields["version"]),
                fields.get("ready") is not False,
                float(fields.get("drain_timeout_s", DRAIN_TIMEOUT_S)),
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not a record: {error}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _pid(value: object) -> int:
    number = _whole(value)
    if not 0 < number < 1 << 31:  # 0 and -1 mean groups and everybody to kill(2)
        raise TypeError(f"{number} is not a process id")
    return number


def write(path: str, record: DaemonRecord) -> None:
    """Write the record, replacing an older one.

    Raises:
        OSError: it could not be written.
    """
    from daemonry.process.atomic_file import write_atomically

    # Not flushed to disk: a record outlives no boot, and the lock is the truth.
    text = strict_json.encode_names(record.to_fields()) + "\n"
    write_atomically(path, text.encode(), durable=False)


def read(path: str) -> DaemonRecord | None:
    """Return the record at `path`, or None when there is none that can be read.

    A damaged record is as good as none: the lock and the socket's usual path still tell.
    """
    fields = read_fields(path)
    if not fields:
        return None
    try:
        return DaemonRecord.from_fields(fields)
    except ValueError:
        return None

"""A daemon as others see it: its record, its lock, its socket.

Owns looking and asking.  Starting is `start`'s, stopping `stop`'s.  On the path of every quick
command: no asyncio, no logging, no third-party module, here or below.
"""

from __future__ import annotations

import os

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_RETRY_MAX_S, PROBE_TIMEOUT_S, REQUEST_TIMEOUT_S
from daemonry.process import record_fields
from daemonry.process.place import Place
from daemonry.service.client import text as client
from daemonry.terminal_text import printable
from daemonry.transport.endpoint import FD, HOW_TO_PROVE, PROOF_WANTED, TCP, Endpoint
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, Self, TypeVar

    from daemonry.daemon.liveness import Liveness
    from daemonry.errors import Ran
    from daemonry.process.record import DaemonRecord
    from daemonry.wire.text import TextReply

    Reached = TypeVar("Reached")

# How a daemon says that it does not talk to us.
_DENIALS = (text.PERMISSION_DENIED, PROOF_WANTED)


class Instance:
    """One daemon, seen from outside.

    Args:
        place: where its files are; None for one that is known by its endpoint only.
        endpoint: where it is reached; by default what its record says, else the usual path.

    Attributes:
        name: the daemon's name, or its endpoint's text.
        place: as given.
    """

    __slots__ = ("_endpoint", "name", "place")
    # The answer to a command that was sent before this process began; `daemonry.cli.native.answered` sets it.
    came: ClassVar[Callable[[Instance, str, float], TextReply | None] | None] = None

    def __init__(self, place: Place | None, endpoint: Endpoint | None = None) -> None:
        self.place: Place | None = place
        if place is not None:
            self.name: str = place.name
        else:
            assert endpoint is not None
            self.name = endpoint.bare
        self._endpoint = endpoint

    def __repr__(self) -> str:
        return f"<Instance {self.name}>"

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the daemon called `name`, of this user, wherever its program has its files.

        Raises:
            TargetInvalid: the name cannot be one, or several of that name run.
            UnsafePath: as `Place.of`.
        """
        place = Place.of(name)
        if not os.path.exists(place.record_path):
            from daemonry.process import registry

            place = registry.locate(place)
        return cls(place)

    @classmethod
    def of(cls, place: Place) -> Instance:
        """Return the daemon of a place, or the same one where a home runs it."""
        if not os.path.exists(place.record_path):
            from daemonry.process import homes

            place = homes.locate(place)
        return cls(place)

    def record(self) -> DaemonRecord | None:
        """Return what the daemon, or its last run if that crashed, wrote about itself."""
        from daemonry.process import record

        return record.read(self.place.record_path) if self.place is not None else None

    def endpoint(self) -> Endpoint:
        """Return where it is reached: the given endpoint, else the record's, else the usual path.

        The usual path counts only while the life lock is held.  Without that, what listens there
        belongs to another state directory: another daemon of the same name.

        Raises:
            NotRunning: there is neither an endpoint, nor a record, nor a holder of the life lock.
        """
        if self._endpoint is not None:
            return self._endpoint
        assert self.place is not None
        told = record_fields.read_endpoint(self.place.record_path)
        if told is not None:
            return Endpoint.parse(told)
        if self.lock_held() is False:
            raise faults.NotRunning(self.name)
        return Endpoint.unix(self.place.socket_path)

    def pid(self) -> int | None:
        """Return its process id as the record tells, for people."""
        return record_fields.read_pid(self.place.record_path) if self.place is not None else None

    def environment_differs(self) -> list[str]:
        """Return the variables that it has otherwise than this process; [] where that is not known."""
        if self.place is None:
            return []
        from daemonry.process.environment import drift

        return drift(self.place.environment_path)

    def lock_held(self) -> bool | None:
        """Whether its life lock is held; None when that cannot be known."""
        from daemonry.process import lock

        return lock.is_held(self.place.life_lock_path) if self.place is not None else None

    def request(self, word: str, timeout_s: float = REQUEST_TIMEOUT_S) -> TextReply:
        """Send one command and return the reply.

        Raises:
            NotRunning: it is certainly not there.
            AccessDenied: we may not talk to it.
            DeadlineExceeded: it is there and does not answer, or cannot be reached.
            ConnectionLost: it went away under the command.
            RemoteProtocolError: what listens there speaks something else.
        """
        came = Instance.came
        try:
            reply = came(self, word, timeout_s) if came is not None else None
            if reply is not None:
                return reply
            return self.reach(lambda endpoint, left_s: client.request(endpoint, word, left_s), timeout_s)
        except faults.DeadlineExceeded as error:
            raise self._silent(error.phase, timeout_s, error.ran) from error

    def reach(self, attempt: Callable[[Endpoint, float], Reached], timeout_s: float) -> Reached:
        """Return what `attempt` does at the daemon's endpoint; it has the seconds that are left.

        A daemon whose socket was removed makes a new one within a second or two, or ends: the attempt is
        made again until then.

        Raises:
            NotRunning: it is certainly not there.
            DeadlineExceeded: it is there and cannot be reached.
            Everything else that `attempt` raises.
        """
        deadline = Deadline(timeout_s)
        while True:
            try:
                return attempt(self.endpoint(), deadline.remaining_s() or 0.0)
            except (faults.NotListening, faults.ConnectionRefused) as error:
                if not self.lock_held():
                    raise faults.NotRunning(self.name) from error
                if not deadline.sleep(CONNECT_RETRY_MAX_S):
                    raise self._silent("connect", timeout_s, "no") from error

    def _silent(self, phase: str, timeout_s: float, ran: Ran) -> faults.DeadlineExceeded:
        return faults.DeadlineExceeded(phase, timeout_s, ran, self._described())

    def command(self, word: str, timeout_s: float = REQUEST_TIMEOUT_S) -> TextReply:
        """Send one command and return the reply, which is not an error.

        Raises:
            CommandFailed: the daemon said no.
            Everything that `request` raises.
        """
        reply = self.request(word, timeout_s)
        if reply.kind == "error" and reply.message in _DENIALS:
            raise self._denied()
        if reply.kind == "error":
            raise faults.CommandFailed(word, reply.message)
        return reply

    def _denied(self) -> faults.AccessDenied:
        endpoint = self.endpoint()
        reason = HOW_TO_PROVE if endpoint.kind in (TCP, FD) else "the daemon belongs to another user"
        return faults.AccessDenied(endpoint.bare, reason)

    def status(self, timeout_s: float = REQUEST_TIMEOUT_S) -> Mapping[str, Any]:
        """Return the fields of STATUS.

        Raises:
            As `command`.
        """
        reply = self.command(text.STATUS, timeout_s)
        if reply.fields is None:
            raise faults.RemoteProtocolError(
                f"{self.name} answered STATUS with {printable(reply.message, 60)!r}"
            )
        return reply.fields

    def liveness(self, timeout_s: float = PROBE_TIMEOUT_S) -> Liveness:
        """Say whether it is there, after asking both its socket and its lock.  Never raises."""
        from daemonry.daemon import liveness

        connection = self._try(timeout_s)
        return liveness.judge(connection, False if self.place is None else self.lock_held())

    def _try(self, timeout_s: float) -> str:
        from daemonry.daemon import liveness

        try:
            reply = client.request(self.endpoint(), text.PING, timeout_s)
            if reply.kind == "error" and reply.message in _DENIALS:
                return liveness.FORBIDDEN
        except (faults.NotListening, faults.NotRunning):
            return liveness.MISSING
        except faults.ConnectionRefused:
            return liveness.REFUSED
        except faults.AccessDenied:
            return liveness.FORBIDDEN
        except faults.Unreachable:
            return liveness.CUT_OFF
        except faults.DeadlineExceeded as error:
            return liveness.FULL if error.phase == "connect" else liveness.SILENT
        except (faults.ConnectionLost, faults.RemoteProtocolError):
            return liveness.LOST
        except OSError:
            return liveness.MISSING
        return liveness.ANSWERED

    def _described(self) -> str:
        pid = self.pid()
        return self.name if pid is None else f"{self.name} (pid {pid})"

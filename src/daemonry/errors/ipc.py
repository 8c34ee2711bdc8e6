"""Errors of reaching a daemon, or of being reached as one.

Owns the errors of endpoints, connections, waits and the protocol.
"""

from __future__ import annotations

from daemonry.errors.root import DaemonryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.errors.root import Ran


class IpcError(DaemonryError):
    """Something about reaching a daemon, or being reached as one."""


class EndpointInvalid(IpcError):
    """The text is not an endpoint, or names one that this system does not have.

    Attributes:
        text: the given text.
        reason: the fault in it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} is not an endpoint: {reason}")
        self.text = text
        self.reason = reason


class SocketBindError(IpcError):
    """A listener could not be made.

    Attributes:
        path: the path or endpoint asked for.
        cause: why, as a sentence.
    """

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"cannot listen at {path}: {cause}")
        self.path = path
        self.cause = cause


class AlreadyBound(IpcError):
    """The server has a listener already.

    Attributes:
        endpoint: where it listens.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(f"already bound to {endpoint}")
        self.endpoint = endpoint


class NotBound(IpcError):
    """The server has no listener yet: call bind() first.

    Attributes:
        endpoint: where it would listen.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(f"not bound to {endpoint}: call bind() first")
        self.endpoint = endpoint


class ConnectError(IpcError, OSError):
    """A connection was not made, so nothing was sent.

    Attributes:
        path: the endpoint.
        errno: the system's error number, or None.
        ran: always "no".
    """

    ran: Ran = "no"

    def __init__(self, path: str, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.errno = errno

    def __str__(self) -> str:  # OSError would print "[Errno N]" in front
        return str(self.args[0])


class ConnectionRefused(ConnectError):
    """Nobody listens at the endpoint.

    Attributes:
        path: the endpoint.
    """

    def __init__(self, path: str, errno: int | None = None) -> None:
        super().__init__(path, f"connection refused: nobody listens at {path}", errno)


class StaleSocket(ConnectionRefused):
    """The socket file is there, and no daemon answers behind it.

    Attributes:
        path: the socket file.
    """

    def __init__(self, path: str, errno: int | None = None) -> None:
        ConnectError.__init__(
            self, path, f"stale socket: {path} is there, but no daemon listens on it", errno
        )


class NotListening(ConnectError):
    """There is no socket at the path.

    Attributes:
        path: the path.
    """

    def __init__(self, path: str, errno: int | None = None, reason: str = "there is no socket") -> None:
        super().__init__(path, f"nobody listens at {path}: {reason}", errno)


class AccessDenied(ConnectError):
    """The system, or the identity of the other side, forbids the connection.

    It never means that the daemon is gone.

    Attributes:
        path: the endpoint.
        errno: the system's error number; None where the peer's identity was the reason.
    """

    def __init__(self, path: str, reason: str, errno: int | None = None) -> None:
        super().__init__(path, f"access denied to {path}: {reason}", errno)
        self.reason = reason


class Unreachable(ConnectError):
    """The other machine cannot be reached, so that nobody knows whether the daemon runs there.

    It never means that the daemon is gone, and never allows a start.

    Attributes:
        path: the endpoint.
        reason: what ssh says.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, f"{path} is unreachable: {reason}")
        self.reason = reason


class ConnectionLost(IpcError):
    """The stream ended under a call.

    Attributes:
        endpoint: who was connected.
        ran: "no" when the call was certainly not executed, "maybe" when it may have been.
    """

    _what = "connection to {} lost"

    def __init__(self, endpoint: str, ran: Ran) -> None:
        told = "nothing was executed" if ran == "no" else "the call may have been executed"
        super().__init__(f"{self._what.format(endpoint)}: {told}")
        self.endpoint = endpoint
        self.ran = ran


class ClientClosed(ConnectionLost):
    """The client was closed, before the call or under it, by another thread or task."""

    _what = "the client of {} was closed"


class InheritedConnection(ConnectionLost):
    """The connection is the parent process's, and the client cannot make one of its own.

    A client that knows its endpoint connects again after a fork.  One of a single connection cannot,
    nor can a stream go on that was begun before the fork.
    """

    _what = "the connection to {} belongs to the parent of this forked process"


class CallCancelled(IpcError):
    """A call in a pipeline was cancelled, alone, by its caller.

    Attributes:
        endpoint: the peer.
        ran: "no" when it was not sent, "maybe" when its reply was not waited for.
    """

    def __init__(self, endpoint: str, ran: Ran) -> None:
        told = "it was not sent" if ran == "no" else "it may have been executed"
        super().__init__(f"a call of {endpoint} was cancelled: {told}")
        self.endpoint = endpoint
        self.ran = ran


class WrongLoop(IpcError):
    """A client of one event loop was used in another, while its own still exists.

    Attributes:
        endpoint: the peer.
        ran: always "no".
    """

    ran: Ran = "no"

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"the client of {endpoint} belongs to another event loop, which is not closed: "
            "make one client for each loop, or hand the call to its loop by run_coroutine_threadsafe"
        )
        self.endpoint = endpoint


class WaitsForItself(IpcError):
    """A blocking client was used by the thread that would answer it: a handler's, in its own daemon.

    Attributes:
        endpoint: the peer.
        ran: always "no".
    """

    ran: Ran = "no"

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"the call of {endpoint} would wait for the thread that makes it, whose loop serves there: "
            "call the object's method itself, use an AsyncClient, or mark the handler @method(blocking=True)"
        )
        self.endpoint = endpoint


class DeadlineExceeded(IpcError, TimeoutError):
    """A wait ended at its deadline.

    Attributes:
        phase: which wait: "connect", "write", "reply", "lock", "accept", "read", "start".
        timeout_s: the length of time that was allowed, in seconds.
        ran: "no" when nothing can have been executed, else "maybe".
        subject: the thing that was waited for.
    """

    def __init__(self, phase: str, timeout_s: float, ran: Ran, subject: str) -> None:
        # The rest of a longer time is not a round number, and nobody reads its microseconds.
        super().__init__(f"no answer from {subject} within {round(timeout_s, 3):g} s ({phase})")
        self.phase = phase
        self.timeout_s = timeout_s
        self.ran = ran
        self.subject = subject

    def __str__(self) -> str:
        return str(self.args[0])


class ProtocolError(IpcError):
    """Bytes that the protocol does not allow."""


class LocalProtocolError(ProtocolError):
    """This side was asked to send what the protocol forbids."""

    ran: Ran = "no"


class NotSendable(LocalProtocolError):
    """A message cannot be put on the wire; nothing of it was sent.

    Attributes:
        reason: the fault in it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot be sent: {reason}")
        self.reason = reason


class OutOfTurn(LocalProtocolError):
    """This side was asked to send, or to hand over, something that has no place now; nothing changed.

    Attributes:
        state: the connection's state, as it was and is.
        asked: the thing that has no place in it.
    """

    def __init__(self, state: str, asked: str) -> None:
        super().__init__(f"no {asked} while the connection is {state}")
        self.state = state
        self.asked = asked


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids."""

    ran: Ran = "maybe"


class FrameTooLarge(RemoteProtocolError):
    """The peer sent a frame beyond the limit; the stream cannot be used any more.

    Attributes:
        limit_bytes: the most that this side accepts.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"frame longer than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class BadFrame(RemoteProtocolError):
    """The peer sent a frame that cannot be read.

    Attributes:
        reason: the fault in it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"malformed frame: {reason}")
        self.reason = reason

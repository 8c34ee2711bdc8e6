"""Every exception of daemonry, in one tree.

Owns the names, their fields and their one-sentence messages.  Who raises what is said where it
is raised; how a command ends on each is said in `daemonry.cli.exit_codes`.

    DaemonryError
    ├ IpcError
    │  ├ EndpointInvalid                    the text names no endpoint
    │  ├ SocketBindError                    a listener could not be made at the path
    │  ├ AlreadyBound / NotBound            bind called twice / serve called before bind
    │  ├ ConnectError (OSError)             nothing was sent
    │  │  ├ ConnectionRefused               nobody listens there
    │  │  │  └ StaleSocket                  the socket file is there, nobody answers
    │  │  ├ NotListening                    there is no socket file
    │  │  ├ AccessDenied                    the system or the peer's identity forbids it
    │  │  └ Unreachable                     another machine cannot be asked
    │  ├ ConnectionLost                     the stream ended under a call
    │  │  ├ ClientClosed                    by this side
    │  │  └ InheritedConnection             it is the parent process's, from before a fork
    │  ├ WrongLoop                          a client is used in another event loop than its own
    │  ├ DeadlineExceeded (TimeoutError)    a wait ended at its deadline
    │  └ ProtocolError
    │     ├ LocalProtocolError              we tried to send what the protocol forbids
    │     │  ├ NotSendable
    │     │  └ OutOfTurn
    │     └ RemoteProtocolError             the peer sent what the protocol forbids
    │        ├ FrameTooLarge
    │        └ BadFrame
    ├ Refused                               a hook's way to say no to a command
    ├ CommandFailed                         the daemon answered a command with an error
    ├ CallFailed                            the daemon answered a call with an error
    │  ├ InterfaceNotFound · MethodNotFound · MethodNotImplemented
    │  ├ InvalidParameter · PermissionDenied · ExpectedMore
    │  ├ Paused · Draining · Overloaded
    │  └ Failed                             a handler raised
    │     └ BadReply                        a handler returned what its signature does not allow
    ├ LifecycleError
    │  ├ AlreadyRunning
    │  ├ NotRunning
    │  ├ VersionMismatch
    │  ├ StartFailed
    │  ├ NotReadyInTime
    │  └ StopFailed
    ├ TargetInvalid                         the text names no daemon
    ├ ArgumentInvalid                       a word of a command cannot be used
    ├ UnsafePath                            a file or directory that others control
    └ ConfigError

Each carries fields, says one plain sentence that a person can act on, and survives pickling.
What a call can fail with has `ran`: "no" when nothing was executed, "maybe" when that cannot be
known, "yes" when it was, and the error is its answer.

The module is a leaf and imports nothing: it stands on the path of every quick command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    Ran = Literal["no", "maybe", "yes"]


def _restore(cls: type[DaemonryError], args: tuple[Any, ...], state: dict[str, Any]) -> DaemonryError:
    error = cls.__new__(cls)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class DaemonryError(Exception):
    """The root: catch it to catch everything that daemonry raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            state["errno"] = self.errno  # kept outside __dict__
        return _restore, (type(self), self.args, state)


class IpcError(DaemonryError):
    """Something about reaching a daemon, or being reached as one."""


class EndpointInvalid(IpcError):
    """The text is no endpoint, or names one that this system does not have.

    Attributes:
        text: the given text.
        reason: the fault in it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} is no endpoint: {reason}")
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
    """This side was asked to send, or to hand over, what has no place now; nothing changed.

    Attributes:
        state: the connection's state, as it was and is.
        asked: what has no place in it.
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


class Refused(DaemonryError):
    """Raised by a hook to refuse a command; the sender gets the message."""


class CommandFailed(DaemonryError):
    """The daemon understood the command and answered with an error.

    Attributes:
        command: the word that was sent.
        message: what the daemon said.
    """

    def __init__(self, command: str, message: str) -> None:
        super().__init__(message)
        self.command = command
        self.message = message


class CallFailed(DaemonryError):
    """The daemon understood the call and answered with an error.

    Attributes:
        error: the error's fully-qualified name.
        parameters: what the error tells.
        ran: "no" where the call was refused, "yes" where its handler ran, "maybe" where it was stopped.
    """

    # Without an annotation: those of subclasses are the fields that an interface declares.
    ran = "yes"

    def __init__(self, error: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.error = error
        self.parameters = dict(parameters or {})
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        told = ", ".join(f"{name}: {value}" for name, value in self.parameters.items())
        return f"{self.error} ({told})" if told else self.error


class InterfaceNotFound(CallFailed):
    """The daemon has no such interface; `parameters["interface"]` names it."""

    ran = "no"


class MethodNotFound(CallFailed):
    """The interface has no such method; `parameters["method"]` names it."""

    ran = "no"


class MethodNotImplemented(CallFailed):
    """The interface has the method, and the daemon does not."""

    ran = "no"


class InvalidParameter(CallFailed):
    """A parameter is missing, unknown, or of another type; `parameters["parameter"]` names it."""

    ran = "no"


class PermissionDenied(CallFailed):
    """The caller may not do that."""


class ExpectedMore(CallFailed):
    """The method gives several replies, and the caller did not ask for more than one."""

    ran = "no"


class Paused(CallFailed):
    """The daemon is paused and takes no work."""

    ran = "no"

    def _sentence(self) -> str:
        return f"{self.error}: the daemon is paused, and takes no work until it is resumed"


class Draining(CallFailed):
    """The daemon is ending: it took no work, or it ended a stream that it had begun.

    The latter has `parameters["begun"]`, and `ran` is "maybe": its handler was stopped wherever it was.
    """

    ran = "no"

    def __init__(self, error: str, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(error, parameters)
        if self.parameters.get("begun"):
            self.ran = "maybe"

    def _sentence(self) -> str:
        so = "this was broken off" if self.parameters.get("begun") else "takes no further work"
        return f"{self.error}: the daemon is ending, and {so}"


class Overloaded(CallFailed):
    """The daemon has all the work that it takes; `parameters["limit"]` tells how much that is."""

    ran = "no"

    def _sentence(self) -> str:
        limit = self.parameters.get("limit")
        return f"{self.error}: the daemon has all the work, or connections, that it takes" + (
            "" if limit is None else f" ({limit})"
        )


class Failed(CallFailed):
    """The handler failed in a way that its interface does not know; the daemon's log tells more.

    `parameters["message"]` has the exception's type and, unless the daemon hides it, its text;
    `parameters["log"]` the path of the log, for callers on the same machine and of the same user.
    """

    def _sentence(self) -> str:
        return f"{self.error}: {self._what()}{self._log()}"

    def _what(self) -> str:
        method, message = self.parameters.get("method"), self.parameters.get("message")
        return f"{method} raised {message}" if method else str(message)

    def _log(self) -> str:
        path = self.parameters.get("log")
        return f" (see {path})" if path else ""


class BadReply(Failed):
    """The handler returned what its signature does not allow; that was not sent.

    The call was executed, and the fault is the daemon's: `parameters["method"]` names it, and
    `parameters["reason"]` says what was expected.
    """

    def _what(self) -> str:
        method, reason = self.parameters.get("method"), self.parameters.get("reason")
        return f"{method} returned what its signature does not allow: {reason}"


class LifecycleError(DaemonryError):
    """Starting, finding or stopping a daemon."""


class AlreadyRunning(LifecycleError):
    """Another process is this daemon.

    Attributes:
        name: the daemon's name.
        pid: its process id, or None where the record does not tell.
        endpoint: where it is reached, or None.
    """

    def __init__(self, name: str, pid: int | None, endpoint: str | None) -> None:
        super().__init__(f"{name}: already running" + (f" (pid {pid})" if pid is not None else ""))
        self.name = name
        self.pid = pid
        self.endpoint = endpoint


class NotRunning(LifecycleError):
    """No process is this daemon.

    Attributes:
        name: the daemon's name or endpoint.
        hint: what to do about it, or "".
    """

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(f"{name}: not running" + (f" ({hint})" if hint else ""))
        self.name = name
        self.hint = hint


class VersionMismatch(LifecycleError):
    """The daemon that runs is of a version that the caller does not take.

    Attributes:
        name: the daemon's name.
        running: its version.
        wanted: the caller's.
        reason: why it is not taken.
    """

    def __init__(self, name: str, running: str, wanted: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.running = running
        self.wanted = wanted
        self.reason = reason


class StartFailed(LifecycleError):
    """The daemon did not come up.

    Attributes:
        name: the daemon's name.
        stage: how far it came ("spawn", "directories", "lock", "config", "bind", "setup").
        error: the reason, one line.
        exit_status: the process's exit status, negative for a signal, None while it lives.
        log_tail: the last lines that it wrote, or "".
    """

    def __init__(
        self, name: str, stage: str, error: str, exit_status: int | None = None, log_tail: str = ""
    ) -> None:
        super().__init__(f"{name}: start failed ({stage}): {error}")
        self.name = name
        self.stage = stage
        self.error = error
        self.exit_status = exit_status
        self.log_tail = log_tail


class NotReadyInTime(LifecycleError):
    """The daemon lives but has not said that it is ready.

    Attributes:
        name: the daemon's name.
        stage: the last stage that it told.
        timeout_s: how long was waited, in seconds.
        pid: its process id.
    """

    def __init__(self, name: str, stage: str, timeout_s: float, pid: int | None) -> None:
        super().__init__(f"{name}: not ready within {timeout_s:g} s (still in {stage!r}, pid {pid})")
        self.name = name
        self.stage = stage
        self.timeout_s = timeout_s
        self.pid = pid


class StopFailed(LifecycleError):
    """The daemon was asked to stop and is still there.

    Attributes:
        name: the daemon's name.
        timeout_s: how long was waited, in seconds.
        held_up_by: what it was still waiting for, as it told, or "".
    """

    def __init__(self, name: str, timeout_s: float, held_up_by: str) -> None:
        held = f", held up by {held_up_by}" if held_up_by else ""
        super().__init__(f"{name}: still stopping after {timeout_s:g} s{held}")
        self.name = name
        self.timeout_s = timeout_s
        self.held_up_by = held_up_by


class TargetInvalid(DaemonryError):
    """The given text does not name a daemon.

    Attributes:
        text: the given text.
        reason: the fault in it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} names no daemon: {reason}")
        self.text = text
        self.reason = reason


class ArgumentInvalid(DaemonryError):
    """A word of a command cannot be used.

    Attributes:
        text: the given text.
        reason: the fault in it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text}: {reason}")
        self.text = text
        self.reason = reason


class UnsafePath(DaemonryError):
    """A file or directory cannot be used because of its owner, or its kind.

    Attributes:
        path: the path.
        reason: the fault in it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ConfigError(DaemonryError):
    """A configuration file cannot be used.

    Attributes:
        path: the file.
        key: the dotted key, or "" where the file as a whole is meant.
        reason: the fault.
        line: where in the file, from 1; 0 where the file as a whole is meant, or the place is not known.
        column: the same, in characters.
    """

    def __init__(self, path: str, key: str, reason: str, line: int = 0, column: int = 0) -> None:
        place = f"{path}:{line}:{column}" if line else path
        super().__init__(": ".join(part for part in (place, key, reason) if part))
        self.path = path
        self.key = key
        self.reason = reason
        self.line = line
        self.column = column

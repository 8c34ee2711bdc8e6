"""Every exception of daemonry, in one tree.

Owns the names, their fields and their one-sentence messages.  The place that raises an error documents
it; `daemonry.cli.exit_codes` has the exit code for each.

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
    │  ├ CallCancelled                      a call in a pipeline was cancelled by its caller
    │  ├ WrongLoop                          a client is used in another event loop than its own
    │  ├ WaitsForItself                     a blocking client would have to be answered by its own thread
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

The package needs nothing else of daemonry.  Quick commands load it when there is an error: see `faults`.
"""

from __future__ import annotations

from daemonry.errors.calls import (
    BadReply,
    CallFailed,
    Draining,
    ExpectedMore,
    Failed,
    InterfaceNotFound,
    InvalidParameter,
    MethodNotFound,
    MethodNotImplemented,
    Overloaded,
    Paused,
    PermissionDenied,
)
from daemonry.errors.ipc import (
    AccessDenied,
    AlreadyBound,
    BadFrame,
    CallCancelled,
    ClientClosed,
    ConnectError,
    ConnectionLost,
    ConnectionRefused,
    DeadlineExceeded,
    EndpointInvalid,
    FrameTooLarge,
    InheritedConnection,
    IpcError,
    LocalProtocolError,
    NotBound,
    NotListening,
    NotSendable,
    OutOfTurn,
    ProtocolError,
    RemoteProtocolError,
    SocketBindError,
    StaleSocket,
    Unreachable,
    WaitsForItself,
    WrongLoop,
)
from daemonry.errors.lifecycle import (
    AlreadyRunning,
    LifecycleError,
    NotReadyInTime,
    NotRunning,
    StartFailed,
    StopFailed,
    VersionMismatch,
)
from daemonry.errors.root import (
    ArgumentInvalid,
    CommandFailed,
    ConfigError,
    DaemonryError,
    Refused,
    TargetInvalid,
    UnsafePath,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.errors.root import Ran as Ran

__all__ = [
    "AccessDenied",
    "AlreadyBound",
    "AlreadyRunning",
    "ArgumentInvalid",
    "BadFrame",
    "BadReply",
    "CallCancelled",
    "CallFailed",
    "ClientClosed",
    "CommandFailed",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "ConnectionRefused",
    "DaemonryError",
    "DeadlineExceeded",
    "Draining",
    "EndpointInvalid",
    "ExpectedMore",
    "Failed",
    "FrameTooLarge",
    "InheritedConnection",
    "InterfaceNotFound",
    "InvalidParameter",
    "IpcError",
    "LifecycleError",
    "LocalProtocolError",
    "MethodNotFound",
    "MethodNotImplemented",
    "NotBound",
    "NotListening",
    "NotReadyInTime",
    "NotRunning",
    "NotSendable",
    "OutOfTurn",
    "Overloaded",
    "Paused",
    "PermissionDenied",
    "ProtocolError",
    "Refused",
    "RemoteProtocolError",
    "SocketBindError",
    "StaleSocket",
    "StartFailed",
    "StopFailed",
    "TargetInvalid",
    "Unreachable",
    "UnsafePath",
    "VersionMismatch",
    "WaitsForItself",
    "WrongLoop",
]

# Programs and tracebacks know them by this package's name alone.
for _name in __all__:
    globals()[_name].__module__ = __name__
del _name

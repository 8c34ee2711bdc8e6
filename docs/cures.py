"""What to do about each error of `daemonry.errors`, for the page that lists them.

Owns the sentences; an error without one here is a complaint of `check`.
"""

# ruff: noqa: E501
from __future__ import annotations

from typing import Final

CURES: Final = {
    "AccessDenied": "Run the command as the daemon's user, or correct the owner and mode of the file that the message names.",
    "AlreadyBound": "Bind a server once; make another `Server` for another endpoint.",
    "AlreadyRunning": "Use the daemon that runs (`ensure`), or `restart` it.",
    "ArgumentInvalid": "Correct the word that the message names.",
    "BadFrame": "Check that the endpoint is a daemon's, and that both sides speak the same protocol.",
    "BadReply": "Correct the handler: its value does not fit its return type. The daemon's log has the place.",
    "CallCancelled": "Read `ran`: after `no` it was not sent; after `maybe` it may have run. You cancelled this call of a pipeline yourself.",
    "CallFailed": "Catch the interface's own error class, or read `error` and `parameters`.",
    "ClientClosed": "Call before `close()`; make a client for each task that closes its own.",
    "CommandFailed": "Read `reason`: the daemon says why it refuses.",
    "ConfigError": "Correct the file at the line and column that the message names.",
    "ConnectError": "Nothing was sent: start the daemon, or call `ensure`, which does.",
    "ConnectionLost": "Read `ran`: after `no` call again; after `maybe` call again only if the method is idempotent.",
    "ConnectionRefused": "Start the daemon: nobody listens there.",
    "DaemonryError": "Catch it last; each class below says more.",
    "DeadlineExceeded": "Raise `timeout_s`, or find out with `daemonry tap` what holds the daemon up. `ran` says whether to call again.",
    "Draining": "Wait for the daemon's successor: `ensure` does.",
    "EndpointInvalid": "Write `unix:/PATH`, `tcp:HOST:PORT`, `ssh:HOST/NAME` or `fd:N`.",
    "ExpectedMore": "Call it as a stream: iterate over the proxy's method, or use `stream`.",
    "Failed": "Read the daemon's log (`daemonry logs NAME`): the handler raised an error that its interface does not declare.",
    "FrameTooLarge": "Send less in one message: use a stream, or pass a descriptor ([big data](how-to/big-data.md)).",
    "InheritedConnection": "Make the client by `connect` or `ensure`: it reconnects in a forked process.",
    "InterfaceNotFound": "Check the name with `daemonry describe NAME`; the daemon may be of an older version.",
    "InvalidParameter": "Correct the parameter that the message names; `daemonry describe NAME INTERFACE` shows the types.",
    "IpcError": "Catch it to handle every failure of a connection; read `ran` where it has one.",
    "LifecycleError": "Catch it to handle every failure to start, find or stop a daemon.",
    "LocalProtocolError": "Correct the calling code: it uses a connection against the protocol.",
    "MethodNotFound": "Check the name with `daemonry describe NAME INTERFACE`; the message names the nearest one.",
    "MethodNotImplemented": "Serve an object that has the method, or upgrade the daemon.",
    "NotBound": "Call `bind()` before `serve()`.",
    "NotListening": "Start the daemon: there is no socket.",
    "NotReadyInTime": "Read the log; raise the start timeout if its setup takes that long.",
    "NotRunning": "Start it: `daemonry start NAME`, or `ensure` in code.",
    "NotSendable": "Send JSON's types: text keys, numbers that are finite, integers from -(2^63 - 1) to 2^63 - 1.",
    "OutOfTurn": "Wait for the reply before the next call on the same connection; a `Client` does.",
    "Overloaded": "Call again later, after a growing wait; [limits](limits.md) has the bounds.",
    "Paused": "Resume it: `daemonry resume NAME`.",
    "PermissionDenied": "Call as a user that the daemon allows.",
    "ProtocolError": "Check that the other side speaks this protocol.",
    "Refused": "Read the message: the program's hook says why.",
    "RemoteProtocolError": "Check the other side: it sent bytes that the protocol does not allow.",
    "SocketBindError": "End the program that listens there, or choose another endpoint.",
    "StaleSocket": "Nothing: the next start removes the file.",
    "StartFailed": "Read the reason and the end of the log in the message, then correct the setup.",
    "StopFailed": "Stop it again with a longer timeout; `daemonry stop --force` kills it.",
    "TargetInvalid": "Give a daemon's name, its file, `MODULE:ATTRIBUTE` or an endpoint.",
    "Unreachable": "Try `ssh HOST` by hand: the network, the host name or a key is at fault.",
    "UnsafePath": "Correct the owner or the mode of the path, or remove the file that is in its place.",
    "VersionMismatch": "Upgrade the older of the two, or widen `Versions`.",
    "WaitsForItself": "Call the object's method itself, use an `AsyncClient`, or mark the handler `@method(blocking=True)`.",
    "WrongLoop": "Make an `AsyncClient` for each event loop.",
}

"""How long both clients wait for a reply, and which exception an error in it is."""

from __future__ import annotations

from daemonry import faults
from daemonry.clock import Deadline
from daemonry.wire import varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.wire.varlink import AnyReply

CALL_TIMEOUT_S = 30.0
_ENDLESS = float("inf")


def first_deadline(first_s: float | None, idle_s: float | None) -> Deadline:
    """Return until when a stream's first reply is waited for: there is always an end, but for `inf`."""
    if first_s is None:
        first_s = CALL_TIMEOUT_S if idle_s is None else idle_s
    return Deadline(None if first_s == _ENDLESS else first_s)


def failed(reply: AnyReply) -> faults.CallFailed:
    """Return the exception for a reply that is an error."""
    assert reply.error is not None
    standard = {
        varlink.INTERFACE_NOT_FOUND: faults.InterfaceNotFound,
        varlink.METHOD_NOT_FOUND: faults.MethodNotFound,
        varlink.METHOD_NOT_IMPLEMENTED: faults.MethodNotImplemented,
        varlink.INVALID_PARAMETER: faults.InvalidParameter,
        varlink.PERMISSION_DENIED: faults.PermissionDenied,
        varlink.EXPECTED_MORE: faults.ExpectedMore,
        "org.daemonry.Control.Paused": faults.Paused,
        "org.daemonry.Control.Draining": faults.Draining,
        "org.daemonry.Control.Overloaded": faults.Overloaded,
        "org.daemonry.Control.Failed": faults.Failed,
        "org.daemonry.Control.BadReply": faults.BadReply,
    }
    return standard.get(reply.error, faults.CallFailed)(reply.error, reply.parameters)

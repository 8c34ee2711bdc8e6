"""A handler that failed: the error for its caller, and the lines for the log.

Owns which exception is which error on the wire:

    a `CallError` that its interface declares     that error
    another `CallFailed`                          that error, by its own name
    a result that its signature does not allow    org.daemonry.Control.BadReply, and its place in the log
    anything else                                 org.daemonry.Control.Failed, and a trace in the log

An exception's text may hold whatever the handler had in hand: it is made printable and cut, and a
program can keep it to itself.  Only a caller that may read the log learns its path.
"""

from __future__ import annotations

import logging
import os
import traceback
from typing import TYPE_CHECKING, Any, Final, Protocol

from daemonry import errors
from daemonry.limits import MAX_ECHO_CHARS, MAX_ERROR_CHARS, MAX_TRACE_CHARS
from daemonry.service.interface import error_fields
from daemonry.service.interface.declare import CallError
from daemonry.service.server.reply_check import Misfit
from daemonry.terminal_text import printable, shown
from daemonry.wire.varlink import INVALID_PARAMETER, Reply

if TYPE_CHECKING:
    import msgspec

    from daemonry.service.interface.declare import Described
    from daemonry.transport.credentials import Peer

logger: logging.Logger = logging.getLogger("daemonry.calls")

FAILED: Final = "org.daemonry.Control.Failed"
BAD_REPLY: Final = "org.daemonry.Control.BadReply"


class Handler(Protocol):
    """A method that failed, as its error needs it: see `dispatch.Bound`."""

    where: Described
    full_name: str

    @property
    def place(self) -> str:
        """Its file and line."""


def _sent(raised: CallError) -> dict[str, Any]:
    try:
        return error_fields.sent(raised)
    except Exception:  # noqa: BLE001  # a field was made for another type
        return raised.parameters


class Failures:
    """Makes errors of what handlers raise.

    Args:
        show_errors: whether callers get an exception's text, and not only its type.
        log_path: the log that has the trace; "" for none that others know.
        traces: whether a caller of the same user gets the trace too; for development.
    """

    def __init__(self, *, show_errors: bool = True, log_path: str = "", traces: bool = False) -> None:
        self._show_errors = show_errors
        self._traces = traces
        self._log_path = log_path

    def error(self, bound: Handler, raised: BaseException, peer: Peer) -> Reply:
        """Return what an exception of a method is on the wire; log it, if nobody foresaw it."""
        if isinstance(raised, CallError):
            where = bound.where
            if where.errors.get(type(raised).__name__) is type(raised):
                return Reply(_sent(raised), error=f"{where.name}.{type(raised).__name__}")
        elif isinstance(raised, errors.CallFailed):
            return Reply(raised.parameters, error=raised.error)
        if isinstance(raised, Misfit):
            reason = printable(raised.reason, MAX_ERROR_CHARS)
            logger.error(
                "%s returned what its signature does not allow: %s (%s)", bound.full_name, reason, bound.place
            )
            return self._reply(BAD_REPLY, peer, method=bound.full_name, reason=reason)
        logger.error("%s failed", bound.full_name, exc_info=raised)
        exception = printable(type(raised).__name__, MAX_ECHO_CHARS)
        text = text_of(raised) if self._show_errors else ""
        message = f"{exception}: {text}" if text else exception
        fields = {"message": message, "method": bound.full_name, "exception": exception}
        if self._traces and peer.is_own_user:
            fields["traceback"] = trace_of(raised)
        return self._reply(FAILED, peer, **fields)

    def log_clean_up(self, bound: Handler, raised: BaseException) -> None:
        """Log what a stream's own clean-up raised, behind its answer."""
        logger.error("%s failed in its clean-up", bound.full_name, exc_info=raised)

    def _reply(self, error: str, peer: Peer, **fields: Any) -> Reply:
        if self._log_path and peer.pid is not None and peer.uid == os.geteuid():
            fields["log"] = self._log_path
        return Reply(fields, error=error)


def text_of(raised: BaseException) -> str:
    """Return an exception's text on one line, printable and not long; "" where it has none."""
    try:
        return printable(str(raised), MAX_ERROR_CHARS)
    except Exception:  # noqa: BLE001  # a program's own __str__
        return ""


def trace_of(raised: BaseException) -> str:
    """Return an exception's trace from the program's first frame on, printable, its end if it is long."""
    trace = raised.__traceback__
    while trace is not None and trace.tb_next is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    try:
        lines = traceback.format_exception(type(raised), raised, trace)
    except Exception:  # noqa: BLE001  # a program's own __str__
        lines = traceback.format_tb(trace)
    return shown("".join(lines))[-MAX_TRACE_CHARS:]


_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


def _is_ours(file: str) -> bool:
    return file.startswith((_PACKAGE, os.path.dirname(os.__file__) + os.sep))


def told_by(reply: Any) -> str | None:
    """Return what a failure's reply says in words; None for other replies."""
    if reply.error == FAILED:
        return str(reply.parameters["message"])
    return str(reply.parameters["reason"]) if reply.error == BAD_REPLY else None


def invalid_parameter(error: msgspec.ValidationError) -> errors.InvalidParameter:
    """Return the error that names the parameter.

    msgspec says "Expected `int`, got `str` - at `$.count`", "Object missing required field `count`",
    or "Object contains unknown field `count`".
    """
    reason, _, where = str(error).partition(" - at `$")
    parameter = where.strip("`.")
    if reason.startswith("Object "):
        parameter = f"{parameter}.{reason.split('`')[1]}".lstrip(".")
    return errors.InvalidParameter(
        INVALID_PARAMETER, {"parameter": parameter, "reason": reason[:1].lower() + reason[1:]}
    )

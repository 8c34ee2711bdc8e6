"""What an HTTP answer means for its request where no JSON-RPC message of the server is in it.

Owns the decision; knows the SDK's words, by which it tells of such an answer as though the server had sent an
error.  The server has not: what matters is whether it may have carried out the request.
"""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import Final, NamedTuple

from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR

from mcp_cli.pool.results import brief

_ERROR: Final = (INTERNAL_ERROR, "Server returned an error response")
_NO_SESSION: Final = (INVALID_REQUEST, "Session terminated")
_ACCEPTED: Final = (INVALID_REQUEST, "server answered a request with 202 Accepted")
_OTHER_TYPE: Final = "Unexpected content type: "
# Answers to a request of a session that the server does not know: the specification has 404, many answer 400.
_WITHOUT_SESSION: Final = frozenset((400, 404, 410))


class Fate(NamedTuple):
    """A request whose answer is not the server's own message.

    Attributes:
        reason: for people.
        ran: whether it may have been carried out.
    """

    reason: str
    ran: bool


def unanswered(code: int, message: str, status: int) -> Fate | None:
    """Return what an error of the SDK's own means; None where the server has sent it.

    Args:
        code: of the error.
        message: its text.
        status: of the HTTP answer to this request, if that was an error; 0 otherwise.
    """
    told = (code, message)
    if told in (_ERROR, _NO_SESSION):
        return Fate(f"HTTP {named(status)}" if status else "an HTTP error", _may_run(status))
    if told == _ACCEPTED:
        return Fate("took the request (HTTP 202 Accepted) and gave no answer", ran=True)
    if code == INVALID_REQUEST and message.startswith(_OTHER_TYPE):
        kind = brief(message.removeprefix(_OTHER_TYPE)) or "without a type"
        return Fate(f"its answer cannot be understood: it is {kind}, not JSON", ran=True)
    if code == PARSE_ERROR and message.startswith("Failed to parse "):
        return Fate("its answer cannot be understood", ran=True)  # the SDK's words have the answer in them
    if not status and code == CONNECTION_CLOSED and message.startswith("SSE stream "):
        return Fate(brief(message), ran=True)
    return None


def tells_of_a_lost_session(code: int, message: str, status: int) -> bool:
    """Whether a server says by an error that it does not know the session of the request."""
    said = (code, message) in (_ERROR, _NO_SESSION) or "session" in message.lower()
    return status in _WITHOUT_SESSION and said


def _may_run(status: int) -> bool:
    # A fault of the request is found before it is carried out, but for the time that it took.  One of the
    # server, or of a proxy before it, may be found at any time.
    return not 400 <= status < 500 or status == HTTPStatus.REQUEST_TIMEOUT


def named(status: int) -> str:
    """Return a status with its name."""
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)

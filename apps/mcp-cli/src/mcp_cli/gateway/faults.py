"""Errors of JSON-RPC: the fault in a message, and the outcome of a call that failed, in words for a model.

Owns the codes and the words.  Pure.
"""

from __future__ import annotations

import json
from typing import Any, Final

from daemonry import errors
from mcp_cli.names import INTERFACE

NOT_JSON = "this is not JSON"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = (
    -32700,
    -32600,
    -32601,
    -32602,
    -32603,
)
NOT_FOUND: Final = -32002
UNKNOWN: Final = "Whether the call was carried out is not known."


class Fault(Exception):
    """An error to answer a request with.

    Attributes:
        code: its number.
        message: for people.
        data: JSON, or "".
    """

    def __init__(self, code: int, message: str, data: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def fault_in(method: Any, number: Any, params: Any) -> Fault | None:
    """Return the fault in a request or notification; None where it has none."""
    if number is not None and not is_id(number):
        return Fault(INVALID_REQUEST, "an id is a text or a number")
    if not isinstance(method, str):
        return Fault(INVALID_REQUEST, "a method is a text")
    if not isinstance(params, dict):
        return Fault(INVALID_PARAMS, f"the parameters of {method} are an object")
    return None


def is_id(number: Any) -> bool:
    """Whether a request may have this as its id."""
    return isinstance(number, str | int | float)


def error_line(number: Any, fault: Fault) -> str:
    """Return the answer that has a fault, JSON on one line; the id None is that of no request."""
    data = f',"data":{fault.data}' if fault.data else ""
    return (
        f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"error":'
        f'{{"code":{fault.code},"message":{json.dumps(fault.message)}{data}}}}}'
    )


def fault_for(error: Exception, method: str) -> Fault:
    """Return the fault to answer a request of a method with after an error."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, errors.CallFailed):
        return fault_of(error)
    if isinstance(error, errors.DaemonryError):
        return Fault(INTERNAL_ERROR, str(error))
    return Fault(INVALID_PARAMS, f"the parameters do not fit {method}: {error!r}")


def fault_of(error: errors.CallFailed) -> Fault:
    """Return the error to answer with where a call failed."""
    fields = error.parameters
    if error.error == f"{INTERFACE}.ServerRefused":
        return Fault(
            int(fields.get("code", INTERNAL_ERROR)), str(fields.get("message", "")), fields.get("data") or ""
        )
    return Fault(INTERNAL_ERROR, for_model(error) or str(error))


def for_model(error: errors.CallFailed) -> str:
    """Return the outcome of a failed call in words for a model; "" for an error of the server's own."""
    fields = error.parameters
    server = f"The server {fields.get('server')}"
    kind = error.error.removeprefix(f"{INTERFACE}.")
    if kind == "BadArguments":
        where = f"{fields.get('parameter')}: " if fields.get("parameter") else ""
        return (
            f"The arguments do not fit the tool's schema, and nothing was done: {where}{fields.get('reason')}"
        )
    if kind == "NoSuchTool":
        near = f" Did you mean {fields['nearest']}?" if fields.get("nearest") else ""
        return f"{server} has no tool {fields.get('tool')}, and nothing was done.{near}"
    if kind == "Filtered":
        return f"The tool {fields.get('tool')} is not allowed here ({fields.get('rule')})."
    if kind in ("ServerFailed", "NeedsAuthorization"):
        return f"{server} cannot be reached, and nothing was done: {fields.get('reason')}"
    if kind == "MaybeRan":
        return f"{server} {fields.get('reason')}. {UNKNOWN}"
    if kind == "TimedOut":
        return f"{server} was silent for {fields.get('seconds'):g} s. {UNKNOWN}"
    return ""

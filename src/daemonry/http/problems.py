"""The answer to a request that is refused or fails: problem details, RFC 9457.

Owns which error is which status and how it is written.  An error that has a name on Varlink keeps it, in
the member `error`, with its fields in `parameters`, so that a client of both sees the same.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from daemonry import strict_json
from daemonry.terminal_text import printable
from daemonry.wire import varlink

MEDIA_TYPE: Final = "application/problem+json"
_CONTROL: Final = "org.daemonry.Control"
# A daemon that is paused or ends is asked again after that long.
_RETRY_AFTER_S: Final = 1

_STATUS: Final[Mapping[str, int]] = {
    varlink.INTERFACE_NOT_FOUND: 404,
    varlink.METHOD_NOT_FOUND: 404,
    varlink.METHOD_NOT_IMPLEMENTED: 501,
    varlink.INVALID_PARAMETER: 400,
    varlink.EXPECTED_MORE: 400,
    "org.varlink.service.PermissionDenied": 403,
    f"{_CONTROL}.Refusal": 409,
    f"{_CONTROL}.Paused": 503,
    f"{_CONTROL}.Draining": 503,
    f"{_CONTROL}.Overloaded": 503,
    f"{_CONTROL}.Failed": 500,
    f"{_CONTROL}.BadReply": 500,
    f"{_CONTROL}.ExpectedUpgrade": 501,
    f"{_CONTROL}.NotUpgradable": 501,
}
# What an interface declares for itself: it cannot be done as things are.
_DECLARED: Final = 409

_WORDS: Final[Mapping[str, str]] = {
    varlink.INTERFACE_NOT_FOUND: "The daemon does not serve that interface.",
    varlink.METHOD_NOT_FOUND: "The interface has no such method.",
    varlink.METHOD_NOT_IMPLEMENTED: "This daemon does not do that.",
    f"{_CONTROL}.Paused": "The daemon is paused and takes no work; resume it first.",
    f"{_CONTROL}.Draining": "The daemon is ending; try again once it runs again.",
    f"{_CONTROL}.Overloaded": "The daemon has all the work that it takes; try again later.",
}


class Problem(Exception):
    """A request that gets no result.

    Attributes:
        detail: the fault in this request, for people.
        fields: further members.
        headers: further headers of the response.
        status: the status code.
    """

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.fields = fields

    def members(self) -> dict[str, Any]:
        """Return the object that the response is."""
        return {
            "type": self.fields.get("type", "about:blank"),
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": printable(self.detail, 2000),
            **{name: value for name, value in self.fields.items() if name != "type"},
        }

    def body(self) -> bytes:
        """Return it as JSON."""
        return strict_json.encode(self.members()).encode("utf-8")


def of_error(name: str, parameters: Any) -> Problem:
    """Return the problem that an error of a call is."""
    fields = parameters if isinstance(parameters, dict) else {}
    status = _STATUS.get(name, _DECLARED)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    return Problem(
        status,
        _words(name, fields),
        headers=headers,
        type=f"urn:varlink:{name}",
        error=name,
        parameters=fields,
    )


def _words(name: str, fields: Mapping[str, Any]) -> str:
    if name == varlink.INVALID_PARAMETER:
        return (
            f"parameter {fields.get('parameter', '')}: {fields.get('reason', 'is not as the method has it')}"
        )
    said = _WORDS.get(name, "")
    for one in ("message", "reason"):
        if isinstance(fields.get(one), str) and fields[one]:
            return f"{fields[one]}"
    near = fields.get("nearest")
    if isinstance(near, str):
        said = f"{said} Did you mean {near}?"
    return said or f"The method answered with the error {name}."

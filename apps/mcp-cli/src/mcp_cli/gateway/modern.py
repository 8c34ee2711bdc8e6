"""The revision 2026-07-28 as the gateway speaks it: requests that stand on their own.

There is no handshake: each request has in its `_meta` the revision, the client's capabilities and the level
of log lines that it wants; each result says whether it is complete.  Owns these shapes.  Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_cli.gateway.faults import INVALID_PARAMS, Fault
from mcp_cli.names import PROTOCOLS

VERSION: Final = PROTOCOLS[-1]
_PREFIX: Final = "io.modelcontextprotocol/"
_VERSION: Final = _PREFIX + "protocolVersion"
_CAPABILITIES: Final = _PREFIX + "clientCapabilities"
_LOG_LEVEL: Final = _PREFIX + "logLevel"
SUBSCRIPTION: Final = _PREFIX + "subscriptionId"
SERVER_INFO: Final = _PREFIX + "serverInfo"
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
# The results of these may change at any time, and belong to this user.
CACHEABLE: Final = frozenset(
    (
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    )
)
# The header in which the name of a request stands as well, by its method.
NAMES: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class RequestEnvelope(msgspec.Struct):
    """What a request says of its client.

    Attributes:
        capabilities: the client's.
        level: the least level of log lines that it wants; "" for none.
    """

    capabilities: dict[str, Any]
    level: str


def envelope(params: Mapping[str, Any]) -> RequestEnvelope | None:
    """Return the envelope of a request; None for one of the older revisions.

    Raises:
        Fault: its revision is not spoken here.
    """
    meta = params.get("_meta")
    if not isinstance(meta, dict) or _VERSION not in meta:
        return None
    version = meta[_VERSION]
    if version != VERSION:
        data = json.dumps({"supported": list(PROTOCOLS), "requested": version})
        raise Fault(UNSUPPORTED_VERSION, f"the revision {version} is not spoken here", data)
    capabilities = meta.get(_CAPABILITIES)
    if not isinstance(capabilities, dict):
        raise Fault(INVALID_PARAMS, f"_meta has no {_CAPABILITIES}")
    return RequestEnvelope(capabilities, str(meta.get(_LOG_LEVEL) or ""))


def passed_on(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a request's `_meta` for the server: all but the protocol's own keys."""
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        return {}
    return {
        key: value for key, value in meta.items() if not key.startswith(_PREFIX) and key != "progressToken"
    }


def completed(result: str, method: str) -> str:
    """Return a result with the fields that this revision requires, all else unchanged."""
    had = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
    further: dict[str, Any] = {"resultType": "complete"}
    if method in CACHEABLE:
        further |= {"ttlMs": 0, "cacheScope": "private"}
    missing = {key: value for key, value in further.items() if key not in had}
    if not missing:
        return result
    head = json.dumps(missing, separators=(",", ":"))[:-1]
    rest = result.strip()[1:]
    return f"{head},{rest}" if had else f"{head}}}"


def header_fault(message: Mapping[str, Any], headers: Mapping[str, str]) -> Fault | None:
    """Return how a request's headers differ from its body; None where they do not.

    Args:
        message: the body.
        headers: by their names in lower case.
    """
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    meta = params.get("_meta")
    said = {
        "mcp-method": message.get("method"),
        "mcp-protocol-version": meta.get(_VERSION) if isinstance(meta, dict) else None,
        "mcp-name": params.get(NAMES.get(str(message.get("method")), "")),
    }
    for header, value in said.items():
        given = headers.get(header)
        plain = isinstance(value, str) and value.isascii() and value.isprintable()
        if given is not None and plain and given.strip() != value and not given.startswith("=?base64?"):
            return Fault(HEADER_MISMATCH, f"the header {header} is {given!r}, and the body has {value!r}")
    return None

"""`/openapi.json`: every route of this daemon, and every typed method, as OpenAPI 3.1 describes them.

Owns the document.  It is made from the interfaces that are served now, so it is true for this process.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from daemonry.http.calls import is_callable
from daemonry.http.event_stream import MEDIA_TYPE as EVENTS
from daemonry.http.log_lines import EVERY, LEVELS
from daemonry.http.problems import MEDIA_TYPE as PROBLEM
from daemonry.http.schemas import component_name, of_struct, of_type
from daemonry.limits import HTTP_LOG_LINES
from daemonry.wire import idl

if TYPE_CHECKING:
    from daemonry.http.host import Host
    from daemonry.service.interface.declare import Described, Method

_PROBLEM_REF: Final = {"$ref": "#/components/schemas/Problem"}
_OBJECT: Final = {"type": "object"}

_COMPONENTS: Final[dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "Problem details, RFC 9457; `error` and `parameters` are those of Varlink.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "error": {"type": "string"},
            "parameters": _OBJECT,
        },
        "required": ["type", "title", "status", "detail"],
    },
    "Health": {
        "type": "object",
        "properties": {
            "live": {"type": "boolean"},
            "ready": {"type": "boolean"},
            "reasons": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["live", "ready", "reasons"],
    },
    "Done": {
        "type": "object",
        "properties": {
            "state": {"type": "string"},
            "changed": {"type": "boolean"},
            "note": {"type": "string"},
        },
        "required": ["state", "changed", "note"],
    },
}


def document(host: Host, part_names: Iterable[str]) -> dict[str, Any]:
    """Return the document for a process."""
    components = dict(_COMPONENTS)
    paths: dict[str, Any] = _own_paths(host)
    for name in part_names:
        paths[f"/v1/parts/{name}"] = {
            "get": _operation(f"part_{name}", f"What the page's part {name} shows.", 200, {})
        }
    for where in host.calls.interfaces.values():
        _add_interface(where, paths, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": host.name,
            "version": host.version,
            "description": f"The {host.kind} {host.name}, by daemonry.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(
    name: str,
    summary: str,
    status: int,
    schema: Any,
    *,
    media: str = "application/json",
    query: Iterable[dict[str, Any]] = (),
    also: Iterable[int] = (),
) -> dict[str, Any]:
    if media == EVENTS:
        schema = {}  # of a stream each event has its own
    responses = {str(status): _response("Done.", schema, media)}
    for code in also:
        responses[str(code)] = _response("Done.", schema, media)
    responses["default"] = _response("Not done; the problem says why.", _PROBLEM_REF, PROBLEM)
    made: dict[str, Any] = {"operationId": name, "summary": summary, "responses": responses}
    parameters = list(query)
    if parameters:
        made["parameters"] = parameters
    return made


def _response(description: str, schema: Any, media: str) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}}


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _own_paths(host: Host) -> dict[str, Any]:
    health = _operation(
        "health",
        "Whether it lives, whether it takes work, and why not; 503 where it does not.",
        200,
        {"$ref": "#/components/schemas/Health"},
        also=(503,),
    )
    paths: dict[str, Any] = {
        "/health": {"get": health},
        "/v1/status": {"get": _operation("status", "What STATUS tells.", 200, _OBJECT)},
        "/v1/events": {"get": _events()},
        "/v1/logs": {"get": _logs(list(host.logs()))},
        "/v1/rates": {
            "get": _operation("rates", "Calls in each second of the last two minutes.", 200, _OBJECT)
        },
        "/metrics": {
            "get": _operation(
                "metrics", "In the formats of Prometheus.", 200, {"type": "string"}, media="text/plain"
            )
        },
        "/openapi.json": {"get": _operation("openapi", "This document.", 200, _OBJECT)},
    }
    done = {"$ref": "#/components/schemas/Done"}
    for word, summary in _commands(host):
        status = 202 if word == "stop" else 200
        paths[f"/v1/{word}"] = {"post": _operation(word, summary, status, done)}
    return paths


def _commands(host: Host) -> Iterable[tuple[str, str]]:
    if host.kind != "home":
        yield "pause", "Stop the work; requests are answered. Pausing a paused daemon changes nothing."
        yield "resume", "Work again. Resuming a running daemon changes nothing."
    yield "reload", "Read the configuration again; a bad one changes nothing."
    yield "stop", "Begin to end; the response comes at once."


def _events() -> dict[str, Any]:
    return _operation(
        "events",
        "The present state, then each change and each call.",
        200,
        {"type": "string"},
        media=EVENTS,
        query=(
            _query(
                "topics", {"type": "string", "enum": ["state", "call", "state,call"]}, "The events to send."
            ),
            _query("parameters", {"type": "boolean"}, "Whether events of calls have the parameters."),
        ),
    )


def _logs(services: list[str]) -> dict[str, Any]:
    made = _operation(
        "logs",
        "The log's lines; with `follow`, as server-sent events, and each new one.",
        200,
        {
            "type": "object",
            "properties": {"lines": {"type": "array", "items": _OBJECT}},
            "required": ["lines"],
        },
        query=(
            _query(
                "lines",
                {"type": "integer", "minimum": 0, "maximum": HTTP_LOG_LINES},
                "How many at most, the last ones; 0 for all.",
            ),
            _query("level", {"type": "string", "enum": list(LEVELS)}, "The least level."),
            _query(
                "since", {"type": "string", "pattern": "^[0-9]{1,9}[smhdw]$"}, "How old, as 90s, 30m, 2d."
            ),
            _query("grep", {"type": "string", "maxLength": 200}, "Text that a line has in it."),
            _query("follow", {"type": "boolean"}, "Whether to go on."),
            *(
                (
                    _query(
                        "service",
                        {"type": "string", "enum": [EVERY, *services]},
                        "Of a service, or of all (*).",
                    ),
                )
                if services
                else ()
            ),
        ),
    )
    made["responses"]["200"]["content"][EVENTS] = {"schema": {}}
    return made


def _add_interface(where: Described, paths: dict[str, Any], components: dict[str, Any]) -> None:
    described: dict[str, idl.MethodDescription] = {}
    for member in where.interface.members:
        if isinstance(member, idl.TypeAlias):
            components[component_name(where.name, member.name)] = of_type(member.type, where.name)
        elif isinstance(member, idl.MethodDescription):
            described[member.name] = member
    for name, method in where.methods.items():
        if is_callable(method):
            paths[f"/v1/call/{where.name}/{name}"] = {"post": _method(where.name, method, described[name])}


def _method(interface: str, method: Method, described: idl.MethodDescription) -> dict[str, Any]:
    reply: Any = {"type": "string"} if method.streams else of_struct(described.reply, interface)
    made = _operation(
        f"{interface}.{method.name}",
        (described.doc or method.name).splitlines()[0],
        200,
        reply,
        media=EVENTS if method.streams else "application/json",
    )
    made["tags"] = [interface]
    if described.doc:
        made["description"] = described.doc
    body = of_struct(described.parameters, interface, closed=True)
    made["requestBody"] = {
        "required": "required" in body,
        "content": {"application/json": {"schema": body}},
    }
    return made

"""JSON Schemas of tools: read once, compiled once, and asked whether a value fits.

Owns the compiled validators, which are kept with the tool.  References are followed within a schema and to
the known dialects, never over the network.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mcp_cli import bounded
from mcp_cli.pool.results import brief
from mcp_cli.pool.tools import ListedTool

TOO_LONG: Final = f"the output schema cannot be used: {bounded.TookTooLong()}"


def input_schema(tool: ListedTool) -> dict[str, Any]:
    """Return a tool's input schema; an open one where it has none that can be understood."""
    if tool.schema is None:
        try:
            tool.schema = msgspec.json.decode(tool.input_schema, type=dict[str, Any])
        except msgspec.MsgspecError:
            tool.schema = {"type": "object"}
    schema: dict[str, Any] = tool.schema
    return schema


def output_fault(tool: ListedTool, structured: bytes) -> str:
    """Return how a result's `structuredContent` breaks the tool's output schema; "" if it does not.

    Args:
        tool: which was called.
        structured: JSON; empty if there is none.
    """
    if not tool.output_schema or bytes(tool.output_schema) == b"null":
        return ""
    if tool.validator is False:
        return TOO_LONG
    if not structured:
        return "the tool has an output schema, and its result has no structuredContent"
    from jsonschema import SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        with bounded.in_time():
            if tool.validator is None:
                schema = msgspec.json.decode(tool.output_schema)
                kind = validator_for(schema)
                kind.check_schema(schema)
                tool.validator = kind(schema, registry=Registry())
            error = best_match(tool.validator.iter_errors(msgspec.json.decode(structured)))
    except bounded.TookTooLong:
        tool.validator = False  # until the list is read again
        return TOO_LONG
    except (SchemaError, Unresolvable, msgspec.MsgspecError) as fault:
        return f"the output schema cannot be used: {brief(fault)}"
    if error is None:
        return ""
    return brief(f"{error.json_path}: {error.message}")

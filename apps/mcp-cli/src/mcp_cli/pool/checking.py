"""A tool call before it is sent: the tool found, the arguments read and checked.

Owns the refusals and their reasons.  The remembered list refuses nothing: the server's list is read again
first.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from daemonry.spelling import nearest
from mcp_cli.pool import arguments as arguments_
from mcp_cli.pool.definitions import pins, schemas
from mcp_cli.pool.server import ManagedServer
from mcp_cli.pool.tools import ListedTool
from mcp_cli.protocol.interfaces import (
    BadArguments,
    Filtered,
    NeedsAuthorization,
    NoSuchTool,
    ServerFailed,
)


async def tool_of(kept: ManagedServer, name: str) -> ListedTool:
    """Return a server's tool.

    Raises:
        NoSuchTool, Filtered: it has none of that name, also now, or the configuration hides it.
        ServerFailed, NeedsAuthorization: it cannot be asked.
    """
    began = time.monotonic()
    tools = await kept.lists.tools()
    if name not in tools and kept.lists.read_at_s < began:
        tools = await kept.lists.tools(anew=True)
    found = tools.get(name)
    if found is None:
        near = nearest(name, (one.name for one in tools.values() if not one.hidden))
        raise NoSuchTool(server=kept.server.name, tool=name, nearest=near)
    if found.hidden:
        raise Filtered(server=kept.server.name, tool=name, rule=found.hidden)
    return found


async def checked(  # as a call has them
    kept: ManagedServer, name: str, text: str, words: list[str] | None, *, check: bool, pin: str = ""
) -> tuple[ListedTool, dict[str, Any]]:
    """Return a tool and the arguments for it; its list is read again before they are refused.

    Args:
        kept: the server.
        name: the tool's.
        text: the arguments as JSON.
        words: instead of them, `key=value` and the like.
        check: whether they are checked against the tool's schema.
        pin: the schemas that the tool has to have, as JSON; "" for any.

    Raises:
        NoSuchTool, Filtered, BadArguments: nothing was sent.
    """
    began = time.monotonic()
    if pin:
        await kept.lists.tools(anew=True)  # the remembered list may be old
    found = await tool_of(kept, name)
    _hold_to(kept, found, pin)
    try:
        return found, _arguments(kept, found, text, words, check=check)
    except BadArguments:
        if kept.lists.read_at_s >= began:
            raise
        with contextlib.suppress(ServerFailed, NeedsAuthorization):
            await kept.lists.tools(anew=True)
        newer = await tool_of(kept, name)
        _hold_to(kept, newer, pin)
        if bytes(newer.input_schema) == bytes(found.input_schema):
            raise
        return newer, _arguments(kept, newer, text, words, check=check)


def _hold_to(kept: ManagedServer, tool: ListedTool, pin: str) -> None:
    """Refuse a tool whose schemas are not the pinned ones.

    Raises:
        BadArguments: they differ, or the pin is not JSON.
    """
    if not pin:
        return
    try:
        pinned = json.loads(pin)
        changes = pins.difference(pinned, json.loads(tool.raw)) if isinstance(pinned, dict) else "no object"
    except (ValueError, RecursionError) as error:
        changes = str(error)
    if changes:
        reason = f"the tool is not as it was pinned: {changes}"
        raise BadArguments(server=kept.server.name, tool=tool.name, parameter="", reason=reason, nearest="")


def _arguments(
    kept: ManagedServer, tool: ListedTool, text: str, words: list[str] | None, *, check: bool
) -> dict[str, Any]:
    """Return a call's arguments.

    Raises:
        BadArguments: they are not a JSON object, or do not fit the tool's schema.
    """
    schema = schemas.input_schema(tool)
    try:
        if words is not None:
            given = arguments_.coerce(words, schema)
        else:
            # The standard library's parser: integers of any length come through.
            given = json.loads(text)
            if not isinstance(given, dict):
                raise arguments_.Bad("", f"the arguments must be a JSON object, not {text[:40]}")
        if check:
            if tool.checks is None:
                tool.checks = arguments_.validator_in_time(schema)
            if not arguments_.check(given, schema, tool.checks):
                tool.checks = False  # until the list is read again
    except arguments_.Bad as error:
        raise BadArguments(
            server=kept.server.name,
            tool=tool.name,
            parameter=error.parameter,
            reason=error.reason,
            nearest=error.nearest,
        ) from None
    except ValueError as error:
        raise BadArguments(
            server=kept.server.name,
            tool=tool.name,
            parameter="",
            reason=f"the arguments are not JSON: {error}",
            nearest="",
        ) from None
    return given


def meta_of(text: str) -> dict[str, Any]:
    """Return the `_meta` of a call's params, empty where the text is not a JSON object."""
    if not text:
        return {}
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return {"_meta": found}
    return {}

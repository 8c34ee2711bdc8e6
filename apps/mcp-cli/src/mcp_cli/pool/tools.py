"""What servers list: tools, resources, templates, prompts, each read out of its JSON.

Owns the shapes.  When they are asked for is `lists`'s.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import msgspec

from mcp_cli.pool.results import sendable, text_of
from mcp_cli.protocol.interfaces import Item


class ListedTool(msgspec.Struct):
    """A tool, as the server lists it; `checks` and `validator` are its compiled schemas, once needed."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: msgspec.Raw = msgspec.field(name="inputSchema", default=msgspec.Raw(b""))
    output_schema: msgspec.Raw = msgspec.field(name="outputSchema", default=msgspec.Raw(b""))
    raw: bytes = b""
    hidden: str = ""
    schema: Any = None
    checks: Any = None
    validator: Any = None


class _Entry(msgspec.Struct):
    name: str = ""
    title: str | None = None
    description: str | None = None
    uri: str = ""
    uri_template: str = msgspec.field(name="uriTemplate", default="")


class RawTool(msgspec.Struct):
    """A tool in the JSON of `tools/list`."""

    name: str
    title: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = msgspec.field(name="inputSchema", default=msgspec.Raw(b""))
    output_schema: msgspec.Raw = msgspec.field(name="outputSchema", default=msgspec.Raw(b""))


# By the method that lists it: the key of the list, and the capability without which there is none.
LISTS: Final = {
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resourceTemplates", "resources"),
    "prompts/list": ("prompts", "prompts"),
}


def item_of(raw: bytes, *, detail: bool) -> Item:
    """Return one entry of a list, under the name by which clients ask for it."""
    with contextlib.suppress(msgspec.ValidationError):
        read = msgspec.json.decode(raw, type=_Entry)
        title = read.title or (read.name if read.uri or read.uri_template else "")
        return Item(
            sendable(read.uri or read.uri_template or read.name),
            sendable(title),
            sendable(read.description or ""),
            text_of(raw) if detail else "",
        )
    return Item("", "", "", text_of(raw) if detail else "")

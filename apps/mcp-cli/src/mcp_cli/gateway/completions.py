"""`completion/complete`: which server is asked how a value may go on.

Owns the way from a client's reference to a server's prompt or template.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from mcp_cli.client.warm import Warm
from mcp_cli.gateway.catalog import Catalog
from mcp_cli.gateway.faults import INTERNAL_ERROR, INVALID_PARAMS, Fault


async def complete(catalog: Catalog, warm: Warm, params: Mapping[str, Any]) -> str:
    """Return the JSON of a completion's result.

    Raises:
        Fault: there is no such prompt or template.
        CallFailed: the server cannot be asked, or refuses.
    """
    ref, argument = params["ref"], params["argument"]
    given = {
        "argument": argument["name"],
        "value": argument["value"],
        "context": (params.get("context") or {}).get("arguments") or {},
    }
    if ref.get("type") == "ref/prompt":
        server, given["prompt"] = await catalog.meant(ref["name"], "prompt")
        return await _completed(warm, server, given)
    given["uri"] = ref["uri"]
    for server, entry in await catalog.listed("Templates"):
        if entry.get("uriTemplate") == ref["uri"]:
            return await _completed(warm, server, given)
    raise Fault(INVALID_PARAMS, f"there is no resource template {ref['uri']}")


async def _completed(warm: Warm, server: str, given: dict[str, Any]) -> str:
    async with contextlib.aclosing(warm.stream("Complete", server, given)) as replies:
        async for reply in replies:
            return str(reply["result"])
    raise Fault(INTERNAL_ERROR, "no answer")

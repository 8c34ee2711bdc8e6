"""`--schema FILE`: the definition of a tool as it was, which a call asks to be still the same.

The file is what `tool SERVER/TOOL --json` printed, or a list with that tool in it.  Owns the reading.
"""

from __future__ import annotations

import json
from typing import Any, Final

from daemonry import errors, read_regular

MAX_FILE_BYTES: Final = 16 << 20


def read(path: str, tool: str) -> str:
    """Return the schemas that a file pins for a tool, as a JSON object.

    Raises:
        ArgumentInvalid: the file cannot be read, or has no schema of this tool.
    """
    try:
        found = json.loads(read_regular(path, MAX_FILE_BYTES).decode())
    except (OSError, errors.DaemonryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise errors.ArgumentInvalid(path, f"cannot be read: {reason}") from None
    except (ValueError, RecursionError) as error:
        raise errors.ArgumentInvalid(path, f"is not JSON: {error}") from None
    if isinstance(found, dict) and isinstance(found.get("tools"), list):
        found = found["tools"]
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, dict) and one.get("name") == tool and isinstance(one.get("inputSchema"), dict):
            return json.dumps(_schemas(one))
    raise errors.ArgumentInvalid(
        path, f"has no schema of {tool}: it is what mcp-cli tool SERVER/{tool} --json prints"
    )


def _schemas(definition: dict[str, Any]) -> dict[str, Any]:
    return {key: definition[key] for key in ("inputSchema", "outputSchema") if key in definition}

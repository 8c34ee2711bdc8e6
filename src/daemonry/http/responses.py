"""Responses of JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from daemonry import strict_json


def json_response(fields: Any, status: int = 200) -> Response:
    """Return a response of JSON."""
    return Response(strict_json.encode(fields).encode("utf-8"), status, media_type="application/json")

"""FastAPI on uvicorn over a Unix socket (httptools, uvloop), asked by http.client."""

from __future__ import annotations

from typing import Any

import fastapi
import uvicorn
from question import answer
from uvicorn_uds import Client

__all__ = ["Client", "serve"]

_app = fastapi.FastAPI()


@_app.get("/status")
async def _status() -> dict[str, Any]:
    return answer()


def serve(path: str) -> None:
    """Answer, for ever."""
    uvicorn.run(
        _app,
        uds=path,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="error",
        backlog=4096,
    )

"""Where the answer to a server's question goes: to the daemon, or to the pool of this process.

It goes by a connection of its own, since the call's own waits for the result.
"""

from __future__ import annotations

from typing import Any

from mcp_cli.client import connect
from mcp_cli.names import INTERFACE

# In direct mode the pool itself gets the answers; `session` sets it.
_direct: Any = None


def answer_by(pool: Any) -> None:
    """Send the answers to a pool in this process."""
    global _direct  # noqa: PLW0603  # one command, one pool
    _direct = pool


def send(question: Any, answer: str) -> None:
    """Send the answer to a question, "" for a refusal; nothing is sent where no daemon listens any more.

    Args:
        question: the `id` of its event.
        answer: JSON, or "".

    Raises:
        CallFailed: the call did not wait for it any longer.
    """
    client = _direct if _direct is not None else connect.try_connect()
    if client is None:
        return
    try:
        client.call(f"{INTERFACE}.Answer", {"id": question, "result": answer})
    finally:
        if client is not _direct:
            client.close()

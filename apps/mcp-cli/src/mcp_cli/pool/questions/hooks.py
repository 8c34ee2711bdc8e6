"""A command of the configuration that answers a server's question.

It reads one JSON object, `{"server", "tool", "method", "params"}`, and writes the answer: for a form its
content or a whole result with `action`, for sampling a text or a whole result; nothing is a refusal.  Owns
the process, its deadline and its bound; a process that hangs is killed with all that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from typing import Any, Final

from mcp_cli.pool.results import brief

MAX_ANSWER_BYTES: Final = 4 << 20
# Of its standard error, for the reason of a failure.
MAX_STDERR_BYTES: Final = 1 << 16


class HookFailed(Exception):
    """The command gave no answer; its text says why."""


def question(server: str, tool: str, method: str, params: str) -> bytes:
    """Return what the command reads."""
    head = json.dumps({"server": server, "tool": tool, "method": method})
    return f'{head[:-1]}, "params": {params}}}\n'.encode()


async def run(command: Sequence[str], given: bytes, timeout_s: float) -> str:
    """Run a command, and return what it wrote.

    Raises:
        HookFailed: it cannot be started, hangs, fails, or writes too much.
    """
    name = os.path.basename(command[0])
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HookFailed(f"{name} cannot be started: {reason}") from None
    try:
        async with asyncio.timeout(timeout_s):
            _, out, err = await asyncio.gather(
                _write(process, given), _read(process.stdout, MAX_ANSWER_BYTES, name), _tail(process.stderr)
            )
            code = await process.wait()
    except TimeoutError:
        raise HookFailed(f"{name} gave no answer within {timeout_s:g} s and was killed") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code != 0:
        last = brief(err.strip().splitlines()[-1]) if err.strip() else "nothing on standard error"
        raise HookFailed(f"{name} failed with {code}: {last}")
    return out


async def _write(process: asyncio.subprocess.Process, given: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()


async def _read(stream: asyncio.StreamReader | None, limit: int, name: str) -> str:
    assert stream is not None
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise HookFailed(f"{name} wrote more than {limit} bytes")
    return b"".join(parts).decode("utf-8", "replace")


async def _tail(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    last = b""
    while part := await stream.read(1 << 16):
        last = (last + part)[-MAX_STDERR_BYTES:]
    return last.decode("utf-8", "replace")


def elicited(said: str) -> str | None:
    """Return the result of `elicitation/create` that a command's output stands for; None for a refusal.

    Raises:
        HookFailed: it is neither.
    """
    if not said.strip():
        return None
    answer = _object(said)
    if answer is None:
        raise HookFailed(f"{brief(said, 60)!r} is no JSON object")
    return json.dumps(answer if "action" in answer else {"action": "accept", "content": answer})


def sampled(said: str) -> str | None:
    """Return the result of `sampling/createMessage` that an output stands for; None for a refusal."""
    if not said.strip():
        return None
    answer = _object(said)
    if answer is None or "content" not in answer:
        answer = {"content": {"type": "text", "text": said.rstrip("\n")}}
    usual = {"role": "assistant", "model": "a command", "stopReason": "endTurn"}
    return json.dumps({**usual, **answer})


def _object(said: str) -> dict[str, Any] | None:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

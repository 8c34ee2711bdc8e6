"""A command of the configuration that answers a server's question.

It reads one JSON object, `{"server", "tool", "method", "params"}`, and writes the answer: for a form its
content or a whole result with `action`, for sampling a text or a whole result; nothing is a refusal.  Owns
the process, its deadline and its bound; a process that hangs is killed with all that it started.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Sequence
from typing import IO, Any, Final

from daemonry import Owned, spawn_owned
from mcp_cli.pool import processes
from mcp_cli.pool.arguments import Bad
from mcp_cli.pool.questions import forms
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
    child = await _started(command, name)
    pipes: list[asyncio.BaseTransport] = []
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await _reader(child.stdout, pipes), await _reader(child.stderr, pipes)
            await _write(child, given, pipes)
            out, err = await asyncio.gather(_read(output, MAX_ANSWER_BYTES, name), _tail(errors))
            code = await child.wait_ended()
    except TimeoutError:
        raise HookFailed(f"{name} gave no answer within {timeout_s:g} s and was killed") from None
    finally:
        for pipe in pipes:
            pipe.close()
        await asyncio.shield(asyncio.to_thread(processes.end_all, child))
    if code != 0:
        last = brief(err.strip().splitlines()[-1]) if err.strip() else "nothing on standard error"
        raise HookFailed(f"{name} failed with {code}: {last}")
    return out


async def _started(command: Sequence[str], name: str) -> Owned:
    """Start the command; a caller that goes meanwhile leaves no process."""
    pipe = subprocess.PIPE
    start = asyncio.get_running_loop().run_in_executor(
        None, lambda: spawn_owned(list(command), stdin=pipe, stdout=pipe, stderr=pipe)
    )
    try:
        return await asyncio.shield(start)
    except asyncio.CancelledError:
        start.add_done_callback(lambda done: done.exception() or done.result().kill())
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HookFailed(f"{name} cannot be started: {reason}") from None


async def _reader(pipe: IO[bytes] | None, pipes: list[asyncio.BaseTransport]) -> asyncio.StreamReader:
    assert pipe is not None
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    pipes.append(transport)
    return reader


async def _write(child: Owned, given: bytes, pipes: list[asyncio.BaseTransport]) -> None:
    """Hand the command what it reads; it need not read it."""
    assert child.stdin is not None
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, child.stdin)
    pipes.append(transport)
    transport.write(given)
    transport.write_eof()


async def _read(stream: asyncio.StreamReader, limit: int, name: str) -> str:
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise HookFailed(f"{name} wrote more than {limit} bytes")
    return b"".join(parts).decode("utf-8", "replace")


async def _tail(stream: asyncio.StreamReader) -> str:
    last = b""
    while part := await stream.read(1 << 16):
        last = (last + part)[-MAX_STDERR_BYTES:]
    return last.decode("utf-8", "replace")


def elicited(said: str, params: str) -> str | None:
    """Return the result of `elicitation/create` that a command's output stands for; None for a refusal.

    Args:
        said: the output.
        params: of the question, JSON.

    Raises:
        HookFailed: it is neither, or does not fit the form.
    """
    if not said.strip():
        return None
    answer = _object(said)
    if answer is None:
        raise HookFailed(f"{brief(said, 60)!r} is not a JSON object")
    try:
        return json.dumps(forms.result_of(answer, _object(params) or {}))
    except Bad as bad:
        raise HookFailed(f"its answer does not fit: {bad}") from None


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

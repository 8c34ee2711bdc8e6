"""`mcp-cli record` and `replay`: an exchange captured, then served again without the server.

Owns the file: JSON lines, one message each, with who sent it and when.  `record` stands as an MCP server
before a configured one; `replay` is an MCP server that knows nothing but the file.  A request is answered as
the same one was in the recording (method and parameters; not its id and `_meta`), with the notifications
that came before the answer; asked more often than recorded, it is answered as the last time.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import stat
import sys
import time
from typing import Any, BinaryIO, TextIO

from daemonry.cli import kit
from mcp_cli.client.options import Options
from mcp_cli.config.given_files import read_given
from mcp_cli.names import NAME

HEAD = {"mcp-cli": "recording", "version": 1}
NOT_RECORDED = -32001
# All of it is held in memory.
MAX_RECORDING_BYTES = 1 << 28


class Unreadable(Exception):
    """The file is not a recording; its text says why, with the line."""


def record(options: Options, path: str, server: str) -> int:
    """Stand before a server and write down what passes, until the client goes; return the exit code.

    Args:
        options: which configuration, which mode.
        path: the file that is written, mode 0600; one that is there is replaced.
        server: the server's name.
    """
    from mcp_cli.gateway import serve

    try:
        # Not waiting for a reader: without one, a named pipe cannot be written.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        os.set_blocking(fd, True)
        if stat.S_ISREG(os.fstat(fd).st_mode):  # one that was there has a mode of its own
            os.fchmod(fd, 0o600)
    except OSError as error:
        kit.complain(f"{NAME}: {path} cannot be written: {error.strerror}")
        return kit.FAILED
    began = time.monotonic()
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        _write(file, HEAD)

        def tell(who: str, line: str) -> None:
            at = round(time.monotonic() - began, 6)
            try:
                _write(file, {"at": at, "from": who, "message": json.loads(line)})
            except (ValueError, RecursionError):
                _write(file, {"at": at, "from": who, "text": line})

        try:
            asyncio.run(serve.on_stdio(options, [server], tell))
        except KeyboardInterrupt:
            pass
    return 0


def _write(file: TextIO, value: Any) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
    file.flush()


class Recording:
    """The requests of a recording, and their answers.

    Args:
        lines: of the file.

    Raises:
        Unreadable: it is not a recording.
    """

    def __init__(self, lines: list[str]) -> None:
        self._answers: dict[str, collections.deque[list[dict[str, Any]]]] = {}
        self._methods: dict[str, str] = {}
        if not lines:
            raise Unreadable("holds no recording: it is empty")
        self._read(lines)

    def _read(self, lines: list[str]) -> None:
        asked: dict[str, tuple[str, dict[str, Any]]] = {}
        before: list[dict[str, Any]] = []
        for number, line in enumerate(lines, 1):
            entry = _entry(number, line)
            for message in _messages(entry.get("message")):
                if entry.get("from") == "client":
                    if "method" in message and "id" in message:
                        asked[json.dumps(message["id"])] = (key_of(message), message)
                elif "method" in message:
                    if "id" not in message:
                        before.append(message)
                elif (found := asked.pop(json.dumps(message.get("id")), None)) is not None:
                    key, request = found
                    token = _token(request)
                    own = [one for one in before if _belongs(one, token)]
                    before = [one for one in before if one not in own]
                    self._answers.setdefault(key, collections.deque()).append([*own, message])
                    self._methods[key] = str(request["method"])

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the messages that answer a request, for its own id and progress token."""
        key = key_of(request)
        taken = self._answers.get(key)
        if taken is None and request.get("method") in ("initialize", "ping"):
            if request["method"] == "ping":
                return [{"jsonrpc": "2.0", "id": request["id"], "result": {}}]
            same = [known for known, method in self._methods.items() if method == "initialize"]
            taken = self._answers[same[0]] if same else None
        if not taken:
            known = ", ".join(
                sorted({key for key in self._answers if key.startswith(f"{request.get('method')} ")})
            )
            hint = f"; recorded are: {known[:400]}" if known else ""
            message = f"this is not in the recording: {key[:200]}{hint}"
            return [
                {"jsonrpc": "2.0", "id": request["id"], "error": {"code": NOT_RECORDED, "message": message}}
            ]
        messages = taken.popleft() if len(taken) > 1 else taken[0]
        return [_for_request(one, request) for one in messages]


def _entry(number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        if number > 1:
            raise Unreadable(f"line {number}: {error}") from None
        entry = None
    if number == 1 and (not isinstance(entry, dict) or "mcp-cli" not in entry):
        raise Unreadable("line 1: this is not a recording of mcp-cli")
    return entry if isinstance(entry, dict) else {}


def _messages(value: Any) -> list[dict[str, Any]]:
    """Return the messages of a line: one, or those of a batch."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def key_of(request: dict[str, Any]) -> str:
    """Return what makes a request the same as another."""
    params = {name: value for name, value in (request.get("params") or {}).items() if name != "_meta"}
    if request.get("method") == "initialize":
        params = {}  # another client's name, and another revision, change nothing that is recorded
    return f"{request.get('method')} {json.dumps(params, sort_keys=True, ensure_ascii=False)}"


def _token(request: dict[str, Any]) -> Any:
    return ((request.get("params") or {}).get("_meta") or {}).get("progressToken")


def _belongs(notification: dict[str, Any], token: Any) -> bool:
    if notification.get("method") != "notifications/progress":
        return True
    return bool((notification.get("params") or {}).get("progressToken") == token)


def _for_request(message: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    if "method" not in message:
        return {**message, "id": request["id"]}
    if message["method"] == "notifications/progress":
        return {**message, "params": {**message["params"], "progressToken": _token(request)}}
    return message


def replay(path: str) -> int:
    """Be the server of a recording, on the standard streams, and return the exit code."""
    try:
        recording = Recording(read_given(path, MAX_RECORDING_BYTES).decode().splitlines())
    except OSError as error:
        kit.complain(f"{NAME}: {path} cannot be read: {error.strerror}")
        return kit.FAILED
    except (Unreadable, UnicodeDecodeError) as error:
        kit.complain(f"{NAME}: {path}: {error}")
        return kit.FAILED
    try:
        _serve(recording, sys.stdin.buffer, sys.stdout.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    return 0


def _serve(recording: Recording, requests: BinaryIO, replies: BinaryIO) -> None:
    for line in requests:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        answers = []
        for request in _messages(message):
            if "method" not in request or "id" not in request:
                continue
            for one in recording.answer(request):
                if "method" not in one:
                    answers.append(one)
                elif one["method"] != "notifications/progress" or _token(request) is not None:
                    _reply(replies, one)
        if answers:
            _reply(replies, answers if isinstance(message, list) else answers[0])
        replies.flush()


def _reply(replies: BinaryIO, value: Any) -> None:
    replies.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")

#!/usr/bin/env python3
"""A model on loopback that answers as a file of steps says, and counts its requests.

    fake_model.py PORT LOG STEP...

Speaks Anthropic's Messages, OpenAI's Responses and chat completions, and Gemini's.  Each request of a model
takes the next step; the last one repeats.  Steps: `ok`, `tool=COMMAND`, `limit=SECONDS` (a subscription's
limit), `overloaded`, `context`, `hang`, `torn` (an answer that breaks off).  A first step `quota=SECONDS` is
about Codex's account: for so long it tells that its limit is used up.  LOG gets a JSON line for each
request: when, which step, when its limit ends, and how many tools it offers; those that offer none are the
agents' own small ones, for titles and the like, and take no step; but opencode's summary takes a `context`.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

HANG_S: Final = 600
ANSWER: Final = "Done. (fake answer)"

_lock = threading.Lock()
_steps: list[str] = []
_log_path = ""
_quota_ends_s = 0.0


def usage() -> dict[str, Any]:
    """Return what ChatGPT's service tells Codex of a limit of five hours, and log that it was asked."""
    with _lock, open(_log_path, "a", encoding="utf-8") as log:
        log.write(json.dumps({"at_s": time.time(), "dialect": "usage", "step": "usage", "tools": 0}) + "\n")
    left_s = int(_quota_ends_s - time.time())
    window = {
        "used_percent": 100 if left_s > 0 else 3, "limit_window_seconds": 18000,
        "reset_after_seconds": max(0, left_s), "reset_at": int(_quota_ends_s),
    }  # fmt: skip
    limits = {"allowed": left_s <= 0, "limit_reached": left_s > 0, "primary_window": window}
    return {"plan_type": "plus", "rate_limit": limits}


def next_step(dialect: str, request: dict[str, Any]) -> str:
    """Take the next step for a request, and count it.  One without tools takes none."""
    tools = len(request.get("tools") or [])
    with _lock, open(_log_path, "a", encoding="utf-8") as log:
        takes = tools or (dialect == "chat" and _steps[0] == "context")
        step = (_steps.pop(0) if len(_steps) > 1 else _steps[0]) if takes else "ok"
        line: dict[str, Any] = {"at_s": time.time(), "dialect": dialect, "step": step, "tools": tools}
        if step.startswith("limit="):
            line["resets_at_s"] = int(time.time()) + int(step.partition("=")[2])
            step = f"limit={line['resets_at_s']}"
        log.write(json.dumps(line) + "\n")
    return step


class Handler(BaseHTTPRequestHandler):
    """One connection of an agent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Agents ask whether somebody is there."""
        self._send(200, {})

    def do_GET(self) -> None:
        """No list of models, no profile: agents go on without."""
        if self.path.endswith("/wham/usage"):
            self._send(200, usage())
            return
        self._send(404, {"error": {"type": "not_found_error", "message": "no such thing"}})

    def do_POST(self) -> None:
        """A request of a model, or something that agents do without."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        request = json.loads(body or b"{}")
        if path.endswith("/v1/messages"):
            self._answer(next_step("messages", request), request, Messages())
        elif path.endswith("/responses"):
            self._answer(next_step("responses", request), request, Responses())
        elif path.endswith("/chat/completions"):
            self._answer(next_step("chat", request), request, Chat())
        elif "enerateContent" in path:
            request["stream"] = "stream" in path
            self._answer(next_step("gemini", request), request, Gemini())
        elif path.endswith("count_tokens"):
            self._send(200, {"input_tokens": 10})
        else:
            self.do_GET()

    def _answer(self, step: str, request: dict[str, Any], dialect: Dialect) -> None:
        kind, _, argument = step.partition("=")
        if kind == "hang":
            time.sleep(HANG_S)
        elif kind in ("limit", "overloaded", "context"):
            self._send(*dialect.fault(kind, argument))
        elif request.get("stream"):
            self._stream(dialect.events(kind, argument, request), torn=kind == "torn")
        else:
            self._send(200, dialect.whole(request))

    def _send(self, code: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Iterator[dict[str, Any]], *, torn: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
            if torn:
                self.connection.shutdown(socket.SHUT_RDWR)
                break
        self.close_connection = True


class Messages:
    """Anthropic's Messages, as a subscription sees them."""

    def fault(self, kind: str, argument: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, body and headers of what goes wrong."""
        if kind == "overloaded":
            return 529, _error("overloaded_error", "Overloaded"), {}
        if kind == "context":
            return (
                400,
                _error("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
                {},
            )
        unified = "anthropic-ratelimit-unified-"
        headers = {
            "retry-after": str(max(1, int(argument) - int(time.time()))),
            f"{unified}status": "rejected",
            f"{unified}reset": argument,
            f"{unified}representative-claim": "five_hour",
            f"{unified}5h-status": "rejected",
            f"{unified}5h-reset": argument,
            f"{unified}5h-utilization": "1.0",
            f"{unified}overage-status": "rejected",
            f"{unified}overage-disabled-reason": "org_level_disabled",
        }
        return (
            429,
            _error("rate_limit_error", "This request would exceed your account's rate limit."),
            headers,
        )

    def whole(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return an answer in one piece."""
        content = [{"type": "text", "text": ANSWER}]
        return {**self._message(request), "content": content, "stop_reason": "end_turn"}

    def events(self, kind: str, argument: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield an answer in pieces."""
        yield {"type": "message_start", "message": self._message(request)}
        if kind == "tool":
            block: dict[str, Any] = {"type": "tool_use", "id": _id("toolu"), "name": "Bash", "input": {}}
            given = json.dumps({"command": argument, "description": "fake"})
            delta = {"type": "input_json_delta", "partial_json": given}
        else:
            block = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": ANSWER}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        reason = "tool_use" if kind == "tool" else "end_turn"
        end = {"stop_reason": reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}}
        yield {"type": "message_stop"}

    def _message(self, request: dict[str, Any]) -> dict[str, Any]:
        usage = {"input_tokens": 10, "output_tokens": 1}
        return {
            "id": _id("msg"), "type": "message", "role": "assistant", "model": request.get("model"),
            "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip


class Responses:
    """OpenAI's Responses, as Codex sees them."""

    def fault(self, kind: str, argument: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, body and headers of what goes wrong."""
        if kind == "overloaded":
            return 503, {"error": {"type": "server_error", "code": "server_is_overloaded"}}, {}
        if kind == "context":
            return 400, {"error": {"type": "invalid_request_error", "code": "context_length_exceeded"}}, {}
        headers = {
            "x-codex-primary-used-percent": "100.0",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": argument,
        }
        error = {"type": "usage_limit_reached", "plan_type": "plus", "resets_at": int(argument)}
        return 429, {"error": error}, headers

    def whole(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return an answer in one piece."""
        return {"id": _id("resp"), "model": request.get("model"), "output": [self._item("ok", "")]}

    def events(self, kind: str, argument: str, _: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield an answer in pieces."""
        response = {"id": _id("resp")}
        yield {"type": "response.created", "response": response}
        yield {"type": "response.output_item.done", "item": self._item(kind, argument)}
        usage = {
            "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15,
        }  # fmt: skip
        yield {"type": "response.completed", "response": {**response, "usage": usage}}

    def _item(self, kind: str, argument: str) -> dict[str, Any]:
        if kind == "tool":
            given = json.dumps({"cmd": argument})
            return {
                "type": "function_call",
                "call_id": _id("call"),
                "name": "exec_command",
                "arguments": given,
            }
        content = [{"type": "output_text", "text": ANSWER}]
        return {"type": "message", "role": "assistant", "id": _id("m"), "content": content}


class Chat:
    """OpenAI's chat completions, as opencode's compatible provider sees them."""

    def fault(self, kind: str, argument: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, body and headers of what goes wrong."""
        if kind == "overloaded":
            return 503, {"error": {"type": "server_error", "message": "The server is overloaded."}}, {}
        if kind == "context":
            words = "Your input exceeds the context window of this model."
            return 400, {"error": {"code": "context_length_exceeded", "message": words}}, {}
        wait = str(max(1, int(argument) - int(time.time())))
        return (
            429,
            {"error": {"code": "rate_limit_exceeded", "message": "Rate limit."}},
            {"retry-after": wait},
        )

    def whole(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return an answer in one piece."""
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**self._base(request), "object": "chat.completion", "choices": [choice]}

    def events(self, kind: str, argument: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield an answer in pieces."""
        delta: dict[str, Any] = {"role": "assistant", "content": ANSWER}
        if kind == "tool":
            given = json.dumps({"command": argument, "description": "fake"})
            call = {"name": "bash", "arguments": given}
            delta = {
                "role": "assistant",
                "tool_calls": [{"index": 0, "id": _id("c"), "type": "function", "function": call}],
            }
        base = self._base(request)
        yield {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        reason = "tool_calls" if kind == "tool" else "stop"
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}

    def _base(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": _id("c"),
            "object": "chat.completion.chunk",
            "created": 1,
            "model": request.get("model"),
        }


class Gemini:
    """Gemini's generateContent."""

    def fault(self, kind: str, argument: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Return status, body and headers of what goes wrong; a limit is one that is not waited for."""
        if kind == "overloaded":
            return 503, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded."}}, {}
        if kind == "context":
            words = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": words}}, {}
        kind_of = "type.googleapis.com/google.rpc.ErrorInfo"
        info = {"@type": kind_of, "reason": "QUOTA_EXHAUSTED", "domain": "cloudcode-pa.googleapis.com"}
        words = "You exceeded your current quota, please check your plan and billing details. Please retry in"
        told = f"{words} {max(1, int(argument) - int(time.time()))}s."
        error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": told, "details": [info]}
        return 429, {"error": error}, {}

    def whole(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return an answer in one piece."""
        return next(self.events("ok", "", request))

    def events(self, kind: str, argument: str, _: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield an answer, which is one piece."""
        part: dict[str, Any] = {"text": ANSWER}
        if kind == "tool":
            part = {"functionCall": {"name": "run_shell_command", "args": {"command": argument}}}
        content = {"role": "model", "parts": [part]}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        yield {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake"}


class Server(ThreadingHTTPServer):
    """Says nothing of agents that are gone before their answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what is not about a connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


Dialect = Messages | Responses | Chat | Gemini


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _id(kind: str) -> str:
    return f"{kind}_fake_{time.monotonic_ns()}"


if __name__ == "__main__":
    _log_path = sys.argv[2]
    _steps = sys.argv[3:]
    if _steps[0].startswith("quota="):
        _quota_ends_s = time.time() + int(_steps.pop(0).partition("=")[2])
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

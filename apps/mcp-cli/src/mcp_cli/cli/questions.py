"""A server's questions, put to the person at the terminal.

Owns elicitation (a small form, field by field; or a page to open) and sampling (which this program has no
model for: the person may write the answer, and is asked first).  `answers` sends the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from daemonry import errors
from daemonry.cli import terminal
from mcp_cli.client import answers
from mcp_cli.client.tool_call import ELICITATION, SAMPLING
from mcp_cli.pool import arguments


def put(event: Mapping[str, Any], server: str) -> None:
    """Ask the user what a `question` event asks, and send the answer."""
    try:
        asked = json.loads(event.get("result") or "{}")
    except ValueError:
        asked = {}
    try:
        if event.get("method") == ELICITATION:
            answer = _elicited(asked, server)
        elif event.get("method") == SAMPLING:
            answer = _sampled(asked, server)
        else:
            answer = ""
    except EOFError:
        _say("")  # the cursor stands behind the question
        answer = json.dumps({"action": "cancel"}) if event.get("method") == ELICITATION else ""
    try:
        answers.send(event["id"], answer)
    except errors.CallFailed:
        _say("that was too late: the call has gone on")


def _elicited(asked: Mapping[str, Any], server: str) -> str:
    _say(f"{server} asks: {asked.get('message', '')}")
    if asked.get("mode") == "url":
        _say(f"it wants you to open {asked.get('url', '')}")
        agreed = _ask("did you open it, and shall it go on? [y/N] ").lower().startswith("y")
        return json.dumps({"action": "accept" if agreed else "decline"})
    schema = asked.get("requestedSchema")
    schema = schema if isinstance(schema, dict) else {}
    required = arguments.required(schema)
    content: dict[str, Any] = {}
    _say("(an empty line leaves a field out, a single - declines, Ctrl-D cancels)")
    for name, kind in arguments.properties(schema).items():
        value = _field(name, kind, schema, name in required)
        if value is _DECLINED:
            return json.dumps({"action": "decline"})
        if value is not _LEFT_OUT:
            content[name] = value
    return json.dumps({"action": "accept", "content": content})


_DECLINED = object()
_LEFT_OUT = object()
# What people write at a terminal in place of what JSON has.
_AGREED = {"y": "true", "yes": "true", "n": "false", "no": "false"}


def _field(name: str, kind: Any, schema: Mapping[str, Any], required: bool) -> Any:
    kind = kind if isinstance(kind, dict) else {}
    label = kind.get("title") or name
    hint = arguments.described(kind, schema)
    if "default" in kind:
        hint += f", else {json.dumps(kind['default'], ensure_ascii=False)}"
    if kind.get("description"):
        _say(f"  {kind['description']}")
    while True:
        given = _ask(f"  {label} ({hint}{', required' if required else ''}): ")
        if given == "-":
            return _DECLINED
        if not given:
            if "default" in kind:
                return kind["default"]
            if not required:
                return _LEFT_OUT
            continue
        if kind.get("type") == "boolean":
            given = _AGREED.get(given.lower(), given)
        try:
            (value,) = arguments.coerce([f"{name}={given}"], {"properties": {name: kind}}).values()
            arguments.check({name: value}, {"properties": {name: kind}})
        except arguments.Bad as bad:
            _say(f"  {bad.reason}")
            continue
        return value


def _sampled(asked: Mapping[str, Any], server: str) -> str:
    _say(f"{server} asks for a model's answer, and mcp-cli has no model.  Its messages:")
    for message in asked.get("messages") or ():
        content = message.get("content") or {}
        text = content.get("text", content) if isinstance(content, dict) else content
        _say(f"  {message.get('role')}: {text}")
    given = _ask("your answer in its place (empty to refuse): ")
    if not given:
        return ""
    said = {"type": "text", "text": given}
    return json.dumps({"role": "assistant", "content": said, "model": "a person", "stopReason": "endTurn"})


def _say(text: str) -> None:
    sys.stderr.write(terminal.shown(text) + "\n")


def _ask(label: str) -> str:
    sys.stderr.write(terminal.shown(label).replace("\n", " "))
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()

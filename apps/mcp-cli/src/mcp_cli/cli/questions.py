"""A server's questions, put to the person at the terminal, or answered by `--answer`.

Owns elicitation (a small form, field by field; or a page to open) and sampling (which this program has no
model for: the person may write the answer, and is asked first).  What a field takes is `forms`'s, `answers`
sends the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from daemonry import errors
from daemonry.cli import terminal
from mcp_cli.client import answers
from mcp_cli.client.given_answers import GivenAnswers
from mcp_cli.names import ELICITATION, NAME, SAMPLING
from mcp_cli.pool import arguments
from mcp_cli.pool.questions import forms


def put(
    event: Mapping[str, Any], server: str, given: GivenAnswers | None = None, *, present: bool = True
) -> None:
    """Have a `question` event answered.

    Args:
        event: the question.
        server: the server that asks.
        given: the answers of `--answer`, which come before a person.
        present: whether a person is at the terminal; else an open question is left to `mcp-cli answer`.
    """
    asked = _asked(event)
    if given is not None:
        answer, complaint = given.next(str(event.get("method")), asked)
        if complaint:
            _say(f"{server}: {complaint}")
    elif not present:
        if event.get("level") == "open":
            model = event.get("method") == SAMPLING
            what = " for a model's answer" if model else f": {asked.get('message', 'for an answer')}"
            _say(f"{server} asks{what}")
            _say(f"the call waits: {NAME} answer {event['id']} ... (see {NAME} questions)")
        return
    else:
        answer = _by_person(event, asked, server)
    try:
        answers.send(event["id"], answer)
    except errors.CallFailed:
        _say("that was too late: the call has gone on")


def _asked(event: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(event.get("result") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _by_person(event: Mapping[str, Any], asked: Mapping[str, Any], server: str) -> str:
    form = event.get("method") == ELICITATION
    try:
        if form:
            return elicited(asked, server)
        return sampled(asked, server) if event.get("method") == SAMPLING else ""
    except EOFError:
        _say("")  # the cursor stands behind the question
        return json.dumps({"action": "cancel"}) if form else ""


def elicited(asked: Mapping[str, Any], server: str) -> str:
    """Ask a person for a form, or to open a page, and return the result as JSON.

    Raises:
        EOFError: the person ended the input.
    """
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


_DECLINED: Final = object()
_LEFT_OUT: Final = object()


def _field(name: str, kind: Any, schema: Mapping[str, Any], required: bool) -> Any:
    kind = kind if isinstance(kind, dict) else {}
    label = kind.get("title") or name
    words = forms.hint(kind, schema)
    if "default" in kind:
        words += f", else {json.dumps(kind['default'], ensure_ascii=False)}"
    if kind.get("description"):
        _say(f"  {kind['description']}")
    for number, choice in enumerate(forms.choices(kind), 1):
        _say(f"    {number} {choice.title}")
    while True:
        given = _ask(f"  {label} ({words}{', required' if required else ''}): ")
        if given == "-":
            return _DECLINED
        if not given:
            if "default" in kind:
                return kind["default"]
            if not required:
                return _LEFT_OUT
            continue
        try:
            return forms.read(name, kind, given)
        except arguments.Bad as bad:
            _say(f"  {bad.reason}")


def sampled(asked: Mapping[str, Any], server: str) -> str:
    """Ask a person for a model's answer, and return the result as JSON; "" for a refusal.

    Raises:
        EOFError: the person ended the input.
    """
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

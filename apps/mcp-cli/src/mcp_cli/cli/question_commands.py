"""`questions` and `answer ID ...`: the questions of servers that wait, answered from any other shell.

Owns their words.  An answer is checked against the form before it is sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from daemonry import errors
from daemonry.cli import kit, terminal
from daemonry.spelling import nearest
from mcp_cli.cli import questions
from mcp_cli.client.options import DIRECT, Options
from mcp_cli.client.session import Session
from mcp_cli.names import ELICITATION, NAME, SAMPLING
from mcp_cli.output.printer import say_line
from mcp_cli.pool import arguments
from mcp_cli.pool.questions import forms


def listed(options: Options, given: argparse.Namespace) -> int:
    """Do `questions`."""
    del given
    with Session(options) as session:
        found = _every(session)
    rows = [
        [one["id"], f"{one['server']}/{one['tool']}", f"for {_age_s(one):.0f} s", _said(one)] for one in found
    ]
    options.printer.facts(lambda: {"questions": [_plain(one) for one in found]}, lambda: _say(rows))
    return kit.DONE


def _every(session: Session) -> list[dict[str, Any]]:
    if session.options.mode == DIRECT:
        raise errors.ArgumentInvalid("--no-daemon", "has no questions: the daemon holds them")
    return list(session.plain("Questions", {})["result"])


def _age_s(one: Mapping[str, Any]) -> float:
    return max(time.time() - float(one.get("asked_at", 0.0)), 0.0)


def _say(rows: list[list[str]]) -> None:
    for line in terminal.aligned(rows, None, ""):
        say_line(line)


def _asked(one: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(one.get("params") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _plain(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "params": _asked(one)}


def _said(one: Mapping[str, Any]) -> str:
    """Return what is asked, on one line."""
    asked = _asked(one)
    if one["method"] == SAMPLING:
        return "asks for a model's answer"
    fields = ", ".join(arguments.properties(asked.get("requestedSchema")))
    where = f" ({asked['url']})" if asked.get("mode") == "url" and asked.get("url") else ""
    return f"{asked.get('message', '')}{where}" + (f" [{fields}]" if fields else "")


def answer(options: Options, given: argparse.Namespace) -> int:
    """Do `answer ID key=value ...`, and the like."""
    with Session(options) as session:
        every = {str(one["id"]): one for one in _every(session)}
        one = every.get(given.id)
        if one is None:
            near = nearest(given.id, every)
            hint = f"did you mean {near!r}?" if near else f"see {NAME} questions"
            kit.complain(f"no question {kit.printable(given.id)!r} waits (any more): {hint}")
            return kit.FAILED
        session.plain("Answer", {"id": given.id, "result": _result(one, given)})
    options.printer.facts(
        lambda: {"id": given.id, "answered": True}, lambda: kit.say(f"{given.id}: answered")
    )
    return kit.DONE


def _result(one: Mapping[str, Any], given: argparse.Namespace) -> str:
    """Return the result that the words stand for, as JSON.

    Raises:
        ArgumentInvalid: they are not an answer to this question.
    """
    form = one["method"] == ELICITATION
    if given.decline or given.cancel:
        return json.dumps({"action": "decline" if given.decline else "cancel"}) if form else ""
    asked = _asked(one)
    if not form:
        return _sampled(asked, one["server"], given.words)
    if asked.get("mode") == "url":
        if given.accept:
            return json.dumps({"action": "accept"})
        raise errors.ArgumentInvalid(
            given.id, f"is a page to open, {asked.get('url', '')}: then --accept, or --decline"
        )
    schema = asked.get("requestedSchema")
    schema = schema if isinstance(schema, dict) else {}
    if not given.words and not given.accept and arguments.properties(schema):
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
            return questions.elicited(asked, str(one["server"]))
        fields = ", ".join(arguments.properties(schema))
        raise errors.ArgumentInvalid(given.id, f"asks for {fields}: key=value ..., --decline or --cancel")
    try:
        return json.dumps({"action": "accept", "content": _content(given.words, schema)})
    except arguments.Bad as bad:
        raise errors.ArgumentInvalid(bad.parameter or given.id, bad.reason) from None


def _content(words: list[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    if len(words) == 1 and words[0].lstrip()[:1] == "{":
        try:
            content = json.loads(words[0])
        except ValueError as error:
            raise arguments.Bad("", f"is not JSON: {error}") from None
    else:
        content = {}
        for word in words:
            name, equals, text = word.partition("=")
            kind = arguments.properties(schema).get(name)
            # A choice by its name, and yes or no as at a terminal.
            if equals and isinstance(kind, dict) and (forms.choices(kind) or kind.get("type") == "boolean"):
                content[name] = forms.read(name, kind, text)
            else:
                content |= arguments.coerce([word], schema)
    forms.check(content, schema)
    return dict(content)


def _sampled(asked: Mapping[str, Any], server: str, words: list[str]) -> str:
    if not words:
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
            return questions.sampled(asked, server)
        raise errors.ArgumentInvalid(server, "asks for a model's answer: a text, or a whole result as JSON")
    text = " ".join(words)
    found: Any = None
    if text.lstrip()[:1] == "{":
        try:
            found = json.loads(text)
        except ValueError:
            found = None
    if not isinstance(found, dict) or "content" not in found:
        found = {"content": {"type": "text", "text": text}}
    return json.dumps({"role": "assistant", "model": "a person", "stopReason": "endTurn", **found})

"""`--answer FILE|JSON`: the answers to a server's questions, given before they are asked.

One answer is for every question; a list has one for each, in order.  An answer is the content of a form, a
whole result (with `action`, or with `role` and `content`), a text for a model's answer, or one of the words
accept, decline and cancel.  Owns the reading and the order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from daemonry import errors, read_regular
from mcp_cli.names import ELICITATION, SAMPLING
from mcp_cli.pool.arguments import Bad

MAX_FILE_BYTES: Final = 4 << 20
ACTIONS: Final = ("accept", "decline", "cancel")


class GivenAnswers:
    """The answers of one command.

    Args:
        text: JSON, or the name of a file with JSON.

    Raises:
        ArgumentInvalid: it is neither.
    """

    def __init__(self, text: str) -> None:
        found = _parsed(text)
        self._single = not isinstance(found, list)
        self._left = [found] if self._single else list(found)
        for one in self._left:
            if not isinstance(one, dict | str):
                raise errors.ArgumentInvalid(
                    "--answer", f"{json.dumps(one)} is not an answer: give a JSON object or a text"
                )

    def next(self, method: str, asked: Mapping[str, Any]) -> tuple[str, str]:
        """Return the result for a question as JSON, "" for a refusal, and a complaint, "" for none.

        Args:
            method: of the question.
            asked: its params.
        """
        if not self._left:
            return self._refusal(method), "there is no further --answer: it was declined"
        answer = self._left[0] if self._single else self._left.pop(0)
        if method == ELICITATION:
            return _elicited(answer, asked)
        if method == SAMPLING:
            return _sampled(answer), ""
        return "", ""

    def _refusal(self, method: str) -> str:
        return json.dumps({"action": "decline"}) if method == ELICITATION else ""


def _parsed(text: str) -> Any:
    words = text.strip()
    if words in ACTIONS:
        return words
    if words[:1] not in ("{", "[", '"'):
        try:
            words = read_regular(text, MAX_FILE_BYTES).decode()
        except (OSError, ValueError, errors.DaemonryError) as error:
            reason = getattr(error, "strerror", None) or error
            raise errors.ArgumentInvalid(text, f"is neither JSON nor a file: {reason}") from None
    try:
        return json.loads(words)
    except (ValueError, RecursionError) as error:
        raise errors.ArgumentInvalid("--answer", f"is not JSON: {error}") from None


def _elicited(answer: Any, asked: Mapping[str, Any]) -> tuple[str, str]:
    from mcp_cli.pool.questions import forms

    if isinstance(answer, str):
        if answer not in ACTIONS:
            return json.dumps({"action": "cancel"}), f"{answer!r} answers no form: it was cancelled"
        answer = {"action": answer, **({"content": {}} if answer == "accept" else {})}
    elif asked.get("mode") == "url" and "action" not in answer:
        return json.dumps({"action": "decline"}), "the page was not opened: say accept to go on without it"
    try:
        return json.dumps(forms.result_of(answer, asked)), ""
    except Bad as bad:
        return json.dumps({"action": "cancel"}), f"the --answer does not fit, and was not sent: {bad}"


def _sampled(answer: Any) -> str:
    if isinstance(answer, str):
        if answer in ("decline", "cancel"):
            return ""
        answer = {"content": {"type": "text", "text": answer}}
    usual = {"role": "assistant", "model": "--answer", "stopReason": "endTurn"}
    return json.dumps({**usual, **answer}) if "content" in answer else ""

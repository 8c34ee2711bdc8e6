"""`questions`, `answer` and `--answer`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from daemonry.testing import wait_until

SCHEMA = {
    "type": "object",
    "properties": {
        "mail": {"type": "string", "format": "email"},
        "agreed": {"type": "boolean"},
        "colours": {"type": "array", "items": {"anyOf": [{"const": "r", "title": "Red"}]}},
    },
    "required": ["mail"],
}
FORM = json.dumps(
    {"message": {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": SCHEMA}}}
)
MODEL = json.dumps(
    {"message": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}}}
)


def test_a_question_of_one_shell_is_answered_from_another(app: Any) -> None:
    app.servers(fake={"elicitation": "ask"})
    call = app.popen("call", "fake/ask", FORM)
    wait_until(lambda: app.done("questions") != "", what="the question")
    (one,) = app("questions", "--json").json()["questions"]
    assert one["params"]["message"] == "Who?"
    wrong = app("answer", one["id"], "mail=nobody")
    assert (wrong.code, wrong.err) == (2, "mail: 'nobody' is not a valid email\n")
    assert app("answer", one["id"]).code == 2
    assert app("answer", "none", "mail=a@b.ch").code == 1
    assert (
        app.done("answer", one["id"], "mail=a@b.ch", "colours=Red", "agreed=y") == f"{one['id']}: answered\n"
    )
    out, err = call.communicate(timeout=30)
    assert json.loads(out) == {
        "action": "accept",
        "content": {"mail": "a@b.ch", "colours": ["r"], "agreed": True},
    }
    assert f"mcp-cli answer {one['id']}" in err
    late = app("answer", one["id"], "--decline")
    assert (late.code, "waits (any more)" in late.err) == (1, True)
    assert app.done("questions") == ""


def test_answers_that_are_given_before_they_are_asked(app: Any, tmp_path: Path) -> None:
    def answered(answer: str, message: str = FORM) -> Any:
        done = app("call", "fake/ask", message, "--answer", answer)
        assert done.code == 0, done
        return json.loads(done.out), done.err

    assert answered('{"mail": "a@b.ch"}') == ({"action": "accept", "content": {"mail": "a@b.ch"}}, "")
    assert answered('{"action": "cancel"}') == ({"action": "cancel"}, "")
    assert answered("decline") == ({"action": "decline"}, "")
    misfit, told = answered('{"mail": 7}')
    assert (misfit, "the --answer does not fit, and was not sent" in told) == ({"action": "cancel"}, True)
    agreed, told = answered("accept")
    assert (agreed, "mail: is missing" in told) == ({"action": "cancel"}, True)
    empty, told = answered("[]")
    assert (empty, "there is no further --answer" in told) == ({"action": "decline"}, True)
    path = tmp_path / "answers.json"
    path.write_text('["four"]')
    model, _ = answered(str(path), MODEL)
    assert model["content"] == {"type": "text", "text": "four"}
    for bad in ("/none/such", "{", "[7]"):
        refused = app("call", "fake/ask", FORM, "--answer", bad)
        assert (refused.code, refused.err.count("\n")) == (2, 1), refused


def test_policies_of_a_configuration_hold_for_servers_without_their_own(app: Any) -> None:
    app.servers(fake=[], own={"elicitation": "ask"})
    app.config('elicitation = "decline"\n' + app.config_path.read_text())
    done = app("call", "fake/ask", FORM, "--answer", '{"mail": "a@b.ch"}')
    assert json.loads(done.out) == {"action": "decline"}
    done = app("call", "own/ask", FORM, "--answer", '{"mail": "a@b.ch"}')
    assert json.loads(done.out)["action"] == "accept"
    app.config('elicitation = "maybe"\n' + app.config_path.read_text().partition("\n")[2])
    assert 'must be one of "ask", "decline"' in app("list").err

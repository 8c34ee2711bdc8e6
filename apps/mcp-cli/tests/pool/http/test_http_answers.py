"""Answers over HTTP without a JSON-RPC message: their meaning for the call."""

from __future__ import annotations

import pytest
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND

from mcp_cli.pool.http.answers import named, tells_of_a_lost_session, unanswered
from mcp_cli.protocol import interfaces as api

ERROR = "Server returned an error response"


@pytest.mark.parametrize("tool", ["202", "408", "500", "502", "503", "504", "page", "empty"])
def test_what_the_server_took_and_did_not_answer_may_have_run(odd, tool: str) -> None:
    with pytest.raises(api.MaybeRan) as raised:
        odd.called(tool)
    assert odd.calls == [tool]
    if tool.isdigit():
        assert f"HTTP {tool}" in raised.value.reason
    assert "\x1b" not in raised.value.reason


@pytest.mark.parametrize(("tool", "times"), [("400", 2), ("404", 2), ("410", 2), ("413", 1), ("429", 1)])
def test_what_the_server_turns_away_has_not_run(odd, tool: str, times: int) -> None:
    """Three of them may mean a session that the server has forgotten: then a new one is asked, once."""
    with pytest.raises(api.ServerRefused) as raised:
        odd.called(tool)
    assert odd.calls == [tool] * times
    assert raised.value.code == INVALID_REQUEST
    assert raised.value.message == f"HTTP {named(int(tool))}"


def test_a_redirect_elsewhere_is_not_followed(odd) -> None:
    with pytest.raises(api.ServerRefused, match="Redirect to"):
        odd.called("307")
    assert odd.calls == ["307"]


def test_an_error_of_the_servers_own_is_its_answer() -> None:
    for code, message in (
        (INTERNAL_ERROR, "no money"),
        (INVALID_REQUEST, "no such account"),
        (METHOD_NOT_FOUND, "Not Found"),
        (CONNECTION_CLOSED, "the line is dead"),
    ):
        assert unanswered(code, message, 0) is None


@pytest.mark.parametrize("status", range(400, 600))
def test_a_status_tells_whether_it_may_have_run(status: int) -> None:
    fate = unanswered(INTERNAL_ERROR, ERROR, status)
    assert fate is not None
    assert fate.ran is (status >= 500 or status == 408)
    assert str(status) in fate.reason


def test_a_session_is_lost_by_what_servers_say_of_it() -> None:
    for status in (400, 404, 410):
        assert tells_of_a_lost_session(INTERNAL_ERROR, ERROR, status)
        assert tells_of_a_lost_session(-32000, "Bad Request: No valid session ID provided", status)
        assert not tells_of_a_lost_session(-32000, "no such account", status)
    assert not tells_of_a_lost_session(INTERNAL_ERROR, ERROR, 500)
    assert not tells_of_a_lost_session(-32000, "your session has expired", 0)

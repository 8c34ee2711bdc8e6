"""Answers over HTTP, to the byte: the events of a stream however they are cut, and a server that is asked."""

from __future__ import annotations

import json

import pytest

from mcp_cli.pool.http.overheard import Events, Overheard
from mcp_cli.protocol import interfaces as api

STREAM = b": hello\nevent: message\ndata: one\n\ndata:two\r\ndata: more\r\rid: 7\r\n\r\ndata\n\ndata: cut"


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_events_come_whole_however_a_stream_is_cut(size: int) -> None:
    told: list[bytes] = []
    events = Events(told.append)
    for at in range(0, len(STREAM), size):
        events.feed(STREAM[at : at + size])
    events.end()
    assert told == [b"one", b"two\nmore", b""]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b'{"id":1,"result":{"x":1e2}}', b'{"id":1,"result":{"x":1e2}}'),
        (b'{"id":"1","result":\r\n{}}', b'{"id":"1","result":  {}}'),
        (b'{"id":2,"result":{}}', None),
        (b'{"id":1,"error":{}}', None),
        (b'{"id":1,"params":{"result":1}}', None),
        (b'{"id":1,"result":NaN}', None),
    ],
)
def test_an_answer_is_kept_where_somebody_waits_for_it_and_taken_once(
    line: bytes, kept: bytes | None
) -> None:
    overheard = Overheard()
    overheard.expected = (1).__eq__
    overheard.keep(line)
    assert overheard.take(1) == kept
    assert overheard.take(1) is None


@pytest.mark.parametrize("tool", ["json", "events"])
def test_a_result_over_http_is_passed_on_to_the_byte(odd, tool: str) -> None:
    event = odd.called(tool)
    assert event.result == odd.RESULT
    assert event.text == "é"


def test_a_result_on_several_lines_is_put_on_one(odd) -> None:
    assert odd.called("lines").result == odd.RESULT.replace(",", ", ")


def test_a_result_that_is_compressed_unasked_is_taken_from_its_values(odd) -> None:
    event = odd.called("packed")
    assert json.loads(event.result) == json.loads(odd.RESULT)


def test_an_answer_that_is_no_json_is_an_unknown_outcome(odd) -> None:
    """The tool has run: that its answer is torn must not read as its refusal."""
    with pytest.raises(api.MaybeRan) as raised:
        odd.called("torn")
    assert raised.value.reason == "its answer cannot be understood"

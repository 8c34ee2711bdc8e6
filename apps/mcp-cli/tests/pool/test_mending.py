"""What is nearly JSON: each fault alone, and what must not be taken for one."""

from __future__ import annotations

import json

import pytest

from mcp_cli.pool import mending


@pytest.mark.parametrize(
    ("line", "better", "fault"),
    [
        (b'{"a": 1}', b'{"a": 1}', ""),
        (b'\xef\xbb\xbf{"a": 1}', b'{"a": 1}', "a byte order mark"),
        (b'{"a": "\xe9"}', '{"a": "\ufffd"}'.encode(), "bytes that are not UTF-8"),
        (
            b'{"a": [NaN, -Infinity, Infinity]}',
            b'{"a": [null, null, null]}',
            "a number that is not valid JSON",
        ),
        (b'{"NaN": "a \\" NaN, Infinity"}', b'{"NaN": "a \\" NaN, Infinity"}', ""),
        (rb'{"a": "\ud83d"}', rb'{"a": "\ufffd"}', "half a surrogate pair"),
        (rb'{"a": "\uDE00\u00e9"}', rb'{"a": "\ufffd\u00e9"}', "half a surrogate pair"),
        (rb'{"a": "\ud83d\ud83d\ude00"}', rb'{"a": "\ufffd\ud83d\ude00"}', "half a surrogate pair"),
        (rb'{"a": "\ud83d\ude00"}', rb'{"a": "\ud83d\ude00"}', ""),
        (rb'{"a": "\\ud83d"}', rb'{"a": "\\ud83d"}', ""),
        (
            b'\xef\xbb\xbf["\xe9", NaN]',
            '["\ufffd", null]'.encode(),
            "a byte order mark and bytes that are not UTF-8 and a number that is not valid JSON",
        ),
    ],
)
def test_what_is_replaced(line: bytes, better: bytes, fault: str) -> None:
    assert mending.mended(line) == (better, fault)
    str(json.loads(better)).encode()  # which half a pair would refuse


@pytest.mark.parametrize("line", [b"", b'"', b'{"a', b"Starting ...", b'{"level": "info", "msg": "up"}'])
def test_what_is_not_nearly_json_stays(line: bytes) -> None:
    assert mending.mended(line) == (line, "")
    assert not mending.is_answer(line)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":nonsense}', 7),
        (b'{"jsonrpc": "2.0", "id" : "8", "error": nonsense}', 8),
        (b'{"jsonrpc":"2.0","result":{"x":"' + b"x" * 500 + b'"},"id":9}', 9),
        (b'{"jsonrpc":"2.0","id":true,"result":{}}', None),
    ],
)
def test_whose_answer_it_was_to_be(line: bytes, found: int | None) -> None:
    assert mending.is_answer(line)
    assert mending.likely_id(line) == found

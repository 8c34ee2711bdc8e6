"""Which JSON is a table for people."""

import pytest

from mcp_cli.output import tables


def test_records_are_rows_below_their_keys():
    records = [{"name": "a", "ok": True}, {"name": "bb\nc", "gone": None}]
    assert tables.of_records(records) == ["name  ok   gone", "a     yes", "bb c       -"]


@pytest.mark.parametrize("value", [[], {}, [1], [{}], [{"a": {}}], [{"a": "x" * 61}], "text"])
def test_what_is_no_list_of_records_is_no_table(value):
    assert tables.of_records(value) is None

"""The order of tools for a few words."""

from __future__ import annotations

import json

import pytest

from mcp_cli.ranking import Ranked

TOOLS = [
    ("fs", {"name": "read_file", "description": "Read the complete contents of a file"}),
    ("fs", {"name": "list_directory", "description": "Lists all files and directories in a path."}),
    ("everything", {"name": "get-roots-list", "description": "Lists the roots that the client gave."}),
    ("everything", {"name": "get-sum", "title": "Get Sum", "description": "The sum of two numbers"}),
    ("pw", {"name": "browser_navigate", "description": "Navigate to a URL"}),
    (
        "mail",
        {
            "name": "post",
            "description": "",
            "json": json.dumps({"inputSchema": {"properties": {"recipient": {"description": "whom"}}}}),
        },
    ),
]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("list the files in a folder", "list_directory"),
        ("list directory contents", "list_directory"),
        ("open a web page", "browser_navigate"),
        ("brwser navigate", "browser_navigate"),
        ("ListDirectories", "list_directory"),
        ("sum", "get-sum"),
        ("recipient", "post"),
        ("mail", "post"),
    ],
)
def test_what_is_asked_in_words_finds_the_tool_that_does_it(asked: str, first: str) -> None:
    found = Ranked(TOOLS).best(asked)
    assert TOOLS[found[0][0]][1]["name"] == first


def test_words_that_no_tool_has_find_nothing() -> None:
    assert Ranked(TOOLS).best("xylophone") == []
    assert Ranked([]).best("sum") == []
    assert Ranked(TOOLS).best("") == []


def test_a_schema_that_is_none_is_passed_over() -> None:
    odd = [("a", {"name": "x", "json": text}) for text in ("[1]", "{", '{"inputSchema": 7}')]
    assert len(Ranked(odd).best("x")) == 3

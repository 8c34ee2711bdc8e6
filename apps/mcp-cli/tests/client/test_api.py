"""`mcp_cli.connect()`: tools as functions of a Python program."""

from __future__ import annotations

import os
import sys

import pytest

from mcp_cli.client.api import python_name, signature

MODES = ["auto", "direct"]


@pytest.mark.parametrize("mode", MODES)
def test_tools_are_functions_and_results_have_what_one_wants(app, mode):
    ended = app.python(
        f"""
import json, mcp_cli
from mcp_cli.client.api import ToolFailed

with mcp_cli.connect(mode={mode!r}) as servers:
    assert servers.names == ["fake"]
    assert servers.fake.echo(text="hé").text == "hé"
    assert str(servers.fake.echo.__signature__).startswith("(*, text: str)")
    typed = servers["fake"].typed(right=True)
    assert typed.structured == {{"n": 1}} == typed.json()
    assert servers.fake.call("raw").raw.endswith('"m":{{"b":1,"a":2}}}}')
    try:
        servers.fake.fail()
    except ToolFailed as error:
        print("failed:", error.result.text)
    try:
        servers.fake.echo(txet="x")
    except Exception as error:
        print(type(error).__name__, error.error, error.parameters["nearest"])
    big = servers.fake.big(n=2_500_000)
    assert len(big.text) == 2_500_000
""",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "failed: it failed\nCallFailed org.daemonry.mcp.BadArguments text\n"


def test_one_program_may_do_without_a_daemon_twice(app):
    text = """
import mcp_cli
for _ in range(2):
    with mcp_cli.connect(mode="direct") as servers:
        print(servers.fake.echo(text="again"))
"""
    assert app.python(text).stdout == "again\nagain\n"


@pytest.mark.slow
def test_threads_call_at_the_same_time_and_a_daemon_that_ended_is_started_again(app):
    ended = app.python(
        """
import subprocess, sys, threading, mcp_cli
servers = mcp_cli.connect()
answers = {}
def one(n):
    answers[n] = servers.fake.echo(text=str(n)).text
threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
assert answers == {n: str(n) for n in range(20)}, answers
subprocess.run([sys.argv[1], "daemon", "stop"], check=True, stdout=subprocess.DEVNULL)
assert servers.fake.echo(text="again").text == "again"
""",
        os.path.join(os.path.dirname(sys.executable), "mcp-cli"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_names_that_python_cannot_have():
    assert [python_name(one) for one in ("get-sum", "2d", "class", "a.b")] == [
        "get_sum",
        "_2d",
        "class_",
        "a_b",
    ]
    made = signature(
        {"properties": {"b": {"type": "integer"}, "a-c": {"type": "string"}}, "required": ["a-c"]}
    )
    assert [str(one) for one in made.parameters.values()] == ["a_c: str", "b: int = None"]

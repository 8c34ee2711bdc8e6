"""`mcp-cli list` the short way: the same words as the long one, and only where all is at hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

HEAVY = ("argparse", "asyncio", "dataclasses", "json", "msgspec", "re", "tomllib", "typing")


@pytest.fixture
def warm(app):
    """Two servers that run, one with a description and hidden tools; their file is remembered."""
    app.servers(fake={}, other={"description": "the other", "allowed_tools": ["e*"]})
    app.settle()
    app.done("list", "--json")  # the long way, which starts them and remembers
    return app


def short(app, *words: str) -> tuple[str, str]:
    """Return what the short way prints, and what it imported of what is slow."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from mcp_cli.cli import entry\n"
        f"code = entry.run({list(words)!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=app.sandbox.path,
        env=app.sandbox.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


def test_the_short_way_prints_what_the_long_one_prints_to_the_byte(warm):
    long = warm.done("list", "-v", "--timeout", "60").splitlines()  # -v is the long way
    names = [line for line in long if not line.startswith("    ")]
    said, imported = short(warm, "list")
    assert said.splitlines() == names
    assert "other  2 tools, " in said
    assert "  the other\n" in said
    assert imported == "[] 0\n"
    assert short(warm)[0] == said
    assert short(warm, "list", "other")[0].startswith("other  2 tools")

    # A program that lists is as frequent as a person, and its lists are longer.
    long = warm.done("list", "--json", "-v")
    said, imported = short(warm, "list", "--json")
    assert said == long
    assert '"inputSchema"' in said
    assert imported == "[] 0\n"


def test_where_something_is_not_at_hand_the_long_way_is_gone(warm):
    ended = warm("list", "fakee")
    assert (ended.code, "did you mean" in ended.err) == (1, True)
    warm.done("daemon", "stop")
    assert warm.done("list").startswith("fake  ")
    warm.servers(fake={}, third={})
    assert "third  " in warm.done("list")


def test_a_daemon_that_does_not_answer_ends_the_short_way_in_time(warm):
    pid = warm.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        ended = warm("list", "--timeout", "0.5")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (ended.code, ended.out) == (5, "")
    assert ended.err == "mcp-cli: no answer from the daemon within 0.5 s (configure)\n"

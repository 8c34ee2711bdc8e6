"""`generate --skill`: the file is one that agents take, and hostile names stay in their place."""

from __future__ import annotations

from typing import Any

from mcp_cli.gateway.skill import MAX_DESCRIPTION, skill


def test_a_skill_has_a_head_signatures_and_examples(app: Any) -> None:
    text = app.done("generate", "fake", "--skill")
    assert text.startswith(
        '---\nname: fake\ndescription: "Use the tools of the MCP server fake from a shell: echo'
    )
    assert "\n## echo\n\nSays it again\n\n- `text`: string, required\n\n    mcp-cli" in text
    assert "call fake/echo text=TEXT\n" in text
    assert app("generate", "fake", "--skill", "--command").code == 2


def test_what_a_server_says_ends_neither_the_head_nor_a_line() -> None:
    tools = [
        {"name": f'x"\n---\n{number}', "description": "a\n## b", "inputSchema": {}} for number in range(300)
    ]
    lines = skill("S p/ä", tools).split("\n")
    assert lines[1] == "name: s-p"
    assert lines[3] == "---"
    assert len(lines[2]) < 2 * MAX_DESCRIPTION  # of which quotes are escaped
    assert "## b" not in lines
    assert lines.count("---") == 2

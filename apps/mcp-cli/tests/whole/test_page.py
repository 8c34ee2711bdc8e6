"""The page's five minutes, word for word, with the server that it names, fetched from npm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs/mcp-cli.md"
MARK = "<!-- not run -->"


def shown() -> list[tuple[str, str]]:
    """The commands of the blocks that docs/check.py leaves to this test, and what each prints."""
    pairs: list[tuple[str, str]] = []
    for block in re.findall(rf"{re.escape(MARK)}\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                pairs.append((line[2:], ""))
            else:
                command, said = pairs[-1]
                pairs[-1] = (command, said + line + "\n")
    return pairs


def pattern(said: str, home: str) -> str:
    """A regular expression for what a command prints: `...` stands for any lines."""
    lines = [
        ".*" if line == "..." else re.escape(line.replace("/home/you", home)) for line in said.splitlines()
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.timeout(300)  # it fetches packages
def test_the_five_minutes_of_the_page(app):
    if shutil.which("npx") is None:
        pytest.skip("npx is not installed")
    app.config_path.unlink()
    home = app.sandbox.path / "home"
    npm = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
    user = Path(os.environ.get("HOME", "/")) / ".npmrc"
    if user.exists():
        shutil.copy(user, home / ".npmrc")
    environment = app.sandbox.env | npm | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = shown()
    assert len(commands) >= 11
    for command, said in commands:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert re.fullmatch(pattern(said, str(home)), done.stdout, re.DOTALL), (command, done.stdout)

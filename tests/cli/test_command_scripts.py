"""The commands' scripts import nothing from the directory that they are in, which has commands in it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    "scripts/commands/daemonry",
    "apps/mcp-cli/scripts/mcp-cli",
    "apps/palingenesis/scripts/palingenesis",
    "apps/vx/scripts/vx",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_file_beside_the_command_hides_no_module_of_python(script: str, tmp_path: Path) -> None:
    """`~/bin` may have a `select.py` or a `__future__.py` in it that is another program."""
    (tmp_path / "__future__.py").write_text("raise SystemExit('a file beside the command was imported')\n")
    command = tmp_path / "command"
    command.write_text((ROOT / script).read_text())
    done = subprocess.run([sys.executable, command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""The README's walk, word for word."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def steps() -> list[tuple[str, str, list[str]]]:
    """Return what the page shows: files to write, and commands with what they print."""
    found: list[tuple[str, str, list[str]]] = []
    told = ""
    lines = iter(README.read_text().splitlines())
    for line in lines:
        if comment := re.fullmatch(r"<!-- file: (.+) -->", line):
            told = comment[1]
        elif line.startswith("```"):
            inside = []
            for inner in lines:
                if inner == "```":
                    break
                inside.append(inner)
            if told:
                found.append(("file", told, inside))
            elif line == "```console":
                found += commands(inside)
            told = ""
    return found


def commands(lines: list[str]) -> list[tuple[str, str, list[str]]]:
    found: list[tuple[str, str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(("run", line[2:], []))
        else:
            found[-1][2].append(line)
    return found


def alike(shown: list[str], printed: list[str], home: str) -> bool:
    """Whether it prints what is shown; numbers, ids, hashes and the home's path may differ."""
    if shown == ["..."]:
        return True

    def plain(line: str) -> str:
        line = line.replace(home, "/home/you")
        line = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b|\b[0-9a-f]{16}\b", "ID", line)
        line = re.sub(r"build/[\w-]+/", "build/TRIPLE/", line)
        return re.sub(r"\d+(\.\d+)?", "N", line)

    return [plain(line) for line in shown] == [plain(line) for line in printed]


def test_the_walk(rust) -> None:
    home = rust.sandbox.path / "home"
    rust.home = home / ".vx"
    del rust.env["VX_HOME"]
    rust.env["HOME"] = str(home)
    walk = steps()
    assert sum(1 for kind, _, _ in walk if kind == "run") > 15
    for kind, name, lines in walk:
        if kind == "file":
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    here = str(home)
    for kind, command, shown in walk:
        if kind != "run":
            continue
        done = subprocess.run(
            ["sh", "-c", f"{{ {command}\n}} 2>&1; pwd > {home}/.pwd"],
            cwd=here,
            env=rust.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        here = (home / ".pwd").read_text().strip()
        assert alike(shown, done.stdout.splitlines(), str(home)), (command, done.stdout)

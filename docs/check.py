"""Keeps the pages true: runs what they show, follows their links, redraws what is drawn from code.

    python docs/check.py [PAGE ...]             complain, and exit with 1, where a page is wrong
    python docs/check.py --update [PAGE ...]    put it right where that can be done
    python docs/check.py --still [PAGE ...]     run no command: links, copies and drawings alone, in a second

Owns the conventions in the pages, all of them comments that a reader does not see:

    ```console                  each `$ ` line is run, in order, in one shell per page, in an empty
                                home; what follows it must be what it prints.  Numbers and process
                                ids may differ; a line `...` stands for any lines
    <!-- not run -->            above such a block: shown only
    <!-- file: NAME -->         above a block: it is written to the file NAME first; the Python files of
                                a page, as they are at its end, are type-checked together
    <!-- same as: PATH -->      above a block: it is that file of this project, word for word
    <!-- drawn: NAME -->        above a block, or up to <!-- end -->: it is what `drawings.DRAWN` says

`tests/x.py::test_y` names a test that must exist.  Paths are shown as those of a user called
`you`, whose id is 1000.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from drawings import DRAWN, ROOT, CannotBeDrawn

from daemonry.process import place, platform
from daemonry.testing import Sandbox

PAGES: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "bench/README.md",
    "docs/*.md",
    "docs/how-to/*.md",
)
# Pages whose commands are run by tests of their own; what is drawn in them is looked at here.
RUN_ELSEWHERE: Final = ("apps/*/README.md", "native/README.md")
# What the pages copy from: `cd` and paths work as at the root of a checkout.
COPIED: Final = ("examples", "apps/palingenesis/examples")
COMMAND_TIMEOUT_S: Final = 60.0
# What the shell prints behind a command.
END: Final = ":end:"
# As strict as mypy is, less the annotations that short programs of a page may leave out.
TYPE_CHECK: Final = (
    *("mypy", "--strict", "--allow-untyped-defs", "--allow-incomplete-defs", "--allow-untyped-calls"),
    *("--no-error-summary", "--hide-error-context", "--cache-dir", str(ROOT / ".mypy_cache/pages")),
)


@dataclass
class Block:
    """A fenced block of a page.

    Attributes:
        start: the index of its first line inside the fence.
        language: the word after the fence.
        told: what the comment above it says, or "".
        lines: what is inside.
    """

    start: int
    language: str
    told: str
    lines: list[str] = field(default_factory=list)


def blocks(lines: list[str]) -> Iterator[Block]:
    """Yield the fenced blocks of a page, and the parts between a `drawn` and an `end` comment."""
    block: Block | None = None
    told = end = ""
    for number, line in enumerate(lines):
        if block is not None and line == end:
            yield block
            block, told = None, ""
        elif block is not None:
            block.lines.append(line)
        elif line.startswith("```"):
            block, end = Block(number + 1, line[3:], told), "```"
        elif comment := re.fullmatch(r"<!-- (.+) -->", line):
            told = comment[1]
            if told.startswith("drawn: ") and not lines[number + 1].startswith("```"):
                block, end = Block(number + 1, "", told), "<!-- end -->"
        elif line:
            told = ""


# --- what is run ------------------------------------------------------------------------------


class TooLong(Exception):
    """A command did not end in time; the shell was killed with it.  Its text is the command."""


class Shell:
    """One bash, in a sandbox, whose directory and variables last from command to command."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._pids: dict[str, str] = {}
        project = sandbox.path / "home/project"
        project.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                subprocess.run(["cp", "-R", str(ROOT / name), str(project)], check=True)
        path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**sandbox.env, "PATH": path, "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=project,
        )
        self.project = project

    def write(self, name: str, lines: list[str]) -> None:
        """Write a file of the page."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, command: str) -> list[str]:
        """Run one command and return what it printed, told as the pages tell it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\n")
        self._process.stdin.write("__code=$?; printf '\\n%s\\n' " + END + "; (exit $__code)\n")
        self._process.stdin.flush()
        too_long = threading.Timer(COMMAND_TIMEOUT_S, self._process.kill)
        too_long.start()
        printed = list(self._until_end())
        too_long.cancel()
        if printed[-1:] != [END]:
            raise TooLong(command)
        printed.pop()
        if printed and not printed[-1]:  # what our own mark put there
            printed.pop()
        return self._told("\n".join(printed)).split("\n") if printed else []

    def _until_end(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.removesuffix("\n")
            if line == f"{END}\n":
                return

    def close(self) -> None:
        """End it, and see that nothing of the page is left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it was killed
            self._process.stdin.write("exit\n")
            self._process.stdin.close()
        self._process.stdout.read()
        self._process.stdout.close()
        self._process.wait(COMMAND_TIMEOUT_S)

    def _told(self, text: str) -> str:
        for pid in re.findall(r"\bpid\"?[:= ]+(\d+)", text):
            if pid not in self._pids:  # as wide as it is, because tables have columns
                self._pids[pid] = str(int("4".ljust(len(pid), "2")) + len(self._pids))
        text = re.sub(r"\b\d+\b", lambda number: self._pids.get(number[0], number[0]), text)
        home = self._sandbox.env["HOME"]
        for real, shown in (
            (self._sandbox.env["XDG_RUNTIME_DIR"], "/run/user/1000"),
            (home, "/home/you"),
            (place.host_id(), "HOST"),
            (platform.boot_id(), "b0071d00-0000-4000-8000-000000000000"),
            (sys.prefix, "/home/you/project/.venv"),
            (str(ROOT), "/home/you/project"),
        ):
            text = text.replace(real, shown)
        return re.sub(r"(/bin/python)[\d.]+", r"\1", text)


# Times, counts, process ids, nonces, check sums.
_VARYING: Final = re.compile(r"\b[0-9a-f]{8,}\b|\d+(\.\d+)?")


def _shape(lines: list[str]) -> list[str]:
    """Return lines with all that may differ between two runs taken out."""
    return [re.sub(r" +", " ", _VARYING.sub("#", line)).rstrip() for line in lines]


def _fits(shown: list[str], printed: list[str]) -> bool:
    pattern = "".join(".*" if line == "..." else re.escape(line + "\n") for line in _shape(shown))
    return re.fullmatch(pattern, "".join(line + "\n" for line in _shape(printed)), re.DOTALL) is not None


def _is_run(block: Block) -> bool:
    commands = any(line.startswith("$ ") for line in block.lines)
    return block.language == "console" and block.told != "not run" and commands


def _sessions(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with what is shown below it."""
    command = ""
    shown: list[str] = []
    for line in block.lines:
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        elif command.endswith("\\") and line.startswith("> "):
            command += "\n" + line[2:]
        else:
            shown.append(line)
    if command:
        yield command, shown


# --- the checks -------------------------------------------------------------------------------


class Page:
    """One page, its complaints, and its lines as they should be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.read_text(encoding="utf-8").split("\n")
        self.complaints: list[str] = []
        self._wanted: dict[int, tuple[Block, list[str]]] = {}

    def check(self, *, run: bool = True) -> None:
        """Do everything; without the commands, where they are not run."""
        self._check_links()
        self._check_tests()
        found = list(blocks(self.lines))
        for block in found:
            self._check_copy(block)
        if run and any(_is_run(block) or block.told.startswith("file: ") for block in found):
            self._run(found)

    def _complain(self, number: int, text: str) -> None:
        self.complaints.append(f"{self.path.relative_to(ROOT)}:{number + 1}: {text}")

    def _replace(self, block: Block, lines: list[str]) -> None:
        self._wanted[block.start] = block, lines

    def as_it_should_be(self) -> str:
        """Return the page's text with every block put right."""
        lines = list(self.lines)
        for start, (block, wanted) in sorted(self._wanted.items(), reverse=True):
            lines[start : start + len(block.lines)] = wanted
        return "\n".join(lines)

    def _check_copy(self, block: Block) -> None:
        kind, _, name = block.told.partition(": ")
        if kind == "same as":
            wanted = (ROOT / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
        elif kind == "drawn":
            try:
                wanted = DRAWN[name]().split("\n")
            except CannotBeDrawn as error:
                self._complain(block.start, f"the block cannot be drawn: {error}")
                return
        else:
            return
        if block.lines != wanted:
            self._complain(block.start, f"the block is not ({block.told})")
            self._replace(block, wanted)

    def _check_types(self, found: list[Block], directory: Path) -> None:
        """Type-check the page's files, in a directory with all that its commands wrote."""
        files = {
            block.told.removeprefix("file: "): block
            for block in found
            if re.match(r"file: .*\.py$", block.told)
        }
        there = [name for name in files if (directory / name).exists()]
        if not there:
            return
        command = [sys.executable, "-m", *TYPE_CHECK, *there]
        checked = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if checked.returncode > 1:
            self._complain(0, f"mypy fails: {checked.stderr.strip()}")
        for name, line, error in re.findall(r"^([^:\n]+):(\d+): (error: .*)", checked.stdout, re.MULTILINE):
            start = files[name].start if name in files else 0
            self._complain(start + int(line) - 1, f"{name}: {error}")

    def _run(self, found: list[Block]) -> None:
        sandbox = Sandbox()
        shell = Shell(sandbox)
        complaints = len(self.complaints)
        done = []
        try:
            for block in found:
                if block.told.startswith("file: "):
                    shell.write(block.told.removeprefix("file: "), block.lines)
                elif _is_run(block):
                    done.append(self._run_block(block, shell))
            self._check_types(found, shell.project)
        except TooLong as error:
            self._complain(block.start, f"`{error}` does not end within {COMMAND_TIMEOUT_S} s")
        finally:
            shell.close()
            left = sandbox.close()
        if len(self.complaints) > complaints:  # all of the page, so that its process ids agree
            for block, wanted in done:
                self._replace(block, wanted)
        if left.processes or left.locks:  # a page about crashes leaves stale sockets
            self._complain(len(self.lines) - 1, f"the page leaves behind: {left}")

    def _run_block(self, block: Block, shell: Shell) -> tuple[Block, list[str]]:
        """Run a block's commands and return it with its lines as they should be."""
        wanted: list[str] = []
        for command, shown in _sessions(block):
            printed = shell.run(command)
            wanted += ("$ " + command.replace("\n", "\n> ")).split("\n")
            fits = _fits(shown, printed)
            wanted += shown if fits and "..." in shown else printed
            if not fits:
                told = "\n".join(f"    {line}" for line in printed)
                self._complain(block.start, f"`{command}` prints\n{told}")
        return block, wanted

    def _check_links(self) -> None:
        fenced = False
        for number, line in enumerate(self.lines):
            fenced ^= line.startswith("```")
            if fenced:
                continue
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if not target.startswith(("http://", "https://")) and not self._resolves(target):
                    self._complain(number, f"the link {target} leads nowhere")

    def _check_tests(self) -> None:
        for number, line in enumerate(self.lines):
            for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", line):
                path = ROOT / file
                if not path.exists() or f"def {name}(" not in path.read_text(encoding="utf-8"):
                    self._complain(number, f"there is no test {file}::{name}")

    def _resolves(self, target: str) -> bool:
        file, _, anchor = target.partition("#")
        path = (self.path.parent / file).resolve() if file else self.path
        if not path.exists():
            return False
        return not anchor or anchor in _anchors(path)


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def main() -> int:
    """Check the pages and return the exit code."""
    parser = argparse.ArgumentParser(prog="docs/check.py", description="Check what the pages show.")
    parser.add_argument("--update", action="store_true", help="write the pages as they should be")
    parser.add_argument("--still", action="store_true", help="run none of the pages' commands")
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="by default all")
    options = parser.parse_args()
    paths = options.pages or [
        path for pattern in (*PAGES, *RUN_ELSEWHERE) for path in sorted(ROOT.glob(pattern))
    ]
    wrong = 0
    for path in paths:
        page = Page(path.resolve())
        page.check(run=not options.still and not any(page.path.match(one) for one in RUN_ELSEWHERE))
        for complaint in page.complaints:
            print(complaint)
        wrong += len(page.complaints)
        if options.update and page.complaints:
            path.write_text(page.as_it_should_be(), encoding="utf-8")
    print(f"{len(paths)} pages, {wrong} complaints")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

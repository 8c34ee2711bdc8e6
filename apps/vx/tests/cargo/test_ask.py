"""What cargo answers counts until something changes that it came from, also while it answers."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx.cargo.ask import Cargo, Question
from vx.file_digests import FINE_TICK_NS, FileDigests
from vx.project.action import Tool

GRAPH = '{"version": 1, "units": [], "roots": []}'


class Asked:
    """A project and a cargo that counts its calls, and may change the project before it answers."""

    def __init__(self, path: Path) -> None:
        self.project = path / "p"
        self.project.mkdir()
        self.manifest = self.project / "Cargo.toml"
        self.manifest.write_text('[package]\nname = "p"\n')
        self._calls = path / "calls"
        self._program = path / "cargo"
        self.answers("")
        self._cargo = Cargo(FileDigests().digest)

    def answers(self, before: str) -> None:
        """Have cargo run a shell command before each answer."""
        self._program.write_text(f"#!/bin/sh\necho >> {self._calls}\n{before}\necho '{GRAPH}'\n")
        self._program.chmod(0o755)

    def rest(self) -> None:
        """Wait until a change would show in the project's times."""
        changed = [self.project, *self.project.rglob("*")]
        wait_until(lambda: time.time_ns() > max(one.stat().st_ctime_ns for one in changed) + FINE_TICK_NS, 10)

    def calls(self) -> int:
        """Ask once more; return how often cargo ran so far."""
        tool = Tool(str(self._program), "id", "cargo")
        self._cargo.graph(Question(str(self.project)), tool, {"PATH": "/usr/bin:/bin"}, lambda: None)
        return len(self._calls.read_text().splitlines())


def test_an_answer_counts_while_nothing_changes(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.rest()
    assert [asked.calls(), asked.calls()] == [1, 1]
    asked.manifest.write_text('[package]\nname = "q"\n')
    assert asked.calls() == 2


@pytest.mark.parametrize(
    "change",
    [
        "echo '# edited' >> {project}/Cargo.toml",
        "mkdir -p {project}/examples && touch {project}/examples/new.rs",
    ],
    ids=["the manifest", "a target that comes"],
)
def test_what_changes_while_cargo_answers_is_read_again(tmp_path: Path, change: str) -> None:
    """The answer is of what was there before."""
    asked = Asked(tmp_path)
    asked.rest()
    asked.answers(change.format(project=asked.project))
    assert asked.calls() == 1
    asked.answers("")
    assert asked.calls() == 2


@pytest.mark.parametrize(
    "change",
    [
        "echo '# edited' >> {project}/b/Cargo.toml",
        "echo '# edited' >> {project}/some/c/Cargo.toml",
        "echo '# edited' >> {project}/named/Cargo.toml",
        "echo '# edited' >> {project}/named/further/Cargo.toml",
        "echo '# edited' >> {project}/configured/Cargo.toml",
        "mkdir {project}/some/e",
        "touch {project}/some/d/Cargo.toml",
    ],
)
def test_a_package_that_is_not_built_is_looked_at_as_cargo_does(tmp_path: Path, change: str) -> None:
    """Its requirements decide versions, too."""
    asked = Asked(tmp_path)
    asked.manifest.write_text(
        '[workspace]\nmembers = ["b", "some/*"]\n[patch.crates-io]\nnamed = { path = "named" }\n'
    )
    for name in ("b", "some/c", "named", "named/further", "configured", ".cargo"):
        (asked.project / name).mkdir(parents=True)
        (asked.project / name / "Cargo.toml").write_text("[package]\n")
    (asked.project / "some/d").mkdir()
    (asked.project / "named/Cargo.toml").write_text(
        '[target."cfg(unix)".dev-dependencies]\nf = { path = "further" }\nown = { path = "." }\n'
    )
    (asked.project / ".cargo/config.toml").write_text('paths = ["configured"]\n')
    asked.rest()
    assert [asked.calls(), asked.calls()] == [1, 1]
    subprocess.run(["/bin/sh", "-c", change.format(project=asked.project)], check=True)
    assert asked.calls() == 2

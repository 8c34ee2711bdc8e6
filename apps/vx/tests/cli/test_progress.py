"""What a terminal shows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli.terminal import width
from vx.aether.diagnostics import first_error, rendered, without_colours
from vx.cli import build
from vx.cli.progress import bar
from vx.cli.store import size_of


def test_the_bar() -> None:
    assert bar(0, 4, ["a"], columns=80) == "building [>                       ] 0/4: a"
    assert bar(2, 4, ["a", "b"], columns=80) == "building [============>           ] 2/4: a, b"
    assert bar(4, 4, [], columns=80) == "building [========================] 4/4"


@given(st.integers(0, 50), st.lists(st.text(max_size=30), max_size=5), st.integers(20, 200))
def test_the_bar_fits(done: int, running: list[str], columns: int) -> None:
    assert width(bar(done, 50, running, columns=columns)) < columns


def test_rustcs_lines_and_others() -> None:
    lines = '{"kind":"d","rendered":"\\u001b[31merror\\u001b[0m: no\\n"}\n{"artifact":"x"}\nplain\n{half\n'
    assert without_colours(rendered("rustc", lines)) == "error: no\nplain\n{half\n"
    assert rendered("cc", lines) == lines
    nested = '{"a": ' + "[" * 100_000 + "\n"  # such as a macro prints, or a shared cache keeps
    assert rendered("rustc", nested) == nested
    assert first_error("note\nsrc: error: bad\n") == "src: error: bad"


def test_all_variables_are_sent_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may read any (`option_env!`); one that is not UTF-8 no message can hold."""
    monkeypatch.setenv("VX_TEST_PLAIN", "\N{GREEK SMALL LETTER ALPHA}")
    monkeypatch.setenv("VX_TEST_BYTES", "\udcff")
    monkeypatch.setenv("VX_TEST_LONG", "x" * 100_000)
    sent = build.parameters_of(build.BuildArguments())["environment"]
    assert [name for name in sent if name.startswith("VX_TEST_")] == ["VX_TEST_PLAIN"]


def test_a_plain_build_imports_little() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import vx.cli.entry; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-Sc", code], capture_output=True, text=True, check=True).stdout
    heavy = {
        "asyncio",
        "msgspec",
        "argparse",
        "re",
        "json",
        "logging",
        "dataclasses",
        "pathlib",
        "blake3",
        "typing",
    }
    assert heavy.isdisjoint(loaded.split())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500M", 500 << 20),
        ("2g", 2 << 30),
        ("1.5K", 1536),
        ("10MiB", 10 << 20),
        ("7", 7),
        ("x", None),
        ("-1", None),
        ("", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("words", [["--release"], ["-r", "--no-spawn"], ["--json", "-q"], []])
def test_plain_forms_need_no_argparse(words: list[str]) -> None:
    assert build.parse(words) is not None


def test_other_forms_do() -> None:
    assert build.parse(["--features", "x"]) is None
    assert build.parse(["--help"]) is None

"""The tutorial, word for word: its files are written, its commands are run, its output is compared."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs/typed-calls.md"


def test_the_service_of_the_tutorial_is_the_example():
    service = (ROOT / "examples/counter.py").read_text(encoding="utf-8")
    assert f"<!-- file: counter.py -->\n```python\n{service}```\n" in TUTORIAL.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(sandbox):
    done = sandbox.run(sys.executable, ROOT / "docs/check.py", TUTORIAL)
    assert done.code == 0, done.out

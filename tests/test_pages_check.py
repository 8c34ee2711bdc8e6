"""`docs/check.py`, which runs the pages: a command that hangs is a complaint, and the check goes on."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = """# A page

```console
$ echo one
one
$ echo two; exec sleep 60
two
```
"""


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "docs")
    module = importlib.import_module("check")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "COMMAND_TIMEOUT_S", 1.0)
    return module


def test_a_command_that_does_not_end_is_named_with_its_page(check, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    page = check.Page(path)
    page.check()
    assert page.complaints == ["page.md:4: `echo two; exec sleep 60` does not end within 1.0 s"]


def test_what_a_command_prints_is_compared(check, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE.replace("; exec sleep 60", "; printf half"))
    page = check.Page(path)
    page.check()
    assert page.complaints == ["page.md:4: `echo two; printf half` prints\n    two\n    half"]

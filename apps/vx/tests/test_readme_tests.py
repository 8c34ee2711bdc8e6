"""README names a test for what it promises; each of those is there, and each row of a table names one."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = (HERE.parent / "README.md").read_text(encoding="utf-8")
# Their rows promise something, and a column names the test.
SECTIONS = ("What a result depends on", "What vx builds and refuses", "Each sentence and its test")


def test_each_test_that_the_page_names_is_there() -> None:
    there = {
        name
        for path in HERE.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    files = {path.name for path in HERE.rglob("test_*.py")}
    named = set(re.findall(r"\btest_\w+(?:\.py)?", README))
    assert len(named) > 70
    assert sorted(named - there - files) == []
    assert "..." not in "".join(re.findall(r"`[^`\n]*test_[^`\n]*`", README))


def test_each_row_of_what_is_promised_names_a_test() -> None:
    for title in SECTIONS:
        section = README.partition(f"## {title}\n")[2].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("|")]
        promises = [row for row in rows[2:] if not row.startswith("|---")]
        assert len(promises) > 5, title
        assert [row for row in promises if "test_" not in row] == []

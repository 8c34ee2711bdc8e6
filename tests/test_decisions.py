"""docs/decisions.md: each decision has a number of its own, by which others refer to it."""

import re
from collections import Counter
from pathlib import Path

TEXT = (Path(__file__).resolve().parent.parent / "docs/decisions.md").read_text(encoding="utf-8")


def test_no_number_stands_twice():
    numbers = Counter(re.findall(r"^(\d+)\. ", TEXT, re.MULTILINE))
    assert [number for number, times in numbers.items() if times > 1] == []
    assert len(numbers) > 100  # the pattern finds them

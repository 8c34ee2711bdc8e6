"""The style page, held against the pages: what it replaces is gone, and what readers search for is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STYLE = ROOT / "docs/style.md"
# Words that people type into a search box; each has to lead to a page of the user's, not of the maintainer's.
SEARCHED = (
    "idempotent",
    "retry",
    "backoff",
    "singleton",
    "graceful shutdown",
    "hot reload",
    "health check",
    "thread-safe",
    "broadcast",
)
FOR_MAINTAINERS = {"style.md", "decisions.md", "design.md", "reading-order.md"}


def pages():
    found = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md"))
    return {path: " ".join(path.read_text().split()) for path in found if path.name not in FOR_MAINTAINERS}


def replaced():
    rows = re.findall(r"^\| `?(.+?)`? \| `?(.+?)`? \| .+ \|$", STYLE.read_text(), re.MULTILINE)
    return [before for before, _ in rows if before not in ("not", "---")]


def test_the_style_page_has_ten_pairs_and_no_page_has_what_they_replace():
    before = replaced()
    assert len(before) == 10
    assert [(path.name, one) for path, text in pages().items() for one in before if one in text] == []


@pytest.mark.parametrize("word", SEARCHED)
def test_a_word_that_readers_search_for_is_on_a_page(word):
    assert [path.name for path, text in pages().items() if word in text.lower()] != []

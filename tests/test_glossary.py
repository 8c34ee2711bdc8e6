"""The words of docs/design.md, held against the names in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("src", "apps/mcp-cli/src", "apps/palingenesis/src", "apps/vx/src")
# The word in another sense: YAML has front matter.
OTHERWISE = {"FrontMatterInvalid"}


def rows():
    text = (ROOT / "docs/design.md").read_text()
    words = text[text.index("## Words") :].partition("\n\nVerbs:")[0]
    for line in words.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] not in ("say", "---"):
            yield cells


def split(names):
    """The words of a cell, without what is in brackets."""
    return [word.strip() for word in re.sub(r"\(.*?\)", "", names).split(",") if word.strip()]


@pytest.fixture(scope="module")
def defined():
    """The names of functions; those of classes and modules, which are the ones that a reader meets first."""
    functions, others = set(), set()
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            parts = path.relative_to(ROOT / source).with_suffix("").parts
            others.add(".".join(part for part in parts if part != "__init__"))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    others.add(node.name)
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    functions.add(node.name)
    return functions, others


def words_of(name):
    """The words that a name is made of: of a module, those of its last part."""
    last = name.rpartition(".")[2]
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", last)}


def test_each_name_of_the_glossary_is_in_the_code(defined):
    functions, others = defined
    known = functions | {name.rpartition(".")[2] for name in others}
    named = [name for row in rows() for name in re.findall(r"`(\w+)`", row[2])]
    assert len(named) > 20
    assert [name for name in named if name not in known] == []


def test_no_class_or_module_has_a_word_that_the_glossary_replaces(defined):
    _, others = defined
    never = {form for row in rows() for word in split(row[3]) for form in (word, word + "s")}
    assert {"guest", "kept"} < never
    bad = {name for name in others if words_of(name) & never}
    assert bad - OTHERWISE == set()


def test_each_word_has_one_row():
    said = [word for row in rows() for word in split(row[0])]
    assert len(said) == len(set(said))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("StuckControl", {"stuck", "control"}),
        ("a.kept_files", {"kept", "files"}),
        ("HTTPFront", {"http", "front"}),
    ],
)
def test_a_name_is_taken_apart(name, words):
    assert words_of(name) == words

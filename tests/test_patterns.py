"""The regular expressions of the project mean the same to every Python that it supports."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for folder in ("src", "apps", "docs", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))
]
TAKES_A_PATTERN = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}


def pattern_of(node):
    """Return the pattern that a call of `re` is given literally; what an f-string fills in counts as `x`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return None
    if ast.unparse(node.func.value) != "re" or node.func.attr not in TAKES_A_PATTERN:
        return None
    pieces = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
    texts = [piece.value if isinstance(piece, ast.Constant) else "x" for piece in pieces]
    return texts[0] if len(texts) == 1 else "".join(texts)


def patterns():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (pattern := pattern_of(node)) is not None:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", pattern


def operations(parsed):
    """Yield the names of all that a parsed pattern does, at every depth."""
    for item in parsed:
        if hasattr(item, "name"):  # an opcode
            yield item.name
        elif isinstance(item, tuple | list | re._parser.SubPattern):
            yield from operations(item)


def goes_not_back(pattern):
    return not {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}.isdisjoint(operations(re._parser.parse(pattern)))


@pytest.mark.parametrize("pattern", ["a*+", "a?+", "(b|a{2}+)*", "(?>a)", b"x++"])
def test_a_possessive_quantifier_is_found(pattern):
    assert goes_not_back(pattern)


def test_no_pattern_forbids_going_back():
    """Possessive quantifiers and atomic groups match wrongly before Python 3.11.5 (python/cpython#106052)."""
    found = dict(patterns())
    assert len(found) > 30
    assert [where for where, pattern in found.items() if goes_not_back(pattern)] == []

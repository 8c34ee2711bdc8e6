"""File name patterns."""

from __future__ import annotations

import pytest

from vx.project.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("src/*.c", "src/a.c", True),
        ("src/*.c", "src/b/a.c", False),
        ("src/**/*.c", "src/a.c", True),
        ("src/**/*.c", "src/b/c/a.c", True),
        ("**/*.c", "a.c", True),
        ("src", "src/a.c", True),
        ("src/", "src/deep/a.c", True),
        ("src/**", "src/deep/a.c", True),
        ("./a.c", "a.c", True),
        ("a?.[ch]", "ab.h", True),
        ("*.c", "a.h", False),
        ("src/a.c", "src", False),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits

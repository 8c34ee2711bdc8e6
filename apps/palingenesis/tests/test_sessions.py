"""What a session file is: every input has one of three answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palingenesis.sessions import (
    MAX_FRONT_MATTER_BYTES,
    FrontMatterInvalid,
    front_matter,
    is_searched,
    is_session_name,
)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"---\ntitle: A\nturns: 3\n---\nbody", {"title": "A", "turns": 3}),
        (b"---\r\ntitle: A\r\n---\r\nbody", {"title": "A"}),
        (b"\xef\xbb\xbf---\ntitle: A\n---\n", {"title": "A"}),
        (b"---\ntitle: A\n...\n", {"title": "A"}),
        (b"--- \ntitle: A\n---", {"title": "A"}),
        (b"---\n---\n", {}),
        ("---\ntitle: Größe ✓\n---\n".encode(), {"title": "Größe ✓"}),
    ],
)
def test_front_matter_is_read(head: bytes, expected: dict[str, object]) -> None:
    assert front_matter(head) == expected


@pytest.mark.parametrize("head", [b"", b"# Notes\n", b"----\n", b"\n---\na: 1\n---\n", b"title: A\n---\n"])
def test_a_file_that_begins_otherwise_has_none(head: bytes) -> None:
    assert front_matter(head) is None


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"---\ntitle: A\n", "no closing '---'"),
        (b"---\ntitle: [A\n---\n", "in line 2"),
        (b"---\n- a\n- b\n---\n", "not a mapping"),
        (b"---\ntitle\n---\n", "not a mapping"),
        (b"---\ntitle: \xff\n---\n", "not UTF-8"),
        (b"---\na: &x 1\nb: *x\n---\n", "aliases are not read in line 3"),
        (b"---\na: !!python/name:os.system\n---\n", "could not determine a constructor"),
        (b"---\nwhen: 2026-99-99\n---\n", "not YAML (ValueError)"),
        (b"---\nwhen: !!timestamp soon\n---\n", "not YAML"),
        (b"---\nyes: !!bool maybe\n---\n", "not YAML"),
        (b"---\nn: " + b"1" * 5000 + b"\n---\n", "not YAML (ValueError)"),
        (b"---\na: " + b"[" * 2000 + b"\n---\n", "nested too deeply"),
        (b"---\na: b\0c\n---\n", "not YAML (ReaderError)"),
    ],
)
def test_bad_front_matter_is_told_with_its_reason(head: bytes, reason: str) -> None:
    with pytest.raises(FrontMatterInvalid) as raised:
        front_matter(head)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_front_matter_without_an_end_is_bounded() -> None:
    with pytest.raises(FrontMatterInvalid, match=str(MAX_FRONT_MATTER_BYTES)):
        front_matter((b"---\n" + b"a: 1\n" * MAX_FRONT_MATTER_BYTES)[:MAX_FRONT_MATTER_BYTES])


@given(
    st.binary(max_size=200) | st.text(alphabet="ab:-[]{}!&*|>'\"#?,. \n\t01", max_size=100).map(str.encode)
)
def test_nothing_else_is_ever_raised(block: bytes) -> None:
    try:
        found = front_matter(b"---\n" + block + b"\n---\n")
    except FrontMatterInvalid:
        return
    assert isinstance(found, dict)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.md", True),
        (".md", False),
        (".a.md.swp", False),
        (".#a.md", False),
        ("#a.md#", False),
        ("a.md~", False),
    ],
)
def test_an_editors_own_files_are_no_sessions(name: str, expected: bool) -> None:
    assert is_session_name(name) is expected


def test_hidden_directories_and_packages_are_not_searched() -> None:
    assert [name for name in ("a", ".git", "node_modules", "b.md") if is_searched(name)] == ["a", "b.md"]

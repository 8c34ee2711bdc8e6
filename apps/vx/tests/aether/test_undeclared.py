"""What becomes of the files that a job opened and does not tell of."""

from __future__ import annotations

from vx.aether.undeclared import judge
from vx.project.action import Action, Tool

CC = Tool("/home/u/tools/bin/cc", "t", "t")


def action(**fields: object) -> Action:
    return Action("a", "a", CC, "cc", (), {}, ("out",), **fields)  # type: ignore[arg-type]


def test_a_file_of_the_system_counts_and_any_other_is_undeclared() -> None:
    seen = judge(["/usr/share/x", "/etc/conf", "/home/u/secret", "/tmp/y"], action(), {})
    assert seen.counted == ["/usr/share/x", "/etc/conf"]
    assert seen.undeclared == ["/home/u/secret", "/tmp/y"]


def test_what_is_told_or_is_the_tool_chains_is_neither() -> None:
    opened = [
        "/home/u/told.h",
        "/home/u/lib.so",
        CC.path,
        "/proc/self/maps",
        "/etc/ld.so.cache",
        "/root/rust/x",
    ]
    known = action(machine=("/home/u/lib.so",), known=("/root/rust",))
    assert judge(opened, known, {"/home/u/told.h": "d"}) == ([], [])


def test_folders_of_the_callers_own_options_count() -> None:
    seen = judge(["/home/u/libs/a.a", "/home/u/tools/bin/as"], action(libraries=("/home/u/libs",)), {})
    assert seen.counted == ["/home/u/libs/a.a", "/home/u/tools/bin/as"]

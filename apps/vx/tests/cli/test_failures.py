"""Errors as one line and an exit code."""

from __future__ import annotations

import pytest

from daemonry import errors
from vx.cli.failures import told


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.AccessDenied("/h/aether.sock", "no"), 4, "vx: access denied to /h/aether.sock: no"),
        (PermissionError(13, "Permission denied", "/h"), 4, "vx: /h: Permission denied"),
        (errors.UnsafePath("/h", "belongs to user 1, not to 2"), 1, "vx: /h: belongs to user 1, not to 2"),
        (
            errors.VersionMismatch("aether", "1.0", "2.0", "1.0 runs, and 2.0 is newer"),
            1,
            "vx: aether: 1.0 runs, and 2.0 is newer: without --no-spawn it would be replaced",
        ),
        (OSError(28, "No space left on device", "/h"), 1, "vx: /h: No space left on device"),
    ],
)
def test_an_error_is_one_line_and_its_code(error: OSError, code: int, line: str, capsys) -> None:
    """A connection that is refused is an error of the system, too, and has a code of its own."""
    assert told(error) == code
    assert capsys.readouterr().err == f"{line}\n"

"""What an action may read: never what a file says now under the digest of what it said before."""

from __future__ import annotations

import os
import time
from pathlib import Path

from daemonry.testing import wait_until
from vx import digests
from vx.aether.inputs import Inputs
from vx.file_digests import FINE_TICK_NS, FileDigests


class Behind(FileDigests):
    """A memory that was read just before the file changed."""

    before: bytes | None = None

    def digest(self, path: str) -> str | None:
        return super().digest(path) if self.before is None else digests.of_bytes(self.before)


def test_a_source_that_changes_between_two_looks_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text('#include "new.h"\n')
    known = Behind()
    inputs = Inputs(known, None)  # type: ignore[arg-type]
    known.before = b'#include "old.h"\n'
    assert inputs._includes_of(str(source), digests.of_bytes(known.before)) is None
    source.write_bytes(known.before)
    known.before = None
    found = inputs._includes_of(str(source))
    assert found is not None
    assert found.names == ("old.h",)


class Written(FileDigests):
    """A memory that reads a file just after somebody has written it."""

    def digest(self, path: str) -> str | None:
        Path(path).write_text("after")
        return super().digest(path)


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_what_a_tool_has_read(tmp_path: Path) -> None:
    source = tmp_path / "a.h"
    source.write_text("before")
    os.utime(source, (1, 1))
    wait_until(lambda: time.time_ns() > source.stat().st_ctime_ns + FINE_TICK_NS, 10)
    inputs = Inputs(Written(), None)  # type: ignore[arg-type]
    assert inputs._unchanged_since(str(source), time.time_ns()) is None

"""What an action may read: never what a file says now under the digest of what it said before."""

from __future__ import annotations

from pathlib import Path

from vx import digests
from vx.aether.inputs import Inputs
from vx.file_digests import FileDigests


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

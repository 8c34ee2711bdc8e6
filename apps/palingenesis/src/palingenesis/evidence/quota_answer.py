"""What was answered to whether a limit has ended."""

from __future__ import annotations

from typing import Final

import msgspec


class Quota(msgspec.Struct, frozen=True):
    """An answer.

    Attributes:
        ended: whether there is quota again; None where that is not told.
        resets_at_s: when the limit ends, where it has not and the answer says so.
    """

    ended: bool | None = None
    resets_at_s: float | None = None


UNKNOWN: Final = Quota()

"""The results of a stream as they are sent: one by itself, or all that are there at once in one step.

Owns which of the two ways says what; the codec of both is `wire.fast_varlink`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daemonry import errors
from daemonry.wire import fast_varlink
from daemonry.wire.varlink import CONTINUES_END, REPLY_HEAD

_AROUND = (REPLY_HEAD, CONTINUES_END)


class ItemFrames:
    """Makes frames of replies behind which others come; none, where only `Bound.reply` can judge.

    Args:
        one: makes the frame of one result; raises LocalProtocolError for what only `Bound.reply` can judge.
        several: makes the frames of several, or None where they have to be looked at one by one.
    """

    __slots__ = ("_one", "_several")

    def __init__(
        self,
        one: Callable[[Any], bytes] | None = None,
        several: Callable[[list[Any]], bytes | None] | None = None,
    ) -> None:
        self._one = one
        self._several = several

    @classmethod
    def of(cls, kind: Any, field: str, check: Callable[[bytes], None]) -> ItemFrames:
        """Return those of one type; arguments as for `fast_varlink.reply_framer`."""
        several = fast_varlink.replies_framer(kind, field, _AROUND)
        return cls(fast_varlink.reply_framer(kind, field, check, _AROUND), several)

    def frames(self, results: list[Any]) -> bytes | None:
        """Return results as they are sent; None where they have to be looked at one by one."""
        if not results:
            return b""
        return None if self._several is None else self._several(results)

    def frame(self, result: Any) -> bytes | None:
        """Return one result as it is sent; None where only `Bound.reply` can judge."""
        try:
            return None if self._one is None else self._one(result)
        except errors.LocalProtocolError:
            return None  # `reply` says why

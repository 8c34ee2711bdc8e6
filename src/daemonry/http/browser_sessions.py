"""One-time codes, and the tokens that browsers get for them.

Owns both lists and their bounds.  A code is worth a token once, within minutes, and is made for whoever
reached the daemon by its socket; a token lives in one tab of a browser, in its session storage, which is
bound to the port as well as to the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from daemonry import clock
from daemonry.http.security import is_token

# Long enough for a person to paste the address.
CODE_LIFE_S: Final = 300.0
# A working day; then the page says how to go on.
SESSION_LIFE_S: Final = 12 * 3600.0
_MOST: Final = 64
_BYTES: Final = 24


class BrowserSessions:
    """The codes and tokens of one daemon."""

    def __init__(self) -> None:
        self._codes: dict[str, float] = {}
        self._tokens: dict[str, float] = {}

    def make_code(self) -> str:
        """Return a new code; of too many, the oldest ends."""
        return self._make(self._codes, CODE_LIFE_S)

    def redeem(self, code: str) -> str | None:
        """Return a new token for a code, which is spent; None for an unknown code."""
        for known in self._living(self._codes):
            if is_token(code, (known,)):
                del self._codes[known]
                return self._make(self._tokens, SESSION_LIFE_S)
        return None

    def tokens(self) -> Iterator[str]:
        """Return the tokens that count now."""
        return iter(self._living(self._tokens))

    def _make(self, where: dict[str, float], life_s: float) -> str:
        while len(where) >= _MOST:
            del where[next(iter(where))]
        made = os.urandom(_BYTES).hex()
        where[made] = clock.monotonic() + life_s
        return made

    def _living(self, where: dict[str, float]) -> list[str]:
        now_s = clock.monotonic()
        for one in [one for one, until_s in where.items() if until_s < now_s]:
            del where[one]
        return list(where)

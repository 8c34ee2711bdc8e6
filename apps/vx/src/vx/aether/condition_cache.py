"""Files as one build finds them: a header is looked at once, not for each source that includes it."""

from __future__ import annotations

from vx.keys.recipe import Conditions


class ConditionCache:
    """The files that one build has looked at so far."""

    def __init__(self) -> None:
        self._digests: dict[str, str | None] = {}
        self._exists: dict[str, bool] = {}

    def over(self, now: Conditions) -> Conditions:
        """Return the same conditions, each file looked at once."""

        def digest(path: str) -> str | None:
            if path not in self._digests:
                self._digests[path] = now.digest(path)
            return self._digests[path]

        def exists(path: str) -> bool:
            found = self._exists.get(path)
            if found is None:
                found = self._exists[path] = now.exists(path)
            return found

        return Conditions(digest, exists, now.env)

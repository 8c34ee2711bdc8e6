"""The errors, loaded by the first that is raised or caught: what modules on the quick path import.

`faults.NotRunning` is `errors.NotRunning`.  A command that succeeds names no error, so it does not pay
for loading all of them, which takes as long as a tenth of the command.  A module that is never on the
quick path imports `daemonry.errors` itself.  Not public: programs say `daemonry.errors`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daemonry.errors import *  # noqa: F403


def __getattr__(name: str) -> Any:
    from daemonry import errors

    try:
        value = getattr(errors, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = value
    return value

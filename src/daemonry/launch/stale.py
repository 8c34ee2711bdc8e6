"""Whether a daemon that runs has other code than the disk: asked for each `ensure` in development mode.

Owns the question, and the line that says the answer.  Replacing the daemon is `acquire`'s.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from daemonry.errors import DaemonryError
from daemonry.service.client.blocking import Client
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from daemonry.transport.endpoint import Endpoint

_CODE = "org.daemonry.Debug.Code"
_ASKED_S = 5.0
_MOST_NAMED = 3


def changed_files(endpoint: Endpoint) -> list[str]:
    """Return the files that are others than the daemon has imported; [] where it does not say."""
    try:
        with Client.connect(endpoint, _ASKED_S) as client:
            changed = client.call(_CODE, timeout_s=_ASKED_S).get("changed")
    except (DaemonryError, OSError):
        return []  # it ends, is stuck, or of a release that does not know the question
    return [one for one in changed if isinstance(one, str)] if isinstance(changed, list) else []


def reason(changed: list[str]) -> str:
    """Return why a daemon is to be replaced, for people."""
    names = [printable(os.path.basename(path), 80) for path in changed[:_MOST_NAMED]]
    return f"{', '.join(names)}{' ...' if len(changed) > _MOST_NAMED else ''} changed"


def say(name: str, changed: list[str], what: str) -> None:
    """Tell the developer on standard error."""
    print(f"{name}: {reason(changed)}: {what}", file=sys.stderr, flush=True)

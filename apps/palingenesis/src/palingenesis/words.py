"""The commands by which a user has a say about one session: now, skip, abort, hold, release, new-session.

Owns the call and its output.  The request is `resume.service`'s, in the daemon.
"""

from __future__ import annotations

import os

from daemonry import Client, Instance
from daemonry.cli import kit
from palingenesis import NAME
from palingenesis.here import here
from palingenesis.overview import survey
from palingenesis.path_text import shown
from palingenesis.resume.service import Asked, CannotBeDone, Sessions

# `now` of a session that nothing was kept of looks at all of them first.
TIMEOUT_S = 30.0


def say_to(session: str | None, verb: str, as_json: bool, timeout_s: float | None) -> int:
    """Have the daemon do `verb` about a session, and print how it stands then.

    Raises:
        DaemonryError: the daemon does not run, or does not answer.
    """
    if session is None:
        session = _newest_here()
        if session is None:
            kit.complain("palingenesis: no session of the last days works in this directory: name one")
            return kit.FAILED
    try:
        with Client.connect(Instance.named(NAME).endpoint()) as client:
            proxy = client.proxy(Sessions, timeout_s=timeout_s or TIMEOUT_S)
            after: Asked = getattr(proxy, verb.replace("-", "_"))(shown(session))
    except CannotBeDone as error:
        kit.complain(f"palingenesis: {kit.printable(error.reason)}")
        return kit.FAILED
    if as_json:
        kit.say_json({"session": after.session, "state": after.state})
    else:
        kit.say(f"{kit.printable(after.session)}: {after.state}")
    return kit.DONE


def _newest_here() -> str | None:
    """Return the session of this directory that changed last."""
    cwd = os.path.realpath(here())
    found = (one.key for one in survey().look() if one.cwd and os.path.realpath(one.cwd) == cwd)
    return next(found, None)

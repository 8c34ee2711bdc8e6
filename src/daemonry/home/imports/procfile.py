"""Procfile, as foreman, honcho and overmind read it: a name, a colon, and a command for a shell.

Owns that form.  Source: https://devcenter.heroku.com/articles/procfile.
"""

from __future__ import annotations

import re
from typing import Final

from daemonry.home.imports.home_text import Draft, ImportInvalid, shell

_LINE: Final = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)\Z")
# foreman gives each process a port: 5000, 5100 and so on.
_FIRST_PORT: Final = 5000


def read(text: str) -> Draft:
    """Return the services of a Procfile.

    Raises:
        ImportInvalid: no line is a `name: command`.
    """
    draft = Draft()
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            found = _LINE.match(bare)
            if found is None:  # foreman skips such a line too
                draft.note(
                    f"line {number}", repr(bare[:40]), "is not of the form NAME: COMMAND, and is left out"
                )
                continue
            port = _FIRST_PORT + 100 * len(draft.services)
            draft.services[draft.name(found[1])] = {
                "command": shell(found[2]),
                "environment": {"PORT": str(port)},
                "environment_files": ["-.env"],
            }
    if not draft.services:
        raise ImportInvalid("there is no NAME: COMMAND in it")
    draft.notes.append("foreman ends all when one ends; a home restarts it: see restart")
    return draft

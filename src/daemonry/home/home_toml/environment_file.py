"""Files of variables, as systemd, docker and dotenv read them: NAME=VALUE, one a line.

Owns the form: blank lines and lines that begin with # say nothing, `export` may stand before a name, a
value may be quoted as a shell would, and nothing in it is expanded.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class EnvironmentFileInvalid(ValueError):
    """A line that says nothing that can be used; with its number and the reason."""


def parse(text: str) -> dict[str, str]:
    """Return the variables of a file's text; the last of several of one name counts.

    Raises:
        EnvironmentFileInvalid: a line is not of the form NAME=VALUE.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            name, equals, value = bare.removeprefix("export ").partition("=")
            name = name.strip()
            if not equals or not _NAME.match(name):
                raise EnvironmentFileInvalid(f"line {number}: {bare[:40]!r} is not of the form NAME=VALUE")
            found[name] = _unquoted(value.strip(), number)
    return found


def _unquoted(value: str, number: int) -> str:
    if value[:1] not in ('"', "'"):
        return value
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        raise EnvironmentFileInvalid(f"line {number}: a quotation mark is not closed") from None
    if len(words) != 1 or "\0" in value:
        raise EnvironmentFileInvalid(f"line {number}: something stands behind the quoted value")
    return words[0]

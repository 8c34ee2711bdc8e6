"""Which command lines mean a home, and not a daemon.

Owns the words.  What they do is `home`'s, which is imported for them only.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

VERBS: Final = {
    "up": "start what a home runs, and return when it is ready",
    "down": "stop what a home runs, in reverse order",
    "ps": "list a home's services",
    "logs": "print what a home's services have written",
    "restart": "stop one service of a home and start it",
    "reload": "have a home read its home.toml again, and apply what differs",
}
# Those that mean a daemon where no home is given.
_SHARED: Final = ("ps", "logs", "restart", "reload")


def means_a_home(arguments: list[str]) -> bool:
    """Whether a command line is for a home and not for a daemon."""
    verb = arguments[0] if arguments else ""
    if verb in _SHARED:
        return any(one == "--home" or one.startswith("--home=") for one in arguments[1:])
    return verb in VERBS

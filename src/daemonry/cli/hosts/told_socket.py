"""Which socket the other machine may reach a daemon at, without a process here.

Owns the rule: nobody else can put a socket in its place.  A dial looks who listens before it says "serving";
a channel of sshd's does not look.
"""

from __future__ import annotations

import os

from daemonry.terminal_text import printable
from daemonry.transport.endpoint import UNIX
from daemonry.transport.ssh_words import UNKNOWN, FarSocket
from daemonry.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.daemon.instance import Instance


def told_socket(instance: Instance, differs: str = UNKNOWN) -> FarSocket | None:
    """Return where a daemon's socket is; None where the other machine has to dial.

    Args:
        instance: the daemon.
        differs: see `FarSocket`.

    Raises:
        NotRunning: as `Instance.endpoint`.
    """
    endpoint = instance.endpoint()
    path = endpoint.address
    if endpoint.kind != UNIX or not path.startswith("/") or printable(path) != path:
        return None
    try:
        directory = os.stat(os.path.dirname(path))
    except OSError:
        return None
    if directory.st_uid not in (os.geteuid(), 0) or directory.st_mode & 0o022:
        return None
    return FarSocket(__version__, instance.pid() or 0, differs, path)

"""The daemon's definition: its name, its version, and where the rest of it is.

Owns the little that starting the daemon needs.  Its work is in `served`, which only the daemon itself
imports; the quick commands find it by its name alone.
"""

from __future__ import annotations

from daemonry import Daemon
from palingenesis import NAME, __version__

daemon = Daemon(
    NAME,
    version=__version__,
    config="palingenesis.settings:Settings",
    # Agents that it resumes need what their user's terminal has: keys, proxies, PATH.
    environment=("*",),
    target="palingenesis.served:daemon",
)

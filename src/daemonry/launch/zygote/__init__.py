"""The zygote: a process that has imported what daemons import, and forks one for each start.

Off unless DAEMONRY_ZYGOTE=1, and never needed: whatever is unusual leads to the ordinary spawn, once.

A zygote is a daemon's process that stopped right before it read which daemon it is.  A starter spawns it as
it would spawn the daemon: the same interpreter, words, environment and working directory, and so the same
cgroup, limits, signals and namespaces.  All of these are in its key, so a child is as that starter, or one
exactly like it, would have spawned it.  Only the daemon's own comes over the socket: its words, boot fields
and descriptors.

    starter -> zygote   MATERIAL: everything that the key is made of; beside it the pipe for the exit status
    zygote -> starter   `no REASON`, or nothing: it forks, and leaves the connection to the child
    child -> starter    `pid N`
    starter -> child    the order, as JSON; beside it the output, and the descriptors of the start

The order commits.  Until then the child waits and has nothing of the starter's: a starter that gave up
has closed the connection, and the child ends.  From then on it is a started daemon like any other.

    choice          whether a start may use a zygote, and the key                  pure
    messages        the messages, made and read                                    pure
    surroundings    what a process passes on to those that it starts, read
    asking          the starter's side
    making          the starter's side where no zygote is there yet
    freshness       whether the files that a zygote has loaded are still the same
    serving         the zygote
    preloading      its imports, and what else it does in advance for its children
    immortal        what it has loaded, made immortal: its children copy fewer pages
    becoming        the child, from the fork to the daemon's first line
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# "1" turns it on; everything else, and nothing, leaves it off.
SETTING: Final = "DAEMONRY_ZYGOTE"

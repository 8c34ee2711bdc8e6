"""A command whose daemon nobody has to start: `adder.py sum 1 2 3` finds it or starts it.

The daemon ends when nobody has needed it for five minutes.  `adder.py start`, `status`, `stop` and the
others are its command line, as everywhere; `adder.py sum --direct 1 2` needs no daemon at all.
"""

import os
import sys

import daemonry
from daemonry.cli import kit


class Adder(daemonry.Interface, name="org.example.adder"):
    """Adds, and remembers how much."""

    def __init__(self) -> None:
        self.total = 0

    def sum(self, numbers: list[int]) -> int:
        """Return the sum of some numbers."""
        self.total += len(numbers)
        return sum(numbers)

    def served_by(self) -> int:
        """Return the id of the process that answers."""
        return os.getpid()


daemon = daemonry.Daemon(
    "adder", version="1.0", idle_timeout_s=300.0, versions=daemonry.Versions.newer_wins()
)
adder = Adder()
daemon.serve(adder)


@daemon.status
def fields() -> dict[str, int]:
    return {"added": adder.total}


def add(words: list[str]) -> int:
    direct = "--direct" in words
    numbers = [int(word) for word in words if word != "--direct"]
    with daemonry.ensure(daemon, mode="direct" if direct else "auto", on_stage=kit.complain) as client:
        kit.say(str(client.proxy(Adder).sum(numbers)))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["sum"]:
        kit.leave(kit.guarded(lambda: add(sys.argv[2:])))
    daemon.main()

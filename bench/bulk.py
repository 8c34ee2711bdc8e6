"""How fast 1 GiB comes from a daemon: in band, and by a descriptor.

Owns the daemon and the rounds.  In band is an upgraded connection: one call, and behind its reply
the bytes as they are.  It is compared with a process that only sends and one that only receives, by
the same two system calls, in the same run, each of them up and running before.  A lent file is filled
once, before anything is timed; what is timed is the call, the descriptor's way, mapping it, and reading
both its ends.

What the numbers mean is in bench/README.md.  They are information: the exit code is 0 unless
something could not be run.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from cli import Failed
from rtt import CONTENDERS, Contender, Workshop, machine, serving, workshop

GIB = 1 << 30
# Of bare recv_into, for bytes in band.
TARGET_SHARE = 0.7
TARGET_LENT_MS = 1.0


def measure(
    here: Workshop, path: str, bare_path: str, size_bytes: int, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds that each way took in each round, by its name."""
    found: dict[str, list[float]] = {}
    client = (here.command("python3"), str(CONTENDERS / "bulk_client.py"), path, bare_path, str(size_bytes))
    for number in range(rounds):
        out = here.run(*client, str(number))
        for name, took_s in json.loads(out).items():
            found.setdefault(name, []).append(took_s)
    return found


def main() -> int:
    """Measure, print the table, and return 1 if something could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/bench bulk", description="Time 1 GiB.")
    parser.add_argument("--rounds", type=int, default=7, help="%(default)s")
    parser.add_argument("--env", type=Path, help="keep the virtual environment here, or use the one there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and clean up
    try:
        with ExitStack() as stack:
            here = stack.enter_context(workshop(options.env and options.env.absolute()))
            daemon = Contender("daemonry", path=str(here.runtime / "bulk.sock"))
            words = [here.command("python3"), str(CONTENDERS / "bulk_daemon.py"), daemon.path, str(GIB)]
            stack.enter_context(serving(here, daemon, words))
            bare = Contender("bare", path=str(here.runtime / "bare.sock"))
            words = [here.command("python3"), str(CONTENDERS / "bulk_bare.py"), bare.path]
            stack.enter_context(serving(here, bare, words))
            found = measure(here, daemon.path, bare.path, GIB, options.rounds)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    middle_s = {name: statistics.median(values) for name, values in found.items()}
    bare_rate, rate = GIB / middle_s["bare_s"] / 1e9, GIB / middle_s["upgraded_s"] / 1e9
    lent_ms = middle_s["lent_s"] * 1e3
    print(f"{machine()}; medians of {options.rounds} rounds, not pinned\n")
    print("| 1 GiB | time | GB/s |\n| --- | ---: | ---: |")
    print(f"| bare sendall and recv_into | {middle_s['bare_s'] * 1e3:.0f} ms | {bare_rate:.2f} |")
    print(f"| upgraded connection | {middle_s['upgraded_s'] * 1e3:.0f} ms | {rate:.2f} |")
    print(f"| lent file, mapped | {lent_ms:.3f} ms | |")
    print(f"| lent file, one page mapped | {middle_s['lent_small_s'] * 1e3:.3f} ms | |\n")
    share = rate / bare_rate
    print(f"in band: {share:.2f} of bare recv_into, target >= {TARGET_SHARE}: {_met(share >= TARGET_SHARE)}")
    print(f"lent: {lent_ms:.3f} ms, target < {TARGET_LENT_MS:g} ms: {_met(lent_ms < TARGET_LENT_MS)}")
    return 0


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


if __name__ == "__main__":
    sys.exit(main())

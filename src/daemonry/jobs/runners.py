"""Which process runs a job, as text for the table."""

from __future__ import annotations

import functools

import msgspec

from daemonry.process.identity import Identity


@functools.cache
def own() -> str:
    """Return this process, as text."""
    one = Identity.of_this_process()
    return msgspec.json.encode([one.boot_id, one.pid, one.pid_namespace, one.start_time]).decode()


def lives(runner: str) -> bool:
    """Whether such a text means another process that lives.

    Not this one: what it runs, its queue knows.  Nor a text that is wrong.
    """
    try:
        boot_id, pid, pid_namespace, start_time = msgspec.json.decode(
            runner.encode(), type=tuple[str, int, str, int]
        )
    except msgspec.DecodeError:
        return False
    return runner != own() and Identity(boot_id, pid, pid_namespace, start_time).alive()

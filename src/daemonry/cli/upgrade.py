"""`daemonry upgrade`: a running daemon exchanged for a new process, without a refused connection.

Owns its output and how it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemonry.cli import exit_codes, kit, output
from daemonry.errors import StartFailed
from daemonry.limits import START_TIMEOUT_S
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    import argparse

    from daemonry.daemon.instance import Instance
    from daemonry.daemon.recipe import Recipe


def upgrade(options: argparse.Namespace, instance: Instance, recipe: Recipe) -> int:
    """Exchange the daemon and return the command's exit code."""
    from daemonry.launch.upgrade import upgrade as exchange

    assert instance.place is not None
    before = instance.record()
    try:
        record = exchange(instance.place, recipe, timeout_s=options.timeout or START_TIMEOUT_S)
    except StartFailed as error:
        code = kit.fail(error, options.json)
        for line in error.log_tail.splitlines():
            output.complain("    " + printable(line))
        if instance.lock_held():
            output.complain(printable(f"{instance.name}: the one that ran goes on (pid {instance.pid()})"))
        return code
    finally:
        kit.tell_crash(instance, gone=False)
    result = "ready" if before is None else "upgraded"
    if options.json:
        fields = {"ok": True, "name": instance.name, "result": result}
        output.say_json({**fields, "pid": record.pid, "endpoint": record.endpoint, "version": record.version})
    else:
        output.say(printable(f"{instance.name}: {result} at {record.endpoint} (pid {record.pid})"))
    return exit_codes.DONE

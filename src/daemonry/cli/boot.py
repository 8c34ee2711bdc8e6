"""Being the daemon, or a home's supervisor: what `run` does, and the quick way there from a starter.

Owns the beginning of the process: what its starter handed over, and the import of the program, whose
failure is reported to the starter.  A starter's words are always the same few, so they are read without
argparse, which would take longer than the reading.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from daemonry.bundle import ForDaemon
from daemonry.errors import DaemonryError
from daemonry.process.readiness import Reporter
from daemonry.terminal_text import printable

LEVELS = ("debug", "info", "warning", "error")

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.daemon.definition import Daemon
    from daemonry.home.supervisor import Supervisor


def quickly(words: list[str]) -> int | None:
    """Be the daemon that a starter's words after `run` name; None where a fuller parser has to look."""
    if len(words) % 2 == 0 or ":" not in words[0]:
        return None
    options = dict(zip(words[1::2], words[2::2], strict=True))
    if not options.keys() <= {"--config", "--log-level"} or options.get("--log-level", "info") not in LEVELS:
        return None
    from daemonry.daemon.loader import load

    def program(import_path: str) -> Daemon:
        return load(words[0], import_path)

    return be(None, program, options.get("--config"), options.get("--log-level"))


def be(
    daemon: Daemon | None,
    program: Callable[[str], Daemon],
    config: str | None,
    log_level: str | None,
) -> int:
    """Be a daemon until it ends, and return the exit code.

    Args:
        daemon: its definition, if that is there already.
        program: imports it; called with a further directory to look in, or "".
        config: its configuration file, or None for the usual one.
        log_level: the least level that is logged, or None for the usual.
    """
    from daemonry.process.spawn import take_boot

    boot = take_boot()
    if boot:
        os.umask(0o077)
    try:
        if daemon is None:
            daemon = program(boot.get("import_path", ""))
    except DaemonryError as error:
        reporter = Reporter(boot.get("ready_fd"))
        reporter.stage = "import"
        reporter.failed(printable(str(error)))
        raise
    if "daemonry.runtime.runner" not in sys.modules:  # a zygote's child has all of it
        _load_runner()
    from daemonry.runtime.runner import run

    if config:
        from daemonry.daemon.config import absolute

        config = absolute(config)
    return run(daemon, boot=boot, config_path=config or None, log_level=log_level or "info")


def _load_runner() -> None:
    """Import all that a daemon needs, which is most of its start."""
    collects = gc.isenabled()
    gc.disable()  # it would look through all that is loaded, time and again, and find nothing
    try:
        with ForDaemon():
            import daemonry.runtime.runner  # for the next who imports it
            import daemonry.service.server.varlink.connection  # noqa: F401
    finally:
        if collects:
            _take_for_old()
            gc.enable()


def _take_for_old() -> None:
    """Have the collector take all that is loaded for old, or it would look through it at the next object."""
    if not gc.get_freeze_count():  # what a program has frozen stays so
        gc.freeze()
        gc.unfreeze()  # into the oldest generation


def supervise(words: list[str]) -> int | None:
    """Be the supervisor of a home that `up` has started; None where a fuller parser has to look.

    Args:
        words: the home's directory, and the names of the services that are meant.
    """
    if not words or any(word.startswith("-") for word in words):
        return None
    gc.disable()  # it would look through all that the start makes, and find nothing
    from daemonry.home.home import Home
    from daemonry.home.starting import StartReporter
    from daemonry.home.supervisor import Supervisor
    from daemonry.process.spawn import take_boot

    home = Home(words[0])
    reporter = StartReporter(home, take_boot(), _settle)
    supervisor = Supervisor(home, report=reporter, only=words[1:], owns_session=True)
    return supervised(supervisor, reporter)


def _settle() -> None:
    gc.freeze()  # all of it stays: never looked through again, also not at the end
    gc.enable()


def supervised(supervisor: Supervisor, reporter: Reporter) -> int:
    """Run a supervisor until its home has ended, and return the exit code; its failure is reported."""
    import asyncio

    from daemonry.cli import exit_codes, kit
    from daemonry.errors import AlreadyRunning

    try:
        code = asyncio.run(supervisor.run())
    except AlreadyRunning as error:
        reporter.already_running(error.pid or 0, error.endpoint)
        if not reporter.has_starter:
            raise
        code = exit_codes.code_of(error)  # our output is the crash file of the one that runs
    except (DaemonryError, OSError) as error:
        if not reporter.failed(printable(kit.reason(error))):
            raise
        code = exit_codes.code_of(error)  # its starter says why
    kit.nothing_left_to_end()
    return code

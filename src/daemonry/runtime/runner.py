"""Being the daemon: from an empty process to ready, through its work, to a clean end.

Owns the order of the stages, and the report of a failure.  What each stage does is in `bootstrap` and
`announcing`; that the stages before a failed one are undone is `stages`'s; the end is `shutdown`'s.

The control plane answers from `serve` on.  At the end the work is drained, the socket and the record are
removed, and last of all the life lock is released, by the end of the process.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any, Final

from daemonry.errors import AlreadyRunning, DaemonryError, StartFailed
from daemonry.process import scarcity
from daemonry.process.forks import not_for_children
from daemonry.runtime import announcing, bootstrap
from daemonry.runtime.failure_text import of_the_program, one_line, trace_of
from daemonry.runtime.shutdown import run_until_end
from daemonry.runtime.stages import Plan, Stage, Stages
from daemonry.runtime.start_request import StartRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemonry.daemon.definition import Daemon
    from daemonry.runtime.stage_results import Prepared, Serving

logger: logging.Logger = logging.getLogger("daemonry.daemon")

_LOCK: Final = "lock"

# What a failed start names is the first word of each line.
PREPARE: Final[Plan[StartRequest, Prepared]] = (
    Plan.of(Stage("directories", bootstrap.check_directories))
    .then(Stage(_LOCK, bootstrap.take_locks, bootstrap.release_locks))
    .then(Stage(_LOCK, bootstrap.open_log))
    .then(Stage(_LOCK, bootstrap.look_at_last_run))
    .then(Stage("config", bootstrap.read_config))
    .then(Stage("config", bootstrap.prepare_process, bootstrap.close_process))
)
BECOME_READY: Final[Plan[Prepared, Serving]] = (
    Plan.of(Stage("bind", bootstrap.bind, bootstrap.withdraw))
    .then(Stage("bind", bootstrap.serve, bootstrap.stop_serving))
    .then(Stage("setup", announcing.set_up))
    .then(Stage("setup", announcing.announce))
)
TAKE_OVER: Final[Plan[Prepared, Serving]] = (
    Plan.of(Stage("take over", bootstrap.adopt, bootstrap.give_up))
    .then(Stage("take over", bootstrap.serve, bootstrap.stop_serving))
    .then(Stage("setup", announcing.set_up))
    .then(Stage("setup", announcing.take_over))
    .then(Stage("setup", announcing.announce))
)


def run(
    daemon: Daemon,
    *,
    boot: Mapping[str, Any] | None = None,
    config_path: str | None = None,
    log_level: str = "info",
) -> int:
    """Be the daemon until it ends.

    Args:
        daemon: its definition.
        boot: the starter's fields: `ready_fd` and `lock_fd`; without them this is the foreground, and the
            log is shown on standard error too.
        config_path: the configuration file; by default the daemon's usual one.
        log_level: one of `daemonry.process.logs.LEVELS`.

    Returns:
        The exit code: 0 after a stop, 1 when the daemon failed.  The caller is expected to end the
        process with it: the life lock stays held until then, and the guardian ends the process if
        threads that do not end keep it.

    Raises:
        AlreadyRunning: another process is this daemon.
        DaemonryError, OSError: it could not start; nothing is left behind.
    """
    request = StartRequest.of_boot(daemon, boot or {}, config_path, log_level)
    return _Runner(request).run()


class _Runner:
    """One run of a daemon.

    Args:
        request: the process's instructions.
    """

    def __init__(self, request: StartRequest) -> None:
        self._request = request
        self._stages = Stages(request.reporter.enter)
        self._forked = False
        not_for_children(self)

    def __repr__(self) -> str:
        mode = "foreground" if self._request.foreground else "background"
        return f"<daemon {self._request.place.name}, {mode}: {self._stages!r}>"

    def run(self) -> int:
        try:
            return self._run()
        except (Exception, KeyboardInterrupt) as error:
            self._report(error)
            self._undo()
            is_scarce = scarcity.reason(error) is not None
            if self._forked or (
                isinstance(error, (DaemonryError, OSError, KeyboardInterrupt)) and not is_scarce
            ):
                raise
            if not is_scarce:
                traceback.print_exception(type(error), error, of_the_program(error.__traceback__))
            stage = self._request.reporter.stage
            raise StartFailed(self._request.place.name, stage, one_line(error)) from None
        finally:
            self._undo()  # nothing is left to undo, but after a SystemExit
            if self._request.start_lock is not None:
                self._request.start_lock.release()

    def _run(self) -> int:
        prepared = self._stages.perform(PREPARE, self._request)
        plan = TAKE_OVER if prepared.locks.life.lock is None else BECOME_READY
        serving = self._stages.perform(plan, prepared)
        run_until_end(serving)
        # The life lock stays held until the process is gone: that is what `stop` waits for.
        failures = self._stages.undo(keep=(_LOCK,))
        if failures:
            raise failures[0]
        return 0 if prepared.state.failed is None else 1

    def _report(self, error: BaseException) -> None:
        """Tell the starter and the log; before anything is undone, which may take its time."""
        reporter = self._request.reporter
        if isinstance(error, AlreadyRunning):
            reporter.already_running(error.pid, error.endpoint)
        reporter.failed(one_line(error))
        # In the foreground the error is shown anyway.
        if self._stages.has_done(bootstrap.open_log) and not self._request.foreground and not self._forked:
            told = "start failed (%s): %s"
            logger.error(told, reporter.stage, one_line(error), exc_info=trace_of(error))

    def _undo(self) -> None:
        for error in self._stages.undo():
            logger.error("not undone: %s", one_line(error), exc_info=error)

    def drop_in_child(self) -> None:
        """Leave a forked child that ends by an exception nothing of the daemon to undo."""
        self._forked = True
        self._stages.forget()

"""The program's own preparations: its setup hooks, one after the other, until one fails or a stop is asked.

Owns the order and the end by a stop.  A daemon in a process of its own and one that is served in the
caller's process do the same.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Final

from daemonry.daemon.lifecycle import Happened
from daemonry.errors import Refused
from daemonry.process.program import development
from daemonry.service.server.builtin import Control, VarlinkService
from daemonry.service.server.dispatch import Calls, Spans
from daemonry.service.server.failures import Failures

if TYPE_CHECKING:
    from typing import Any

    from daemonry.daemon.context import Run
    from daemonry.daemon.definition import Daemon
    from daemonry.process.place import Place
    from daemonry.runtime.control_state import Life

_STOPPED: Final = "stopped before it was ready"


def usual_config_path(daemon: Daemon) -> str:
    """Return the usual configuration file's path; "" for a daemon that has no configuration.

    One that needs none must not fail because nobody knows where it would be.
    """
    return daemon.config_path() if daemon.config_type is not None else ""


def load_config(daemon: Daemon, path: str, *, must_exist: bool) -> Any:
    """Return the configuration in a file; None for a daemon that has none.

    Raises:
        ConfigError: the file is not good, or not there.
    """
    if daemon.config_type is None:
        return None
    from daemonry.daemon import config

    return config.load_config(path, config.resolve(daemon.config_type), must_exist=must_exist)


def builtin_calls(daemon: Daemon, place: Place, state: Life, *, log_path: str) -> Calls:
    """Return calls with the interfaces that every daemon has.

    Args:
        daemon: its definition.
        place: where its files are.
        state: its state.
        log_path: the log that an error points to; "" where there is none.
    """
    failures = Failures(show_errors=daemon.show_errors, log_path=log_path, traces=development.is_on())
    calls = Calls(state.closed_to_work, failures=failures, spans=_spans_of(daemon))
    calls.slow_call_s = daemon.slow_call_s
    calls.serve_when_asked(VarlinkService(calls, ("daemonry", daemon.name, daemon.version, "")))
    calls.serve_when_asked(Control(state, calls, state.wait_changed, place.log_path))
    return calls


def _spans_of(daemon: Daemon) -> Spans | None:
    """Return the maker of spans for a daemon that traces; None for others.

    Raises:
        Refused: the extra `otel` is not installed.
    """
    if not daemon.tracing:
        return None
    from daemonry import otel

    otel.instrument()
    return otel.spanned


async def run_setup_hooks(daemon: Daemon, state: Life, run: Run) -> None:
    """Run the setup hooks; one that takes its time is cancelled when a stop is asked.

    Raises:
        Refused: a stop was asked.
        Whatever a hook raises.
    """
    stop = asyncio.create_task(state.wait_stop_asked())
    try:
        for hook in daemon.setups:
            with run.services.setting_up():
                result = hook(run)
            if not inspect.isawaitable(result):
                continue
            with run.services.setting_up():  # a task takes a copy of the context it is made in
                prepared = asyncio.ensure_future(result)
            await asyncio.wait((prepared, stop), return_when=asyncio.FIRST_COMPLETED)
            if not prepared.done():
                prepared.cancel()
                await asyncio.wait((prepared,), timeout=daemon.drain_timeout_s)
                break
            prepared.result()
        if stop.done() or state.stopping.is_set():
            raise Refused(_STOPPED)
    finally:
        stop.cancel()


def become_ready(state: Life) -> None:
    """Enter the phase in which the daemon works.

    Raises:
        Refused: a stop was asked since the setup has ended.
    """
    if not state.happened(Happened.READY):
        raise Refused(_STOPPED)

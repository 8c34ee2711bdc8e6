"""Becoming ready: the program's setup, then the news for all that wait for it.

Owns the stages after `serve`: setup, the take-over from a daemon that ran until now, and the announcements to
the starter, to the service manager, and to the list of daemons.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from daemonry.daemon import recipe
from daemonry.daemon.lifecycle import Happened
from daemonry.errors import DaemonryError, StartFailed, TargetInvalid, UnsafePath
from daemonry.process import environment, registry
from daemonry.process.program import development
from daemonry.runtime.debugging import debugger
from daemonry.runtime.debugging.interface import Debug
from daemonry.runtime.failure_text import one_line
from daemonry.runtime.fingerprint import Code, Fingerprint
from daemonry.runtime.setting_up import become_ready, run_setup_hooks
from daemonry.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from daemonry.daemon.served import Services
    from daemonry.runtime.stage_results import Serving
    from daemonry.runtime.start_request import StartRequest
    from daemonry.service.interface.declare import Interface

logger: logging.Logger = logging.getLogger("daemonry.daemon")


def set_up(serving: Serving) -> Serving:
    """Run the program's setup, commands are answered meanwhile; then serve its interfaces."""
    serving.listening.prepared.runner.run(_set_up(serving))
    return serving


async def _set_up(serving: Serving) -> None:
    prepared, calls = serving.listening.prepared, serving.listening.calls
    await run_setup_hooks(prepared.request.daemon, prepared.state, serving.run)
    # In the same turn of the loop: a call that waits already must find its interface.
    for implementation in serving.run.services.all():
        calls.serve(implementation)


def take_over(serving: Serving) -> Serving:
    """Become the daemon: the one that ran serves what it accepted, and ends."""
    serving.listening.prepared.runner.run(_take_over(serving))
    return serving


async def _take_over(serving: Serving) -> None:
    listening = serving.listening
    new_side, state = listening.new_side, listening.prepared.state
    assert new_side is not None
    if new_side.fields.get("paused") is True:
        state.happened(Happened.PAUSE_ASKED)
    new_side.take()
    try:
        listening.publication.take_over(new_side.lock)
    except UnsafePath:
        listening.server.stop_accepting()
        raise
    new_side.keep()
    listening.server.accept_from_now()
    new_side.thank()
    if listening.http is not None:
        listening.http.open(asyncio.get_running_loop())
    logger.info("taken over from pid %s (%s)", new_side.fields.get("pid"), new_side.fields.get("version"))


def announce(serving: Serving) -> Serving:
    """Be ready: tell the starter and the service manager, release the start lock."""
    serving.listening.prepared.runner.run(_announce(serving))  # a status hook may want the loop
    return serving


async def _announce(serving: Serving) -> None:
    prepared, publication = serving.listening.prepared, serving.listening.publication
    request, state = prepared.request, prepared.state
    code = Code.of_this_process(thorough=development.is_on())
    if request.daemon.whole_status_hook is None:  # or they would be looked up for nobody
        state.more_fields.append(Fingerprint(state.configuration.file, lambda: state.config, code).fields)
    names = {"daemon": request.daemon, "run": serving.run}
    serving.listening.calls.serve_when_asked(
        Debug(code, lambda: {**names, **_by_class(serving.run.services)})
    )
    if not request.foreground:
        debugger.install(request.place.debug_path, request.place.name)
    become_ready(state)
    publication.mark_ready()
    state.get_status()
    _leave_traces(request)
    record = publication.record
    if request.in_home is not None:
        request.in_home.link_socket(Endpoint.parse(record.endpoint))
    logger.info("ready at %s (pid %d)", record.endpoint, record.pid)
    prepared.locks.start_lock.release()
    request.reporter.ready(record.to_fields())
    prepared.found.notifier.ready(f"serving at {record.endpoint}")


def _by_class(services: Services) -> dict[str, Interface]:
    return {type(one).__name__.lower(): one for one in services.all()}


def _leave_traces(request: StartRequest) -> None:
    """Write what later commands look up; a daemon is as ready without it."""
    place = request.place
    try:
        registry.add(place)
    except (OSError, DaemonryError) as error:
        logger.warning("not listed for `daemonry ps`: %s", error)
    try:
        taken = environment.patterns_of(place.name, request.daemon.environment)
        environment.write_sums(place.environment_path, taken)
    except OSError as error:
        logger.warning("the environment's checksums could not be written: %s", error)
    if request.foreground:
        _remember_this_start(request)


def _remember_this_start(request: StartRequest) -> None:
    """Let a later start by the name know the program; a starter has done so for a background daemon."""
    arguments: tuple[str, ...] = ()
    if request.config_path:
        from daemonry.daemon.config import absolute

        arguments += ("--config", absolute(request.config_path))
    if request.log_level != "info":
        arguments += ("--log-level", request.log_level)
    try:
        recipe.remember_if_new(request.place, recipe.recipe_of(request.daemon, arguments))
    except (TargetInvalid, StartFailed) as error:
        logger.warning("it cannot be started by its name: %s", one_line(error))

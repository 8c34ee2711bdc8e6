"""The daemon as it runs: which of its hooks does what.

Owns the wiring.  Imported by the daemon's own process only; the quick commands see `definition`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from daemonry import Http, Part, load_config
from daemonry.errors import DaemonryError
from palingenesis import overview
from palingenesis.agents.known import configured
from palingenesis.clock_hours import hours_of
from palingenesis.definition import daemon
from palingenesis.evidence.attention import Attention
from palingenesis.evidence.record_notices import notice_records
from palingenesis.evidence.survey import Survey
from palingenesis.hooks import script
from palingenesis.hooks.notice import notice_events
from palingenesis.hooks.told import HookFacts
from palingenesis.keeper import RETRY_S, SessionCounter
from palingenesis.notices.delivery import Receivers, deliver
from palingenesis.notices.outbox import Notice, NoticeOutbox
from palingenesis.notices.words import name_of, sentence, worth_telling
from palingenesis.resume.context import ResumeLimits
from palingenesis.resume.engine import TICK_S, ResumeEngine
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.guard import HoldingBounds
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.schedule import Delays
from palingenesis.resume.service import Sessions
from palingenesis.settings import Settings, socket_path, without_effect
from palingenesis.state_file import StateFile

if TYPE_CHECKING:
    from daemonry import Run

__all__ = ["daemon"]

logger = logging.getLogger("palingenesis")


def _endpoint() -> str | None:
    """Return the socket's path if the configuration has one."""
    try:
        path = daemon.config_path()
        return socket_path(load_config(path, Settings).daemon, path)
    except DaemonryError:
        return None  # a later stage of the start reads the configuration and reports the fault


def _http(settings: Settings) -> Http | None:
    """Return where HTTP is answered, if the configuration says so: the original's routes, and our page."""
    found = settings.daemon
    if not found.http_enabled:
        return None
    page = os.path.join(os.path.dirname(__file__), "page", "sessions.js")
    return Http(
        port=found.http_port,
        bind=found.http_bind,
        beyond_loopback=found.http_beyond_loopback,
        parts=[Part("sessions", "Sessions", page, _sessions_shown)],
        routes="palingenesis.http_api:routes",
    )


async def _sessions_shown() -> dict[str, Any]:
    """Return what the page shows of the sessions: what `palingenesis sessions --json` prints."""
    return await asyncio.to_thread(overview.shown_sessions)


daemon.endpoint = _endpoint()
daemon.http = _http


@daemon.setup
def restore(run: Run) -> None:
    """Take up the last run's state, before anybody can ask for it."""
    keeper = SessionCounter(StateFile(os.path.join(run.state_path, "state.json")), daemon.config_path())
    keeper.restore()
    if keeper.state.paused:
        run.start_paused()

    sessions = Sessions()
    told = HookFacts(run.state_path)
    noticed = asyncio.Event()
    outbox = NoticeOutbox(run.state_path)
    settings_in_force = run.config

    async def begin(run: Run) -> None:
        _apply(run.config)
        await keeper.begin(run.config.monitoring)
        await asyncio.to_thread(_take_up, sessions, told, run, outbox)

    async def keep_sessions(run: Run) -> None:
        while True:
            await run.wait_running()
            noticed.clear()
            await _look(sessions, keeper)
            try:
                async with asyncio.timeout(TICK_S):
                    await noticed.wait()
            except TimeoutError:
                pass

    async def tell(_: Run) -> None:
        await deliver(outbox, lambda: _receivers(settings_in_force))

    async def notice(run: Run) -> None:
        await asyncio.gather(
            notice_events(script.spool(run.state_path), noticed),
            notice_records(partial(_attention, sessions, keeper)),
        )

    async def reload(settings: Settings) -> None:
        survey = _survey(settings, told)
        await keeper.reload(settings.monitoring)
        if sessions.engine is not None:
            async with sessions.turn:
                sessions.engine.use(survey, _limits(settings))
        _apply(settings)
        nonlocal settings_in_force
        settings_in_force = settings

    daemon.setup(begin)
    daemon.work(keeper.watch)
    daemon.work(keep_sessions)
    daemon.work(notice)
    daemon.work(tell)
    daemon.serve(sessions)
    daemon.work(keeper.write_late)
    daemon.whole_status(keeper.status)
    daemon.on_pause(keeper.pause)
    daemon.on_resume(keeper.resume)
    daemon.on_reload(reload)
    daemon.on_stop(keeper.stop)


def _attention(sessions: Sessions, keeper: SessionCounter) -> Attention | None:
    """Return what takes notices of records; None while paused: then no record is watched."""
    return None if keeper.state.paused or sessions.engine is None else sessions.engine.attention


def _survey(settings: Settings, told: HookFacts) -> Survey:
    return Survey(
        configured(settings, daemon.config_path()), os.environ, told.facts, daemon.place().state_path
    )


def _limits(settings: Settings) -> ResumeLimits:
    given = settings.resume
    delays = Delays(float(given.base_delay_secs), float(given.max_delay_secs), given.jitter)
    held = settings.holding
    bounds = HoldingBounds(
        held.requests_per_minute,
        held.errors_per_minute,
        held.same_error_times,
        held.resumes_per_day,
        (hours_of(held.quiet_hours),),
    )
    return ResumeLimits(
        given.enabled, float(given.silence_secs), given.max_retries, given.backup_count, delays, bounds
    )


def _receivers(settings: Settings) -> Receivers:
    given = settings.notices
    return Receivers(tuple(given.urls), hours_of(given.quiet_hours), given.digest_minutes * 60.0)


def _put(outbox: NoticeOutbox, entry: SessionEntry) -> None:
    if worth_telling(entry):
        try:
            outbox.put(name_of(entry), Notice(sentence(entry), time.time()))
        except OSError as error:
            logger.warning("a notice cannot be kept: %s", error)


def _take_up(sessions: Sessions, told: HookFacts, run: Run, outbox: NoticeOutbox) -> None:
    """Take up the entries of the sessions, unless another daemon has them."""
    survey = _survey(run.config, told)
    try:
        ledger = Ledger(run.state_path, time.time())
    except BlockingIOError:
        sessions.why_not = f"another daemon keeps the sessions of {run.state_path}"
        logger.error("%s: sessions are not resumed here", sessions.why_not)
        return
    engine = ResumeEngine(
        survey, ledger, run.state_path, _for_agents(), _limits(run.config), told, partial(_put, outbox)
    )
    engine.recover()
    sessions.engine = engine


def _for_agents() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DAEMONRY_")}


async def _look(sessions: Sessions, keeper: SessionCounter) -> None:
    if sessions.engine is None:
        return
    try:
        async with sessions.turn:
            counted = await asyncio.to_thread(sessions.engine.tick)
    except OSError as error:
        logger.error("sessions cannot be kept: %s", error)
        await asyncio.sleep(RETRY_S)
        return
    if counted.saved or counted.resumed:
        await keeper.count_agents(counted.saved, counted.resumed)


def _apply(settings: Settings) -> None:
    logging.getLogger().setLevel(settings.daemon.log_level.upper())
    # Its lines would tell of every change in the directory.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    for told in without_effect(settings):
        logger.warning("%s", told)

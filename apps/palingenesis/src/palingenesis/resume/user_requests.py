"""A user's requests about one session: now, a new one, at an instant, skip, abort, hold, release.

Owns finding the session that a user names.  Which request fits which state is `states`' table.
"""

from __future__ import annotations

import contextlib
import time

import msgspec

from palingenesis.evidence.survey import Session
from palingenesis.path_text import listed, shown
from palingenesis.resume import claims, freezer
from palingenesis.resume import entry as rules
from palingenesis.resume.context import ResumeContext
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import Happened, State

_BEGINS_A_RUN = (Happened.NOW, Happened.RENEW, Happened.WANTED)
# Requests that are done already in the state that they lead to.
_DONE_IN = {Happened.HOLD: State.HELD, Happened.SKIP: State.LEFT_TO_USER}


class UserRequests:
    """Carries out requests.

    Args:
        context: shared with the other parts.
    """

    def __init__(self, context: ResumeContext) -> None:
        self._context = context

    def ask(self, words: str, happened: Happened, at_s: float = 0.0) -> SessionEntry | str:
        """Carry out a request about the session that `words` name; return its entry, or why that cannot be.

        Raises:
            OSError: it could not be written down.
        """
        context = self._context
        entry = self._named(words)
        if isinstance(entry, str):
            return entry
        if entry.state is _DONE_IN.get(happened):
            return entry
        after = rules.asked(entry, happened, time.time(), at_s)
        if after is None:
            return f"{entry.key} is {entry.state.value}: it cannot be done now"
        if happened in _BEGINS_A_RUN and (why := rules.not_to_run(entry.id, entry.cwd)):
            return f"{entry.key}: {why}"
        if happened is Happened.RELEASE:
            freezer.thaw(entry.frozen)
            after = msgspec.structs.replace(after, frozen=None, released_at_s=time.time())
        if happened is Happened.ABORT and entry.run is not None:
            context.runs.end(entry.run)
            context.scouts.let_others(entry.account, entry.key)
            context.runs.forget(entry.run)
            after = self._all_left(entry, after)
        if happened in _BEGINS_A_RUN:
            after = _with_tries_known(after)
        if happened in _BEGINS_A_RUN and not context.limits.enabled:
            return "resume.enabled is false in the configuration"
        context.record.keep(f"user: {happened.name.lower()}", after)
        return after

    def _all_left(self, entry: SessionEntry, after: SessionEntry) -> SessionEntry:
        """Return the entry of an aborted run, with its work seen; a session that it began is left, too.

        Raises:
            OSError: that could not be written down.
        """
        context, run = self._context, entry.run
        assert run is not None
        if run.new_id:
            given_id = run.new_id if run.new_id in run.argv else ""
            for begun in context.begun_by(entry, given_id, run.began_s):
                kept = context.record.ledger.entries.get(begun.key)
                kept = kept or rules.begun(begun, entry.account)
                left = rules.settled(kept, begun, Happened.SEEN_LEFT, Happened.ABORT.value)
                context.record.keep("user: abort", left, begun)
        session = context.look(entry)
        return after if session is None else msgspec.structs.replace(after, observed=rules.name_of(session))

    def _named(self, words: str) -> SessionEntry | str:
        kept = self._context.record.ledger.entries
        fitting = [one for key, one in kept.items() if words in _names(key, one)]
        fitting = fitting or [
            one
            for key, one in kept.items()
            if words and (shown(key).startswith(words) or one.id.startswith(words))
        ]
        if len(fitting) > 1:
            return f"'{words}' fits {len(fitting)} sessions"
        if fitting:
            return fitting[0]
        look = self._context.survey.look
        seen = [one for one in look(0.0) if words and words in _names(one.key, one)]
        seen = seen or [one for one in look(0.0) if words and one.id.startswith(words)]
        if len(seen) != 1:
            return f"no session '{words}'" if not seen else f"'{words}' fits {len(seen)} sessions"
        return self._taken_up(seen[0])

    def _taken_up(self, session: Session) -> SessionEntry:
        """Return the entry of a session that was left alone so far."""
        context = self._context
        entry = rules.begun(session, context.account(session.agent))
        happened, why = rules.what_ended(session, context.profile(session.agent))
        if happened is Happened.SEEN_RESUMABLE:
            happened, why = Happened.SEEN_STOPPED, ""
        return rules.settled(entry, session, happened, why)


def _with_tries_known(entry: SessionEntry) -> SessionEntry:
    """Return an entry for which earlier tries by other processes count no more: its user wants another."""
    with contextlib.suppress(OSError):  # the try itself tells that
        if (known := claims.last(entry.path, entry.id)) is not None:
            return msgspec.structs.replace(entry, accounted=known.claim.token)
    return entry


def _names(key: str, one: SessionEntry | Session) -> set[str]:
    """Return what a session is called, as a request can hold it: as given, and as the listings have it."""
    names = (key, one.id, one.path)
    return {*map(shown, names), *map(listed, names)}

"""opencode's database, and the events of its server, as facts.

Owns the meaning of its rows (checked with the version that the profile names), and the reading: through
a read-only connection, which cannot write, checkpoint or repair, and leaves no file behind; a database that
is locked, torn or of another schema gives `OpencodeUnreadable` and no guess.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from palingenesis.agents.profile import Profile
from palingenesis.evidence import places, tail
from palingenesis.evidence.json_lines import instant, line_of, number, table, text
from palingenesis.evidence.transcript import Transcript
from palingenesis.verdict.facts import Fact, Sign, Source
from palingenesis.verdict.reasons import Reason

# Sessions of one look, the newest first.
MAX_SESSIONS: Final = 1_000
MAX_DATA_CHARS: Final = 2**20
# Messages of a session that are looked through for those of the last minute.
MAX_COUNTED: Final = 500
# A writer holds the lock for milliseconds; a database that is locked longer is looked at again later.
LOCK_WAIT_S: Final = 0.25
# Where nothing is known of it yet, the look waits longer: there is no earlier one to show.
FIRST_LOCK_WAIT_S: Final = 2.0
# In the file's head: that its changes go to a log (format.html, "file format version numbers").
_LOGS: Final = b"\x02\x02"
_LOGS_AT: Final = 18

_FAILED: Final = {"length": Reason.TRANSIENT, "error": Reason.UNKNOWN}

_SESSIONS: Final = """
    SELECT s.id, s.directory, s.parent_id, s.time_updated,
           (SELECT substr(m.data, 1, ?) FROM message m WHERE m.session_id = s.id ORDER BY m.id DESC LIMIT 1),
           (SELECT json_group_array(json_extract(data, '$.time.created')) FROM
               (SELECT data FROM message m WHERE m.session_id = s.id ORDER BY m.id DESC LIMIT ?)
               WHERE json_valid(data) AND json_extract(data, '$.role') = 'assistant'
                   AND json_extract(data, '$.time.created') > ?),
           (SELECT json_group_array(json_extract(data, '$.time.created')) FROM
               (SELECT data FROM message m WHERE m.session_id = s.id ORDER BY m.id DESC LIMIT ?)
               WHERE json_valid(data) AND json_extract(data, '$.finish') IN ('unknown', 'error')
                   AND json_extract(data, '$.time.created') > ?)
    FROM session s WHERE s.time_updated >= ? ORDER BY s.time_updated DESC LIMIT ?
"""


class OpencodeUnreadable(Exception):
    """The database cannot be read now.

    Attributes:
        reason: why, in one sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(path: str, since_s: float, profile: Profile, lock_wait_s: float = LOCK_WAIT_S) -> list[Transcript]:
    """Return the sessions in the database at `path` that changed after `since_s`.

    Args:
        path: the database.
        since_s: in seconds since the epoch.
        profile: the agent's table.
        lock_wait_s: how long a lock is waited for.

    Raises:
        OpencodeUnreadable: it is locked, damaged, or of a schema that is not known.
    """
    values = _values(since_s)
    try:
        rows = _rows_at_rest(path, values)
        if rows is None:
            rows = _rows(path, "mode=ro", values, lock_wait_s)
    except sqlite3.OperationalError as error:
        said = str(error)
        if "no such" in said:
            raise OpencodeUnreadable(f"it has another schema than the one that is known ({said})") from None
        raise OpencodeUnreadable(f"it cannot be read now ({said})") from None
    except sqlite3.Error as error:
        raise OpencodeUnreadable(f"it is damaged ({error})") from None
    return [_transcript(row, profile) for row in rows]


def _values(since_s: float) -> tuple[int, ...]:
    minute_ago_ms = int((time.time() - 60) * 1000)
    counted = (MAX_COUNTED, minute_ago_ms)
    return MAX_DATA_CHARS, *counted, *counted, int(since_s * 1000), MAX_SESSIONS


def _rows(path: str, how: str, values: tuple[int, ...], lock_wait_s: float) -> list[tuple[Any, ...]]:
    uri = f"file:{quote(os.fsencode(path))}?{how}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=lock_wait_s)) as database:
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        return database.execute(_SESSIONS, values).fetchall()


def _rows_at_rest(path: str, values: tuple[int, ...]) -> list[tuple[Any, ...]] | None:
    """Return the rows of a database that nobody has open; None where somebody may.

    Without its log all of it is in the file.  A usual read-only connection would make a log and its index,
    and leave both behind; one to a file that cannot change makes none, and takes no lock either.  So the rows
    count only if the file is the same afterwards, and still has no log.
    """
    before = _at_rest(path)
    if before is None:
        return None
    try:
        rows = _rows(path, "mode=ro&immutable=1", values, 0.0)
    except sqlite3.Error:
        if _at_rest(path) == before:
            raise
        return None  # somebody has begun to write
    return rows if _at_rest(path) == before else None


def _at_rest(path: str) -> places.Found | None:
    """Return what tells a database's file from a changed one; None where it is open, or keeps no log."""
    try:
        with open(tail.open_regular(path), "rb") as file:
            if file.read(_LOGS_AT + len(_LOGS))[_LOGS_AT:] != _LOGS:
                return None
    except OSError:
        return None
    return places.look(path) if places.look(f"{path}-wal") is None else None


def _transcript(row: tuple[Any, ...], profile: Profile) -> Transcript:
    session_id, directory, parent, updated, data, requests, errors = row
    message = (line_of(data.encode()) if isinstance(data, str) else None) or {}
    at_s = instant(number(updated)) or 0.0
    tokens = table(message.get("tokens"))
    answered = message.get("role") == "assistant" and bool(number(tokens.get("output")))
    return Transcript(
        id=text(session_id),
        cwd=text(directory) or text(table(message.get("path")).get("cwd")),
        facts=tuple(facts_of(message, at_s, profile)),
        progress_at_s=at_s if answered else None,
        is_main=not parent,
        requests_at_s=_instants(requests),
        errors_at_s=_instants(errors),
        at_s=at_s,
    )


def _instants(data: Any) -> tuple[float, ...]:
    """Return the instants in a list of epochs in milliseconds, as JSON."""
    found = (line_of(b'{"at":%s}' % data.encode()) if isinstance(data, str) else None) or {}
    listed = found.get("at")
    instants = (instant(number(one)) for one in (listed if isinstance(listed, list) else ()))
    return tuple(one for one in instants if one is not None)


def facts_of(message: dict[str, Any], changed_at_s: float, profile: Profile) -> Iterator[Fact]:
    """Yield what the last message of a session tells.

    Args:
        message: the column `data`.
        changed_at_s: when the session changed last, for a message that tells no time.
        profile: the agent's table.
    """
    role, times = message.get("role"), table(message.get("time"))
    at_s = instant(number(times.get("completed"))) or instant(number(times.get("created"))) or changed_at_s
    at_s = max(at_s, changed_at_s)
    if role == "user":
        yield Fact(Sign.PROMPTED, Source.TRANSCRIPT, at_s)
    elif role == "assistant":
        error = table(message.get("error"))
        yield _failed(error, at_s, profile) if error else _answer(message, at_s)


def _answer(message: dict[str, Any], at_s: float) -> Fact:
    finish = message.get("finish")
    if number(table(message.get("time")).get("completed")) is None:
        # It runs, it waits for a retry, or its process is gone.
        return Fact(Sign.ANSWERING, Source.TRANSCRIPT, at_s)
    if finish in _FAILED:
        return Fact(Sign.FAILED, Source.TRANSCRIPT, at_s, text=f"finish: {finish}", reason=_FAILED[finish])
    # "tool-calls" goes on with the next request.  After a torn stream ("unknown") opencode does so too.
    return Fact(Sign.COMPLETED if finish == "stop" else Sign.ANSWERING, Source.TRANSCRIPT, at_s)


def _failed(error: dict[str, Any], at_s: float, profile: Profile) -> Fact:
    name, data = text(error.get("name")), table(error.get("data"))
    if name == "MessageAbortedError":
        return Fact(Sign.INTERRUPTED, Source.TRANSCRIPT, at_s, text=text(data.get("message")))
    reason = profile.errors.get(name) or _by_status(number(data.get("statusCode")))
    return Fact(Sign.FAILED, Source.TRANSCRIPT, at_s, text=text(data.get("message")), reason=reason)


def _by_status(status: float | None) -> Reason | None:
    if status is None:
        return None
    if status in (401, 403):
        return Reason.LOGIN
    if status == 402:
        return Reason.CREDIT
    if status == 429:
        return Reason.RATE_LIMIT
    return Reason.TRANSIENT if status >= 500 else None


def event_fact(event: dict[str, Any], at_s: float, profile: Profile) -> Fact | None:
    """Return the facts of one event of `opencode serve`; None for an event without facts."""
    kind, properties = event.get("type"), table(event.get("properties"))
    if kind == "session.error":
        return _failed(table(properties.get("error")), at_s, profile)
    if kind == "session.idle":
        return Fact(Sign.COMPLETED, Source.TRANSCRIPT, at_s)
    status = table(properties.get("status"))
    if kind != "session.status":
        return None
    if status.get("type") == "retry":
        until_s = instant(number(status.get("next")))
        return Fact(Sign.RETRYING, Source.TRANSCRIPT, at_s, text=text(status.get("message")), until_s=until_s)
    return Fact(Sign.ANSWERING, Source.TRANSCRIPT, at_s) if status.get("type") == "busy" else None

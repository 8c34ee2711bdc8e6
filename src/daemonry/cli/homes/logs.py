"""`daemonry logs --home DIR` and `daemonry logs --all`: lines of several logs in one order.

Owns choosing lines by time, level and pattern, merging, and how they are printed.  Logs are read backwards
where only the last lines are asked for, so neither time nor memory grows with their size.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from daemonry import strict_json
from daemonry.cli import exit_codes, output
from daemonry.cli.homes.events import NAME_STYLES, services_of
from daemonry.cli.homes.names import no_service
from daemonry.errors import ArgumentInvalid, DaemonryError
from daemonry.home.home import Home
from daemonry.limits import FOLLOW_POLL_S, LOG_TAIL_LINES, REQUEST_TIMEOUT_S
from daemonry.process import homes, log_reader, registry
from daemonry.process.logs import LEVELS
from daemonry.terminal_text import json_for_stream, printable

# How programs write their levels near the start of a line; the name is that of `LEVELS`.
_WORDS: Final = {
    "debug": ("debug", "trace"),
    "info": ("info", "notice"),
    "warning": ("warn", "warning"),
    "error": ("error", "err", "critical", "fatal", "panic"),
}
_LEVEL_OF: Final = {word: level for level, words in _WORDS.items() for word in words}
_LEVEL: Final = re.compile(rf"\b({'|'.join(_LEVEL_OF)})\b", re.IGNORECASE)
# As much of a line is searched for its level: further on, the word is a part of the message.
_LEVEL_WITHIN_CHARS: Final = 80


class Source(NamedTuple):
    """A log.

    Attributes:
        label: what stands before its lines.
        path: its file.
        service: the service that writes it; "" for the log of a daemon or a supervisor.
    """

    label: str
    path: str
    service: str = ""


class MergedLine(NamedTuple):
    """A line of a log.

    Attributes:
        moment: its time, or that of its neighbour where it has none.
        source: the log.
        text: as it is stored.
    """

    moment: str
    source: Source
    text: str

    @property
    def fields(self) -> dict[str, Any]:
        """Its text."""
        return log_reader.parsed(self.text, self.source.service)


Wanted = Callable[[MergedLine], bool]


def sources_of_all() -> list[Source]:
    """Return the logs of all daemons and homes of this user that are known, each once."""
    found = [Source(place.name, place.log_path) for place in registry.places()]
    for home in homes.known():
        name = os.path.basename(home)
        found += [
            Source(f"{name}/{file.removesuffix('.log')}", f"{home}/{file}", _service_of(file))
            for file in sorted(os.listdir(home))
            if file.endswith(".log")
        ]
    once = {os.path.realpath(one.path): one for one in found if os.path.exists(one.path)}
    return list(once.values())


def _service_of(file: str) -> str:
    return "" if file == "home.log" else file.removesuffix(".log")


def logs_of(home: Home, options: argparse.Namespace) -> int:
    """Print lines of the services of a home, or of some; return the exit code."""
    names = _names_with_logs(home, options.services)
    return show([Source(name, home.path(name, "log"), name) for name in names], options)


def logs_of_all(options: argparse.Namespace) -> int:
    """Print lines of all logs of this user; return the exit code."""
    found = sources_of_all()
    if options.services:
        found = [one for one in found if {one.label, one.label.partition("/")[0]} & {*options.services}]
    if not found:
        output.complain("no logs yet" if not options.services else "no logs of these names")
        return exit_codes.DONE
    return show(found, options)


def _names_with_logs(home: Home, words: list[str]) -> list[str]:
    from daemonry.home.home_toml.home_file import load

    try:
        file = load(home.directory)
    except DaemonryError as error:  # the logs can be read whatever the file says now
        known = _known_without_file(home)
        if not words:
            if not known:
                raise
            output.complain(printable(f"{error}; showing the logs that are there"))
            return [name for name, meant in known.items() if name in meant]
    else:
        known = {**{name: [name] for name in file.services}, **file.groups}
        if not words:
            return list(file.services)
    found: dict[str, None] = {}
    for word in words:
        is_old = "/" not in word and os.path.exists(home.path(word, "log"))
        if word not in known and not is_old:
            raise ArgumentInvalid("SERVICE", no_service(word, list(known)))
        found |= dict.fromkeys(known.get(word, [word]))
    return list(found)


def _known_without_file(home: Home) -> dict[str, list[str]]:
    """Return the services of each name: those of the supervisor, or without one those that have a log."""
    try:
        with home.connect(REQUEST_TIMEOUT_S) as client:
            services = services_of(client)
    except (DaemonryError, OSError):
        files = sorted(file for file in os.listdir(home.directory) if file.endswith(".log"))
        return {name: [name] for name in map(_service_of, files) if name}
    known = {one["name"]: [one["name"]] for one in services}
    for group in sorted({group for one in services for group in one["groups"]}):
        known[group] = [one["name"] for one in services if group in one["groups"]]
    return known


def show(sources: list[Source], options: argparse.Namespace) -> int:
    """Print the chosen lines of these logs, and return the exit code.

    Raises:
        ArgumentInvalid: an option cannot be used.
    """
    say = _Printer(sources, as_json=options.json)
    wanted = _wanted(options)
    count = LOG_TAIL_LINES if options.tail is None and options.since is None else options.tail or 0
    span_s = None if options.since is None else log_reader.parse_span(options.since)
    if not options.follow:
        for line in _chosen(sources, count, span_s, wanted):
            say(line)
        return exit_codes.DONE
    output.end_with_the_reader()
    followers = [(one, log_reader.Follower(one.path)) for one in sources]
    for _, follower in followers:
        follower.lines()  # the lines that are there already have been chosen by other means
    for line in _chosen(sources, count, span_s, wanted):
        say(line)
    _follow(followers, say, wanted)
    return exit_codes.DONE


def _follow(
    followers: list[tuple[Source, log_reader.Follower]], say: Callable[[MergedLine], None], wanted: Wanted
) -> None:
    while True:
        found = [line for source, one in followers for line in _with_moments(source, one.lines())]
        for line in sorted(found, key=_moment):
            if wanted(line):
                say(line)
        sys.stdout.flush()
        if not found:
            time.sleep(FOLLOW_POLL_S)


# --- choosing -----------------------------------------------------------------------------------


def _chosen(sources: list[Source], count: int, span_s: float | None, wanted: Wanted) -> Iterable[MergedLine]:
    """Return lines, the oldest first: the last `count`, of the last `span_s` seconds; 0 and None for all."""
    if not count:
        if span_s is None:
            streams = [_with_moments(one, log_reader.lines(one.path)) for one in sources]
        else:
            streams = [_with_moments(one, log_reader.recent(one.path, span_s)) for one in sources]
        return filter(wanted, heapq.merge(*streams, key=_moment))
    back = [_with_moments(one, log_reader.backwards(one.path)) for one in reversed(sources)]
    merged: Iterator[MergedLine] = heapq.merge(*back, key=_moment, reverse=True)
    if span_s is not None:
        start = log_reader.start_of(span_s)
        merged = itertools.takewhile(lambda line: line.moment >= start, merged)
    return list(itertools.islice(filter(wanted, merged), count))[::-1]


def _with_moments(source: Source, lines: Iterable[str]) -> Iterator[MergedLine]:
    last = ""
    for text in lines:
        last = log_reader.moment_of(text) or last
        yield MergedLine(last, source, text)


def _moment(line: MergedLine) -> str:
    return line.moment


def _wanted(options: argparse.Namespace) -> Wanted:
    pattern = None
    if options.grep is not None:
        try:
            pattern = re.compile(options.grep)
        except re.error as error:
            raise ArgumentInvalid("--grep", f"no regular expression: {error}") from None
    least = 0 if options.level is None else LEVELS.index(options.level)

    def wanted(line: MergedLine) -> bool:
        if pattern is not None and not pattern.search(line.text):
            return False
        return not least or LEVELS.index(_level(line.fields)) >= least

    return wanted


def _level(fields: dict[str, Any]) -> str:
    """Return a line's level: as it was logged, or as a service's text has it; "info" where it has none."""
    level = str(fields.get("level", "info")).lower()
    if level == "info":
        found = _LEVEL.search(str(fields.get("message", ""))[:_LEVEL_WITHIN_CHARS])
        return _LEVEL_OF[found[1].lower()] if found else "info"
    return _LEVEL_OF.get(level, "info")


# --- printing -----------------------------------------------------------------------------------


class _Printer:
    """Prints lines; the name of the log stands before each where there are several."""

    def __init__(self, sources: list[Source], *, as_json: bool) -> None:
        self._as_json = as_json
        self._width = max((len(one.label) for one in sources), default=0)
        self._alone = len(sources) == 1
        self._styles = {one.label: NAME_STYLES[at % len(NAME_STYLES)] for at, one in enumerate(sources)}

    def __call__(self, line: MergedLine) -> None:
        if self._as_json:
            fields = line.fields
            if not self._alone:
                fields = {**fields, "log": line.source.label}
            output.say(json_for_stream(strict_json.encode(fields), sys.stdout))
            return
        label = printable(line.source.label)
        style = self._styles[line.source.label]
        prefix = "" if self._alone else output.styled(f"{label.ljust(self._width)} |", style) + " "
        output.say(prefix + _text(line.fields, line.source.service))


def _text(fields: dict[str, Any], service: str) -> str:
    moment = str(fields.get("time", "")).partition("T")[2].removesuffix("Z")
    message = printable(str(fields.get("message", "")))
    if not service or fields.get("logger") != service:  # what happened to it, between its own lines
        level = str(fields.get("level", "info"))
        style = {"error": "bad", "warning": "warn"}.get(level, "dim")
        message = output.styled(f"* {message}" if service else message, style)
    return f"{output.styled(moment, 'dim')} {message}"

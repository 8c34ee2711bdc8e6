"""The daemon's log: JSON lines in one file, rotated by its one writer.

    {"time": "2026-01-31T12:00:00.123Z", "level": "info", "logger": "x", "message": "...", ...}

Owns the form of a line and the size of the files.  A log that cannot be written (a full disk)
never stops the daemon: lines are dropped and counted, and the count is written when there is
room again.  Whatever is in a message, a line stays one line and holds no control characters.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from daemonry import strict_json
from daemonry.limits import LOG_FILE_BYTES, LOG_FILES_KEPT, MAX_LOG_FIELD_CHARS
from daemonry.process.log import own_loggers
from daemonry.process.log.flood import FloodFilter
from daemonry.process.regular_file import open_regular

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LEVELS = tuple(_LEVELS)

# What every LogRecord has; anything else on one came in through `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a line about `record` holds."""
    fields: dict[str, Any] = {
        "time": moment(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _cut(record.getMessage()),
    }
    for name, value in vars(record).items():
        if name not in _STANDARD and name not in fields:
            fields[name] = value if isinstance(value, (bool, int, float)) else _cut(str(value))
    if record.exc_info and record.exc_info[0] is not None:
        fields["trace"] = _cut(logging.Formatter().formatException(record.exc_info))
    return fields


def moment(time_s: float) -> str:
    """Return a time in seconds since 1970 in the form of a line: 2026-01-31T12:00:00.123Z."""
    seconds, millis = divmod(int(time_s * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03d}Z"


def _cut(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_LOG_FIELD_CHARS else text[:MAX_LOG_FIELD_CHARS] + "..."


class LogFile(logging.Handler):
    """Writes records to a file and keeps it, and its older parts, small.

    Args:
        path: the file; older parts are PATH.1 (the newest) to PATH.N.
        most_bytes: the size at which a part is closed.
        parts_kept: how many older parts stay.

    Attributes:
        dropped: lines lost since the last that could be written.
    """

    def __init__(self, path: str, most_bytes: int = LOG_FILE_BYTES, parts_kept: int = LOG_FILES_KEPT) -> None:
        super().__init__()
        self.dropped: int = 0
        self._path = path
        self._most_bytes = most_bytes
        self._parts_kept = parts_kept
        self._fd = -1
        self._size = 0
        self._torn = False
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; never raises, whatever the record or the disk."""
        try:
            self._write(_line(fields_of(record)))
        except Exception:  # noqa: BLE001  # a record holds anything, and its text is made here
            self.dropped += 1

    def write_lines(self, data: bytes) -> None:
        """Write whole lines as they are, each with its end; never raises."""
        while data:
            room = self._most_bytes - self._size
            fits = len(data) if len(data) <= room else data.rfind(b"\n", 0, max(room, 0)) + 1
            if not fits:  # in a part of its own; one line at least
                fits = data.rfind(b"\n", 0, self._most_bytes) + 1 or data.find(b"\n") + 1
            portion, data = data[:fits], data[fits:]
            try:
                self._write(portion)
            except OSError:
                self.dropped += portion.count(b"\n")

    def rotate_no_more(self) -> None:
        """Leave rotating to another process, which writes to the same file from now on."""
        self._most_bytes = 1 << 62

    def close(self) -> None:
        """Close the file, with the counts of lines that a flood kept out."""
        for each in self.filters:
            if isinstance(each, FloodFilter):
                each.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()

    def _open(self) -> None:
        self._fd = open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._size = os.fstat(self._fd).st_size

    def _write(self, data: bytes) -> None:
        if self._fd >= 0 and os.fstat(self._fd).st_nlink == 0:  # somebody removed it
            os.close(self._fd)
            self._fd = -1
        if self._fd < 0:
            self._open()
        if self.dropped:
            self._append(_line({"level": "error", "message": f"{self.dropped} lines were lost here"}))
            self.dropped = 0  # not before: a disk that is still full must not make us forget them
        self._append(data)

    def _append(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._most_bytes:
            self._rotate()
        if self._torn:
            data = b"\n" + data
        written = os.write(self._fd, data)
        self._size += written
        self._torn = written < len(data)
        if self._torn:
            raise OSError("the disk is full")

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        for number in range(self._parts_kept, 0, -1):
            older = f"{self._path}.{number}"
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(newer):
                os.replace(newer, older)
        self._open()


def _line(fields: dict[str, Any]) -> bytes:
    return (strict_json.encode(fields) + "\n").encode("utf-8")


class Terminal(logging.Handler):
    """Writes records to standard error for a person who runs the daemon in the foreground."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises."""
        from daemonry.process.log_reader import as_text

        try:
            os.write(2, (as_text(fields_of(record)) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001, S110  # as in LogFile, and there is nobody left to tell
            pass


def set_up(path: str, *, level: str = "info", terminal: bool = False) -> LogFile:
    """Send this process's log records to the file at `path`.

    Args:
        path: the log file.
        level: one of `LEVELS`.
        terminal: write them to standard error too.

    Raises:
        OSError: the file cannot be opened.
    """
    file = LogFile(path)
    handlers: list[logging.Handler] = [file, Terminal()] if terminal else [file]
    for handler in handlers:
        handler.addFilter(FloodFilter(handler))
    own_loggers.attach(handlers)
    logging.getLogger().setLevel(_LEVELS[level])
    return file

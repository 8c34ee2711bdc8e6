"""Configuration text: read within bounds, parsed, and errors that say where in it.

Owns the bounds on what others wrote, and the form of the message.  Where a key is written is
`typed_toml.positions`'s; which keys and values are right is the business of their reader.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from daemonry.errors import ConfigError
from daemonry.limits import MAX_CONFIG_BYTES, MAX_TOML_DEPTH, MAX_TOML_KEY_CHARS
from daemonry.ownership import why_not_roots
from daemonry.spelling import did_you_mean
from daemonry.terminal_text import printable
from daemonry.typed_toml import positions
from daemonry.typed_toml.positions import BeyondBounds, KeyPath, Position, dotted, position_of

# A reason may quote what stands in the file.
_REASON_CHARS: Final = 1000
# What tomllib says at the end of a message.
_TOMLLIB_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


class ConfigText:
    """A configuration's text, its values, and errors about them.

    Attributes:
        path: the file, as messages name it.
        text: its content.
        values: the same as tables, lists and scalars.
    """

    __slots__ = ("_locate", "path", "text", "values")

    def __init__(
        self,
        path: str,
        text: str,
        values: dict[str, Any],
        locate: Callable[[str, KeyPath], Position | None] = positions.find,
    ) -> None:
        self.path: str = path
        self.text: str = text
        self.values: dict[str, Any] = values
        self._locate = locate

    def error(self, where: KeyPath, reason: str) -> ConfigError:
        """Return an error about a value; it names the place of the value's key.

        Where the key is not in the text, the nearest table above it is named; `()` is the whole file.
        """
        place = self._locate(self.text, where) if where else None
        return error_at(self.path, place, reason, where)

    def unknown(self, where: KeyPath, known: Iterable[str]) -> ConfigError:
        """Return an error about an unknown key; it names the nearest known one."""
        return self.error(where, f"is not known: {did_you_mean(str(where[-1]), known)}")

    def refuse_unknown(self, table: Mapping[str, Any], known: Iterable[str], where: KeyPath = ()) -> None:
        """Raise a ConfigError where the table at `where` has an unknown key."""
        known = tuple(known)
        for key in table:
            if key not in known:
                raise self.unknown((*where, key), known)


def error_at(path: str, place: Position | None, reason: str, where: KeyPath = ()) -> ConfigError:
    """Return an error in one printable line."""
    line, column = place or (0, 0)
    return ConfigError(path, dotted(where), printable(reason, _REASON_CHARS), line, column)


def error_in(path: str, where: KeyPath, reason: str) -> ConfigError:
    """Return an error about a value in a file that was read earlier.

    For checks that come when the text is gone.  The file is read again to find the place; where that
    cannot be done any more, the error names the key without it.
    """
    try:
        return read(path, must_exist=False).error(where, reason)
    except ConfigError:
        return error_at(path, None, reason, where)


def read(path: str, *, must_exist: bool = True) -> ConfigText:
    """Return what a TOML file holds; nothing where there is no file and it need not exist.

    Root takes no file that another user could have written.

    Raises:
        ConfigError: it cannot be read, is not TOML, or is beyond the bounds.
    """
    try:
        # Not `open_regular`: links are followed, and /dev/null is an empty configuration.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise ConfigError(path, "", "is a FIFO and not a file")
            _check_owner(path, os.fstat(fd))
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(path, "", "there is no such file") from None
        return ConfigText(path, "", {})
    except OSError as error:
        raise ConfigError(path, "", f"cannot be read: {error.strerror}") from None
    return parse(data, path)


def _check_owner(path: str, found: os.stat_result) -> None:
    """Raise ConfigError where whoever wrote the file could have root do something."""
    reason = why_not_roots(found) if os.geteuid() == 0 else ""
    if reason:
        raise ConfigError(path, "", reason)


def decode(data: bytes, path: str, max_bytes: int = MAX_CONFIG_BYTES) -> str:
    """Return a file's bytes as text, without the mark that some editors put first.

    Raises:
        ConfigError: there are more than `max_bytes` of them, or they are not UTF-8.
    """
    if len(data) > max_bytes:
        raise ConfigError(path, "", f"longer than {max_bytes} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        # What stands before it on its line is UTF-8, and columns count characters.
        column = len(data[start : error.start].decode("utf-8", "replace").removeprefix("\ufeff")) + 1
        place = Position(data.count(b"\n", 0, error.start) + 1, column)
        raise error_at(path, place, "is not UTF-8") from None


def parse(data: str | bytes, path: str) -> ConfigText:
    """Return what TOML text holds.

    Args:
        data: the text, or a file's bytes.
        path: the file, for errors; it is not opened.

    Raises:
        ConfigError: it is not TOML, or larger, deeper or with longer keys than is read.
    """
    text = data if isinstance(data, str) else decode(data, path)
    _refuse_long_keys(text, path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, text, str(error)) from None
    except RecursionError:
        raise _beyond(path, text) from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise error_at(path, _unread_integer(text), f"not TOML: {error}") from None
    if not _is_within_bounds(values):
        raise _beyond(path, text)
    return ConfigText(path, text, values)


def _refuse_long_keys(text: str, path: str) -> None:
    """Refuse dotted keys of very many parts unparsed: tomllib takes quadratic time over them.

    A line with as many dots is rarely a key; the scanner, which takes linear time, knows.
    """
    if any(line.count(".") > MAX_TOML_DEPTH for line in text.split("\n")):
        try:
            positions.entries(text)
        except BeyondBounds as error:
            raise error_at(path, position_of(text, error.offset), error.reason) from None


def _is_within_bounds(values: dict[str, Any]) -> bool:
    waiting: list[tuple[Any, int]] = [(values, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict):
            if any(len(key) > MAX_TOML_KEY_CHARS for key in value):
                return False
            inside = list(value.values())
        elif isinstance(value, list):
            inside = value
        else:
            continue
        if inside and depth == MAX_TOML_DEPTH:
            return False
        waiting += [(one, depth + 1) for one in inside if isinstance(one, (dict, list))]
    return True


def _beyond(path: str, text: str) -> ConfigError:
    try:
        positions.entries(text)
    except BeyondBounds as error:
        return error_at(path, position_of(text, error.offset), error.reason)
    return ConfigError(path, "", f"nested deeper than {MAX_TOML_DEPTH} levels")


def _no_toml(path: str, text: str, said: str) -> ConfigError:
    found = _TOMLLIB_PLACE.search(said)
    if found is None:
        return error_at(path, None, f"not TOML: {_lowered(said)}")
    place = Position(int(found[1]), int(found[2])) if found[1] else position_of(text, len(text))
    return error_at(path, place, f"not TOML: {_lowered(said[: found.start()])}")


def _unread_integer(text: str) -> Position | None:
    for entry in positions.entries(text):
        start, end = entry.value or (0, 0)
        try:
            int(text[start:end] or "0")
        except ValueError as error:
            if "digits" in str(error):
                return position_of(text, start)
    return None


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]

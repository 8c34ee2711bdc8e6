"""config init, show and validate: the configuration file, as a person handles it.

Owns their output and their exit codes.  The keys are `settings`'s; the daemon is not asked.
"""

from __future__ import annotations

import json
import os
from typing import Any

from daemonry import load_config, write_atomically
from daemonry.cli import kit
from daemonry.errors import ConfigError
from daemonry.spelling import did_you_mean
from palingenesis.agents.known import configured
from palingenesis.default_config import TEXT
from palingenesis.definition import daemon
from palingenesis.path_text import shown
from palingenesis.settings import Settings, session_dir, socket_path, with_effect, without_effect


def init(path: str | None, *, force: bool) -> int:
    """Write the default file, mode 0600, its directory 0700 if it has to be made.

    Without `force` a file that is there stays as it is.  Whatever fails, no part of a file is left.

    Raises:
        ConfigError: it cannot be written, or is there already.
    """
    path = _path(path)
    try:
        _make_directory(os.path.dirname(path))
        if force:
            write_atomically(os.path.realpath(path), TEXT.encode())
        else:
            _write_new(path)
    except OSError as error:
        raise ConfigError(path, "", f"cannot be written: {error.strerror}") from error
    kit.say(f"{kit.printable(shown(path))}: written")
    return kit.DONE


def show(section: str | None, *, as_json: bool) -> int:
    """Print the settings in force: the file's values over the defaults.

    Raises:
        ConfigError: the file cannot be used.
    """
    path = _path(None)
    settings = load_config(path, Settings)
    tables = with_effect(settings)
    if section is not None:
        if section not in tables:
            return _no_such_section(section, sorted(tables))
        tables = {section: tables[section]}
    if as_json:
        kit.say_json(tables)
    else:
        _say_toml(path, tables, settings)
    return kit.DONE


def validate(path: str | None) -> int:
    """Say whether the file can be used, and which of its keys do nothing.

    Raises:
        ConfigError: it cannot.
    """
    found = _path(path)
    settings = load_config(found, Settings, must_exist=path is not None)
    session_dir(settings.monitoring, found)
    configured(settings, found)
    socket_path(settings.daemon, found)
    name = kit.printable(shown(found))
    if os.path.exists(found):
        kit.say(f"{name}: valid")
    else:
        kit.say(f"{name}: there is no such file; the defaults are used")
    for sentence in without_effect(settings):
        kit.say(f"{name}: {sentence}")
    return kit.DONE


def _path(given: str | None) -> str:
    return os.path.abspath(os.path.expanduser(given)) if given is not None else daemon.config_path()


def _make_directory(path: str) -> None:
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        os.mkdir(directory, 0o700)


def _write_new(path: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(path, "", "there is one already; --force overwrites it") from None
    try:
        with open(fd, "wb") as file:
            file.write(TEXT.encode())
    except OSError:
        os.unlink(path)
        raise


def _no_such_section(section: str, known: list[str]) -> int:
    kit.complain(f"palingenesis: no section {kit.printable(repr(section))}: {did_you_mean(section, known)}")
    return kit.USAGE


def _say_toml(path: str, tables: dict[str, dict[str, Any]], settings: Settings) -> None:
    name = kit.printable(shown(path))
    kit.say(f"# {name}" if os.path.exists(path) else f"# no file at {name}: the defaults")
    for sentence in without_effect(settings):
        kit.say(f"# {sentence}")
    for name, table in tables.items():
        kit.say(f"\n[{name}]")
        for key, value in table.items():
            kit.say(f"{_toml_key(key)} = {_toml(value)}")


def _toml(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml_key(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # A JSON string is a TOML one, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _toml(key)

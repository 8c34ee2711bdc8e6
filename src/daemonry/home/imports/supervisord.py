"""supervisord.conf: programs and groups.

Owns what its keys mean in a home.  Source: http://supervisord.org/configuration.html.
"""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Callable
from typing import Any, Final

from daemonry.home.imports.home_text import Draft, ImportInvalid

_RESTART: Final = {"true": "always", "unexpected": "on-failure", "false": "never"}
# Always so in a home, or of no consequence there.
_SO_ANYWAY: Final = ("redirect_stderr", "stopasgroup", "killasgroup", "process_name", "numprocs_start")
_LOGS: Final = re.compile(r"std(?:out|err)_(?:logfile|capture|events|syslog)")


def read(text: str) -> Draft:
    """Return the services of a supervisord.conf.

    Raises:
        ImportInvalid: it cannot be read, or has no programs.
    """
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",), allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ImportInvalid(str(error).replace("\n", " ")) from None
    draft = Draft()
    names: dict[str, str] = {}
    for section in parser.sections():
        kind, _, name = section.partition(":")
        keys = {key: value or "" for key, value in parser.items(section)}
        if kind == "program" and name:
            names[name] = draft.name(name)
            draft.services[names[name]] = _program(draft, section, name, keys)
        elif kind == "supervisord" and "environment" in keys:
            draft.environment = _environment(keys["environment"], section)
        elif kind in ("eventlistener", "fcgi-program", "include"):
            draft.note(f"[{section}]", "as a whole")
    for section in parser.sections():
        kind, _, group = section.partition(":")
        if kind == "group":
            _group(draft, group, parser.get(section, "programs", fallback="") or "", names)
    if not draft.services:
        raise ImportInvalid("there is no [program:NAME] in it")
    return draft


def _group(draft: Draft, group: str, programs: str, names: dict[str, str]) -> None:
    for one in filter(None, map(str.strip, programs.split(","))):
        if one in names:
            draft.services[names[one]].setdefault("groups", []).append(group)
        else:
            draft.note(f"[group:{group}]", one, "is not a program of this file")


def _program(draft: Draft, section: str, name: str, keys: dict[str, str]) -> dict[str, Any]:
    where = f"[{section}]"
    table: dict[str, Any] = {}
    makers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "directory": ("directory", str),
        "environment": ("environment", lambda value: _environment(value, where)),
        "autorestart": ("restart", lambda value: _RESTART[value.lower()]),
        "startretries": ("restarts_max", int),
        "stopsignal": ("stop_signal", lambda value: value.upper().removeprefix("SIG")),
        "stopwaitsecs": ("stop_timeout", lambda value: f"{int(value)}s"),
        "numprocs": ("replicas", int),
    }
    if "command" not in keys:
        raise ImportInvalid(f"{where}: it has no command")
    for key, value in keys.items():
        expanded = value.replace("%(program_name)s", name).replace("%(here)s", ".")
        if re.search(r"(?<!%)(?:%%)*%\(\w+\)", expanded):
            draft.note(where, key, f"has a value that is filled in later: {expanded[:60]}")
        else:
            expanded = expanded.replace("%%", "%")
        try:
            if key == "command":
                table["command"] = shlex.split(expanded)
            elif key in makers:
                target, make = makers[key]
                table[target] = make(expanded)
            else:
                _note(draft, where, key, value)
        except (KeyError, ValueError):
            draft.note(where, key, f"has a value that is not understood: {value[:60]}")
    return table


def _note(draft: Draft, where: str, key: str, value: str) -> None:
    if key == "autostart" and value.lower() in ("false", "no", "0"):
        draft.note(where, key, "is false; `up` starts it: name the others to leave it stopped")
    elif _LOGS.match(key):
        draft.note(where, key, "is not needed: its log is NAME.log, rotated")
    elif key == "priority":
        draft.note(where, key, "is an order by numbers: say what it needs with `needs`")
    elif key not in _SO_ANYWAY and key != "autostart":
        draft.note(where, key)


def _environment(text: str, where: str) -> dict[str, str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=",")
    lexer.whitespace_split = True
    found = {}
    try:
        for word in lexer:
            name, equals, value = word.partition("=")
            if equals:
                found[name.strip()] = value
    except ValueError:
        raise ImportInvalid(f"{where}: environment: a quotation mark is not closed") from None
    return found

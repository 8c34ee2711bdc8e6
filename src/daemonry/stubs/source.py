"""Where descriptions come from: a file in the interface language, or a program's classes.

Owns reading the two, for the command line and for build hooks; a running daemon is asked by `cli.stubs`.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from daemonry.daemon.loader import load
from daemonry.errors import ArgumentInvalid, TargetInvalid
from daemonry.wire import idl, idl_parser

SUFFIX: Final = ".varlink"


def is_file(source: str) -> bool:
    """Whether a source is a file in the interface language."""
    return source.endswith(SUFFIX)


def text_of(path: str, most_chars: int = -1) -> str:
    """Return the text of a regular file, or its first characters; a link is followed.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        UnicodeDecodeError: it is not UTF-8.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # nobody waits for a FIFO
    with open(fd, encoding="utf-8", newline="") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        return file.read(most_chars)


def of_file(path: str) -> idl.InterfaceDescription:
    """Return the interface that a file describes.

    Raises:
        ArgumentInvalid: it cannot be read, or is not a description; the reason has the line and the column.
    """
    try:
        text = text_of(path, idl_parser.MAX_TEXT_CHARS + 1)
    except OSError as error:
        raise ArgumentInvalid(path, error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise ArgumentInvalid(path, f"is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        return idl_parser.parse(text)
    except idl_parser.IdlError as error:
        raise ArgumentInvalid(f"{path}:{error.line}:{error.column}", error.reason) from None


def of_program(target: str) -> list[idl.InterfaceDescription]:
    """Return the interfaces that a program serves, less those that only its setup hook serves.

    Raises:
        TargetInvalid: there is no such program, or it cannot be imported.
        NotDescribable: a method's type has no form in the interface language.
    """
    from daemonry.daemon.served import interface_of
    from daemonry.service.interface.declare import described

    return [described(interface_of(one)).interface for one in load(target).services]


def of_build(source: str) -> list[idl.InterfaceDescription]:
    """Return the interfaces of a source that needs no running daemon.

    Raises:
        As `of_file` and `of_program`; TargetInvalid for a daemon's name.
    """
    if is_file(source):
        return [of_file(source)]
    if ":" not in source and not source.endswith(".py"):
        raise TargetInvalid(source, f"a build needs a program (module:attribute, file.py) or a file{SUFFIX}")
    return of_program(source)


def chosen(
    found: list[idl.InterfaceDescription], name: str | None, source: str
) -> list[idl.InterfaceDescription]:
    """Return the interfaces, or the one of that name.

    Raises:
        ArgumentInvalid: there is none.
    """
    kept = [one for one in found if name is None or one.name == name]
    if not kept:
        has = ", ".join(one.name for one in found) or "none"
        wanted = "an interface" if name is None else name
        raise ArgumentInvalid(source, f"does not serve {wanted}: it has {has}")
    return kept

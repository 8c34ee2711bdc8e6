"""The root of the errors, and those that stand below it alone.

Owns how an error is pickled: with all that it knows, whatever its constructor takes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Ran = Literal["no", "maybe", "yes"]


def _restore(cls: type[DaemonryError], args: tuple[Any, ...], state: dict[str, Any]) -> DaemonryError:
    error = cls.__new__(cls)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class DaemonryError(Exception):
    """The root: catch it to catch everything that daemonry raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            state["errno"] = self.errno  # kept outside __dict__
        return _restore, (type(self), self.args, state)


class Refused(DaemonryError):
    """Raised by a hook to refuse a command; the sender gets the message."""


class CommandFailed(DaemonryError):
    """The daemon understood the command and answered with an error.

    Attributes:
        command: the word that was sent.
        message: what the daemon said.
    """

    def __init__(self, command: str, message: str) -> None:
        super().__init__(message)
        self.command = command
        self.message = message


class TargetInvalid(DaemonryError):
    """The given text does not name a daemon.

    Attributes:
        text: the given text.
        reason: the fault in it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} names no daemon: {reason}")
        self.text = text
        self.reason = reason


class ArgumentInvalid(DaemonryError):
    """A word of a command cannot be used.

    Attributes:
        text: the given text.
        reason: the fault in it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text}: {reason}")
        self.text = text
        self.reason = reason


class UnsafePath(DaemonryError):
    """A file or directory cannot be used because of its owner, or its kind.

    Attributes:
        path: the path.
        reason: the fault in it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ConfigError(DaemonryError):
    """A configuration file cannot be used.

    Attributes:
        path: the file.
        key: the dotted key, or "" where the file as a whole is meant.
        reason: the fault.
        line: where in the file, from 1; 0 where the file as a whole is meant, or the place is not known.
        column: the same, in characters.
    """

    def __init__(self, path: str, key: str, reason: str, line: int = 0, column: int = 0) -> None:
        place = f"{path}:{line}:{column}" if line else path
        super().__init__(": ".join(part for part in (place, key, reason) if part))
        self.path = path
        self.key = key
        self.reason = reason
        self.line = line
        self.column = column

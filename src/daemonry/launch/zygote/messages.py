"""The messages between starter, zygote and child, made and read; the package says their order.

Owns their form.  Every reader checks, and takes nothing that is not exactly such a message.
"""

from __future__ import annotations

from daemonry import faults, strict_json
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_NO: Final = b"no "
_PID: Final = b"pid "


class Order(Value):
    """What makes the child a certain daemon.

    Attributes:
        argv: the words of the command, the interpreter first.
        boot: the text of the boot fields.
        numbers: the numbers that the passed descriptors have in the daemon; its output comes before them.
    """

    __slots__ = ("argv", "boot", "numbers")
    argv: tuple[str, ...]
    boot: str
    numbers: tuple[int, ...]

    def __init__(self, argv: tuple[str, ...], boot: str, numbers: tuple[int, ...]) -> None:
        self._set(argv=argv, boot=boot, numbers=numbers)

    def encoded(self) -> bytes:
        """Return the message.

        Raises:
            BadFrame: a word cannot be sent as JSON.
        """
        fields = {"argv": list(self.argv), "boot": self.boot, "numbers": list(self.numbers)}
        return strict_json.encode_names(fields).encode()

    @classmethod
    def of(cls, message: bytes) -> Order | None:
        """Return the order that a message is; None where it is something else."""
        try:
            fields = strict_json.decode_object(message.decode(), with_names=True)
            argv, boot, numbers = fields["argv"], fields["boot"], fields["numbers"]
        except (faults.BadFrame, UnicodeDecodeError, KeyError):
            return None
        words = isinstance(argv, list) and len(argv) > 1 and all(isinstance(word, str) for word in argv)
        descriptors = isinstance(numbers, list) and all(type(one) is int and one > 2 for one in numbers)
        if not words or not descriptors or not isinstance(boot, str) or len(set(numbers)) != len(numbers):
            return None
        return cls(tuple(argv), boot, tuple(numbers))


def no(reason: str) -> bytes:
    """Return the message that a zygote does not fork."""
    return _NO + reason.encode("utf-8", "backslashreplace")


def child(pid: int) -> bytes:
    """Return the message of the child."""
    return _PID + str(pid).encode()


def pid_of(message: bytes) -> int | None:
    """Return the number in the message of a child; None where it is a refusal, or something else."""
    digits = message.removeprefix(_PID)
    if digits == message or not digits.isdigit() or len(digits) > 10 or int(digits) < 2:
        return None
    return int(digits)


def status(code: int) -> bytes:
    """Return what the zygote writes when a child has ended: its exit code, negative for a signal."""
    return str(code).encode() + b"\n"


def code_of(told: bytes) -> int | None:
    """Return the exit code that was written; None where none was, or not all of it."""
    digits = told.removesuffix(b"\n").removeprefix(b"-")
    if not told.endswith(b"\n") or not digits.isdigit() or len(digits) > 10:
        return None
    return int(told)

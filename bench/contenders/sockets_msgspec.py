"""Bare Python sockets, and what msgspec alone takes for a call: the bare way of other shapes, and no product.

Each message is encoded once and decoded once, by types that are known; nothing else is looked at, and a
thread waits for each connection.
"""

from __future__ import annotations

from typing import Any

import msgspec
from ours import Kib64, Mib1, Numbers, Report
from question import CURRENT_SESSION, NUMBERS, ROWS, SAVES_COUNT, STATE, TOTAL_RESUMES, UPTIME_SECS, answer
from threads import Connection, serve_in_threads

_NUL = b"\0"
_READ_BYTES = 1 << 18


def _report(session: str = CURRENT_SESSION, saves: int = SAVES_COUNT) -> Report:
    return Report(STATE, UPTIME_SECS, session, saves, TOTAL_RESUMES)


class StatusOf(msgspec.Struct, tag=True):
    """Two arguments."""

    session: str
    saves: int


class Rows(msgspec.Struct, tag=True):
    """A number of answers."""

    count: int


class Echo(msgspec.Struct, tag=True):
    """A text, there and back."""

    text: str


class Several(msgspec.Struct, tag=True):
    """Integers, there and back."""

    numbers: list[int]


class Result(msgspec.Struct):
    """A reply that is no object."""

    result: Any


_encode = msgspec.json.Encoder().encode
_read_call = msgspec.json.Decoder(StatusOf | Rows | Echo | Several).decode


def _answer(call: Any) -> Any:
    if type(call) is StatusOf:
        return _report(call.session, call.saves)
    if type(call) is Rows:
        return Result([_report() for _ in range(call.count)])
    return Result(call.text if type(call) is Echo else call.numbers)


def serve(path: str) -> None:
    """Answer frames, a thread for each connection."""

    def converse(connection: Connection) -> None:
        while frame := read(connection):
            connection.sendall(_encode(_answer(_read_call(frame))) + _NUL)

    serve_in_threads(path, converse)


def read(connection: Connection) -> bytes:
    """Return a frame without its NUL; b"" at the end."""
    data = connection.recv(_READ_BYTES)
    if data and data[-1]:
        pieces = [data]
        while data and data[-1]:
            data = connection.recv(_READ_BYTES)
            pieces.append(data)
        data = b"".join(pieces)
    return data[:-1]


class Bare(Connection):
    """Asks for one thing."""

    asked: Any = StatusOf(CURRENT_SESSION, SAVES_COUNT)
    kind: Any = Report
    expected: Any = answer()

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._decode = msgspec.json.Decoder(self.kind).decode

    def call(self) -> object:
        """Ask, and decode the answer."""
        self.sendall(_encode(self.asked) + _NUL)
        return self._decode(read(self))

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        return bool(msgspec.to_builtins(reply) == self.expected)


def _result_of(kind: Any) -> Any:
    return msgspec.defstruct("Result", [("result", kind)])


class BareRows(Bare):
    """A list of answers."""

    asked = Rows(ROWS)
    kind = _result_of(list[Report])
    expected = {"result": [answer()] * ROWS}  # noqa: RUF012  # nobody changes it


class BareKib64(Bare):
    """64 KiB of text."""

    asked = Echo(Kib64.text)
    kind = _result_of(str)
    expected = {"result": Kib64.text}  # noqa: RUF012  # the same


class BareMib1(Bare):
    """1 MiB of text."""

    asked = Echo(Mib1.text)
    kind = _result_of(str)
    expected = {"result": Mib1.text}  # noqa: RUF012  # the same


class BareNumbers(Bare):
    """Many integers."""

    asked = Several(Numbers.given)
    kind = _result_of(list[int])
    expected = {"result": list(range(NUMBERS))}  # noqa: RUF012  # the same

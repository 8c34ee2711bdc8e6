"""Bare Python sockets, and what msgspec alone takes for a call: the bare way of other shapes, and no product.

Each message is encoded once and decoded once, by types that are known; nothing else is looked at, and a
thread waits for each connection.
"""

from __future__ import annotations

from typing import Any

import msgspec
from ours import Kib1, Kib64, Mib1, Numbers, Report
from question import (
    CURRENT_SESSION,
    ITEMS,
    NUMBERS,
    ROWS,
    SAVES_COUNT,
    STATE,
    TOTAL_RESUMES,
    UPTIME_SECS,
    answer,
)
from threads import Connection, serve_in_threads

NUL = b"\0"
# A read of 256 KiB has malloc fetch and give back pages each time: only long messages gain by it.
_READ_BYTES = 1 << 14
_LONG_READ_BYTES = 1 << 18


def _report(session: str = CURRENT_SESSION, saves: int = SAVES_COUNT) -> Report:
    return Report(STATE, UPTIME_SECS, session, saves, TOTAL_RESUMES)


class Status(msgspec.Struct, tag=True):
    """No arguments."""


class StatusAwaited(msgspec.Struct, tag=True):
    """No arguments, for a handler that is `async def`."""


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


class Items(msgspec.Struct, tag=True):
    """A number of replies."""

    count: int


class Item(msgspec.Struct):
    """One of several replies."""

    result: int
    continues: bool


class Result(msgspec.Struct):
    """A reply that is no object."""

    result: Any


encode = msgspec.json.Encoder().encode
read_call = msgspec.json.Decoder(Status | StatusAwaited | StatusOf | Rows | Echo | Several | Items).decode


def answer_to(call: Any) -> Any:
    """Return the reply to a call that has one."""
    if type(call) is Status or type(call) is StatusAwaited:
        return _report()
    if type(call) is StatusOf:
        return _report(call.session, call.saves)
    if type(call) is Rows:
        return Result([_report() for _ in range(call.count)])
    return Result(call.text if type(call) is Echo else call.numbers)


def serve(path: str) -> None:
    """Answer frames, a thread for each connection."""

    def converse(connection: Connection) -> None:
        while frame := read(connection):
            call = read_call(frame)
            if type(call) is Items:
                items = (Item(number, number < call.count - 1) for number in range(call.count))
                connection.sendall(b"".join([encode(item) + NUL for item in items]))
            else:
                connection.sendall(encode(answer_to(call)) + NUL)

    serve_in_threads(path, converse)


def read(connection: Connection) -> bytes:
    """Return a frame without its NUL; b"" at the end."""
    data = connection.recv(_READ_BYTES)
    if data and data[-1]:
        pieces = [data]
        while data and data[-1]:
            data = connection.recv(_LONG_READ_BYTES)
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
        self.sendall(encode(self.asked) + NUL)
        return self._decode(read(self))

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        return bool(msgspec.to_builtins(reply) == self.expected)


class BareFlat(Bare):
    """A flat reply, without arguments."""

    asked = Status()


def _result_of(kind: Any) -> Any:
    return msgspec.defstruct("Result", [("result", kind)])


class BareRows(Bare):
    """A list of answers."""

    asked = Rows(ROWS)
    kind = _result_of(list[Report])
    expected = {"result": [answer()] * ROWS}  # noqa: RUF012  # nobody changes it


class BareStream(Bare):
    """The items of a stream; what is measured is one."""

    PARTS = ITEMS
    asked = Items(ITEMS)
    kind = Item

    def call(self) -> list[int]:
        """Ask, and decode each item."""
        self.sendall(encode(self.asked) + NUL)
        decode, items, rest = self._decode, [], b""
        while True:
            *frames, rest = (rest + self.recv(_READ_BYTES)).split(NUL)
            for frame in frames:
                item = decode(frame)
                items.append(item.result)
                if not item.continues:
                    return items

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        return reply == list(range(ITEMS))


class BareKib1(Bare):
    """1 KiB of text."""

    asked = Echo(Kib1.text)
    kind = _result_of(str)
    expected = {"result": Kib1.text}  # noqa: RUF012  # nobody changes it


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

"""The native part of a call against the codec in Python, on messages that are right, nearly right, and not.

    PYTHONPATH=DIR-WITH-daemonry_native python fuzz/native_calls.py [SECONDS [SEED]]

The codec has to accept all that it finds within the rules, and to refuse all that it refuses, but for keys
with an escape and floats with an exponent, to which it takes no longer look.  It has to write and read as the
codec does, to the bit; and to answer calls as the server in Python does.

Prints a line of counts; a difference is an AssertionError with the bytes.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import msgspec

from daemonry import Interface, faults, strict_json
from daemonry.native_calls import calls as native_calls
from daemonry.service.server.dispatch import Calls, Ran
from daemonry.wire import varlink

TEXTS = [
    *(
        "",
        "a",
        "é",
        "😀",
        "\ud7ff",
        "\ue000",
        "\u2028",
        "\x7f",
        "x" * 40,
        '"',
        "\\",
        "\n",
        "\t\b\f\r",
        "\x01",
    ),
    *("\x1f", "/", "a" * 31 + '"', "a" * 32 + "\\", "é" * 40, "\U0010ffff"),
]
NUMBERS = [
    *(0, -1, 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**18, 10**19, -(10**18)),
    *(0.0, -0.0, 1.5, 1e-5, 1e16, 1e-4, 9999999999999998.0, 1e300, 5e-324, 1.7976931348623157e308, 0.1),
]
# What mutations put in: JSON's own characters, ends of ranges, and bytes beyond UTF-8.
PIECES = [
    *(bytes([byte]) for byte in b'"\\{}[]:,0-.eE+9 \t\n\r\0\x01\x1f\x7f\x80\xff'),
    *(b"\xc0\x80", b"\xc2", b"\xe0\x9f\x80", b"\xed\xa0\x80", b"\xed\x9f\xbf", b"\xf0\x8f\x80\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xef\xbb\xbf", b"\\u0000", b"\\u0061", b"\\ud800"),
    *(
        b"\\ud83d\\ude00",
        b"\\udc00\\ud800",
        b"\\uD800\\u0041",
        b"\\/",
        b"\\x",
        b"\\u12",
        b"true",
        b"null",
        b"nan",
    ),
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"1e308",
        b"1e-400",
        b"18446744073709551615",
        b"01",
        b"-0",
    ),
    *(
        b"18446744073709551616",
        b"-9223372036854775808",
        b"-9223372036854775809",
        b"1.",
        b".5",
        b'"a":1,"a":2',
    ),
    *(b'["', b"[[[[[[[["),
]
_S, _I, _F, _B = ("str",), ("int",), ("float",), ("bool",)
_FIELDS = (("a", "a", _S), ("b", 'é"', _I), ("c", "c", ("optional", ("list", _F))))
FORMS: list[tuple[Any, ...]] = [
    *(_S, _I, _F, _B, ("optional", _S), ("optional", _I), ("list", _I), ("list", _S), ("list", ("list", _F))),
    *(("dict", _S), ("dict", ("list", ("optional", _B))), ("values", _FIELDS), ("values", ())),
]
HEAD, TAIL = b"<", b">\0"


class Trial:
    """Makes inputs, and compares what becomes of them.

    Args:
        calls: the native module.
        seed: of its course.
    """

    def __init__(self, calls: Any, seed: int) -> None:
        self._random = random.Random(seed)
        self._calls = calls
        self._forms = [(form, calls.Form(HEAD, form, TAIL, 16 << 20)) for form in FORMS]
        self.counts = dict.fromkeys(("inputs", "accepted", "left", "written", "read"), 0)

    def run_one(self) -> None:
        """Compare one message that is scanned, and one value that is written and read."""
        self.counts["inputs"] += 1
        self._compare_scan(self._mutated(self._message()))
        form, made = self._random.choice(self._forms)
        self._compare_form(form, made, self._of(form))

    def _compare_scan(self, frame: bytes) -> None:
        found = self._calls.scan_frame(frame)
        assert self._calls.scan(frame + b"\0") == found
        right = accepted(frame)
        self.counts["accepted"] += found
        if found:
            assert right, ("accepts", frame)
        elif right:
            self.counts["left"] += 1
            assert b"\\" in frame or b"e" in frame.lower(), ("refuses", frame)

    def _compare_form(self, form: tuple[Any, ...], made: Any, value: Any) -> None:
        written = made.write(value)
        if not fits(form, value):
            assert written is None, ("writes", form, value, written)
            return
        expected = HEAD + varlink._write(plain(form, value), 1).encode() + TAIL  # noqa: SLF001  # a part of a message
        assert written == expected, (form, value, written)
        assert same(made.read(written), value), (form, value, written)
        self.counts["written"] += 1
        changed = HEAD + self._mutated(written[1:-2]) + TAIL
        read = made.read(changed)
        if read is not NotImplemented:
            found = accepted(changed[1:-2])
            assert found, ("reads", form, changed)
            assert same(plain(form, read), found[0]), (form, changed, read)
            self.counts["read"] += 1

    def spoiled_call(self) -> bytes:
        """Return a call of `Fuzzed`, whole in half of the cases."""
        chosen = self._random
        text, texts = ("str",), ("list", ("str",))
        name, fields = chosen.choice(
            [
                ("Nothing", ()),
                ("Row", (("name", text), ("size", ("int",)))),
                ("Rows", (("names", texts), ("half", ("optional", ("float",))))),
            ]
        )
        given = {key: self._of(form) for key, form in fields}
        parameters = json.dumps(given, ensure_ascii=chosen.random() < 0.3, separators=(",", ":"))
        call = f'{{"method":"org.example.fuzzed.{name}","parameters":{parameters}}}'.encode()
        return (call if chosen.random() < 0.5 else self._mutated(call)) + b"\0"

    # --- inputs -----------------------------------------------------------------------------------

    def _message(self) -> bytes:
        chosen = self._random
        gaps = chosen.choice([(",", ":"), (", ", ": ")])
        indent = chosen.choice([None, None, None, 1])
        text = json.dumps(
            self._value(chosen.randrange(5)),
            ensure_ascii=chosen.random() < 0.3,
            separators=gaps,
            indent=indent,
        )
        levels = chosen.randrange(58, 70) if chosen.random() < 0.05 else 0
        return b"[" * levels + text.encode() + b"]" * levels

    def _value(self, levels: int) -> Any:
        chosen = self._random
        kind = chosen.random()
        if levels <= 0 or kind < 0.5:
            number = chosen.randrange(-(2**66), 2**66) >> chosen.randrange(66)
            some = chosen.random() * 10 ** chosen.randrange(-6, 18)
            return chosen.choice(
                [chosen.choice(TEXTS), self._text(), chosen.choice(NUMBERS), number, some, True, False, None]
            )
        if kind < 0.75:
            return [self._value(levels - 1) for _ in range(chosen.randrange(5))]
        return {self._text(): self._value(levels - 1) for _ in range(chosen.choice([0, 1, 2, 3, 4, 20]))}

    def _text(self) -> str:
        return "".join(self._random.choice(TEXTS) for _ in range(self._random.randrange(4)))

    def _of(self, form: tuple[Any, ...]) -> Any:
        """Return a value of a form, or now and then another one."""
        chosen, kind = self._random, form[0]
        if chosen.random() < 0.03:
            return self._value(1)
        if kind == "str":
            return self._text()
        if kind in ("int", "float"):
            of = int if kind == "int" else float
            number = chosen.randrange(-(2**64), 2**64) >> chosen.randrange(66)
            some = chosen.random() * 10 ** chosen.randrange(-6, 18)
            return chosen.choice(
                [number if of is int else some, *(one for one in NUMBERS if type(one) is of)]
            )
        if kind == "bool":
            return chosen.random() < 0.5
        if kind == "optional":
            return None if chosen.random() < 0.4 else self._of(form[1])
        if kind == "list":
            return [self._of(form[1]) for _ in range(chosen.randrange(5))]
        if kind == "dict":
            named = (self._text() if chosen.random() < 0.99 else 5 for _ in range(chosen.randrange(4)))
            return {name: self._of(form[1]) for name in named}
        return tuple(self._of(one) for _, _, one in form[1])

    def _mutated(self, message: bytes) -> bytes:
        chosen, changed = self._random, bytearray(message)
        for _ in range(chosen.choice([0, 1, 1, 1, 2, 3])):
            at, way = chosen.randrange(len(changed) + 1), chosen.random()
            if way < 0.4:
                changed[at:at] = chosen.choice(PIECES)
            elif way < 0.6:
                del changed[at : at + chosen.randrange(1, 4)]
            elif way < 0.8:
                changed[at : at + 1] = chosen.choice(PIECES)
            elif way < 0.9 and changed:
                changed[at:at] = changed[chosen.randrange(len(changed)) :][: chosen.randrange(20)]
            else:
                changed[at : at + 1] = bytes([chosen.randrange(256)])
        return bytes(changed)


class Entry(msgspec.Struct):
    """What a method returns."""

    name: str
    size: int


class Fuzzed(Interface, name="org.example.fuzzed"):
    """Methods that are answered at once."""

    def nothing(self) -> None:
        """Return nothing."""

    def row(self, name: str, size: int) -> Entry:
        """Return a row of what was given."""
        return Entry(name, size)

    def rows(self, names: list[str], half: float | None) -> list[Entry]:
        """Return rows, or raise where there are none."""
        return [Entry(name, int(1 / half) if half is not None else len(names)) for name in names]


class Answers:
    """Calls, answered natively and in Python."""

    def __init__(self, seed: int) -> None:
        self._trial = Trial(native_calls, seed)
        self._served = Calls()
        self._served.serve(Fuzzed())
        self.count = self.at_once = 0

    def run_one(self) -> None:
        """Compare what one call comes to, which may be spoiled."""
        frame = self._trial.spoiled_call()
        found, expected = self._served.answer_at_once(frame), self._served.answer_in_python(frame)
        self.count += 1
        self.at_once += isinstance(found, bytes)
        assert _told(found) == _told(expected), (frame, found, expected)


def _told(answer: Any) -> Any:
    if not isinstance(answer, Ran):
        return answer
    return answer.bound.full_name, repr(answer.result), repr(answer.error)


def accepted(frame: bytes) -> tuple[Any] | None:
    """Return what the codec in Python makes of JSON, in a tuple; None where it refuses it."""
    try:
        value = strict_json.decode(frame.decode())
        varlink._refuse_uncommon(value)  # noqa: SLF001  # the same
    except (UnicodeDecodeError, faults.BadFrame):
        return None
    return (value,)


def fits(form: tuple[Any, ...], value: Any) -> bool:
    """Whether a value is one that the native part writes."""
    kind = form[0]
    if kind == "str":
        return type(value) is str and "\0" not in value
    if kind == "int":
        return type(value) is int and -(2**63) < value < 2**63
    if kind == "float":
        return type(value) is float and (value == 0.0 or 1e-4 <= abs(value) < 1e16)
    if kind == "bool":
        return type(value) is bool
    if kind == "optional":
        return value is None or fits(form[1], value)
    if kind == "list":
        return type(value) is list and all(fits(form[1], one) for one in value)
    if kind == "dict":
        return type(value) is dict and all(
            fits(_S, name) and fits(form[1], one) for name, one in value.items()
        )
    if type(value) is not tuple or len(value) != len(form[1]):
        return False
    return all(fits(one, item) for (_, _, one), item in zip(form[1], value, strict=True))


def plain(form: tuple[Any, ...], value: Any) -> Any:
    """Return the object for a tuple of values."""
    if form[0] != "values":
        return value
    return {sent: item for (_, sent, _), item in zip(form[1], value, strict=True)}


def same(one: object, other: object) -> bool:
    """Whether values are of the same types, too, and floats of the same sign."""
    return repr(one) == repr(other)


def main() -> None:
    """Compare for a while."""
    if native_calls is None:
        raise SystemExit("daemonry_native is not installed, or DAEMONRY_PURE is set")
    given = sys.argv[1:]
    seed = int(given[1]) if len(given) > 1 else 1
    trial, answers = Trial(native_calls, seed), Answers(seed)
    end_s = time.monotonic() + float(given[0] if given else 60)
    while time.monotonic() < end_s:
        trial.run_one()
        answers.run_one()
    counts = trial.counts | {"calls": answers.count, "answered at once": answers.at_once}
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))


if __name__ == "__main__":
    main()

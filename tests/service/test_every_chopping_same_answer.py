r"""However its bytes arrive, a sequence of calls has one answer: byte for byte the same.

There are several ways through a server: a call that came whole and alone, one that is put together from
pieces, one behind another that still runs, the first of a connection.  Here any sequence goes through
all of them: whole, byte by byte, cut anywhere, and as a connection for each call.  What the right
answer is, other tests say.
"""

import asyncio
import fcntl
import re
import socket
import struct
import termios
import time
from collections.abc import AsyncIterator
from itertools import pairwise, takewhile
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemonry import CallError, Context, Fd, Interface, Upgrade, method
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.dispatch import PROTOCOL_VIOLATION
from daemonry.wire.dialect import VARLINK, detect

NAME = "org.example.chop"
# Above what is read at once, so that there are frames on both sides of that.
FRAME_BYTES = 70_000
# What goes byte by byte: a byte costs a turn of the loop.
MOST_BYTEWISE = 3_000
# How long a piece may stay unread before the next follows; the answer does not depend on it.
UNREAD_S = 1.0


class Odd(CallError):
    """The number was odd."""

    n: int


class Point(msgspec.Struct):
    x: int
    y: float = 0.5


class Chop(Interface, name=NAME, errors=(Odd,)):
    """One method of each kind; none remembers anything."""

    def echo(self, text: str = "", times: int = 1) -> str:
        return text * times

    def point(self, x: int, y: float = 1.5) -> Point:
        return Point(x, y)

    def maybe(self, n: int | None = None, many: list[str] | None = None) -> dict[str, int]:
        return dict.fromkeys(many or (), n or 0)

    def nothing(self) -> None:
        pass

    def even(self, n: int) -> None:
        if n % 2:
            raise Odd(n=n)

    def breaks(self) -> None:
        raise ZeroDivisionError

    def unsendable(self) -> float:
        return float("inf")

    def anything(self, value: Any = None) -> Any:
        return value

    def told(self, context: Context) -> bool:
        return context.more

    async def later(self, text: str = "") -> str:
        await asyncio.sleep(0.002)  # so that what follows comes while it runs
        return text

    async def never_waits(self, n: int = 0) -> int:
        return n

    @method(blocking=True)
    def in_thread(self, text: str = "") -> str:
        return text

    async def count(self, to: int = 3) -> AsyncIterator[int]:
        for n in range(min(to, 200)):
            yield n

    async def breaks_off(self, to: int = 1) -> AsyncIterator[int]:
        for n in range(min(to, 9)):
            yield n
        raise Odd(n=to)

    def become_an_echo(self) -> Upgrade[None]:
        return Upgrade(None, _echo)


class Takes(Interface, name="org.example.takes"):
    """Where one method takes descriptors, all of a server's connections are read in another way."""

    def take(self, file: Fd) -> None:
        file.close()


def _echo(sock, early):
    sock.sendall(early)
    while data := sock.recv(100):
        sock.sendall(data)


# --- frames, as anybody might write them ------------------------------------------------------------

METHODS = (
    *("Echo", "Point", "Maybe", "Nothing", "Even", "Breaks", "Unsendable", "Anything", "Told", "Later"),
    *("NeverWaits", "InThread", "Count", "BreaksOff"),
)
blanks = st.sampled_from(["", "", "", " ", "  ", "\t", "\n", "\r\n"])
numbers = st.sampled_from(
    [
        *("0", "1", "2", "3", "-1", "-0", "1.0", "1e2", "0.1", "1e400", "1e-400", "NaN", "-Infinity", "01"),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551616"),
        "1" * 400,
    ]
)
# JSON as it is, never as it is parsed: escapes, NUL, surrogates alone and in pairs, colons, quotes.
texts = st.lists(
    st.sampled_from(
        [
            *("a", ":", " ", "é", "€", "😀", '\\"', "\\\\", "\\/", "\\n", "\\u0041", "\\u00e9", "\\u0000"),
            *("\\ud83d\\ude00", "\\ud800", "\\udc00", "\\u12", "\\x", "\t", "\x7f", '":', "x" * 50),
        ]
    ),
    max_size=4,
).map(lambda pieces: '"' + "".join(pieces) + '"')
good_texts = st.text(st.sampled_from('abc:é€😀" \\\n'), max_size=8).map(
    lambda text: msgspec.json.encode(text).decode()
)
sizes = st.sampled_from([0, 1, 200, 4_000, 65_400, 65_440, 65_480, 65_500, 65_536, 69_900, 70_001])
values = st.recursive(
    st.sampled_from(["null", "true", "false", "{}", "[]"]) | numbers | texts | good_texts,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: f"[{','.join(found)}]")
        | st.lists(st.tuples(texts | good_texts, inner), max_size=3).map(
            lambda found: "{" + ",".join(f"{key}:{value}" for key, value in found) + "}"
        )
    ),
    max_leaves=5,
) | st.integers(55, 70).map(lambda depth: "[" * depth + "]" * depth)
flags = st.sampled_from(["true", "true", "true", "false", "null", "1", '"true"'])
small = st.integers(-2, 70).map(str)

FITTING = {
    "Echo": st.fixed_dictionaries({}, optional={'"text"': good_texts, '"times"': small}),
    "Point": st.fixed_dictionaries({'"x"': small}, optional={'"y"': st.sampled_from(["1", "2.5", "1e3"])}),
    "Maybe": st.fixed_dictionaries(
        {}, optional={'"n"': small | st.just("null"), '"many"': st.just('["a","b:c"]')}
    ),
    "Even": st.fixed_dictionaries({'"n"': small}),
    "Anything": st.fixed_dictionaries({}, optional={'"value"': values}),
    "Later": st.fixed_dictionaries({}, optional={'"text"': good_texts}),
    "NeverWaits": st.fixed_dictionaries({}, optional={'"n"': small}),
    "InThread": st.fixed_dictionaries({}, optional={'"text"': good_texts}),
    "Count": st.fixed_dictionaries({}, optional={'"to"': small}),
    "BreaksOff": st.fixed_dictionaries({}, optional={'"to"': small}),
}
NO_PARAMETERS = st.just({})


def _written(draw, pairs):
    """Return an object as JSON, with blanks wherever they may stand."""
    fields = [
        f"{draw(blanks)}{key}{draw(blanks)}:{draw(blanks)}{value}{draw(blanks)}" for key, value in pairs
    ]
    return "{%s}" % (",".join(fields) or draw(blanks))


@st.composite
def plain_calls(draw):
    """A call as our clients write it, and most others: these may take the shortest way."""
    name = draw(st.sampled_from(METHODS))
    pairs = draw(FITTING.get(name, NO_PARAMETERS)).items()
    parameters = ",".join(f"{key}:{value}" for key, value in pairs)
    flag = draw(st.sampled_from(["", "", "", ',"more":true', ',"oneway":true']))
    text = f'{{"method":"{NAME}.{name}","parameters":{{{parameters}}}{flag}}}'
    return text.encode("utf-8", "surrogatepass")


@st.composite
def calls(draw):
    """A call that may be in order, or off by one thing or two."""
    name = draw(st.sampled_from(METHODS))
    pairs = list(draw(FITTING.get(name, NO_PARAMETERS)).items())
    odd = draw(
        st.sampled_from(["no", "no", "no", "unknown", "twice", "misfit", "not an object", "absent", "big"])
    )
    if odd == "unknown":
        pairs.append((draw(texts), draw(values)))
    elif odd == "twice" and pairs:
        pairs.append(draw(st.sampled_from(pairs)))
    elif odd == "misfit":
        pairs = [(key, draw(values)) for key, _ in pairs]
    elif odd == "big":
        name, pairs = "Echo", [('"text"', '"%s"' % ("x" * draw(sizes)))]
    parameters = draw(values) if odd == "not an object" else _written(draw, pairs)
    full_name = draw(
        st.sampled_from([f'"{NAME}.{name}"'] * 12)
        | st.sampled_from([f'"{NAME}.Nope"', f'"{name}"', f'"org.example.other.{name}"', '""', "null", "7"])
        | st.sampled_from(['"org.varlink.service.GetInfo"', f'"{NAME}.\\u00{ord(name[0]):02x}{name[1:]}"'])
    )
    top = [('"method"', full_name)]
    if odd != "absent":
        top.append(('"parameters"', parameters))
    named = draw(st.lists(st.sampled_from(["more", "oneway", "upgrade"]), max_size=2))
    top += [(f'"{flag}"', draw(flags)) for flag in named]
    if draw(st.integers(0, 9)) == 0:
        top.append((draw(st.sampled_from(['"x"', '"org.example.vendor"', '"method"', '""'])), draw(values)))
    if draw(st.booleans()):
        top = draw(st.permutations(top))
    text = draw(blanks) + _written(draw, top) + draw(blanks)
    return text.encode("utf-8", "surrogatepass")


garbage = st.sampled_from(
    [b"", b"{}", b"[]", b'"', b"{", b"{]", b'{"method":"\xff"}', b"\xef\xbb\xbf{}", b"null", b"{} {}"]
) | st.binary(max_size=8).map(lambda data: b"{" + data.replace(b"\0", b""))
# A good call, but for what stands in front of it: a piece that holds just the call is no call.
misled = st.builds(
    lambda head, call: head + call, st.sampled_from([b"{", b"[", b"{}", b" ", b'"', b"{\t"]), plain_calls()
)
frames = st.lists(
    plain_calls() | plain_calls() | calls() | calls() | misled | garbage, min_size=1, max_size=6
)
# What is left behind the last frame: nothing, the beginning of a call, what an upgraded connection says.
endings = st.sampled_from([b"", b"", b"", b" ", b'{"method":"org.exam', b"{}"])
NOTHING = b'{"method":"%s.Nothing","parameters":{}}' % NAME.encode()
LATER = b'{"method":"%s.Later","parameters":{"text":"a"}}' % NAME.encode()
UPGRADE = b'{"method":"%s.BecomeAnEcho","upgrade":true}' % NAME.encode()


# --- the ways to send them ---------------------------------------------------------------------------


def _until_read(sock):
    """Wait until the other side has read all; on Linux the kernel knows."""
    until_s = time.monotonic() + UNREAD_S
    while time.monotonic() < until_s:
        (left,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))
        if not left:
            return
        time.sleep(0)


def answer(endpoint, pieces):
    """Send pieces on one connection, each when the last was read; return all that comes back."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(endpoint.removeprefix("unix:"))
        try:
            for piece in pieces:
                sock.sendall(piece)
                if len(pieces) > 1:
                    _until_read(sock)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed: what it said before is there to read
        found = bytearray()
        try:
            while data := sock.recv(1 << 16):
                found += data
        except ConnectionResetError:
            pass  # it closed before it had read all
        return bytes(found)


def cut(data, places):
    """Return `data` in pieces."""
    at = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[start:end] for start, end in pairwise(at)]


def answer_each(endpoint, frames):
    """As `answer`, with a connection for each frame, until one says that it cannot go on."""
    found = b""
    for frame in frames:
        found += answer(endpoint, [frame])
        if PROTOCOL_VIOLATION.encode() in found:
            break
    return found


def check_all_ways(endpoint, sequence, ending, places):
    """Send a sequence in each way and compare."""
    sequence = [frame + b"\0" for frame in sequence]
    # A lone line break in front of all is somebody who presses return: that one is about time.
    sequence[0] = sequence[0].lstrip(b"\r\n \t") or b"\0"
    if ending:
        sequence.append(ending)
    data = b"".join(sequence)
    whole = answer(endpoint, [data])
    assert answer(endpoint, cut(data, places)) == whole
    ends = [len(b"".join(sequence[:count])) for count in range(len(sequence))]
    assert answer(endpoint, cut(data, ends)) == whole, "frame by frame"
    starts = [found.start() for found in re.finditer(rb'\{"method"', data)]
    assert answer(endpoint, cut(data, starts)) == whole, "before each that looks like a call"
    if len(data) <= MOST_BYTEWISE:
        assert answer(endpoint, cut(data, range(len(data)))) == whole, "byte by byte"
    if all(detect(frame, ended=True) == VARLINK for frame in sequence):
        # Behind a call that asks for an upgrade nothing is read as a call, whatever its answer is.
        alone = list(takewhile(lambda frame: b'"upgrade"' not in frame, sequence))
        found = answer_each(endpoint, alone)
        assert found == (whole if alone == sequence else whole[: len(found)]), "a connection for each"
    return whole


@pytest.fixture(params=[(), (Takes,)], ids=["bytes", "descriptors"])
def endpoint(request, serving, caplog):
    """Where `Chop` is served; on each loop, and for each way to read a socket."""
    caplog.set_level("CRITICAL", "daemonry")
    others = [kind() for kind in request.param]
    return serving(Chop(), *others, limits=Bounds(frame_bytes=FRAME_BYTES)).endpoint


# The server remembers nothing, so that one does for all examples.
ONE_SERVER = {"deadline": None, "suppress_health_check": list(HealthCheck)}
any_sequence = given(
    sequence=frames,
    ending=endings,
    places=st.lists(st.integers(0, 300) | st.integers(0, 5 * FRAME_BYTES), max_size=20),
)


@any_sequence
@settings(max_examples=60, **ONE_SERVER)
@example(
    sequence=[b'{"method":"org.example.chop.Echo"}', b'{"method":"org.example.chop.Told"}'],
    ending=b"",
    places=[5],
)
@example(sequence=[b'{"method":"org.example.chop.Later"}', b"{", b"{}"], ending=b" ", places=[])
@example(sequence=[b"", UPGRADE], ending=b"hello", places=[1])
@example(sequence=[UPGRADE], ending=b"hello", places=[4, 60])
@example(sequence=[b"{" + NOTHING], ending=b"", places=[])
@example(sequence=[LATER, NOTHING, LATER, NOTHING], ending=b"", places=[])
def test_every_chopping_has_the_same_answer(endpoint, sequence, ending, places):
    check_all_ways(endpoint, sequence, ending, places)


@any_sequence
@settings(max_examples=3_000, **ONE_SERVER)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_chopping_has_the_same_answer_at_length(endpoint, sequence, ending, places):
    check_all_ways(endpoint, sequence, ending, places)


def test_the_sequences_get_answers_of_every_kind(endpoint):
    """Else nothing of the above would have been compared."""
    names = [*METHODS, "Nope"]
    sequence = [
        b'{"method":"%s.%s","parameters":%s,"more":true}' % (NAME.encode(), name.encode(), parameters)
        for name, parameters in [
            *(
                (name, b'{"x":1}' if name == "Point" else b'{"n":3}' if name == "Even" else b"{}")
                for name in names
            ),
            ("Echo", b'{"text":5}'),
        ]
    ]
    whole = check_all_ways(endpoint, sequence, b'{"method"', [7, 1000])
    replies = [msgspec.json.decode(reply) for reply in whole.split(b"\0")[:-1]]
    errors = {reply["error"].rpartition(".")[2] for reply in replies if "error" in reply}
    assert errors >= {"Odd", "Failed", "MethodNotFound", "InvalidParameter"}
    counted = [reply["parameters"]["result"] for reply in replies if reply.get("continues")]
    assert counted == [0, 1, 0], "the last of Count does not continue; BreaksOff ends in an error"
    assert {"parameters": {"x": 1, "y": 1.5}} in replies


@pytest.mark.parametrize("size", [FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1])
def test_the_longest_frame_is_the_same_in_every_way(endpoint, size):
    head, tail = b'{"method":"%s.Nothing","parameters":{}' % NAME.encode(), b"}"
    frame = head + b" " * (size - len(head) - len(tail)) + tail
    whole = check_all_ways(endpoint, [frame, head + tail], b"", [1, 65_536, size])
    assert (PROTOCOL_VIOLATION.encode() in whole) is (size > FRAME_BYTES)

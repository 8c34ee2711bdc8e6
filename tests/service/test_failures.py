"""What a caller is told of a handler that returned something else, or raised; and what others are."""

import asyncio
import datetime as dt
import json
import os
import select
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType, TypedDict

import msgspec
import pytest

from daemonry import AsyncClient, CallError, Fd, Interface, Pool, errors, method
from daemonry.service.server import failures, reply_check
from daemonry.service.server.failures import Failures
from daemonry.service.server.tap import Watcher
from daemonry.testing import wait_until
from daemonry.transport.credentials import Peer

NAME = "org.example.wrong"
BAD_REPLY = "org.daemonry.Control.BadReply"


class Inner(msgspec.Struct):
    x: int
    note: str | None = None


class Outer(msgspec.Struct):
    rows: list[Inner]
    by_name: dict[str, Inner] = {}


class Plain(msgspec.Struct):
    n: int
    ratio: float = 0.5


class More(Plain):
    secret: str = "s"


class Files(msgspec.Struct):
    one: Fd
    other: Any = None


class Wrong(Interface, name=NAME):
    """Each method returns `self.result`, whatever its signature says."""

    def __init__(self):
        self.result = None

    def number(self) -> int:
        return self.result

    def plain(self) -> Plain:
        return self.result

    def outer(self) -> Outer:
        return self.result

    def words(self) -> set[str]:
        return self.result

    def nothing(self) -> None:
        return self.result

    def ratio(self) -> float:
        return self.result

    async def awaited(self) -> int:
        return self.result

    @method(blocking=True)
    def threaded(self) -> int:
        return self.result

    async def stream(self) -> AsyncIterator[int]:
        yield 1
        yield self.result
        yield 3


class Gives(Interface, name="org.example.gives"):
    """Passes descriptors."""

    def __init__(self, result):
        self.result = result

    def files(self) -> Files:
        result, self.result = self.result, None
        return result


@pytest.fixture
def wrong(serving_once):
    implementation = Wrong()
    return implementation, serving_once(implementation)


RESULTS = [
    ("number", "x", "result: expected `int`, got `str`"),
    ("number", None, "result: expected `int`, got `null`"),
    ("number", 1.5, "result: expected `int`, got `float`"),
    ("number", True, "result: expected `int`, got `bool`"),
    ("number", 1 << 63, "expected `int`: "),
    ("number", object(), "expected `int`: "),
    ("ratio", float("nan"), "expected `float`: "),
    ("ratio", "1.0", "result: expected `float`, got `str`"),
    ("plain", None, "expected `Plain`, got `NoneType`"),
    ("plain", 5, "expected `Plain`, got `int`"),
    ("plain", [1], "expected `Plain`, got `list`"),
    ("plain", Plain("x"), "n: expected `int`, got `str`"),
    ("plain", Plain(1.5), "n: expected `int`, got `float`"),
    ("plain", Plain(True), "n: expected `int`, got `bool`"),
    ("plain", Plain(1, "x"), "ratio: expected `float | null`, got `str`"),
    ("plain", {"ratio": 0.5}, "object missing required field `n`"),
    ("plain", {"n": 1, "m": 2}, "object contains unknown field `m`"),
    ("plain", More(1), "object contains unknown field `secret`"),
    ("outer", Outer([Inner(1), Inner("x")]), "rows[1].x: expected `int`, got `str`"),
    ("outer", Outer([Inner(1)], {"a": Inner(1, 5)}), "by_name[...].note: expected `str | null`, got `int`"),
    ("words", ["a", 1], "expected `set"),
    ("words", 5, "expected `set"),
    ("nothing", 5, "expected `None`, got `int`"),
    ("awaited", "x", "result: expected `int`, got `str`"),
    ("threaded", "x", "result: expected `int`, got `str`"),
]


@pytest.mark.parametrize(("name", "result", "reason"), RESULTS)
def test_a_wrong_reply_is_the_daemons_fault_and_is_not_sent(wrong, caplog, name, result, reason):
    """By name, by proxy, and as bytes; the daemon's log has the handler's place, and it goes on."""
    implementation, server = wrong
    implementation.result = result
    full_name = f"{NAME}.{name.capitalize()}"
    with server.client() as client:
        for ask in (lambda: client.call(full_name), getattr(client.proxy(Wrong), name)):
            with pytest.raises(errors.BadReply) as caught:
                ask()
            assert caught.value.parameters["method"] == full_name
            assert caught.value.parameters["reason"].startswith(reason)
            assert caught.value.ran == "yes"
            assert f"{full_name} returned what its signature does not allow: {reason}" in str(caught.value)
    code = getattr(Wrong, name).__code__
    assert f"({__file__}:{code.co_firstlineno})" in caplog.text
    for cut in (None, 20):
        assert _raw(server, {"method": full_name}, cut)["error"] == BAD_REPLY
    implementation.result = 7
    with server.client() as client:
        assert client.call(f"{NAME}.Number") == {"result": 7}


def _raw(server, call, cut=None):
    data = json.dumps(call).encode() + b"\0"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(server.endpoint.removeprefix("unix:"))
        sock.sendall(data[:cut])
        sock.sendall(b"" if cut is None else data[cut:])
        with sock.makefile("rb") as file:
            return json.loads(b"".join(iter(lambda: file.read(1), b"\0")))


def test_the_asyncio_clients_are_told_the_same(wrong):
    implementation, server = wrong
    implementation.result = "x"

    async def ask(client):
        proxy = client.proxy(Wrong)
        for asked in (client.call(f"{NAME}.Number"), proxy.number(), proxy.awaited(), proxy.threaded()):
            with pytest.raises(errors.BadReply, match="expected `int`, got `str`"):
                await asked
        for stream in (client.stream(f"{NAME}.Stream"), proxy.stream()):
            assert await anext(stream) in (1, {"result": 1})
            with pytest.raises(errors.BadReply, match="expected `int`, got `str`"):
                await anext(stream)

    async def run():
        async with await AsyncClient.connect(server.endpoint) as client:
            await ask(client)
        async with Pool(server.endpoint) as pool:
            await ask_pool(pool)

    async def ask_pool(pool):
        with pytest.raises(errors.BadReply):
            await pool.proxy(Wrong).number()

    asyncio.run(run())


def test_a_stream_ends_with_its_first_wrong_value(wrong):
    implementation, server = wrong
    implementation.result = None
    with server.client() as client:
        for stream, first in (
            (client.stream(f"{NAME}.Stream"), {"result": 1}),
            (client.proxy(Wrong).stream(), 1),
        ):
            assert next(stream) == first
            with pytest.raises(errors.BadReply, match="expected `int`, got `null`"):
                next(stream)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda fd: Files(one=5), "descriptors declared: 1, given: 0"),
        (lambda fd: Files(one=None), "one: "),
        (lambda fd: {"other": fd}, "object missing required field `one`"),
        (
            lambda fd: Files(one=fd, other=Fd.copy(fd)),
            "descriptors declared: 1, given: 2",
        ),
        (lambda fd: {"one": fd, "two": Fd.copy(fd)}, "object contains unknown field `two`"),
    ],
)
def test_a_descriptor_too_many_or_too_few_is_told_and_closed(serving_once, made, reason):
    reading, writing = os.pipe()
    server = serving_once(Gives(made(Fd(writing))))
    with server.client() as client, pytest.raises(errors.BadReply) as caught:
        client.proxy(Gives).files()
    assert caught.value.parameters["reason"].lower().startswith(reason)
    with open(reading, "rb") as file:
        assert select.select([file], [], [], 10)[0]  # the end: nobody has the other one any more
        assert file.read() == b""


def test_one_index_cannot_be_given_twice(wrong):
    """A number that is no descriptor would be taken for one by whoever reads it."""
    check = reply_check.checker(list[Fd], "fds")
    check(b'{"fds":[0,1]}', 2)
    for wrong_indexes in (b"[0,0]", b"[0]", b"[0,2]", b"[-1,0]", b'[0,"1"]'):
        with pytest.raises(reply_check.Misfit):
            check(b'{"fds":' + wrong_indexes + b"}", 2)


class Tree(msgspec.Struct):
    name: str
    kids: list["Tree"] = []


class Typed(TypedDict, total=False):
    n: int


@dataclass
class Made:
    n: int
    twice: int = field(init=False)

    def __post_init__(self):
        self.twice = 2 * self.n


@dataclass
class Counts:
    n: int
    made = 0

    def __post_init__(self):
        Counts.made += 1


class Tagged(msgspec.Struct, tag="t", tag_field="kind", rename="camel"):
    some_name: int


Meters = NewType("Meters", int)
Small = Annotated[int, msgspec.Meta(lt=10)]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Tree, [b'{"name":"a","kids":[{"name":"b","kids":[]}]}'], [b'{"name":"a","kids":[{"name":1}]}']),
        (Tree | None, [b"null", b'{"name":"a"}'], [b"5"]),
        (Typed, [b"{}", b'{"n":1}', b'{"n":null}'], [b'{"n":"x"}', b'{"m":1}']),
        (Made, [b'{"n":1,"twice":2}'], [b'{"n":1,"thrice":2}']),
        (Tagged, [b'{"kind":"t","someName":1}'], [b'{"kind":"t","some_name":1}']),
        (Meters, [b"1"], [b'"1"']),
        (Small, [b"9"], [b"10"]),
        (list[Small], [b"[9]"], [b"[9,10]"]),
        (
            dict[str, set[str]],
            [b'{"a":{"b":{}}}'],
            [b'{"a":{"b":1}}', b'{"a":["b"]}', b'{"a":{"b":{"c":1}}}'],
        ),
        (Literal["a", "b"], [b'"a"'], [b'"c"']),
        (dt.datetime, [b'"2026-01-01T00:00:00Z"'], [b'"yesterday"']),
        (bytes, [b'"YQ=="'], [b'"?"']),
        (Any, [b"1", b"{}", b'[{"a":[]}]'], []),
        (tuple[int, ...], [b"[1,2]"], [b'["a"]']),
    ],
)
def test_what_may_be_sent_for_a_type(kind, good, bad):
    check = reply_check.checker(kind, "result")
    for value in good:
        check(b'{"result":' + value + b"}", 0)
    for value in bad:
        with pytest.raises(reply_check.Misfit, match="result"):
            check(b'{"result":' + value + b"}", 0)


def test_to_look_at_a_reply_runs_none_of_the_programs_code():
    reply_check.checker(Counts, "")(b'{"n":1}', 0)
    assert Counts.made == 0


# --- handlers that raise ----------------------------------------------------------------------


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Raises(Interface, name="org.example.raises"):
    """Each raises `self.error`."""

    def __init__(self, error):
        self.error = error

    def quick(self) -> int:
        raise self.error

    async def awaited(self) -> int:
        raise self.error

    async def stream(self) -> AsyncIterator[int]:
        yield 1
        raise self.error

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def cancels(self) -> None:
        raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such file"), "ValueError: no such file"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (ValueError("a\x1b[31m\nb\u202e"), "ValueError: a\\x1b[31m b\\u202e"),
        (ValueError("y" * 10_000), "ValueError: " + "y" * 500 + "..."),
        (Silent(), "Silent"),
    ],
)
def test_an_exception_is_told_on_one_printable_line(serving_once, error, message):
    server = serving_once(Raises(error), failures=Failures(log_path="/the/log"))
    with server.client() as client:
        for name in ("Quick", "Awaited"):
            with pytest.raises(errors.Failed) as caught:
                client.call(f"org.example.raises.{name}")
            assert caught.value.parameters == {
                "message": message,
                "method": f"org.example.raises.{name}",
                "exception": type(error).__name__,
                "log": "/the/log",
            }
        stream = client.proxy(Raises).stream()
        assert next(stream) == 1
        with pytest.raises(errors.Failed) as caught:
            next(stream)
        assert caught.value.parameters["message"] == message


def test_a_name_that_is_no_text_is_told_too():
    assert failures.text_of(ValueError("\udcff")) == "\\xff"  # a byte of a file name
    assert failures.text_of(ValueError("\ud800")) == "\\ud800"


def test_a_program_keeps_the_text_to_itself(serving_once, caplog):
    server = serving_once(Raises(ValueError("the secret is blue")), failures=Failures(show_errors=False))
    watcher = server.on_loop(lambda: Watcher(server.calls.tap, payloads=True).__enter__())
    with server.client() as client, pytest.raises(errors.Failed) as caught:
        client.call("org.example.raises.Quick")
    assert caught.value.parameters["message"] == "ValueError"
    assert "blue" not in str(server.on_loop(lambda: list(watcher._waiting)))
    assert "the secret is blue" in caplog.text


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        (Peer(pid=1, uid=os.geteuid(), gid=0), True),
        (Peer(pid=1, uid=os.geteuid() + 1, gid=0), False),
        (Peer(pid=None, uid=None, gid=None), False),
        (Peer(pid=None, uid=os.geteuid(), gid=None), False),
    ],
)
def test_where_the_log_is_only_who_may_read_it_is_told(serving_once, peer, told):
    server = serving_once(Raises(ValueError()))
    bound = server.calls._methods["org.example.raises.Quick"]
    reply = Failures(log_path="/the/log").error(bound, ValueError("x"), peer)
    assert ("log" in reply.parameters) is told


def test_the_tap_tells_how_calls_ended(serving_once):
    server = serving_once(Raises(ValueError("why")), Wrong())
    watcher = server.on_loop(lambda: Watcher(server.calls.tap, payloads=False).__enter__())

    def ends():
        return server.on_loop(
            lambda: [
                (one.event, one.method.rpartition(".")[2], one.error, one.reason)
                for one in watcher._waiting
                if one.event in ("end", "cancelled")
            ]
        )

    with server.client() as client:
        for name in ("Quick", "Awaited", "Cancels"):
            with pytest.raises(errors.Failed):
                client.call(f"org.example.raises.{name}")
        for stream in ("org.example.raises.Stream", f"{NAME}.Stream"):
            with pytest.raises(errors.Failed):
                list(client.stream(stream))
        with pytest.raises(errors.BadReply):
            client.call(f"{NAME}.Number")
        with pytest.raises(errors.DeadlineExceeded):
            client.call("org.example.raises.Forever", timeout_s=0.2)
    assert wait_until(lambda: len(ends()) == 7)
    bad = "result: expected `int`, got `null`"
    assert ends() == [
        ("end", "Quick", failures.FAILED, "ValueError: why"),
        ("end", "Awaited", failures.FAILED, "ValueError: why"),
        ("cancelled", "Cancels", None, "cancelled by the program"),
        ("end", "Stream", failures.FAILED, "ValueError: why"),
        ("end", "Stream", failures.BAD_REPLY, bad),
        ("end", "Number", failures.BAD_REPLY, bad),
        ("cancelled", "Forever", None, "the caller is gone"),
    ]


class Group(msgspec.Struct):
    names: set[str] = set()
    note: str | None = None
    inner: "Group | None" = None


class TooMany(CallError):
    group: Group
    names: set[str]
    sent: int = 0


class Raising(Interface, name="org.example.raising", errors=(TooMany,)):
    def fail(self) -> None:
        raise TooMany(group=Group({"a"}, inner=Group({"b"})), names={"c"})

    def wrong(self) -> None:
        raise TooMany(group="none", names={"c"})


def test_an_error_has_the_languages_form_of_sets_as_replies_have(serving_once):
    """It was sent with an array, which does not fit the description: other languages took it for unknown."""
    with serving_once(Raising()).client() as client:
        with pytest.raises(TooMany) as raised:
            client.proxy(Raising).fail()
        with pytest.raises(errors.CallFailed) as plain:
            client.call("org.example.raising.Fail")
        with pytest.raises(errors.CallFailed) as wrong:
            client.call("org.example.raising.Wrong")
    assert raised.value.names == {"c"}
    assert raised.value.group == Group({"a"}, inner=Group({"b"}))
    assert plain.value.parameters["names"] == {"c": {}}
    assert plain.value.parameters["group"]["inner"]["names"] == {"b": {}}
    assert wrong.value.parameters["group"] == "none"

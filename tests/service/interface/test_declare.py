"""A class as an interface: what its methods and errors are called, and what is refused at once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypedDict

import msgspec
import pytest

from daemonry import CallError, Context, Interface, method
from daemonry.errors import DaemonryError
from daemonry.service.interface.declare import described
from daemonry.service.interface.handler import Upgrade
from daemonry.service.interface.marks import is_idempotent
from daemonry.service.interface.schema import NotDescribable
from daemonry.wire import idl_parser, idl_printer


class Full(CallError):
    """No room is left."""

    size: int


@dataclass
class Job:
    """One piece of work."""

    name: str
    nice: int = 0


class Usage(TypedDict):
    used: int


class Jobs(Interface, name="org.example.jobs", errors=(Full,)):
    """Runs jobs.

    One at a time.
    """

    def start_job(self, from_: str, context: Context, at: float = 1.5) -> Job:
        """Start one."""

    def usage(self) -> Usage: ...
    def nothing(self) -> None: ...
    async def watch(self) -> AsyncIterator[Job]:
        yield Job("a")

    async def numbers(self) -> AsyncIterator[int]:
        yield 1

    @method(name="HTTPGet", reply="body")
    def http_get(self) -> str: ...

    @method(reply="job")
    def wrapped(self) -> Job: ...

    def attach(self) -> Upgrade[Job]: ...
    def _private(self): ...

    helper = property(lambda self: 1)


class Worker(Jobs):
    """An implementation: what it has besides cannot be called."""

    def helper_of_its_own(self, anything): ...

    def usage(self) -> Usage:
        return {"used": 1}


TEXT = """\
# Runs jobs.
#
# One at a time.
interface org.example.jobs

# One piece of work.
type Job (name: string, nice: ?int)

# Start one.
method StartJob(from: string, at: ?float) -> (name: string, nice: ?int)

method Usage() -> (used: int)

method Nothing() -> ()

# [Requires 'more' flag]
method Watch() -> (name: string, nice: ?int)

# [Requires 'more' flag]
method Numbers() -> (result: int)

method HTTPGet() -> (body: string)

method Wrapped() -> (job: Job)

method Attach() -> (name: string, nice: ?int)

# No room is left.
error Full (size: int)
"""


def test_a_class_is_described_in_full():
    assert described(Jobs).text == TEXT


def test_what_is_described_is_read_by_every_tool():
    assert idl_printer.print_interface(idl_parser.parse(TEXT), strict=True) == TEXT


def test_what_is_as_good_twice_is_described_as_such():
    """Clients that have no class find it there; a comment breaks no other tool."""

    class Kept(Interface, name="org.example.kept"):
        @method(idempotent=True)
        def put(self, key: str) -> None:
            """Keep it."""

        @method(idempotent=True)
        def drop(self) -> None: ...

        @method(reads=True)
        def get(self) -> str: ...

        def add(self) -> None:
            """Not [Idempotent]."""

    found = idl_parser.parse(described(Kept).text)
    assert {one.name: is_idempotent(one.doc) for one in found.members} == {
        "Put": True,
        "Drop": True,
        "Get": True,
        "Add": False,
    }
    assert "# Keep it.\n#\n# [Idempotent]\nmethod Put(" in described(Kept).text


def test_an_implementation_is_described_as_its_interface():
    assert described(Worker).text == TEXT
    assert described(Worker) is described(Worker)


def test_a_method_knows_what_it_is():
    methods = described(Jobs).methods
    assert [name for name, one in methods.items() if one.streams] == ["Watch", "Numbers"]
    assert [name for name, one in methods.items() if one.upgrades] == ["Attach"]
    assert {one.context for one in methods.values()} == {"", "context"}


def test_interfaces_extend_each_other():
    class More(Jobs, name="org.example.more"):
        def extra(self) -> None: ...

    assert [*described(More).methods] == [*described(Jobs).methods, "Extra"]


@pytest.mark.parametrize("name", ["jobs", "org..jobs", "org.example.-", "org.example jobs"])
def test_a_bad_name_is_refused_where_it_is_given(name):
    with pytest.raises(NotDescribable, match="interface name"):
        type("Bad", (Interface,), {}, name=name)


def test_a_class_without_a_name_is_no_interface():
    class Nameless(Interface):
        def go(self) -> None: ...

    with pytest.raises(NotDescribable, match="no interface name"):
        described(Nameless)


def of(**functions):
    return type("One", (Interface,), functions, name="org.example.one")


def untyped(self, x): ...
def variadic(self, *args: int) -> None: ...
def keywords(self, **kwargs: int) -> None: ...
def odd_type(self, x: complex) -> None: ...
def odd_reply(self) -> complex: ...
def odd_name(self, x__y: int) -> None: ...


def by_place(self, x: int, /) -> None: ...
def any_stream(self) -> AsyncIterator: ...
def plain_generator(self) -> AsyncIterator[int]:
    yield 1


async def hidden_stream(self):
    yield 1


async def stream_of_no_kind(self) -> int:
    yield 1


@method(oneway=True)
def answering(self) -> int: ...


@method(oneway=True, reads=True)
def reading_for_nobody(self) -> None: ...


@method(blocking=True)
async def blocking_coroutine(self) -> int: ...


@method(blocking=True)
async def blocking_stream(self) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (untyped, "x has no type"),
        (variadic, "args takes any number"),
        (keywords, "kwargs takes any number"),
        (odd_type, r"OddType\(x\): complex has no form"),
        (odd_reply, "complex has no form"),
        (odd_name, "x__y"),
        (answering, "one-way"),
        (reading_for_nobody, "nobody would receive its result"),
        (by_place, "x stands before a `/`"),
        (any_stream, "needs the type of its values"),
        (plain_generator, "plain_generator is a plain generator"),
        (hidden_stream, "hidden_stream is a generator: annotate"),
        (stream_of_no_kind, "stream_of_no_kind is a generator: annotate"),
        (blocking_coroutine, "blocking_coroutine is async"),
        (blocking_stream, "blocking_stream is async"),
    ],
)
def test_what_cannot_be_described_is_refused_by_name(function, why):
    with pytest.raises((NotDescribable, DaemonryError), match=why):
        described(of(odd_type=function))


def test_an_error_may_have_a_field_that_errors_have_too():
    class Late(CallError):
        ran: str

    class Owner(Interface, name="org.example.owner", errors=(Late,)):
        def go(self) -> None: ...

    assert "error Late (ran: string)" in described(Owner).text
    assert Late(ran="far").parameters == {"ran": "far"}


def test_two_methods_of_one_name_on_the_wire_are_refused():
    """Else one of them could never be called, and nobody would be told."""
    with pytest.raises(NotDescribable, match="GoOn is another method's name"):
        described(of(go_on=lambda self: None, other=method(name="GoOn")(lambda self: None)))


def test_an_upgrade_that_names_no_reply_has_none():
    def bare(self) -> Upgrade: ...

    one = described(of(bare=bare)).methods["Bare"]
    assert (one.upgrades, one.reply) == (True, type(None))


def test_an_interface_is_served_once(serving_once):
    serving = serving_once(Jobs())
    with pytest.raises(ValueError, match="is served already"):
        serving.calls.serve(Worker())


class Shelf(msgspec.Struct):
    size: int


class Full(msgspec.Struct):
    size: int


def test_a_method_or_an_error_with_the_name_of_a_type_is_refused_with_its_file_and_line():
    """The language has one scope for all three; the message named neither the method nor a file."""

    class Store(Interface, name="org.example.store"):
        def first(self) -> int:
            return 1

        def shelf(self, shelf: Shelf) -> int:
            return shelf.size

    with pytest.raises(NotDescribable) as caught:
        described(Store)
    line = Store.shelf.__code__.co_firstlineno
    assert str(caught.value) == (
        f"{__file__}:{line}: org.example.store.Shelf: "
        "shelf is named Shelf on the wire, as a type is: rename one"
    )

    class Other(Interface, name="org.example.other", errors=(type("Full", (CallError,), {}),)):
        def put(self, held: Full) -> None: ...

    with pytest.raises(NotDescribable, match=r"org\.example\.other\.Full: Full is named Full on the wire"):
        described(Other)

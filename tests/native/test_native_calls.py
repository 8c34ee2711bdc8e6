"""The native part of a call takes, writes and reads what the codec does, and exchanges as a socket does."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading

import msgspec
import pytest
from tests.native.conftest import ROOT, loaded

from daemonry.limits import READ_BYTES
from daemonry.service.client.link import how_far
from daemonry.wire import fast_varlink, native_forms

HEAD, TAIL = b'{"parameters":{"result":', b"}}\0"
MOST = 1 << 20


def test_it_agrees_with_the_codec_about_mutated_messages(calls):
    trial = loaded("native_calls_fuzz", ROOT / "fuzz/native_calls.py").Trial(calls, 7)
    for _ in range(1500):
        trial.run_one()
    assert min(trial.counts.values()) > 50


def test_it_answers_mutated_calls_as_python_does(module_dir):
    path = os.pathsep.join((str(module_dir), str(ROOT / "src")))
    env = {**os.environ, "PYTHONPATH": path, "DAEMONRY_PURE": ""}
    words = [sys.executable, str(ROOT / "fuzz/native_calls.py"), "0.5", "3"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout.rpartition(" ")[2].replace(",", "")) > 20


@pytest.mark.parametrize(
    ("frame", "right"),
    [
        (b'{"a":1,"b":{"a":2}}', True),
        (b'{"a":1,"a":2}', False),
        (b'{"a":1,"\\u0061":2}', False),
        (b"{%s}" % b",".join(b'"k%d":0' % one for one in range(500)), True),
        (b'{"k499":1,%s}' % b",".join(b'"k%d":0' % one for one in range(500)), False),
        (b"[" * 64 + b"]" * 64, True),
        (b"[" * 65 + b"]" * 65, False),
        (b"18446744073709551615", True),
        (b"18446744073709551616", False),
        (b"-9223372036854775809", False),
        (b"1e400", False),
        (b'"\\ud83d\\ude00"', True),
        (b'"\\ude00"', False),
        (b'"a\\u0000"', False),
        (b'"\xed\xa0\x80"', False),
        (b" 1 ", True),
        (b"1 2", False),
        (b"", False),
    ],
)
def test_one_look_is_as_strict_as_the_codec(calls, frame, right):
    assert calls.scan_frame(frame) is right
    assert calls.scan(frame + b"\0") is right
    assert calls.scan(frame + b"\0\0") is calls.scan(frame) is False


def test_any_cut_and_any_byte_behind_it_is_left_to_the_codec(calls):
    form = calls.Form(HEAD, ("list", ("optional", ("str",))), TAIL, MOST)
    message = form.write(["é\n", None, "x" * 100])
    assert form.read(message) == ["é\n", None, "x" * 100]
    for end in range(len(message)):
        assert form.read(message[:end]) is NotImplemented
        assert not calls.scan(message[:end])
    assert form.read(message + b"\0") is form.read(bytearray(message)) is NotImplemented


class Row(msgspec.Struct):
    """A value of each plain type."""

    name: str = msgspec.field(name="the name")
    count: int
    share: float
    known: bool
    more: list[str] | None = None


class Tagged(msgspec.Struct, tag=True):
    """A type whose JSON has a key that is no field."""

    name: str


def test_structs_are_written_as_the_codec_writes_them(calls):
    form = native_forms.form_of(dict[str, list[Row]])
    write = calls.Form(HEAD, form, TAIL, MOST).write
    value = {"é": [Row('"', -5, 0.5, True), Row("", 2**63 - 1, -0.0, False, ["\x1f"])], "": []}
    assert write(value) == HEAD + fast_varlink.encode_parameters({"r": value})[5:-1] + TAIL


@pytest.mark.parametrize(
    "value",
    [
        Row("a\0", 1, 0.5, True),
        Row("\ud800", 1, 0.5, True),
        Row("a", 2**63, 0.5, True),
        Row("a", True, 0.5, True),
        Row("a", 1, float("nan"), True),
        Row("a", 1, 1e22, True),
        Row("a", 1, 0.5, 1),
        Row("a", 1, 0.5, True, ("a",)),
        Row("a" * MOST, 1, 0.5, True),
        {"name": "a"},
        None,
    ],
)
def test_what_is_not_plainly_of_the_type_is_left_to_the_codec(calls, value):
    assert calls.Form(HEAD, native_forms.form_of(Row), TAIL, MOST).write(value) is None


def test_an_attribute_that_is_not_set_is_left_to_the_codec(calls):
    row = Row("a", 1, 0.5, True)
    del row.more
    assert calls.Form(HEAD, native_forms.form_of(Row), TAIL, MOST).write(row) is None


@pytest.mark.parametrize(
    "kind", [Tagged, list[Tagged], bytes, dict[int, str], int | str, tuple[int, ...], "Row", object]
)
def test_a_type_that_tells_less_than_all_has_no_form(kind):
    assert native_forms.form_of(kind) is None


@pytest.mark.parametrize(
    "form",
    [
        (),
        ("int", 1, 2, 3),
        ("set", ("int",)),
        ("list",),
        ("values", (["a", "a", ("int",)],)),
        ("values", ((1, "a", ("int",)),)),
        ("object", 1, ()),
    ],
)
def test_a_form_that_is_none_is_refused(calls, form):
    with pytest.raises((TypeError, ValueError)):
        calls.Form(HEAD, form, TAIL, MOST)


def test_a_form_that_was_not_made_is_refused(calls):
    with pytest.raises(TypeError, match="not made"):
        calls.Form.__new__(calls.Form).write(1)


# --- the exchange ---------------------------------------------------------------------------------


def test_the_exchange_returns_what_comes_first(calls, pair):
    near, far = pair
    for reply in (b"short\0", b"x" * 50_000 + b"\0", b"half"):
        far.sendall(reply)
        assert calls.exchange(near.fileno(), b"call\0", READ_BYTES) == reply
        assert far.recv(100) == b"call\0"
    far.shutdown(socket.SHUT_WR)
    assert calls.exchange(near.fileno(), b"call\0", READ_BYTES) == b""


def test_no_reply_in_time_is_told_as_the_sockets_error(calls, pair):
    sent, error = how_far(calls.exchange(pair[0].fileno(), b"call\0", READ_BYTES))
    assert sent == 5
    assert isinstance(error, BlockingIOError)


def test_a_call_that_is_not_taken_whole_says_how_much_was(calls, pair):
    near, far = pair
    frame = b"x" * (8 << 20)
    sent, number = calls.exchange(near.fileno(), frame, READ_BYTES)
    assert 0 < sent < len(frame)
    assert number == 0
    assert calls.exchange(near.fileno(), frame, READ_BYTES) == (-1, errno.EAGAIN)
    far.close()
    assert calls.exchange(near.fileno(), frame, READ_BYTES) == (-1, errno.EPIPE)
    assert calls.exchange(-1, frame, READ_BYTES) == (-1, errno.EBADF)


class Rang(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("raises", [True, False])
def test_a_signal_runs_its_handler_while_a_reply_is_waited_for(calls, raises):
    rang = threading.Event()

    def ring(_number, _frame):
        if not rang.is_set():
            rang.set()
            far.sendall(b"late\0")
            if raises:
                raise Rang

    def ring_until_heard():
        far.recv(100)
        # A signal that comes just before the wait begins interrupts nothing, here as in Python itself.
        while not rang.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    near, far = socket.socketpair()
    before = signal.signal(signal.SIGUSR1, ring)
    main = threading.main_thread().ident
    bell = threading.Thread(target=ring_until_heard)
    try:
        with near, far:
            bell.start()
            if raises:
                with pytest.raises(Rang):
                    calls.exchange(near.fileno(), b"call\0", READ_BYTES)
            else:
                assert calls.exchange(near.fileno(), b"call\0", READ_BYTES) == b"late\0"
            bell.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert rang.is_set()


# --- whether it is used ---------------------------------------------------------------------------

PROGRAM = """
from daemonry.native_calls import calls
from daemonry.service.interface.declare import Interface, described
from daemonry.service.server.dispatch import Calls
from daemonry.service.client.proxy import Converter
class Sums(Interface, name="org.example.sums"):
    def add(self, one: int, other: int) -> int: return one + other
method = described(Sums).methods["Add"]
converter, served = Converter(described(Sums), method, Sums.add), Calls()
served.serve(Sums())
print(calls is not None, converter.read(served.answer_at_once(converter.write((2, 3)))))
"""


@pytest.mark.parametrize(("pure", "said"), [("", "True 5"), ("1", "False 5")])
def test_it_is_used_where_it_is_installed_unless_a_variable_says_no(module_dir, pure, said):
    path = os.pathsep.join((str(module_dir), str(ROOT / "src")))
    env = {**os.environ, "PYTHONPATH": path, "DAEMONRY_PURE": pure}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == said


class Tree(msgspec.Struct):
    """A type that holds itself, and several times."""

    one: "Tree | None" = None
    two: "Tree | None" = None
    three: "list[Tree] | None" = None
    name: str = ""


def test_a_type_that_holds_itself_has_no_form():
    assert native_forms.form_of(Tree) is None


@pytest.mark.parametrize("long", ["x" * 20_000, "é" * 20_000, "x" * 20_000 + "\n", '"' * 20_000])
def test_long_texts_are_written_as_the_codec_writes_them(calls, long):
    values = [long, "", long + "y", "z", long]
    form = calls.Form(HEAD, ("list", ("str",)), TAIL, MOST)
    written = form.write(values)
    assert written == HEAD + fast_varlink.encode_parameters({"r": values})[5:-1] + TAIL
    assert form.read(written) == values
    assert calls.Form(HEAD, ("list", ("str",)), TAIL, len(written)).write(values) == written
    assert calls.Form(HEAD, ("list", ("str",)), TAIL, len(written) - 1).write(values) is None
    assert form.write([long, 5]) is None
    assert form.write([long, "\0"]) is None


def test_integers_are_written_as_the_codec_writes_them(calls):
    """Of every length, and wherever in memory that has to grow they stand."""
    form = calls.Form(HEAD, ("list", ("int",)), TAIL, MOST)
    edges = [10**power + more for power in range(19) for more in (-1, 0, 1)]
    values = [sign * value for value in edges for sign in (1, -1)]
    for start in range(24):
        shifted = [0] * start + values * 3
        written = form.write(shifted)
        assert written == HEAD + fast_varlink.encode_parameters({"r": shifted})[5:-1] + TAIL
        assert form.read(written) == shifted
    assert calls.Form(HEAD, ("list", ("int",)), TAIL, len(written)).write(shifted) == written
    assert calls.Form(HEAD, ("list", ("int",)), TAIL, len(written) - 1).write(shifted) is None
    assert form.write([*values, True]) is None
    assert form.write([*values, 2**63]) is None

"""`call`, `describe` and `tap`: a real daemon asked from a shell."""

import contextlib
import json
import os
import re
import socket
import threading
from typing import ClassVar

import pytest

from daemonry.testing import wait_until

PROGRAM = '''
import asyncio
import enum
from collections.abc import AsyncIterator

from daemonry import CallError, Daemon, Interface


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class NoSuchKey(CallError):
    """There is no such key."""

    key: str


class Store(Interface, name="org.example.store", errors=(NoSuchKey,)):
    """Keeps values."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def set(self, key: str, value: str, times: int = 1, color: Color = Color.RED) -> str:
        """Keep one."""
        self._values[key] = value * times
        return color.value

    def get(self, key: str) -> str:
        if key not in self._values:
            raise NoSuchKey(key=key)
        return self._values[key]

    async def slow(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async def tick(self, seconds: float) -> AsyncIterator[int]:
        for number in range(1000):
            yield number
            await asyncio.sleep(seconds)

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    def fail(self) -> None:
        raise ValueError("two\\nlines and \\x1b[31m red")

    def lie(self) -> int:
        return "x"

    async def lie_at_last(self) -> AsyncIterator[int]:
        yield 1
        yield "x"


daemon = Daemon("store", version="1.0")
daemon.serve(Store())
'''


@pytest.fixture
def store(sandbox):
    sandbox.start(sandbox.write("store.py", PROGRAM))
    return sandbox


def call(store, method, *words):
    return store.daemonry("call", "store", f"org.example.store.{method}", *words)


def test_parameters_are_read_by_the_methods_own_description(store):
    """`key=5` is text where text is meant, and a number where a number is."""
    assert call(store, "Set", "key=5", "value=x", "times=3") == (0, '{"result":"red"}\n', "")
    assert call(store, "Get", "key=5").json() == {"result": "xxx"}


def test_a_raw_value_an_enum_and_one_object(store):
    assert call(store, "Set", 'key:="a"', "value=x", "color=blue").json() == {"result": "blue"}
    assert call(store, "Get", '{"key": "a"}').json() == {"result": "x"}


def test_an_object_comes_from_standard_input(store):
    done = store.run(
        store.env.get("PYTHON", os.sys.executable), "-m", "daemonry", "call", "store",
        "org.example.store.Set", "-", stdin='{"key": "a", "value": "b"}',
    )  # fmt: skip
    assert done == (0, '{"result":"red"}\n', "")


def test_a_stream_is_json_lines_whether_asked_for_or_not(store):
    """ExpectedMore says that the method did not run, so asking again is safe."""
    expected = "".join(f'{{"result":{number}}}\n' for number in range(3))
    assert call(store, "Count", "to=3", "--more").out == expected
    assert call(store, "Count", "to=3").out == expected


def test_a_one_way_call_prints_nothing_and_is_done(store):
    assert call(store, "Set", "key=k", "value=v", "--oneway") == (0, "", "")
    wait_until(lambda: call(store, "Get", "key=k").code == 0)


@pytest.mark.parametrize(
    ("method", "words", "code", "told"),
    [
        ("Set", ["times=x", "key=a", "value=b"], 2, "times: expected int, got 'x'"),
        ("Set", ["ky=a"], 2, "ky: is not a parameter: did you mean 'key'?"),
        ("Set", ["key"], 2, "key: a parameter is key=value, or key:=JSON, or all of them as one JSON object"),
        ("Set", ["key=a", "key=b"], 2, "key: given twice"),
        ("Get", ["-"], 2, "standard input: not a JSON object"),
        ("Get", ["{"], 2, "{: not a JSON object: not JSON"),
        ("Get", ['{"key": 1}'], 1, "parameter: key, reason: expected `str`, got `int`"),
        ("Get", ["key=none"], 1, "org.example.store.NoSuchKey (key: none)"),
        ("Gett", [], 1, "nearest"),
        ("Slow", ["seconds=30", "--timeout", "0.2"], 5, "within 0.2 s"),
    ],
)
def test_what_is_wrong_is_one_line(store, method, words, code, told):
    done = call(store, method, *words)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_a_handler_that_fails_is_one_line_with_what_happened_and_where_more_is(store):
    log = store.place("store").log_path
    told = "org.example.store.Fail raised ValueError: two lines and \\x1b[31m red"
    assert call(store, "Fail") == (1, "", f"org.daemonry.Control.Failed: {told} (see {log})\n")
    lie = "returned what its signature does not allow: result: expected `int`, got `str`"
    assert call(store, "Lie").err == (
        f"org.daemonry.Control.BadReply: org.example.store.Lie {lie} (see {log})\n"
    )
    done = call(store, "LieAtLast")
    assert (done.code, done.out) == (1, '{"result":1}\n')
    assert f"org.example.store.LieAtLast {lie}" in done.err
    line = 1 + PROGRAM.partition("def lie(self)")[0].count("\n")
    assert f"{lie} ({store.path}/store.py:{line})" in store.daemonry("logs", "store").out


def test_a_method_without_its_interface_is_told_the_full_name(store):
    done = store.daemonry("call", "store", "get")
    assert (done.code, done.out) == (2, "")
    assert done.err == "get: a method has its interface before it: org.example.store.Get\n"
    assert "org.example.jobs.Start" in store.daemonry("call", "store", "Nothing").err


def test_a_method_without_parameters_needs_no_words(store):
    assert "required: INTERFACE.METHOD (" in store.daemonry("call", "store").err
    assert store.daemonry("call", "store", "org.varlink.service.GetInfo").code == 0


def test_an_unknown_interface_has_a_nearest_one(store):
    done = store.daemonry("describe", "store", "org.example.stor")
    assert (done.code, done.out) == (1, "")
    assert "nearest: org.example.store" in done.err


def test_a_call_to_nobody_is_not_running(sandbox):
    assert sandbox.daemonry("call", "nobody", "org.x.Y") == (3, "", "nobody: not running\n")


def test_a_daemon_killed_in_a_call_leaves_the_outcome_unknown(store):
    instance = store.instance("store")
    caller = store.popen(
        os.sys.executable, "-m", "daemonry", "call", "store", "org.example.store.Slow", "seconds=60"
    )
    running = ("call", "store", "org.daemonry.Control.Tap", "--timeout", "0.5")
    wait_until(lambda: "org.example.store.Slow" in store.daemonry(*running).out)
    os.kill(instance.pid(), 9)
    out, err = caller.communicate(timeout=10)
    assert (caller.returncode, out) == (6, "")
    assert "may have been executed" in err
    assert store.daemonry("start", "store").code == 0  # the next run takes the stale socket away


DESCRIPTION = """
interface org.example.cut

# Do it.
#
# [Idempotent]
method Again() -> ()

method Once() -> ()
"""


@pytest.fixture
def cutting(sandbox):
    """A peer that cuts its first connection within a call, describes itself, and answers other calls.

    Attributes:
        calls: the methods that were called, in their order.
        endpoint: where it listens.
    """
    path = sandbox.path / "cut.sock"

    class Cutting:
        endpoint = f"unix:{path}"
        calls: ClassVar[list[str]] = []

    def serve():
        for number in range(2):
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                while frame := frame_from(sock):
                    name = json.loads(frame)["method"].rpartition(".")[2]
                    Cutting.calls.append(name)
                    if number == 0:
                        break
                    fields = {"description": DESCRIPTION} if name.startswith("Get") else {}
                    sock.sendall(json.dumps({"parameters": fields}).encode() + b"\0")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield Cutting
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()
    path.unlink()


def frame_from(sock):
    data = b""
    while not data.endswith(b"\0"):
        piece = sock.recv(65536)
        if not piece:
            return b""
        data += piece
    return data[:-1]


def test_a_call_that_may_have_run_is_made_again_where_the_description_allows_it(sandbox, cutting):
    done = sandbox.daemonry("call", cutting.endpoint, "org.example.cut.Again")
    assert done == (0, "{}\n", "")
    assert cutting.calls == ["Again", "GetInterfaceDescription", "Again"]


def test_and_not_where_it_does_not(sandbox, cutting):
    done = sandbox.daemonry("call", cutting.endpoint, "org.example.cut.Once")
    assert (done.code, done.out) == (6, "")
    assert "may have been executed" in done.err
    assert cutting.calls == ["Once", "GetInterfaceDescription"]


def test_a_stream_is_waited_for_as_long_as_it_takes_once_it_began(store):
    """The usual time is for the first reply; whoever gives one means each."""
    watch = store.popen(
        os.sys.executable, "-m", "daemonry", "call", "store", "org.example.store.Tick", "seconds=0.4"
    )
    assert [json.loads(watch.stdout.readline()) for _ in range(2)] == [{"result": 0}, {"result": 1}]
    watch.terminate()
    watch.communicate(timeout=10)
    hasty = call(store, "Tick", "seconds=5", "--timeout", "0.2")
    assert (hasty.code, hasty.out) == (5, '{"result":0}\n')


@pytest.mark.parametrize(
    "words",
    [
        ("call", "store", "org.example.store.Tick", "seconds=1000"),
        ("call", "store", "org.daemonry.Control.Subscribe"),
        ("tap", "store"),
        ("logs", "store", "--follow"),
    ],
    ids=lambda words: words[0] + " " + words[-1],
)
def test_what_waits_for_more_ends_when_nobody_reads_it(store, words):
    """`daemonry call NAME ...Subscribe | head -1` has its line, and must not stay for the next change."""
    process = store.popen(os.sys.executable, "-m", "daemonry", *words)
    try:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.stderr.close()
        process.wait(10)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("call", "store", "org.daemonry.Control.Subscribe"),
            1,
            "the daemon is ending, and this was broken off",
        ),
        (("tap", "store"), 0, "store: the daemon has ended"),
    ],
    ids=["call", "tap"],
)
def test_who_watches_a_daemon_is_told_that_it_ends(store, words, code, said):
    watching = store.popen(os.sys.executable, "-m", "daemonry", *words)
    try:
        assert watching.stdout.readline()
        assert store.daemonry("stop", "store").code == 0
        _, told = watching.communicate(timeout=10)
        assert (watching.returncode, told.count("\n")) == (code, 1), told
        assert said in told
    finally:
        watching.kill()
        watching.communicate(timeout=10)


@pytest.mark.parametrize("value", ["9223372036854775808", "-9223372036854775808", "1" * 400])
def test_an_integer_that_cannot_be_sent_names_its_parameter(store, value):
    done = call(store, "Set", "key=a", "value=b", f"times={value}")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("times: expected an integer from -(2**63 - 1) to 2**63 - 1, got '")


def test_describe_lists_interfaces_and_prints_one(store):
    listed = store.daemonry("describe", "store")
    assert listed.code == 0
    assert "org.example.store\n  Set  # Keep one.\n  Get\n" in listed.out
    printed = store.daemonry("describe", "store", "org.example.store").out
    assert "interface org.example.store\n" in printed
    assert "type Color (red, blue)\n" in printed
    assert "error NoSuchKey (key: string)\n" in printed
    as_json = store.daemonry("describe", "store", "org.example.store", "--json").json()
    assert as_json["description"].rstrip("\n") == printed.rstrip("\n")


def test_options_stand_where_they_want(store):
    assert call(store, "Set", "--oneway", "key=a", "--timeout", "5", "value=b") == (0, "", "")
    assert call(store, "Get", "--timeout=5", "key=a").json() == {"result": "b"}
    described = store.daemonry("describe", "store", "--json", "org.example.store")
    assert "interface org.example.store" in described.json()["description"]


def test_the_log_is_had_by_a_call(store):
    lines = store.daemonry("call", "store", "org.daemonry.Control.TailLog", "lines=1").out.splitlines()
    assert [json.loads(line)["line"]["message"][:8] for line in lines] == ["ready at"]


def test_completion_asks_the_live_daemon(store):
    def offered(*words):
        return store.daemonry("_complete", *words).out.split()

    assert offered("call", "sto") == ["store"]
    assert offered("call", "store", "org.example.store.S") == [
        "org.example.store.Set",
        "org.example.store.Slow",
    ]
    assert offered("call", "store", "org.example.store.Set", "key=a", "") == ["color=", "times=", "value="]
    assert offered("describe", "store", "org.ex") == ["org.example.store"]
    assert offered("tap", "store", "--") == ["--help", "--host", "--json", "--payloads", "--timeout"]
    assert offered("call", "nobody", "") == []


def test_tap_shows_who_calls_what_and_for_how_long(store):
    """Parameters only where they are asked for."""
    tap = store.popen(os.sys.executable, "-m", "daemonry", "tap", "store", "--json")
    try:
        assert json.loads(tap.stdout.readline())["method"] == "org.daemonry.Control.Tap"
        call(store, "Set", '{"key": "a", "value": "secret"}')
        begin, end = (json.loads(tap.stdout.readline()) for _ in range(2))
    finally:
        tap.terminate()
        out, _ = tap.communicate(timeout=10)
    assert (begin["event"], end["event"]) == ("begin", "end")
    assert begin["method"] == end["method"] == "org.example.store.Set"
    assert begin["call"] == end["call"]
    assert begin["peer"].startswith("pid ")
    assert end["seconds"] >= 0
    assert "secret" not in json.dumps([begin, end]) + out


def test_tap_shows_errors_payloads_and_what_runs_already(store):
    slow = store.popen(
        os.sys.executable, "-m", "daemonry", "call", "store", "org.example.store.Slow", "seconds=60"
    )
    tap = store.popen(os.sys.executable, "-m", "daemonry", "tap", "store", "--payloads")
    seen = []
    try:
        while not any("store.Slow" in line for line in seen):
            seen.append(tap.stdout.readline())
        call(store, "Get", '{"key": "none"}')
        while not any("NoSuchKey" in line for line in seen):
            seen.append(tap.stdout.readline())
        slow.terminate()
        while not any("<-x" in line and "store.Slow" in line for line in seen):
            seen.append(tap.stdout.readline())
        call(store, "Fail")
        call(store, "LieAtLast", "--more")
        while not any("<--" in line and "LieAtLast" in line for line in seen):
            seen.append(tap.stdout.readline())
    finally:
        for process in (slow, tap):
            process.terminate()
            process.communicate(timeout=10)
    assert any("org.example.store.Get" in line and '{"key":"none"}' in line for line in seen)
    failed = (re.search(r" <-- #\d+ org\.example\.\S+ \S+ m?s (.*\n)", line) for line in seen)
    ends = [found[1] for found in failed if found]
    assert ends == [
        "org.example.store.NoSuchKey\n",
        "org.daemonry.Control.Failed: ValueError: two lines and \\x1b[31m red\n",
        "org.daemonry.Control.BadReply: result: expected `int`, got `str`\n",
    ]
    assert any(line.endswith("cancelled: the caller is gone\n") for line in seen)


@pytest.mark.parametrize(
    "words",
    [
        ("call", "org.example.store.Get"),
        ("call", "org.example.store.Get", "key=a"),
        ("call", "--more", "org.example.store.Tick"),
        ("call", "Get"),
        ("describe",),
        ("tap",),
        ("status",),
    ],
    ids=" ".join,
)
def test_no_command_waits_without_end_for_a_peer_that_went_silent(sandbox, socket_path, words):
    """A socket that is forwarded to a machine that is gone accepts, and says nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        verb, *others = words
        done = sandbox.daemonry(verb, f"unix:{socket_path}", *others, "--timeout", "0.3")
    assert (done.code, done.out) == (5, "")
    assert "no answer from" in done.err

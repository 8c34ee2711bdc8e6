"""Spans of calls, by the SDK's in-memory exporter: in a real daemon, and in this process as its caller."""

import asyncio
import json
import socket
import sys

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from daemonry import AsyncClient, Client, Interface, otel
from daemonry.errors import CallFailed
from daemonry.wire import varlink

PROGRAM = """
import asyncio
from collections.abc import AsyncIterator
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from daemonry import Daemon, Http, Interface, method

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("program")

class Tries(Interface, name="org.example.tries"):
    '''Tries.'''
    def add(self, a: int, b: int = 1) -> int:
        return a + b
    def nothing(self) -> None:
        pass
    async def nap(self, seconds: float) -> int:
        with tracer.start_as_current_span("inner"):
            await asyncio.sleep(seconds)
        return 1
    @method(blocking=True)
    def think(self) -> int:
        with tracer.start_as_current_span("inner"):
            return 1
    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            await asyncio.sleep(0)
            with tracer.start_as_current_span(f"inner {number}"):
                pass
            yield number
    def fail(self) -> int:
        raise ValueError("bad thing")
    def spans(self) -> list[dict[str, str | None]]:
        found = [
            {
                "name": span.name,
                "trace": f"{span.context.trace_id:032x}",
                "span": f"{span.context.span_id:016x}",
                "parent": f"{span.parent.span_id:016x}" if span.parent else None,
                "status": span.status.status_code.name,
                "kind": span.kind.name,
            }
            for span in exporter.get_finished_spans()
        ]
        exporter.clear()
        return found

daemon = Daemon("traced", tracing=True, http=Http())
daemon.serve(Tries())
"""
NAME = "org.example.tries"


@pytest.fixture
def traced(sandbox):
    return sandbox.start(sandbox.write("traced.py", PROGRAM))


@pytest.fixture
def caller():
    """This process traces, and its calls carry it."""
    otel.instrument()
    yield TracerProvider().get_tracer("caller")
    otel.uninstrument()


def called(client, *calls):
    """Make calls, and return the spans that the daemon made of them."""
    for method, parameters in calls:
        client.call(f"{NAME}.{method}", parameters)
    found = client.call(f"{NAME}.Spans")["result"]
    return [span for span in found if span["name"] != f"{NAME}.Spans"]


def in_caller(span, found):
    """Whether a span was made within a caller's."""
    ids = span.get_span_context()
    return (found["trace"], found["parent"]) == (f"{ids.trace_id:032x}", f"{ids.span_id:016x}")


def test_each_kind_of_method_is_a_span_within_its_callers_and_above_those_of_its_handler(traced, caller):
    with Client.connect(traced.endpoint()) as client:
        for method, parameters in (
            ("Add", {"a": 1}),
            ("Nothing", {}),
            ("Nap", {"seconds": 0}),
            ("Nap", {"seconds": 0.05}),
            ("Think", {}),
        ):
            with caller.start_as_current_span("outer") as outer:
                client.call(f"{NAME}.{method}", parameters)
            found = called(client)
            span = found[-1]
            assert (span["name"], span["kind"], span["status"]) == (f"{NAME}.{method}", "SERVER", "UNSET")
            assert in_caller(outer, span)
            assert all(inner["parent"] == span["span"] for inner in found[:-1])
            assert len(found) == 1 + (method in ("Nap", "Think"))


class Tries(Interface, name=NAME):
    """The typed view of two of the daemon's methods."""

    def add(self, a: int, b: int = 1) -> int:
        """As there."""

    def nothing(self) -> None:
        """As there."""


def test_a_typed_call_carries_it_with_and_without_arguments(traced, caller):
    with Client.connect(traced.endpoint()) as client, caller.start_as_current_span("outer") as outer:
        typed = client.proxy(Tries)
        assert typed.add(2) == 3
        assert typed.nothing() is None
        assert [in_caller(outer, span) for span in called(client)] == [True, True]


def test_a_stream_is_one_span_also_above_what_it_does_between_its_results(traced, caller):
    with Client.connect(traced.endpoint()) as client:
        with caller.start_as_current_span("outer") as outer:
            assert [one["result"] for one in client.stream(f"{NAME}.Count", {"to": 3})] == [0, 1, 2]
        *inner, span = called(client)
    assert [one["name"] for one in inner] == ["inner 0", "inner 1", "inner 2"]
    assert {one["parent"] for one in inner} == {span["span"]}
    assert in_caller(outer, span)


def test_a_failure_is_a_failed_span(traced, caller):
    with Client.connect(traced.endpoint()) as client:
        with caller.start_as_current_span("outer"), pytest.raises(CallFailed):
            client.call(f"{NAME}.Fail")
        assert [span["status"] for span in called(client)] == ["ERROR"]


def test_a_caller_without_a_trace_begins_none_within_anothers(traced):
    with Client.connect(traced.endpoint()) as client:
        found = called(client, ("Add", {"a": 1}), ("Nap", {"seconds": 0}))
    roots = [span for span in found if span["name"].startswith(NAME)]
    assert [span["parent"] for span in roots] == [None, None]
    assert len({span["trace"] for span in roots}) == 2


def test_calls_of_an_event_loop_carry_the_context_of_their_task(traced, caller):
    async def both():
        async with await AsyncClient.connect(traced.endpoint()) as client:

            async def one(number):
                with caller.start_as_current_span(f"outer {number}") as outer:
                    await client.call(f"{NAME}.Nap", {"seconds": 0.01})
                    return outer

            return await asyncio.gather(one(1), one(2))

    outers = asyncio.run(both())
    with Client.connect(traced.endpoint()) as client:
        found = [span for span in called(client) if span["name"] == f"{NAME}.Nap"]
    assert all(any(in_caller(outer, span) for span in found) for outer in outers)


def test_over_http_the_trace_comes_in_the_headers(sandbox, traced):
    traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    answer = sandbox.run(
        *("curl", "-s", "--unix-socket", traced.place.socket_path, "-H", f"traceparent: {traceparent}"),
        *("--json", '{"a": 3}', f"http://d/v1/call/{NAME}/Add"),
    )
    assert json.loads(answer.out) == {"result": 4}
    with Client.connect(traced.endpoint()) as client:
        (span,) = called(client)
    assert (span["trace"], span["parent"]) == ("ab" * 16, "cd" * 8)


@pytest.mark.parametrize(
    "odd", ['{"traceparent":7}', '{"traceparent":"\\u0007nonsense"}', '{"x":"' + "y" * 20000 + '"}', "{}"]
)
def test_a_trace_that_is_odd_fails_no_call(traced, odd):
    frame = f'{{"method":"{NAME}.Add","parameters":{{"a":1}},"org.daemonry.trace":{odd}}}\0'
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(traced.place.socket_path)
        sock.sendall(frame.encode())
        assert json.loads(sock.recv(65536)[:-1]) == {"parameters": {"result": 2}}


def test_without_a_context_the_bytes_are_as_ever():
    call = varlink.Call("org.example.tries.Add", {"a": 1})
    plain = varlink.encode_call(call)
    otel.instrument()
    try:
        assert trace.get_current_span().get_span_context().is_valid is False
        assert varlink.encode_call(call) == plain
    finally:
        otel.uninstrument()


def test_a_daemon_that_does_not_trace_loads_nothing_of_it(sandbox):
    instance = sandbox.start(
        sandbox.write(
            "plain.py",
            "import sys\nfrom daemonry import Daemon, Interface\n"
            "class Asked(Interface, name='org.example.asked'):\n"
            "    '''Asked.'''\n"
            "    def loaded(self) -> list[str]:\n"
            "        return [name for name in sys.modules if 'otel' in name or 'opentelemetry' in name]\n"
            "daemon = Daemon('plain')\ndaemon.serve(Asked())\n",
        )
    )
    with Client.connect(instance.endpoint()) as client:
        assert client.call("org.example.asked.Loaded")["result"] == []


def test_without_the_extra_the_start_says_how_to_get_it(sandbox):
    program = sandbox.write(
        "hiding.py",
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if 'opentelemetry' in name else find(name)\n"
        "from daemonry import Daemon\n"
        "daemon = Daemon('hiding', tracing=True)\n",
    )
    done = sandbox.run(sys.executable, "-m", "daemonry", "start", program)
    assert done.code == 1
    assert (
        "tracing needs opentelemetry-api: install the extra, as in pip install 'daemonry[otel]'" in done.err
    )

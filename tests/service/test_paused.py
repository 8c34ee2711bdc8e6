"""What a paused daemon takes: its control interface, and methods that only read; no work."""

import asyncio
import json
import socket

import pytest
from msgspec.structs import replace

from daemonry import AsyncClient, Client, Interface, Pool, errors, method
from daemonry.service.interface.declare import described
from daemonry.service.server import dispatch
from daemonry.testing import wait_until

NAME = "org.example.jobs"
CONTROL = "org.daemonry.Control"
PROGRAM = '''
import asyncio
from collections.abc import AsyncIterator

from daemonry import Daemon, Interface, method


class Jobs(Interface, name="org.example.jobs"):
    """Jobs, and what is known of them."""

    def __init__(self):
        self.names = ["a"]

    def add(self, name: str) -> int:
        """Take a job."""
        self.names.append(name)
        return len(self.names)

    @method(reads=True)
    def names_now(self) -> list[str]:
        """Return the jobs."""
        return self.names

    @method(reads=True)
    async def count(self) -> int:
        return len(self.names)

    @method(reads=True, blocking=True)
    def has(self, name: str) -> bool:
        return name in self.names

    @method(reads=True)
    async def watch(self) -> AsyncIterator[int]:
        """Follow how many there are."""
        while True:
            yield len(self.names)
            await asyncio.sleep(0.01)

    async def work(self) -> AsyncIterator[int]:
        """Work, step by step."""
        step = 0
        while True:
            yield step
            step += 1
            await asyncio.sleep(0.01)

    async def slow(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"


daemon = Daemon("jobs", version="1")
daemon.serve(Jobs())
'''


class Jobs(Interface, name=NAME):
    """As it is called."""

    def add(self, name: str) -> int: ...

    @method(reads=True)
    def names_now(self) -> list[str]: ...

    @method(reads=True)
    async def count(self) -> int: ...

    @method(reads=True)
    def has(self, name: str) -> bool: ...


@pytest.fixture
def endpoint(sandbox, running_daemon):
    running_daemon(sandbox.write("jobs.py", PROGRAM))
    return f"unix:{sandbox.place('jobs').socket_path}"


@pytest.fixture
def paused(endpoint):
    with Client.connect(endpoint) as control:
        control.call(f"{CONTROL}.Pause")
    return endpoint


def test_the_blocking_client_reads_by_name_and_by_proxy(paused):
    with Client.connect(paused) as client:
        jobs = client.proxy(Jobs)
        assert client.call(f"{NAME}.NamesNow") == {"result": ["a"]}
        assert client.call(f"{NAME}.Count") == {"result": 1}
        assert (jobs.names_now(), jobs.has("b")) == (["a"], False)
        for refused in (lambda: client.call(f"{NAME}.Add", {"name": "b"}), lambda: jobs.add("b")):
            with pytest.raises(errors.Paused) as caught:
                refused()
            assert caught.value.ran == "no"
        assert jobs.names_now() == ["a"]


def test_the_asyncio_clients_read_by_name_and_by_proxy(paused):
    async def read(client):
        jobs = client.proxy(Jobs)
        assert await client.call(f"{NAME}.NamesNow") == {"result": ["a"]}
        assert (await jobs.count(), await jobs.has("a")) == (1, True)
        with pytest.raises(errors.Paused):
            await jobs.add("b")

    async def run():
        async with await AsyncClient.connect(paused) as client:
            await read(client)
        async with Pool(paused) as pool:
            await read(pool)

    asyncio.run(run())


@pytest.mark.parametrize("cut", [None, 10])
def test_bytes_by_hand_are_answered_the_same_whole_and_in_pieces(paused, cut):
    def ask(method):
        data = json.dumps({"method": f"{NAME}.{method}"}).encode() + b"\0"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(paused.removeprefix("unix:"))
            sock.sendall(data[:cut])
            if cut is not None:
                sock.sendall(data[cut:])
            with sock.makefile("rb") as file:
                return json.loads(b"".join(iter(lambda: file.read(1), b"\0")))

    assert ask("NamesNow") == {"parameters": {"result": ["a"]}}
    assert ask("Work")["error"] == f"{CONTROL}.Paused"


def test_a_stream_that_reads_goes_on_through_a_pause_and_can_be_opened_in_one(endpoint):
    with (
        Client.connect(endpoint) as one,
        Client.connect(endpoint) as two,
        Client.connect(endpoint) as control,
    ):
        before = one.stream(f"{NAME}.Watch", idle_s=10)
        next(before)
        control.call(f"{CONTROL}.Pause")
        during = two.stream(f"{NAME}.Watch", idle_s=10)
        assert next(during) == {"result": 1}
        with pytest.raises(errors.Paused):
            next(control.stream(f"{NAME}.Work"))
        for _ in range(3):
            assert next(before) == next(during) == {"result": 1}


def test_work_that_has_begun_goes_on_through_a_pause(endpoint):
    """A pause takes no new work; to hold what runs is the program's, which is told by its hook."""
    with Client.connect(endpoint) as one, Client.connect(endpoint) as control:
        steps = one.stream(f"{NAME}.Work", idle_s=10)
        first = next(steps)["result"]
        control.call(f"{CONTROL}.Pause")
        wait_until(lambda: next(steps)["result"] > first + 3)
        control.call(f"{CONTROL}.Resume")
        assert next(steps)["result"] > first + 3


def test_an_ending_daemon_takes_no_reading_either():
    """A drain ends: what would go on reading would keep it from that."""
    served = dispatch.Calls(lambda: errors.Draining(dispatch.DRAINING))
    served.serve(Jobs())
    head = b'{"method":"org.example.jobs.NamesNow","parameters":{}}'
    assert served.answer_at_once(head + b"\0") is None
    with pytest.raises(errors.Draining):
        served.find(dispatch.fast_varlink.decode_call(head))


def test_a_command_line_reads_in_a_paused_daemon_and_the_description_says_what_reads(paused, sandbox):
    assert sandbox.daemonry("call", "jobs", f"{NAME}.NamesNow").json() == {"result": ["a"]}
    refused = sandbox.daemonry("call", "jobs", f"{NAME}.Add", "name=b")
    assert (refused.code, "paused" in refused.err) == (1, True)
    listed = sandbox.daemonry("describe", "jobs").out.splitlines()
    assert "  NamesNow  # Return the jobs. [Reads]" in listed
    assert "  Has  # [Reads]" in listed
    assert "  Add  # Take a job." in listed
    assert (
        "# Return the jobs.\n#\n# [Reads]\nmethod NamesNow(" in sandbox.daemonry("describe", "jobs", NAME).out
    )


def test_what_an_interface_says_of_a_method_holds_for_who_implements_it():
    class Kept(Jobs):
        def add(self, name: str) -> int:
            return 1

        @method(blocking=True)
        def names_now(self) -> list[str]:
            return []

    methods = described(Kept).methods
    assert methods["NamesNow"].marks == replace(methods["NamesNow"].marks, reads=True, idempotent=True)
    assert methods["NamesNow"].marks.blocking
    assert not methods["Add"].marks.reads
    assert not described(Jobs).methods["NamesNow"].marks.blocking

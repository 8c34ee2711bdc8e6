"""Typed calls of a real daemon: its gate, its control interface, its end; and what stays out of sight."""

import json
import os
import re
import signal
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemonry import Client, errors
from daemonry.process import lock
from daemonry.service.server import dispatch, failures
from daemonry.testing import wait_until
from daemonry.wire import varlink

PROGRAM = '''
import asyncio, time
from collections.abc import AsyncIterator
from daemonry import CallError, Context, Daemon, Interface, method

class Full(CallError):
    """There is no room."""
    size: int

class Store(Interface, name="org.example.store", errors=(Full,)):
    """Keeps texts."""

    def __init__(self):
        self.texts = {}
        self.sleeping = 0

    def put(self, key: str, text: str = "") -> int:
        """Keep a text."""
        if len(text) > 100:
            raise Full(size=len(text))
        self.texts[key] = text
        return len(self.texts)

    async def sleep(self, seconds: float) -> None:
        self.sleeping += 1
        await asyncio.sleep(seconds)

    @method(blocking=True)
    def block(self, seconds: float) -> None:
        time.sleep(seconds)

    def break_down(self) -> None:
        raise ValueError("the secret is 1234")

daemon = Daemon("store", version="3", drain_timeout_s=5)
store = daemon.serve(Store())

@daemon.status
def fields():
    return {"sleeping": store.sleeping}

@daemon.work
async def work(run):
    await asyncio.Event().wait()

@daemon.on_stop
async def linger():
    while not (daemon.place().host_dir and __import__("os").path.exists(daemon.place().host_dir + "/go")):
        await asyncio.sleep(0.01)
'''
STORE = "org.example.store"
CONTROL = "org.daemonry.Control"


@pytest.fixture
def store(sandbox, running_daemon):
    instance = running_daemon(sandbox.write("store.py", PROGRAM))
    place = sandbox.place("store")
    store = SimpleNamespace(
        status=instance.status,
        socket=f"unix:{place.socket_path}",
        log=place.log_path,
        lock=place.life_lock_path,
        let_go=Path(place.host_dir, "go").touch,
    )
    yield store
    store.let_go()


@pytest.fixture
def client(store):
    with Client.connect(store.socket) as client:
        yield client


def test_a_daemon_answers_calls_and_commands_on_one_socket(store, client):
    assert client.call(f"{STORE}.Put", {"key": "a"}) == {"result": 1}
    assert store.status()["state"] == "running"
    info = client.call("org.varlink.service.GetInfo")
    assert (info["product"], info["version"]) == ("store", "3")
    assert info["interfaces"] == [
        "org.varlink.service",
        CONTROL,
        f"{CONTROL}.HandOver",
        STORE,
        "org.daemonry.Debug",
    ]


def test_a_paused_daemon_refuses_work_and_can_still_be_asked(client):
    client.call(f"{CONTROL}.Pause")
    with pytest.raises(errors.Paused):
        client.call(f"{STORE}.Put", {"key": "a"})
    assert client.call(f"{CONTROL}.GetStatus")["status"]["state"] == "paused"
    assert STORE in client.call("org.varlink.service.GetInfo")["interfaces"]
    client.call(f"{CONTROL}.Resume")
    assert client.call(f"{STORE}.Put", {"key": "a"}) == {"result": 1}


def test_a_refused_command_says_why(client):
    with pytest.raises(errors.CallFailed) as caught:
        client.call(f"{CONTROL}.Resume")
    assert caught.value.error == f"{CONTROL}.Refusal"
    assert caught.value.parameters["message"]


def test_a_draining_daemon_refuses_work_and_can_still_be_asked(store, client):
    client.call(f"{CONTROL}.Stop")
    with pytest.raises(errors.Draining):
        client.call(f"{STORE}.Put", {"key": "a"})
    assert client.call(f"{CONTROL}.GetStatus")["status"]["state"] == "draining"
    store.let_go()
    wait_until(lambda: not lock.is_held(store.lock))


def test_a_subscription_tells_how_it_is_and_then_each_change(store, client):
    with Client.connect(store.socket) as watcher:
        states = (reply["status"]["state"] for reply in watcher.stream(f"{CONTROL}.Subscribe", idle_s=10))
        assert next(states) == "running"
        client.call(f"{CONTROL}.Pause")
        assert next(states) == "paused"
        client.call(f"{CONTROL}.Resume")
        assert next(states) == "running"


def test_a_subscription_is_told_of_the_end(store, client):
    """As any stream is, once the drain is over of which it told."""
    with Client.connect(store.socket) as watcher:
        replies = watcher.stream(f"{CONTROL}.Subscribe", idle_s=10)
        assert next(replies)["status"]["state"] == "running"
        client.call(f"{CONTROL}.Stop")
        assert next(replies)["status"]["state"] == "draining"
        store.let_go()
        with pytest.raises(errors.Draining) as ended:
            list(replies)
    assert ended.value.ran == "maybe"
    wait_until(lambda: not lock.is_held(store.lock))


def test_an_exception_is_told_with_its_text_and_traced_in_the_log(store, client):
    with pytest.raises(errors.Failed) as caught:
        client.call(f"{STORE}.BreakDown")
    assert str(caught.value) == (
        f"{CONTROL}.Failed: {STORE}.BreakDown raised ValueError: the secret is 1234 (see {store.log})"
    )
    assert caught.value.ran == "yes"
    with open(store.log, encoding="utf-8") as file:
        text = file.read()
    assert "Traceback" in text
    assert "the secret is 1234" in text


def is_refused(endpoint):
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(endpoint.removeprefix("unix:"))
        except ConnectionRefusedError:
            return True
    return False


def test_a_daemon_killed_in_a_call_may_have_run_it(store, client):
    """Whoever retries after this could do it twice; whoever does not could leave it undone."""
    pid = store.status()["pid"]
    caught = []

    def call():
        try:
            client.call(f"{STORE}.Sleep", {"seconds": 30})
        except errors.ConnectionLost as error:
            caught.append(error.ran)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: store.status()["sleeping"])
    os.kill(pid, signal.SIGKILL)
    caller.join(10)
    assert caught == ["maybe"]
    wait_until(lambda: is_refused(store.socket))  # its connections are closed first, and then its listener
    with pytest.raises(errors.StaleSocket):  # it connects anew, and nothing was sent
        client.call(f"{STORE}.Put", {"key": "a"})
    os.unlink(store.socket.removeprefix("unix:"))


def test_a_stopped_daemon_ends_the_call_at_its_deadline(store, client):
    pid = store.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            client.call(f"{STORE}.Put", {"key": "a"}, timeout_s=0.1)
        assert (caught.value.phase, caught.value.ran) == ("reply", "maybe")
        assert client.closed
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.usefixtures("netcat")
def test_a_person_with_netcat_is_served(store, sandbox):
    call = json.dumps({"method": f"{STORE}.Put", "parameters": {"key": "k"}})
    words = ["sh", "-c", f"printf '%s\\0' '{call}' | nc -N -U {store.socket.removeprefix('unix:')}"]
    assert sandbox.run(*words).out == '{"parameters":{"result":1}}\0'


def test_the_description_has_what_the_docstrings_say(client):
    text = client.call("org.varlink.service.GetInterfaceDescription", {"interface": STORE})["description"]
    assert text.startswith("# Keeps texts.\ninterface org.example.store\n")
    assert "# Keep a text.\nmethod Put(key: string, text: ?string) -> (result: int)" in text
    assert re.search(r"# There is no room\.\nerror Full \(size: int\)", text)


@pytest.mark.parametrize(
    ("interface", "names"),
    [
        (varlink.SERVICE, varlink.STANDARD_ERRORS),
        (
            CONTROL,
            [
                *(dispatch.DRAINING, dispatch.OVERLOADED, failures.FAILED, failures.BAD_REPLY),
                dispatch.PROTOCOL_VIOLATION,
                *(
                    dispatch.EXPECTED_UPGRADE,
                    dispatch.NOT_UPGRADABLE,
                    f"{CONTROL}.Paused",
                    f"{CONTROL}.Refusal",
                ),
            ],
        ),
    ],
)
def test_the_errors_of_the_server_itself_are_described(client, interface, names):
    """A program made from a description knows only what stands there."""
    text = client.call("org.varlink.service.GetInterfaceDescription", {"interface": interface})["description"]
    assert {f"{interface}.{name}" for name in re.findall(r"(?m)^error (\w+)", text)} == set(names)


def test_every_interface_of_a_daemon_is_read_by_others(client):
    from varlink.scanner import Interface as TheirInterface

    from daemonry.wire import idl_parser, idl_printer

    for name in client.call("org.varlink.service.GetInfo")["interfaces"]:
        text = client.call("org.varlink.service.GetInterfaceDescription", {"interface": name})["description"]
        assert idl_printer.print_interface(idl_parser.parse(text), strict=True) == text
        assert TheirInterface(text).name == name


def test_a_client_of_python_varlink_calls_a_daemon(store):
    import varlink

    with varlink.Client(address=store.socket) as peer, peer.open(STORE) as connection:
        assert connection.Put(key="a", text="t") == {"result": 1}
        with pytest.raises(varlink.VarlinkError, match="Full"):
            connection.Put(key="a", text="t" * 101)


def test_no_connection_is_left_in_the_daemon(store):
    pid = store.status()["pid"]

    def count():
        return sum(1 for fd in os.listdir(f"/proc/{pid}/fd") if _is_socket(f"/proc/{pid}/fd/{fd}"))

    before = count()
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(store.socket.removeprefix("unix:"))
            sock.sendall(b'{"method":"org.example.store.Sleep","parameters":{"seconds":30}}\0{"meth')
    assert wait_until(lambda: count() <= before)


def _is_socket(path):
    try:
        return os.readlink(path).startswith("socket:")
    except OSError:
        return False


HELD = """
import asyncio, os
from collections.abc import AsyncIterator
from daemonry import Daemon, Interface

class Held(Interface, name="org.example.held"):
    async def hold(self) -> str:
        while not os.path.exists(daemon.place().host_dir + "/go"):
            await asyncio.sleep(0.01)
        return "done"

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def ticks(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

daemon = Daemon("held", drain_timeout_s={drain_timeout_s})
daemon.serve(Held())

@daemon.work
async def work(run):
    await asyncio.Event().wait()
"""


@pytest.fixture
def held(sandbox, running_daemon):
    """A function that runs a daemon with calls that are held, and returns its instance."""

    def run(drain_timeout_s):
        path = sandbox.write("held.py", HELD.replace("{drain_timeout_s}", str(drain_timeout_s)))
        return running_daemon(path)

    yield run
    Path(sandbox.place("held").host_dir, "go").touch()


def test_a_daemon_that_ends_answers_the_calls_that_it_has_begun(held, sandbox):
    """The work has ended long before; it is the call that is waited for, and STATUS says so."""
    instance = held(10)
    place = sandbox.place("held")
    with (
        Client.connect(f"unix:{place.socket_path}") as one,
        Client.connect(f"unix:{place.socket_path}") as two,
    ):
        replies = two.stream("org.example.held.Ticks")
        assert next(replies) == {"result": 1}
        answers = []
        caller = threading.Thread(target=lambda: answers.append(one.call("org.example.held.Hold")))
        caller.start()
        with Client.connect(f"unix:{place.socket_path}") as tap:
            under_way = (event["method"] for event in tap.stream(f"{CONTROL}.Tap", idle_s=10))
            assert "org.example.held.Hold" in under_way
            tap.close()
        with Client.connect(f"unix:{place.socket_path}") as control:
            control.call(f"{CONTROL}.Stop")
            with pytest.raises(errors.Draining):
                next(replies)
            wait_until(lambda: instance.status()["waiting_for"] == ["org.example.held.Hold"])
            with pytest.raises(errors.Draining):
                control.call("org.example.held.Hold")
        Path(place.host_dir, "go").touch()
        caller.join(10)
    assert answers == [{"result": "done"}]
    wait_until(lambda: not lock.is_held(place.life_lock_path))
    with open(place.log_path, encoding="utf-8") as file:
        assert "cut off" not in file.read()


def test_a_call_that_does_not_end_is_cut_off_and_named(held, sandbox):
    held(0.2)
    place = sandbox.place("held")
    with (
        Client.connect(f"unix:{place.socket_path}") as one,
        Client.connect(f"unix:{place.socket_path}") as two,
    ):
        caught = []

        def call():
            try:
                one.call("org.example.held.Forever")
            except errors.ConnectionLost as error:
                caught.append(error.ran)

        caller = threading.Thread(target=call)
        caller.start()
        assert "org.example.held.Forever" in (event["method"] for event in two.stream(f"{CONTROL}.Tap"))
        with Client.connect(f"unix:{place.socket_path}") as control:
            control.call(f"{CONTROL}.Stop")
        caller.join(10)
    assert caught == ["maybe"]
    wait_until(lambda: not lock.is_held(place.life_lock_path))
    with open(place.log_path, encoding="utf-8") as file:
        assert "still running after 0.2 s and cut off: org.example.held.Forever" in file.read()

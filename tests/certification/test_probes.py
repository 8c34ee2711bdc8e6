"""What a server does with what no decent client sends: ours by rule, two others for the record.

Each probe is sent between two good calls, and then the sender's half of the connection is closed.
What comes back is told as

    ok, or an error's name      the probe was answered, and so was the good call behind it
    silent                      nothing for the probe, the good call behind it was answered
    close                       nothing for the probe, and the connection ended
    NAME, close                 the probe was answered by an error, and the connection ended

A call that wants a reply and meets "silent" waits for ever: that is a hang.  A one-way call must
meet "silent": any reply to it is taken for the next call's.
"""

# ruff: noqa: E501  # one row, one probe

import json
import time

import pytest

from daemonry.wire import varlink

GOOD = b'{"method":"org.varlink.service.GetInfo"}\0'
ORDERED = "ProtocolViolation, close"

SERVICE = "org.varlink.service"


def of(method="GetInfo", rest=""):
    return f'{{"method":"{SERVICE}.{method}"{rest}}}\0'.encode()


def described(parameters):
    return of("GetInterfaceDescription", f',"parameters":{parameters}')


# name: (bytes, ours, python-varlink 31.0.0, asyncvarlink 0.3.3)
PROBES = {
    "parameters null": (of(rest=',"parameters":null'), "ok", "ok", "ProtocolViolation"),
    "parameters an array": (of(rest=',"parameters":[]'), ORDERED, "ok", "ProtocolViolation"),
    "unknown parameter": (of(rest=',"parameters":{"x":1}'), "InvalidParameter", "InvalidParameter", "InvalidParameter"),
    "parameter missing": (described("{}"), "InvalidParameter", "InvalidParameter", "InvalidParameter"),
    "parameter of another type": (described('{"interface":1}'), "InvalidParameter", "InvalidParameter", "InvalidParameter"),
    "unknown key": (of(rest=',"x":1'), ORDERED, "ok", "ok"),
    "vendor's key": (of(rest=',"org.example.x":{"a":1}'), "ok", "ok", "ok"),
    "vendor's key without object": (of(rest=',"org.example.x":1'), ORDERED, "ok", "ok"),
    "key twice": (of(rest=f',"method":"{SERVICE}.GetInfo"'), ORDERED, "ok", "ok"),
    "parameter twice": (described('{"interface":"a.b","interface":"c.d"}'), ORDERED, "InterfaceNotFound", "InterfaceNotFound"),
    "more: 1": (of(rest=',"more":1'), ORDERED, "ok", "ProtocolViolation"),
    "more: null": (of(rest=',"more":null'), ORDERED, "ok", "ProtocolViolation"),
    "more: false": (of(rest=',"more":false'), "ok", "ok", "ok"),
    "oneway and more": (of(rest=',"oneway":true,"more":true'), ORDERED, "silent", "silent"),
    "method without interface": (b'{"method":"GetInfo"}\0', "MethodNotFound", "InterfaceNotFound", "ProtocolViolation"),
    "method missing": (b"{}\0", ORDERED, "InterfaceNotFound", "ProtocolViolation"),
    "method not text": (b'{"method":1}\0', ORDERED, "close", "ProtocolViolation"),
    "unknown interface": (b'{"method":"a.b.C"}\0', "InterfaceNotFound", "InterfaceNotFound", "InterfaceNotFound"),
    "unknown method": (of("Nope"), "MethodNotFound", "MethodNotFound", "MethodNotFound"),
    "array": (b"[]\0", ORDERED, "close", "silent"),
    "number": (b"1\0", ORDERED, "close", "silent"),
    "garbage": (b"{garbage}\0", ORDERED, "close", "silent"),
    "bad UTF-8": (b'{"method":"\xff"}\0', ORDERED, "close", "silent"),
    "trailing junk": (of()[:-1] + b"x\0", ORDERED, "close", "silent"),
    "empty message": (b"\0", ORDERED, "silent", "silent"),
    "blanks around": (b" \n" + of()[:-1] + b" \n\0", "ok", "ok", "ok"),
    "byte order mark": (b"\xef\xbb\xbf" + of(), ORDERED, "close", "ok"),
    "NaN": (described('{"interface":NaN}'), ORDERED, "InvalidParameter", "InvalidParameter"),
    "number without end": (described('{"interface":1e999}'), ORDERED, "InvalidParameter", "InvalidParameter"),
    "integer of 70 bits": (described('{"interface":1180591620717411303424}'), ORDERED, "InvalidParameter", "InvalidParameter"),
    "lone surrogate": (described('{"interface":"\\ud800"}'), ORDERED, "InterfaceNotFound", "InterfaceNotFound"),
    "NUL in a string": (described('{"interface":"a\\u0000b"}'), ORDERED, "InterfaceNotFound", "InterfaceNotFound"),
    "nested 10,000 deep": (described('{"interface":' + "[" * 10_000 + "]" * 10_000 + "}"), ORDERED, "close", "silent"),
    "one-way to nobody": (b'{"method":"a.b.C","oneway":true}\0', "silent", "InterfaceNotFound", "silent"),
    "one-way with bad parameters": (of(rest=',"oneway":true,"parameters":{"x":1}'), "silent", "InvalidParameter", "silent"),
    "upgrade where there is none": (of(rest=',"upgrade":true'), "NotUpgradable, close", "ok", "ok"),
}  # fmt: skip
OURS, PYTHON, ASYNC = 1, 2, 3


def outcome(sock, probe, idle_s=None):
    """Send the probe between two good calls and tell what came back.

    Either the sender's half is closed then, and all is read, or the end is when nothing comes for
    `idle_s`: asyncvarlink drops calls that wait when the half is closed.
    """
    with sock:
        try:
            sock.sendall(GOOD + probe + GOOD)
            if idle_s is None:
                sock.shutdown(1)
        except OSError:
            pass  # closed in the middle of it: what was answered before that counts
        answers = [json.loads(one) for one in read_all(sock, idle_s or 10.0).split(b"\0")[:-1]]
    assert answers.pop(0)["parameters"]["interfaces"]
    said = [one.get("error", "ok").rpartition(".")[2] for one in answers]
    if not said:
        return "close"
    if said == ["ok"]:
        return "silent"
    if len(said) == 1:
        return f"{said[0]}, close"
    return said[0] if said[1:] == ["ok"] else f"out of step: {said}"


def read_all(sock, idle_s=10.0):
    sock.settimeout(idle_s)
    found = b""
    try:
        while data := sock.recv(65536):
            found += data
    except (ConnectionResetError, TimeoutError):
        pass  # a server may close without having read all
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """One server for all probes: none may harm the next."""
    import asyncio
    import threading

    from daemonry.service.server.bounds import Bounds
    from daemonry.service.server.builtin import VarlinkService
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.server import Server
    from daemonry.testing import get_test_socket_path

    calls = Calls()
    calls.serve(VarlinkService(calls, ("daemonry", "probed", "1", "")))
    server = Server(get_test_socket_path(), calls=calls, limits=Bounds(first_byte_s=1.0, frame_s=1.0))
    server.bind()
    ready, ends = threading.Event(), []

    async def serve():
        cancel = asyncio.Event()
        ends.append((asyncio.get_running_loop(), cancel))
        ready.set()
        await server.run(object(), cancel)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield server.path
    ends[0][0].call_soon_threadsafe(ends[0][1].set)
    thread.join(10)
    server.cleanup()


def connect(path):
    import socket

    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(path)
    return sock


@pytest.mark.parametrize("name", PROBES)
def test_ours_answers_or_closes_and_stays_in_step(ours, name):
    assert outcome(connect(ours), PROBES[name][0]) == PROBES[name][OURS]


@pytest.mark.parametrize("name", PROBES)
def test_ours_never_leaves_a_first_probe_waiting(ours, name):
    """A first frame is also what the dialect is told from; whatever it is, something comes back.

    Nothing is closed by the sender here, so a server that waited for more would be found waiting.
    """
    probe, expected = PROBES[name][0], PROBES[name][OURS]
    with connect(ours) as sock:
        sock.sendall(probe)
        if expected == "silent":
            sock.sendall(GOOD)
        answer = sock.recv(65536)
        assert answer, "closed without a word"
        if expected.endswith("close"):
            read_all(sock)
        else:
            sock.sendall(GOOD)
            assert b"probed" in sock.recv(65536)


@pytest.mark.parametrize("name", PROBES)
def test_ours_is_the_same_byte_by_byte(ours, name):
    probe, expected = PROBES[name][0], PROBES[name][OURS]
    if len(probe) > 1000:
        pytest.skip("long; its bytes are the same")
    sock = connect(ours)
    with sock:
        try:
            for byte in GOOD + probe + GOOD:
                sock.sendall(bytes((byte,)))
            sock.shutdown(1)
        except OSError:
            pass
        answers = read_all(sock).count(b"\0")
    assert answers == (3 if "close" not in expected and expected != "silent" else 2)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "column"), [("python-varlink", PYTHON), ("asyncvarlink", ASYNC)])
def test_the_record_of_others_holds(serve, make, column):
    """Their columns are facts about one version, for comparison; a change of it changes them."""
    peer = serve(make)
    found = {name: outcome(peer.connect(), row[0], idle_s=0.3) for name, row in PROBES.items()}
    assert found == {name: row[column] for name, row in PROBES.items()}


def memory_kib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith(field)).split()[1])


@pytest.mark.slow
def test_forty_megabytes_without_an_end_are_refused_from_what_has_come(serve):
    """One error and a close; at no time is much more held than the longest call that is taken."""
    peer = serve("daemonry")
    with peer.connect() as sock:
        sock.sendall(GOOD)
        sock.recv(65536)
        before_kib = memory_kib(peer.pid, "VmRSS")
        sent = 0
        try:
            sock.sendall(b'{"method":"')
            while sent < 40_000_000:
                sent += sock.send(b"x" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answers = read_all(sock).split(b"\0")
        assert json.loads(answers[0])["error"].endswith("ProtocolViolation")
        assert answers[1:] == [b""]
    assert varlink.MAX_FRAME_BYTES <= sent < varlink.MAX_FRAME_BYTES + 4_000_000
    assert memory_kib(peer.pid, "VmHWM") - before_kib < 28_000
    with peer.connect() as sock:
        sock.sendall(GOOD)
        assert b"interfaces" in sock.recv(65536)


@pytest.mark.slow
def test_one_byte_pieces_take_linear_time(ours):
    """Four times the bytes, four times the time: measured as CPU time of this process, which serves too."""

    def seconds(size):
        start = time.process_time()
        with connect(ours) as sock:
            sock.sendall(GOOD[:1])
            for byte in GOOD[1:-2] + b"," + b'"parameters":{"x":"' + b"x" * size + b'"}}\0':
                sock.send(bytes((byte,)))
            assert b"InvalidParameter" in sock.recv(65536)
        return time.process_time() - start

    seconds(1000)
    assert min(seconds(80_000), seconds(80_000)) < 8 * min(seconds(20_000), seconds(20_000))

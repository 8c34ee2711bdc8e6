"""The decisions of both clients, without a socket: a played line, and the steps that a call asks for."""

import pytest

from daemonry import errors
from daemonry.clock import Deadline
from daemonry.service.client import engine
from daemonry.service.client.conversation import Conversation
from daemonry.service.client.engine import Engine, Line, StartedCall
from daemonry.wire import fast_varlink
from daemonry.wire.varlink import Call

REPLY = b'{"parameters":{"n":1}}\0'
MORE = b'{"parameters":{"n":1},"continues":true}\0'
LOST = errors.ConnectionLost("there", "maybe")
LATE = errors.DeadlineExceeded("read", 0.0, "maybe", "there")
CALL = Call("org.example.kit.Go", {"n": 1})


class PlayedLine(Line):
    """A line whose socket is the test."""

    def __init__(self, *, connected=True):
        self.inherited = self.passes_fds = self.takes_fds = False
        self.received = []
        self.open = connected
        self.talk = Conversation(lambda: fast_varlink, "there")
        self.talk.at_rest = connected

    @property
    def is_open(self):
        return self.open

    def disconnect(self):
        self.open = self.talk.at_rest = False

    def accept_fds(self):
        self.takes_fds = True

    def mark(self):
        return 0

    def collect(self, start):
        pass

    def hand_over(self, early):
        self.open = False
        return early


class PlayedClient(Engine):
    """A client whose driver is `play`."""

    def __init__(self, *, endpoint="there"):
        self._closed = False
        self._endpoint = endpoint
        self._whom = "there"
        self._reconnect_by = None


def play(line, steps, *script):
    """Perform steps by a script of (kind, result or error); return the outcome, and what was delivered."""
    delivered = []
    script = list(script)
    result = error = None
    while True:
        try:
            step = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as ended:
            assert script == []
            return (ended.value, delivered) if delivered else ended.value
        result = error = None
        if step.kind == engine.DELIVER:
            delivered.append(step.value)
            continue
        kind, found = script.pop(0) if script else ("nothing", None)
        assert step.kind == kind
        if callable(found):
            found = found()
        if isinstance(found, BaseException):
            error = found
        else:
            result = found
        if step.kind == engine.CONNECT and error is None:
            line.talk = Conversation(lambda: fast_varlink, "there")
            line.open = True


def answered(line, *script, client=None, timeout_s=10.0, **more):
    client = client or PlayedClient()
    reply = play(line, client._answered(line, CALL, Deadline(timeout_s), **more), *script)
    return reply.parameters


def test_a_call_is_written_and_its_reply_read():
    line = PlayedLine()
    assert answered(line, ("write", None), ("read", REPLY[:9]), ("read", REPLY[9:])) == {"n": 1}
    assert line.talk.at_rest


def test_the_first_call_connects_and_asks_for_descriptors():
    line = PlayedLine(connected=False)
    line.passes_fds = True
    assert answered(line, ("connect", None), ("write", None), ("read", REPLY)) == {"n": 1}
    assert line.takes_fds


def test_a_call_that_was_not_sent_is_made_again_on_a_new_connection():
    line = PlayedLine()
    script = [
        ("write", LOST),
        ("peek", None),
        ("sleep", None),
        ("connect", None),
        ("write", None),
        ("read", REPLY),
    ]
    assert answered(line, *script) == {"n": 1}


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_call_that_may_have_run_is_made_again_only_if_it_is_idempotent(idempotent):
    line = PlayedLine()
    script = [("write", None), ("read", b"")]
    if idempotent:
        script += [("sleep", None), ("connect", None), ("write", None), ("read", REPLY)]
        assert answered(line, *script, idempotent=True) == {"n": 1}
        return
    with pytest.raises(errors.ConnectionLost) as raised:
        answered(line, *script)
    assert raised.value.ran == "maybe"
    assert not line.open


def test_descriptors_that_left_with_a_call_cannot_leave_again():
    with pytest.raises(errors.ConnectionLost):
        answered(PlayedLine(), ("write", None), ("read", LOST), idempotent=True, fds=("descriptor",))


def test_a_refusal_that_lies_there_is_what_a_failed_write_means():
    refusal = b"ERR: Permission denied\n"
    with pytest.raises(errors.AccessDenied):
        answered(PlayedLine(), ("write", LOST), ("peek", refusal))


def test_a_deadline_says_in_which_phase_it_came_and_whether_the_call_may_have_run():
    with pytest.raises(errors.DeadlineExceeded) as unsent:
        answered(PlayedLine(), ("write", LATE))
    with pytest.raises(errors.DeadlineExceeded) as sent:
        answered(PlayedLine(), ("write", None), ("read", LATE))
    assert [(e.value.phase, e.value.ran, e.value.timeout_s) for e in (unsent, sent)] == [
        ("write", "no", 10.0),
        ("reply", "maybe", 10.0),
    ]


def test_another_error_of_the_transport_passes_as_it_is():
    broken = errors.IpcError("odd")
    with pytest.raises(errors.IpcError) as raised:
        answered(PlayedLine(), ("write", broken))
    assert raised.value is broken


def test_strays_before_a_call_end_the_connection_and_nothing_is_sent():
    line = PlayedLine()
    line.talk.receive(REPLY)
    with pytest.raises(errors.BadFrame):
        answered(line)
    assert not line.open


@pytest.mark.parametrize(
    ("closed", "inherited", "kind"),
    [
        (True, False, errors.ClientClosed),
        (False, True, errors.InheritedConnection),
        (False, False, errors.ConnectionLost),
    ],
)
def test_a_lost_connection_has_the_name_of_what_this_side_did_to_it(closed, inherited, kind):
    line, client = PlayedLine(), PlayedClient(endpoint=None)

    def lose():
        client._closed, line.inherited = closed, inherited
        return LOST

    with pytest.raises(errors.ConnectionLost) as raised:
        answered(line, ("write", None), ("read", lose), client=client)
    assert type(raised.value) is kind


def test_without_an_endpoint_nothing_is_connected():
    with pytest.raises(errors.ConnectionLost) as raised:
        answered(PlayedLine(connected=False), client=PlayedClient(endpoint=None))
    assert raised.value.ran == "no"


def test_a_client_closed_while_it_connects_keeps_no_connection():
    line, client = PlayedLine(connected=False), PlayedClient()

    def close():
        client._closed = True

    with pytest.raises(errors.ClientClosed) as raised:
        answered(line, ("connect", close), client=client)
    assert raised.value.ran == "no"
    assert not line.open


def test_an_error_reply_is_raised_by_its_kind():
    paused = b'{"parameters":{},"error":"org.daemonry.Control.Paused"}\0'
    line = PlayedLine()
    with pytest.raises(errors.Paused):
        answered(line, ("write", None), ("read", paused))
    assert line.talk.at_rest


# --- a proxy's call, begun without steps ----------------------------------------------------------


class Converted:
    """A method as `Converter` has it; what `read` proves is the test's to say."""

    full_name = CALL.method
    idempotent = False

    def __init__(self, *proved):
        self.proved = proved

    def plain(self, given):
        return given

    def read(self, received):
        return received if received in self.proved else NotImplemented

    def result(self, fields):
        return fields


def typed(line, begun, *script, proved=()):
    line.talk.at_rest = False
    steps = PlayedClient()._typed(line, Converted(*proved), {"n": 1}, begun, Deadline(10.0))
    return play(line, steps, *script)


def test_what_did_not_fit_into_the_socket_is_sent_and_the_reply_awaited():
    line = PlayedLine()
    assert typed(line, StartedCall(b"rest"), ("write", None), ("read", REPLY), proved=[REPLY]) == REPLY
    assert line.talk.at_rest


def test_a_reply_in_pieces_is_proved_once_it_is_whole():
    line = PlayedLine()
    assert typed(line, StartedCall(b"", REPLY[:5]), ("read", REPLY[5:]), proved=[REPLY]) == REPLY


def test_a_reply_in_very_many_pieces_is_joined_on_the_way(monkeypatch):
    monkeypatch.setattr(engine, "_MOST_PIECES", 2)
    pieces = [("read", REPLY[n : n + 1]) for n in range(1, len(REPLY))]
    assert typed(PlayedLine(), StartedCall(b"", REPLY[:1]), *pieces, proved=[REPLY]) == REPLY


def test_a_reply_that_is_not_proved_goes_through_the_state_machine():
    line = PlayedLine()
    assert typed(line, StartedCall(b"", REPLY)) == {"n": 1}
    assert line.talk.at_rest


def test_the_end_of_the_connection_instead_of_a_reply_means_that_it_may_have_run():
    with pytest.raises(errors.ConnectionLost) as raised:
        typed(PlayedLine(), StartedCall(b"rest"), ("write", None), ("read", b""))
    assert raised.value.ran == "maybe"


def test_a_refusal_in_place_of_a_reply_is_told():
    with pytest.raises(errors.AccessDenied):
        typed(PlayedLine(), StartedCall(b"", b"ERR: Permission denied\n"), ("read", b""), ("read", b""))


@pytest.mark.parametrize(
    ("begun", "script", "ran"),
    [
        (lambda: StartedCall(b"rest", None, LOST), [("peek", None)], "no"),
        (lambda: StartedCall(b"", None, LOST), [], "maybe"),
        (lambda: StartedCall(b"rest"), [("write", LOST), ("peek", None)], "no"),
        (lambda: StartedCall(b"rest"), [("write", None), ("read", LOST)], "maybe"),
    ],
)
def test_a_begun_call_that_fails_says_whether_it_ran(begun, script, ran):
    line = PlayedLine()
    again = [("sleep", None), ("connect", None), ("write", None), ("read", REPLY)] if ran == "no" else []
    if again:
        assert typed(line, begun(), *script, *again) == {"n": 1}
        return
    with pytest.raises(errors.ConnectionLost) as raised:
        typed(line, begun(), *script)
    assert raised.value.ran == ran


def test_a_call_that_was_not_begun_is_made_the_whole_way():
    assert typed(PlayedLine(), None, ("write", None), ("read", REPLY)) == {"n": 1}


def test_a_call_by_name_takes_a_whole_reply_that_is_no_error():
    named = engine.NamedMethod(CALL.method, False, fast_varlink)
    assert named.frame({"n": 1}) == b'{"method":"org.example.kit.Go","parameters":{"n":1}}\0'
    assert named.frame({"n": "x" * engine.MAX_FRAME_BYTES}) is None
    assert named.read(REPLY) == {"n": 1}
    error = b'{"parameters":{},"error":"org.example.kit.Busy"}\0'
    for other in (b"", REPLY[:-1], REPLY + REPLY, MORE, error, b"{}}\0"):
        assert named.read(other) is NotImplemented
    assert named.plain({"n": 1}) == named.result({"n": 1}) == {"n": 1}


# --- streams, one-way calls, upgrades -------------------------------------------------------------


def stream(line, *script, client=None):
    steps = (client or PlayedClient())._replies(line, Call(CALL.method, more=True), (), Deadline(10.0), None)
    return play(line, steps, *script)


def test_a_stream_delivers_each_reply_and_an_empty_last_one_is_its_end():
    end = b'{"parameters":{}}\0'
    assert stream(PlayedLine(), ("write", None), ("read", MORE + MORE), ("read", end)) == (
        None,
        [{"n": 1}] * 2,
    )
    assert stream(PlayedLine(), ("write", None), ("read", MORE + REPLY)) == (None, [{"n": 1}] * 2)


def test_a_stream_that_was_sent_is_not_made_again():
    line, client = PlayedLine(), PlayedClient()
    with pytest.raises(errors.ConnectionLost) as raised:
        stream(line, ("write", LOST), ("peek", None), ("sleep", None), ("connect", None), ("write", None),
               ("read", LOST), client=client)  # fmt: skip
    assert raised.value.ran == "maybe"


def test_a_stream_fails_with_its_error_reply():
    failure = b'{"parameters":{},"error":"org.example.kit.Busy"}\0'
    with pytest.raises(errors.CallFailed, match="Busy"):
        stream(PlayedLine(), ("write", None), ("read", MORE + failure))


def test_a_oneway_call_leaves_its_line_at_rest():
    line = PlayedLine()
    steps = PlayedClient()._sent(line, Call(CALL.method, oneway=True), Deadline(10.0))
    assert play(line, steps, ("write", None)) is None
    assert line.talk.at_rest


def test_an_upgraded_connection_is_handed_over_with_what_came_early():
    line = PlayedLine()
    steps = PlayedClient()._upgraded(line, Call(CALL.method, upgrade=True), Deadline(10.0))
    assert play(line, steps, ("write", None), ("read", REPLY + b"early")) == ({"n": 1}, b"early")


# --- a line, and times ----------------------------------------------------------------------------


def test_a_call_that_was_left_in_the_middle_ends_its_connection():
    line = PlayedLine()
    steps = PlayedClient()._answered(line, CALL, Deadline(10.0))
    next(steps)
    steps.close()
    line.finish()
    assert not line.open


def test_a_line_at_rest_or_with_strays_is_kept():
    """Strays are for the next call to see, which is refused with them."""
    line = PlayedLine()
    line.finish()
    assert line.open
    line.talk.receive(REPLY)
    line.talk.at_rest = False
    line.finish()
    assert line.open


class Descriptor:
    closed = False

    def close(self):
        self.closed = True


def test_descriptors_that_nobody_took_are_closed_before_the_next_reply():
    line, taken, left = PlayedLine(), Descriptor(), Descriptor()
    line.received = [taken]
    assert line.take_fds() == [taken]
    line.received = [left]
    answered(line, ("write", None), ("read", REPLY))
    assert (taken.closed, left.closed) == (False, True)


def test_a_line_is_the_drivers_to_perform():
    line = Line()
    for ask in (line.disconnect, line.accept_fds, line.mark, lambda: line.is_open):
        with pytest.raises(NotImplementedError):
            ask()
    for ask in (line.collect, line.hand_over):
        with pytest.raises(NotImplementedError):
            ask(0)


def test_next_to_nothing_is_not_taken_off_a_timeout(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("daemonry.clock.monotonic", lambda: now[0])
    monkeypatch.setattr(engine, "monotonic", lambda: now[0])
    deadline = Deadline(1.0)
    now[0] += 0.001
    assert engine.time_left_s(deadline) == 1.0
    now[0] += 0.499
    assert engine.time_left_s(deadline) == pytest.approx(0.5)
    assert engine.connect_time_s(deadline) == pytest.approx(0.5)
    assert engine.time_left_s(Deadline(None)) is None
    assert engine.connect_time_s(Deadline(None)) == engine.CONNECT_TIMEOUT_S


def test_a_stream_waits_without_end_only_if_told_to():
    assert engine.first_deadline(None, None).timeout_s == engine.CALL_TIMEOUT_S
    assert engine.first_deadline(None, 5.0).timeout_s == 5.0
    assert engine.first_deadline(float("inf"), 5.0).timeout_s is None


def test_a_closed_client_or_one_without_an_endpoint_is_not_pickled():
    client = PlayedClient()
    assert client._packed(None) == (PlayedClient, (None, "there", None))
    with pytest.raises(TypeError, match="knows no endpoint"):
        PlayedClient(endpoint=None)._packed()
    assert client._state(2, 1, 0) == "<PlayedClient of there: 2 connections, 1 in a call, 0 waiting>"
    client._closed = True
    assert client._state(2, 1, 0) == "<PlayedClient of there: closed>"
    with pytest.raises(TypeError, match="is closed"):
        client._packed()

"""Connections: whose turn it is, from both ends, whole and in pieces, to every end."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from daemonry.errors import (
    BadFrame,
    FrameTooLarge,
    LocalProtocolError,
    NotSendable,
    OutOfTurn,
    RemoteProtocolError,
)
from daemonry.wire import connection, fast_varlink, varlink
from daemonry.wire.connection import (
    BROKEN,
    CLOSED,
    CONTINUES,
    ENDED,
    ERROR,
    HALF_CLOSED,
    IDLE,
    IN_CALL,
    IN_ONEWAY,
    IN_STREAM,
    IN_UPGRADE,
    REPLY,
    TRANSITIONS,
    UPGRADED,
    ClientConnection,
    Ended,
    ServerConnection,
)
from daemonry.wire.typed_reply import item_reader, item_run_reader
from daemonry.wire.varlink import FLAGS, PLAIN, AnyCall, AnyReply, Call, Reply

START = Call("org.example.Job.Start", {"n": 1})
WATCH = Call("org.example.Job.Watch", more=True)
NOTE = Call("org.example.Job.Note", oneway=True)
TUNNEL = Call("org.example.Job.Tunnel", upgrade=True)
BUSY = Reply({"by": "x"}, error="org.example.Job.Busy")

BOTH_CODECS = pytest.mark.parametrize("codec", [varlink, fast_varlink], ids=["varlink", "fast_varlink"])


def frames(*messages):
    """Return the bytes of messages that some peer sent."""
    encoded = [
        varlink.encode_call(message) if isinstance(message, AnyCall) else varlink.encode_reply(message)
        for message in messages
    ]
    return b"".join(frame + b"\0" for frame in encoded)


def server_with(*calls, **limits):
    """Return a server that has read the calls, and has none in hand."""
    server = ServerConnection(**limits)
    server.receive_data(frames(*calls))
    return server


def server_in(state):
    """Return a server in one of its states."""
    calls = {
        IN_CALL: START,
        IN_STREAM: WATCH,
        IN_ONEWAY: NOTE,
        IN_UPGRADE: TUNNEL,
        UPGRADED: TUNNEL,
        CLOSED: TUNNEL,
    }
    server = server_with(*([calls[state]] if state in calls else []))
    if state == HALF_CLOSED:
        server.receive_eof()
    if state == BROKEN:
        server.receive_data(b"junk\0")
        with pytest.raises(BadFrame):
            server.next_event()
    else:
        server.next_event()
    if state in {UPGRADED, CLOSED}:
        server.send_reply(Reply() if state == UPGRADED else BUSY)
    assert server.state == state
    return server


def client_in(state):
    """Return a client in one of its states."""
    client = ClientConnection()
    calls = {IN_CALL: START, IN_STREAM: WATCH, IN_UPGRADE: TUNNEL, UPGRADED: TUNNEL, CLOSED: START}
    if state in calls:
        client.send_call(calls[state])
    if state == UPGRADED:
        client.receive_data(frames(Reply()))
        client.next_event()
    if state in {CLOSED, HALF_CLOSED}:
        client.receive_eof()
        client.next_event()
    if state == BROKEN:
        client.receive_data(b"junk\0")
        with pytest.raises(BadFrame):
            client.next_event()
    assert client.state == state
    return client


# --- the table --------------------------------------------------------------------------------


def test_every_state_is_in_the_table_and_can_be_reached():
    reached, left = {IDLE}, [IDLE]
    while left:
        for following in TRANSITIONS[left.pop()].values():
            if following not in reached:
                reached.add(following)
                left.append(following)
    assert reached == set(TRANSITIONS)


def test_every_call_begins_in_a_state_of_its_own():
    begun = [TRANSITIONS[IDLE][mode] for mode in (PLAIN, *FLAGS)]
    assert len(set(begun)) == 4


KINDS = {REPLY: Reply({"x": 1}), CONTINUES: Reply({"x": 1}, continues=True), ERROR: BUSY}
SERVER_STATES = list(TRANSITIONS)
CLIENT_STATES = [state for state in TRANSITIONS if state != IN_ONEWAY]


@pytest.mark.parametrize("state", SERVER_STATES)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_server_may_send_what_the_table_says(state, kind):
    server = server_in(state)
    following = TRANSITIONS[state].get(kind)
    if following is None:
        with pytest.raises(OutOfTurn) as raised:
            server.send_reply(KINDS[kind])
        assert (raised.value.state, raised.value.asked) == (state, kind)
        assert server.state == state
    else:
        sent = server.send_reply(KINDS[kind])
        assert sent == (b"" if state == IN_ONEWAY else frames(KINDS[kind]))
        assert server.state == following


@pytest.mark.parametrize("state", CLIENT_STATES)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_client_takes_what_the_table_says(state, kind):
    client = client_in(state)
    following = TRANSITIONS[state].get(kind)
    client.receive_data(frames(KINDS[kind]))
    if state in {UPGRADED, HALF_CLOSED, CLOSED}:
        assert not isinstance(client.next_event(), AnyReply)
        assert client.state == state
    elif state == BROKEN or following is None:
        with pytest.raises(BadFrame):
            client.next_event()
        assert client.state == BROKEN
    else:
        assert client.next_event() == KINDS[kind]
        assert client.state == following


@pytest.mark.parametrize("state", CLIENT_STATES)
@pytest.mark.parametrize("call", [START, WATCH, NOTE, TUNNEL], ids=lambda call: call.mode)
def test_a_client_may_call_until_an_upgrade_or_an_end(state, call):
    client = client_in(state)
    if state in {IDLE, IN_CALL, IN_STREAM}:
        assert client.send_call(call) == frames(call)
        begun = IDLE if call is NOTE else TRANSITIONS[IDLE][call.mode]
        assert client.state == (begun if state == IDLE else state)
    else:
        with pytest.raises(OutOfTurn) as raised:
            client.send_call(call)
        assert (raised.value.state, client.state) == (state, state)


@pytest.mark.parametrize("state", SERVER_STATES)
def test_only_an_upgraded_connection_hands_over_its_bytes(state):
    for engine in (server_in(state), *([client_in(state)] if state in CLIENT_STATES else [])):
        if state == UPGRADED:
            assert engine.trailing_data() == b""
        else:
            with pytest.raises(OutOfTurn, match=f"no trailing data while the connection is {state}"):
                engine.trailing_data()


def test_a_refusal_survives_pickling_with_its_fields():
    error = pickle.loads(pickle.dumps(OutOfTurn(IDLE, REPLY)))
    assert isinstance(error, LocalProtocolError)
    assert (str(error), error.state, error.asked) == ("no reply while the connection is idle", IDLE, REPLY)


def test_a_connection_says_where_it_is():
    server = server_in(IN_CALL)
    server.receive_data(b"{")
    assert repr(server) == "<ServerConnection in call, 1 bytes waiting>"


# --- the server -------------------------------------------------------------------------------


@BOTH_CODECS
def test_pipelined_calls_are_handed_out_one_by_one_and_answered_in_order(codec):
    server = ServerConnection(codec)
    calls = [Call("org.example.Job.Start", {"n": n}) for n in range(3)]
    server.receive_data(frames(*calls))
    answers = b""
    for call in calls:
        assert server.next_event() == call
        assert server.next_event() is None
        answers += server.send_reply(Reply(call.parameters))
    assert server.next_event() is None
    assert answers == frames(*(Reply({"n": n}) for n in range(3)))


def test_bytes_that_come_while_a_call_is_in_hand_wait_for_their_turn():
    server = server_in(IN_CALL)
    assert server.next_event(frames(WATCH)) is None
    server.send_reply(Reply())
    assert server.next_event(frames(START)) == WATCH


def test_calls_that_are_answered_at_once_are_taken_in_their_order():
    """As by `next_event` and `send_reply` for each, up to the first that is not."""
    server = ServerConnection()
    answer = frames(Reply({"x": 1}))
    sent = frames(START, START, WATCH, START)
    other = object()
    taken = server.answer_each(sent, lambda call: answer if call == frames(START) else other, 1000, {})
    assert taken == ([answer, answer], other)
    assert server.next_event() == WATCH
    # That one is in hand now: what comes behind it waits.
    assert server.answer_each(frames(START), lambda _: answer, 1000, {}) == ([], None)
    server.send_reply(Reply())
    # No further one beyond the limit.
    assert server.answer_each(b"", lambda _: answer, 0, {}) == ([answer], None)
    assert server.next_event() == START


def test_an_idle_connection_says_what_would_be_its_next_event():
    server = ServerConnection(max_frame_bytes=100)
    assert server.is_idle_for(100)
    assert not server.is_idle_for(101)
    server.receive_data(b"{")
    assert not server.is_idle_for(0)
    assert not server_in(IN_CALL).is_idle_for(0)
    ended = ServerConnection()
    ended.receive_eof()
    assert not ended.is_idle_for(0)


def test_what_waits_behind_a_call_is_told_so_that_reading_can_stop():
    server = server_with(START, START)
    assert server.buffered_bytes == 2 * len(frames(START))
    server.next_event()
    assert server.buffered_bytes == len(frames(START))


def test_a_stream_continues_until_its_last_reply():
    server = server_with(WATCH, START)
    assert server.next_event() == WATCH
    for n in range(3):
        assert server.send_reply(Reply({"n": n}, continues=True)) == frames(Reply({"n": n}, continues=True))
        assert server.next_event() is None
    server.send_reply(Reply({"n": 3}))
    assert server.next_event() == START


@pytest.mark.parametrize("answer", [Reply({"x": 1}), BUSY, Reply({"x": float("nan")})])
def test_a_oneway_call_is_never_answered_whatever_its_handler_gives(answer):
    """python-varlink sends an error for one, and every later reply goes to the wrong call."""
    server = server_with(NOTE, START)
    assert server.next_event() == NOTE
    assert server.next_event() is None
    assert server.send_reply(answer) == b""
    assert server.next_event() == START
    assert server.send_reply(Reply({"n": 1})) == frames(Reply({"n": 1}))


def test_a_reply_that_cannot_be_sent_leaves_the_call_in_hand():
    """So that the server can say what went wrong, instead of leaving its caller to wait."""
    server = server_in(IN_CALL)
    with pytest.raises(NotSendable):
        server.send_reply(Reply({"x": float("nan")}))
    assert server.state == IN_CALL
    assert server.send_reply(BUSY) == frames(BUSY)


def test_neither_side_sends_a_frame_that_the_other_would_refuse():
    server = server_with(START, max_frame_bytes=100)
    server.next_event()
    with pytest.raises(NotSendable, match="longer than 100 bytes"):
        server.send_reply(Reply({"x": "y" * 100}))
    assert server.state == IN_CALL
    client = ClientConnection(max_frame_bytes=100)
    with pytest.raises(NotSendable, match="longer than 100 bytes"):
        client.send_call(Call("a.b.C", {"x": "y" * 100}))
    assert (client.state, client.unanswered) == (IDLE, ())


def test_a_half_closed_peer_is_answered():
    """`nc -N` closes its side behind the request; so do scripts."""
    server = server_with(START, WATCH)
    server.receive_eof()
    assert server.next_event() == START
    assert server.send_reply(Reply()) != b""
    assert server.next_event() == WATCH
    server.send_reply(Reply(continues=True))
    assert server.next_event() is None
    server.send_reply(Reply())
    assert server.next_event() == Ended()
    assert server.state == HALF_CLOSED


@pytest.mark.parametrize("rest", [b"", b"\n", b" \r\n\t"])
def test_blanks_behind_the_last_frame_are_no_frame(rest):
    """What a person sends with `echo -e` ends in a line feed."""
    server = server_with(START)
    server.receive_data(rest)
    server.next_event()
    server.send_reply(Reply())
    server.receive_eof()
    assert server.next_event() == Ended()


@pytest.mark.parametrize("cut", range(1, len(frames(START))))
def test_half_a_call_is_never_handed_out(cut):
    server = ServerConnection()
    server.receive_data(frames(START)[:cut])
    assert server.next_event() is None
    server.receive_eof()
    for _ in range(2):
        with pytest.raises(BadFrame, match="the stream ends inside it"):
            server.next_event()
    assert server.state == BROKEN


@pytest.mark.parametrize("junk", [b"\0", b"junk\0", b"[]\0", b'{"method":"a.b.C","more":1}\0', b"{}\0"])
def test_a_broken_frame_is_told_again_and_again_and_answered_once(junk):
    server = server_with(START)
    server.receive_data(junk + frames(START))
    assert server.next_event() == START
    server.send_reply(Reply())
    for _ in range(3):
        with pytest.raises(BadFrame):
            server.next_event()
    assert server.state == BROKEN
    server.receive_data(frames(START))
    assert server.buffered_bytes == 0
    with pytest.raises(OutOfTurn):
        server.send_reply(Reply())
    assert server.send_reply(BUSY) == frames(BUSY)
    assert server.state == CLOSED
    with pytest.raises(OutOfTurn):
        server.send_reply(BUSY)
    with pytest.raises(BadFrame):
        server.next_event()


@pytest.mark.parametrize("role", [ServerConnection, ClientConnection])
def test_a_broken_connection_does_not_hold_on_to_the_frame_that_broke_it(role):
    """An error knows its trace, and that the frame: 16 MiB for every hostile peer, until collected."""
    engine = role()
    engine.receive_data(b"junk\0")
    errors = []
    for _ in range(2):
        with pytest.raises(BadFrame) as raised:
            engine.next_event()
        errors.append(raised.value)
    assert engine._outcome.__traceback__ is None
    assert engine._outcome.__context__ is None
    assert len({id(error) for error in (*errors, engine._outcome)}) == 3
    assert len({str(error) for error in errors}) == 1


@pytest.mark.parametrize("ending", [b"", b"\0"])
def test_a_frame_beyond_the_limit_is_refused_from_what_has_arrived(ending):
    server = server_with(START, max_frame_bytes=100)
    assert server.next_event() == START
    server.receive_data(b"x" * 101 + ending)
    assert server.next_event() is None
    assert server.send_reply(Reply()) == frames(Reply())
    with pytest.raises(FrameTooLarge) as raised:
        server.next_event()
    assert raised.value.limit_bytes == 100
    server.receive_data(b"x" * 1000)
    assert server.buffered_bytes == 0
    assert server.send_reply(BUSY) == frames(BUSY)


# --- upgrades ---------------------------------------------------------------------------------

# Bytes of another protocol that would be calls if anybody read them as frames.
RAW = b"\0\0junk\0" + frames(START) + b"more"


@BOTH_CODECS
def test_after_the_reply_to_an_upgrade_the_rest_is_the_other_protocols(codec):
    server = ServerConnection(codec)
    server.receive_data(frames(TUNNEL) + RAW)
    assert server.next_event() == TUNNEL
    assert server.next_event() is None
    assert server.send_reply(Reply({"ok": True})) == frames(Reply({"ok": True}))
    assert server.next_event() is None
    server.receive_data(b"!")
    assert server.trailing_data() == RAW + b"!"
    assert server.trailing_data() == b""


def test_bytes_behind_an_upgrade_are_no_frame_of_any_length():
    server = server_with(START, TUNNEL, max_frame_bytes=100)
    server.receive_data(b"x" * 1000)
    server.next_event()
    server.send_reply(Reply())
    assert server.next_event() == TUNNEL
    server.receive_data(b"y" * 1000)
    assert server.next_event() is None
    server.send_reply(Reply())
    assert server.trailing_data() == b"x" * 1000 + b"y" * 1000


def test_an_upgrade_that_is_refused_closes_and_runs_nothing_behind_it():
    """What came behind the call may be meant for a protocol that nobody here speaks."""
    server = ServerConnection()
    server.receive_data(frames(TUNNEL, START))
    server.next_event()
    assert server.send_reply(BUSY) == frames(BUSY)
    assert server.state == CLOSED
    server.receive_data(frames(START))
    assert (server.next_event(), server.buffered_bytes) == (Ended(), 0)


def test_a_client_is_handed_what_came_behind_the_reply_to_its_upgrade():
    client = client_in(IN_UPGRADE)
    client.receive_data(frames(Reply({"ok": True})) + RAW)
    assert client.next_event() == Reply({"ok": True})
    assert client.next_event() is None
    assert (client.trailing_data(), client.unanswered) == (RAW, ())


def test_a_client_whose_upgrade_is_refused_is_at_its_end():
    client = client_in(IN_UPGRADE)
    client.receive_data(frames(BUSY) + RAW)
    assert client.next_event() == BUSY
    assert client.next_event() == Ended()
    assert (client.state, client.buffered_bytes) == (CLOSED, 0)


def test_nothing_is_called_behind_an_upgrade_that_waits_for_its_turn():
    client = ClientConnection()
    client.send_call(START)
    client.send_call(TUNNEL)
    with pytest.raises(OutOfTurn, match="in upgrade"):
        client.send_call(START)
    assert client.state == IN_CALL
    client.receive_data(frames(Reply(), Reply()))
    assert (client.next_event(), client.state) == (Reply(), IN_UPGRADE)
    assert (client.next_event(), client.state) == (Reply(), UPGRADED)


# --- the client -------------------------------------------------------------------------------


@BOTH_CODECS
def test_replies_belong_to_the_calls_in_their_order(codec):
    client = ClientConnection(codec)
    sent = b"".join(client.send_call(call) for call in (START, NOTE, WATCH, START))
    assert sent == frames(START, NOTE, WATCH, START)
    assert client.unanswered == (START, WATCH, START)
    client.receive_data(frames(Reply({"x": 1}), Reply({"n": 1}, continues=True), Reply({"n": 2}), BUSY))
    assert (client.next_event(), client.unanswered) == (Reply({"x": 1}), (WATCH, START))
    assert (client.next_event(), client.unanswered) == (Reply({"n": 1}, continues=True), (WATCH, START))
    assert (client.next_event(), client.unanswered) == (Reply({"n": 2}), (START,))
    assert (client.next_event(), client.unanswered) == (BUSY, ())
    assert client.next_event() is None
    assert client.state == IDLE


def test_calls_may_follow_while_a_stream_runs():
    client = client_in(IN_STREAM)
    client.send_call(START)
    client.receive_data(frames(Reply(continues=True), BUSY, Reply({"x": 1})))
    events = [client.next_event() for _ in range(3)]
    assert events == [Reply(continues=True), BUSY, Reply({"x": 1})]


@pytest.mark.parametrize("state", [IDLE, IN_CALL, IN_STREAM, IN_UPGRADE])
def test_the_end_of_the_stream_says_which_calls_may_have_run(state):
    client = client_in(state)
    waiting = client.unanswered
    if state in {IN_CALL, IN_STREAM}:
        client.send_call(START)
        client.send_call(NOTE)
        waiting += (START,)
    client.receive_eof()
    assert client.next_event() == Ended(waiting)
    assert client.unanswered == waiting
    assert client.state == TRANSITIONS[state][ENDED]


@pytest.mark.parametrize("make", [server_in, client_in])
@pytest.mark.parametrize("state", [IDLE, CLOSED])
def test_the_end_is_told_once_so_that_a_loop_over_events_ends(make, state):
    engine = make(state)
    engine.receive_eof()
    assert len(events(engine)) <= 1
    engine.receive_eof()
    assert events(engine) == []
    assert engine.state == (HALF_CLOSED if state == IDLE else CLOSED)


def test_replies_that_came_before_the_end_are_still_given():
    client = ClientConnection()
    client.send_call(START)
    client.send_call(START)
    client.receive_data(frames(Reply({"x": 1})))
    client.receive_eof()
    assert client.next_event() == Reply({"x": 1})
    assert client.next_event() == Ended((START,))


def test_a_reply_cut_in_the_middle_leaves_its_call_in_doubt():
    client = client_in(IN_CALL)
    client.receive_data(frames(Reply())[:-1])
    client.receive_eof()
    with pytest.raises(BadFrame, match="ends inside"):
        client.next_event()
    assert client.unanswered == (START,)


def test_a_reply_that_no_call_asked_for_is_the_peers_fault():
    client = client_in(IN_CALL)
    client.receive_data(frames(Reply(), Reply()))
    assert client.next_event() == Reply()
    with pytest.raises(BadFrame, match="no call asked for this reply"):
        client.next_event()


def test_a_plain_call_is_not_answered_by_a_stream():
    client = client_in(IN_CALL)
    client.receive_data(frames(Reply(continues=True)))
    with pytest.raises(BadFrame, match="no call asked for this reply that continues"):
        client.next_event()
    assert client.unanswered == (START,)


def test_a_client_refuses_a_reply_beyond_its_limit():
    client = ClientConnection(max_frame_bytes=100)
    client.send_call(START)
    client.receive_data(b"x" * 101)
    for _ in range(2):
        with pytest.raises(FrameTooLarge):
            client.next_event()


# --- both ends joined -------------------------------------------------------------------------

CALLS = st.lists(st.sampled_from([START, WATCH, NOTE]), max_size=6)
CUTS = st.lists(st.integers(1, 40), max_size=8)


def pieces(data, cuts):
    """Return `data` in pieces of the given lengths, and the rest in one."""
    parts = []
    for length in cuts:
        parts.append(data[:length])
        data = data[length:]
    return [*parts, data]


def answers(call):
    if call.mode == varlink.MORE:
        return [Reply({"n": 0}, continues=True), Reply({"n": 1}, continues=True), Reply({"n": 2})]
    return [Reply(call.parameters)]


def serve(server):
    """Answer all that has come; return the calls and the bytes."""
    calls, sent = [], b""
    while isinstance(event := server.next_event(), AnyCall):
        calls.append(event)
        sent += b"".join(server.send_reply(reply) for reply in answers(event))
    return calls, sent


def events(engine):
    found = []
    while (event := engine.next_event()) is not None:
        found.append(event)
        assert len(found) < 10_000, "an event that is told for ever"
    return found


@given(CALLS, CUTS, CUTS, st.sampled_from([varlink, fast_varlink]))
def test_client_and_server_understand_each_other_however_their_bytes_are_cut(calls, there, back, codec):
    client, server = ClientConnection(codec), ServerConnection(codec)
    sent = b"".join(client.send_call(call) for call in calls)
    served, answered = [], b""
    for piece in pieces(sent, there):
        server.receive_data(piece)
        more_calls, more_bytes = serve(server)
        served += more_calls
        answered += more_bytes
    replies = []
    for piece in pieces(answered, back):
        client.receive_data(piece)
        replies += events(client)
    assert served == calls
    assert replies == [reply for call in calls if call is not NOTE for reply in answers(call)]
    assert (client.state, server.state, client.unanswered) == (IDLE, IDLE, ())


STREAMS = st.lists(
    st.sampled_from(
        [frames(START), frames(WATCH), frames(NOTE), frames(TUNNEL), frames(Reply()), frames(BUSY)]
    )
    | st.sampled_from([frames(Reply(continues=True)), b"\0", b"{}\0", b"x" * 200, b"\n"])
    | st.binary(max_size=5),
    max_size=6,
).map(b"".join)


def told(engine, stream, cuts, *, in_one_step=False):
    """Return all that an engine tells of a stream in these pieces, to its end."""
    history = []
    try:
        for piece in pieces(stream, cuts):
            if not in_one_step:
                engine.receive_data(piece)
            event = engine.next_event(piece if in_one_step else b"")
            while event is not None:
                history.append(event)
                if isinstance(event, AnyCall):
                    history += [engine.send_reply(reply) for reply in answers(event)]
                event = engine.next_event()
        engine.receive_eof()
        history.append(engine.next_event())
    except RemoteProtocolError as error:
        history.append(str(error))
    history.append(engine.trailing_data() if engine.state == UPGRADED else engine.state)
    return history


def calling():
    client = ClientConnection(max_frame_bytes=150)
    for call in (START, WATCH, TUNNEL):
        client.send_call(call)
    return client


@given(STREAMS, CUTS)
@pytest.mark.parametrize(
    "begin", [lambda: ServerConnection(max_frame_bytes=150), calling], ids=["server", "client"]
)
def test_what_a_stream_means_does_not_depend_on_its_cut(begin, stream, cuts):
    """Whole, cut somewhere, and byte by byte; whatever is wrong with it."""
    whole = told(begin(), stream, [])
    assert told(begin(), stream, cuts) == whole
    assert told(begin(), stream, [1] * len(stream)) == whole
    assert told(begin(), stream, cuts, in_one_step=True) == whole


ITEMS = [
    *(frames(Reply({"n": n}, continues=True)) for n in (1, 2, 300)),
    frames(Reply({"n": "a\nb"}, continues=True)),
    frames(Reply({"n": 1, "m": 2}, continues=True)),
    b'{"parameters":{"n":4},"continues":false}\0',
    frames(Reply({"n": 3})),
    frames(BUSY),
    b'{"parameters":{"n":1,"n":2},"continues":true}\0',
    b"junk\0",
    b'{"parameters":{"n":1},"continues"',
]


def results(stream, cuts, *, together, most=150):
    """Return what a client makes of a stream: each reply alone, or together those that can be."""
    client = ClientConnection(fast_varlink, max_frame_bytes=most)
    for call in (WATCH, WATCH, START):
        client.send_call(call)
    read, read_run = item_reader(int, "n"), item_run_reader(int, "n")
    found = []
    try:
        for piece in pieces(stream, cuts):
            client.receive_data(piece)
            while True:
                if together:
                    found += client.read_each(read, read_run)
                event = client.next_event()
                if event is None:
                    break
                found.append(event.parameters.get("n", event.error))
    except RemoteProtocolError as error:
        found.append(str(error))
    return found, client.state, client.buffered_bytes, client.unanswered


@pytest.mark.parametrize("most", [150, 1000])
@given(st.lists(st.sampled_from([*ITEMS, *ITEMS[:3] * 5]), max_size=12).map(b"".join), CUTS)
def test_replies_that_are_read_together_are_those_that_come_one_by_one(most, stream, cuts):
    expected = results(stream, cuts, together=False, most=most)
    assert results(stream, cuts, together=True, most=most) == expected
    assert results(stream, [], together=True, most=most) == results(stream, [], together=False, most=most)


def test_many_replies_that_continue_are_read_in_one_step():
    client = ClientConnection(fast_varlink)
    assert client.read_each(lambda frame: frame) == []  # nothing was asked for
    client.send_call(WATCH)
    assert client.read_each(lambda frame: frame) == []  # nothing came, and there is no step for many
    asked = []

    def read_run(received, count):
        asked.append((received, count))
        return [5] * count

    items = frames(*(Reply({"n": n}, continues=True) for n in range(6)))
    client.receive_data(items + frames(Reply({"n": 6})) + b"{")
    assert client.read_each(lambda frame: NotImplemented, read_run) == [5] * 6
    assert asked == [(items, 6)]
    assert client.next_event() == Reply({"n": 6})


@pytest.mark.parametrize("calls", [[START], [START, WATCH, NOTE, START], [START, TUNNEL]])
def test_trailing_bytes_change_nothing_before_them(calls):
    stream = frames(*calls)
    for trailing in (b"", b"{", b"\0", frames(START), b"x" * 200):
        server = ServerConnection()
        server.receive_data(stream + trailing)
        for call in calls:
            assert server.next_event() == call
            for reply in answers(call):
                server.send_reply(reply)


class Traffic(RuleBasedStateMachine):
    """Both ends do whatever they may, in any order, and never disagree about whose turn it is."""

    def __init__(self):
        super().__init__()
        self.client, self.server = ClientConnection(), ServerConnection()
        self.to_server, self.to_client = b"", b""
        self.in_hand = None
        self.calls, self.served, self.owed = [], [], []

    @precondition(lambda self: self.client.state in {IDLE, IN_CALL, IN_STREAM})
    @rule(call=st.sampled_from([START, WATCH, NOTE]))
    def call(self, call):
        self.to_server += self.client.send_call(call)
        self.calls.append(call)

    @rule(length=st.integers(1, 80))
    def carry_there(self, length):
        self.server.receive_data(self.to_server[:length])
        self.to_server = self.to_server[length:]

    @rule(length=st.integers(1, 80))
    def carry_back(self, length):
        self.client.receive_data(self.to_client[:length])
        self.to_client = self.to_client[length:]

    @precondition(lambda self: self.in_hand is None)
    @rule()
    def take_call(self):
        self.in_hand = self.server.next_event()
        if self.in_hand is not None:
            self.served.append(self.in_hand)
            assert self.served == self.calls[: len(self.served)]

    @precondition(lambda self: self.in_hand is not None)
    @rule(reply=st.sampled_from([Reply({"x": 1}), BUSY]))
    def answer(self, reply):
        self.to_client += self.server.send_reply(reply)
        if self.in_hand is not NOTE and self.in_hand != NOTE:
            self.owed.append(reply)
        self.in_hand = None

    @precondition(lambda self: self.in_hand is not None and self.in_hand.more)
    @rule()
    def go_on(self):
        self.to_client += self.server.send_reply(Reply(continues=True))
        self.owed.append(Reply(continues=True))

    @rule()
    def take_reply(self):
        reply = self.client.next_event()
        assert reply is None or reply == self.owed.pop(0)

    def teardown(self):
        self.client.receive_data(self.to_client)
        assert events(self.client) == self.owed
        answered = len([call for call in self.served if call != NOTE]) - (self.in_hand not in (None, NOTE))
        assert self.client.unanswered == tuple([call for call in self.calls if call != NOTE][answered:])


test_any_traffic_keeps_its_order = Traffic.TestCase


# --- cost -------------------------------------------------------------------------------------


def test_a_thousand_calls_sent_ahead_are_matched_without_walking_them():
    """The queue is taken from its front in constant time."""
    client = ClientConnection()
    assert type(client._waiting).__name__ == "deque"
    for _ in range(1000):
        client.send_call(START)
    client.receive_data(frames(*[Reply()] * 1000))
    assert len(events(client)) == 1000
    assert client.unanswered == ()


def test_an_idle_server_connection_is_small():
    """Ten thousand of them must not cost megabytes: no buffer, no queue, no dict of attributes."""
    server = ServerConnection()
    assert not hasattr(server, "__dict__")
    assert not hasattr(server._framer, "__dict__")
    assert connection.Framer is type(server._framer)


# --- as slow as it can come ---------------------------------------------------------------------


@pytest.mark.slow
def test_the_longest_frame_in_pieces_of_a_byte_takes_linear_time():
    """16 MiB to the last byte, by the step that a server takes for each read; a quarter of it beside that."""

    def seconds(size_bytes):
        head, tail = b'{"method":"org.example.Job.Start","parameters":{"text":"', b'"}}'
        frame = head + b"x" * (size_bytes - len(head) - len(tail)) + tail
        server = ServerConnection(fast_varlink)
        step = server.next_event
        began_s = time.process_time()
        for at in range(size_bytes):
            assert step(frame[at : at + 1]) is None
        call = step(b"\0")
        took_s = time.process_time() - began_s
        assert call.parameters == {"text": frame[len(head) : -len(tail)].decode()}
        return took_s

    quarter_s = min(seconds(varlink.MAX_FRAME_BYTES // 4) for _ in range(2))
    # Were each byte moved or looked at again, it would be sixteen times as long, and hours besides.
    assert seconds(varlink.MAX_FRAME_BYTES) < 8 * quarter_s


@pytest.mark.slow
def test_one_byte_more_than_the_longest_frame_is_refused_at_that_byte():
    server = ServerConnection(fast_varlink)
    for _ in range(varlink.MAX_FRAME_BYTES):
        assert server.next_event(b" ") is None
    with pytest.raises(FrameTooLarge):
        server.next_event(b" ")
    assert server.buffered_bytes == 0

"""The native part answers a server's ready calls; what is unusual is Python's, and nothing is lost."""

import gc
import select
import socket
import sys
import weakref

import pytest

from daemonry.limits import READ_BYTES

HEAD, CALL = b'{"method":"a.B","parameters":', b'{"method":"a.B","parameters":{}}\0'
REPLY = b'{"parameters":{}}\0'


class Method:
    """What the native part is given of a method; notes what it hands back."""

    def __init__(self, calls, *, gate=lambda: None, write=lambda result: result, most_bytes=100):
        self.watchers, self.handed, self.result = set(), [], REPLY
        self.ready = calls.Ready(
            self.slow, gate, self.watchers, self.function, write, self.judge, self.failed, most_bytes
        )

    def function(self, *given):
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result or b"".join((b"of ", *given))

    def slow(self, *fields):
        self.handed.append(("slow", *fields))
        return "slow"

    def judge(self, result):
        self.handed.append(("judge", result))
        return "judge"

    def failed(self, error):
        self.handed.append(("failed", error))
        return "failed"


def test_a_call_is_counted_and_answered(calls):
    method = Method(calls)
    assert method.ready() == REPLY
    method.result = b""
    assert method.ready((b"one",)) == b"of one"
    assert method.handed == []
    assert method.ready.begun == 2


def test_who_is_always_open_is_not_counted(calls):
    method = Method(calls, gate=None)
    assert method.ready() == REPLY
    assert method.ready.begun == 0


@pytest.mark.parametrize("given", [([b"one"],), (None,), (1, 2)])
def test_other_arguments_are_left_to_python(calls, given):
    method = Method(calls)
    assert method.ready(*given) == "slow"
    assert method.handed == [("slow", *given)]
    assert method.ready.begun == 0


def test_while_somebody_watches_or_work_is_not_taken_nothing_runs(calls):
    method = Method(calls, gate=lambda: "paused")
    assert method.ready() == "slow"
    method = Method(calls)
    method.watchers.add(1)
    assert method.ready((b"x",)) == "slow"
    assert method.handed == [("slow", (b"x",))]
    assert method.ready.begun == 0


@pytest.mark.parametrize(
    "write", [None, lambda _result: None, lambda _result: b"x" * 101, lambda _result: 1 / 0]
)
def test_what_cannot_be_written_is_judged(calls, write):
    method = Method(calls, write=write)
    assert method.ready() == "judge"
    assert method.handed == [("judge", REPLY)]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_handler_raises_is_passed_on_with_its_trace(calls, error):
    method = Method(calls)
    method.result = error
    assert method.ready() == "failed"
    assert method.handed == [("failed", error)]
    assert error.__traceback__.tb_frame.f_code.co_name == "function"


def test_a_gate_that_raises_raises(calls):
    with pytest.raises(ZeroDivisionError):
        Method(calls, gate=lambda: 1 // 0).ready()


def test_a_longer_reply_may_be_allowed_later(calls):
    method = Method(calls, most_bytes=1)
    assert method.ready() == "judge"
    method.ready.most_bytes = len(REPLY)
    assert method.ready() == REPLY


def table_of(calls, method, read=lambda _message: NotImplemented):
    return calls.Table(
        {CALL: method.ready}, {HEAD: (read, method.ready)}, b',"parameters":', 512, lambda message: message
    )


def test_a_call_is_found_by_its_frame_or_by_how_it_begins(calls):
    method = Method(calls)
    assert table_of(calls, method).answer(CALL) == REPLY
    table = table_of(calls, method, lambda message: (message[-3:],))
    method.result = b""
    assert table.answer(HEAD + b'{"a":1}}\0') == b"of }}\0"


@pytest.mark.parametrize(
    "message", [b"", b"\0", CALL + CALL, HEAD, CALL[:-1], b"x" * 600, HEAD + b'{"a":1}}\0', bytearray(CALL)]
)
@pytest.mark.parametrize(
    "read", [lambda _message: NotImplemented, lambda _message: 1 / 0, lambda _message: None]
)
def test_every_other_message_is_left_to_python(calls, message, read):
    method = Method(calls)
    assert table_of(calls, method, read).answer(message) is message
    assert method.handed == []
    assert method.ready.begun == 0


@pytest.fixture
def line_of(calls, pair):
    """A function that returns a line over the first of two sockets, and what it hands over."""

    def line_of(answer):
        near, _ = pair

        class Line(calls.Line):
            def goes_on(self, data, reply, sent):
                handed.append((data, reply, sent))

        handed = []
        return Line(near.fileno(), {CALL: lambda: REPLY}, 512, answer, READ_BYTES), handed

    return line_of


def test_a_line_reads_answers_and_sends(line_of, pair):
    line, handed = line_of(lambda data: data[:1])
    line.speaks()
    assert line.activity == 0  # nothing was there
    for sent, reply in ((CALL, REPLY), (b"other", b"o"), (b"x" * 40_000, b"x")):
        pair[1].sendall(sent)
        line.speaks()
        assert pair[1].recv(1000) == reply
    assert handed == []
    assert line.activity == 3
    assert line.here


def test_a_line_reads_no_more_at_once_than_it_may(line_of, pair):
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    pair[1].sendall(b"x" * (READ_BYTES + 10))
    read = []
    line, _ = line_of(lambda data: read.append(len(data)) or b"r")
    line.speaks()
    line.speaks()
    assert sum(read) == READ_BYTES + 10
    assert read[0] <= READ_BYTES


def test_the_end_and_other_replies_are_handed_over(line_of, pair):
    line, handed = line_of(lambda _data: None)
    pair[1].sendall(b"other")
    line.speaks()
    pair[1].close()
    line.speaks()
    assert handed == [(b"other", None, 0), (b"", None, 0)]


def test_a_reply_that_does_not_fit_is_handed_over_with_how_much_was_sent(line_of, pair):
    reply = b"r" * (4 << 20)
    line, handed = line_of(lambda _data: reply)
    pair[1].sendall(b"other")
    line.speaks()
    (data, left, sent), *more = handed
    assert (data, left, more) == (b"other", reply, [])
    assert 0 < sent < len(reply)


def test_a_client_that_left_is_handed_over(line_of, pair):
    line, handed = line_of(lambda _data: pair[1].close() or b"r")
    pair[1].sendall(b"other")
    line.speaks()
    assert handed == [(b"other", b"r", -1)]


def test_nothing_is_sent_on_a_socket_that_a_handler_gave_away(line_of, pair):
    line, handed = line_of(lambda _data: setattr(line, "here", False) or b"r")
    pair[1].sendall(b"other")
    line.speaks()
    assert handed == [(b"other", b"r", 0)]
    pair[1].sendall(b"more")
    line.speaks()  # nor read
    assert len(handed) == 1
    assert pair[0].recv(10) == b"more"


def test_what_answers_may_raise(line_of, pair):
    line, handed = line_of(lambda _data: 1 // 0)
    pair[1].sendall(b"other")
    with pytest.raises(ZeroDivisionError):
        line.speaks()
    assert handed == []


def test_those_that_have_something_are_heard_whatever_the_others_do(calls):
    heard, failed, callbacks = [], [], {}
    pairs = [socket.socketpair() for _ in range(70)]
    with select.epoll() as epoll:
        for number, (near, far) in enumerate(pairs):
            epoll.register(near.fileno(), select.EPOLLIN)
            far.sendall(b"x")
            callbacks[near.fileno()] = lambda number=number: heard.append(number) or (number == 1 and 1 // 0)
        del callbacks[pairs[2][0].fileno()]
        calls.hear(epoll.fileno(), callbacks, failed.append)
        assert len(heard) == 63  # of the 64 of one turn
        assert [type(one) for one in failed] == [ZeroDivisionError]
        callbacks.update(dict.fromkeys(callbacks, sys.exit))
        with pytest.raises(SystemExit):
            calls.hear(epoll.fileno(), callbacks, failed.append)
    with pytest.raises(OSError, match="Bad file"):
        calls.hear(-1, callbacks, failed.append)
    for two in pairs:
        for one in two:
            one.close()


@pytest.mark.parametrize("name", ["Ready", "Table", "Line"])
def test_none_is_used_before_it_is_made_or_made_twice(calls, name):
    kind = getattr(calls, name)
    bare = kind.__new__(kind)
    use = {"Ready": bare, "Table": lambda: bare.answer(CALL), "Line": lambda: bare.speaks()}[name]  # noqa: PLW0108  # of Line alone
    with pytest.raises(TypeError):
        use()
    with pytest.raises(TypeError):
        kind(1)
    made = Method(calls)
    given = {
        "Ready": (made.slow, None, set(), made.function, None, made.judge, made.failed, 1),
        "Table": ({}, {}, b"x", 1, made.slow),
        "Line": (-1, {}, 1, made.slow, READ_BYTES),
    }[name]
    once = kind(*given)
    with pytest.raises(TypeError, match="once"):
        once.__init__(*given)


def test_cycles_through_them_end(calls):
    method = Method(calls)
    method.table = table_of(calls, method)
    method.line = type("Line", (calls.Line,), {})(-1, {}, 1, method.table.answer, READ_BYTES)
    method.line.of = method
    there = weakref.ref(method)
    del method
    gc.collect()
    assert there() is None

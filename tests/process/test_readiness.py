"""What a starting daemon tells over a pipe: stages, then ready or failed, and silence means death."""

import os
import select
import selectors
import threading

import pytest

from daemonry.clock import Deadline
from daemonry.process.readiness import Reporter, messages


@pytest.fixture
def pipe():
    """(the starter's end, the daemon's end); whoever still has one closes it."""
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass  # the reporter, or the test, has closed it


def told(fd, timeout_s=10.0):
    return list(messages(fd, Deadline(timeout_s)))


def test_a_start_is_told_stage_by_stage(pipe):
    """Hard case 6."""
    reporter = Reporter(pipe[1])
    assert reporter.stage == "spawn"
    reporter.enter("config")
    reporter.enter("bind")
    assert reporter.stage == "bind"
    reporter.ready({"pid": 42})
    assert told(pipe[0]) == [{"stage": "config"}, {"stage": "bind"}, {"ready": {"pid": 42}}]


def test_a_failure_is_told_with_its_stage(pipe):
    reporter = Reporter(pipe[1])
    reporter.enter("config")
    reporter.failed("x.toml: line 3\nis wrong")
    assert told(pipe[0])[-1] == {"failed": {"stage": "config", "error": "x.toml: line 3\nis wrong"}}


def test_a_failure_says_whether_anybody_was_told(pipe):
    assert Reporter(pipe[1]).failed("wrong")
    assert not Reporter(None).failed("wrong")
    far, near = os.pipe()
    os.close(far)
    assert not Reporter(near).failed("wrong")


def test_a_reason_that_is_not_utf8_is_told_all_the_same(pipe):
    """A path of the user's may have any bytes in it; reporting must not fail in its place."""
    Reporter(pipe[1]).failed("/home/caf\udce9: is not a directory")
    assert told(pipe[0]) == [{"failed": {"stage": "spawn", "error": "/home/caf\\udce9: is not a directory"}}]


def test_a_death_is_the_end_without_a_last_word(pipe):
    reporter = Reporter(pipe[1])
    reporter.enter("setup")
    os.close(pipe[1])
    assert told(pipe[0]) == [{"stage": "setup"}]


def test_the_pipe_ends_with_the_last_word(pipe):
    """Who waits for the end must not wait for the daemon's."""
    reporter = Reporter(pipe[1])
    reporter.ready({})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe[1])
    reporter.enter("too late")
    reporter.failed("too late")
    assert told(pipe[0]) == [{"ready": {}}]


def test_the_wait_ends_at_the_deadline(pipe):
    """None, once: the daemon lives and has not said that it is ready."""
    Reporter(pipe[1]).enter("setup")
    assert told(pipe[0], 0.02) == [{"stage": "setup"}, None]
    assert told(pipe[0], 0.0) == [None]


def test_without_a_deadline_the_end_is_waited_for(pipe):
    daemon = threading.Thread(target=Reporter(pipe[1]).ready, args=({},))
    daemon.start()
    assert told(pipe[0], None) == [{"ready": {}}]
    daemon.join()


@pytest.mark.parametrize(
    "garbage", [b"hello\n", b"\n", b"\xff\xfe\n", b"[1]\n", b'"x"\n', b"{\n", b'{"a":1,"a":2}\n', b"\0\n"]
)
def test_what_a_library_writes_into_every_descriptor_is_passed_over(pipe, garbage):
    os.write(pipe[1], garbage + b'{"stage":"x"}\n' + garbage)
    os.close(pipe[1])
    assert told(pipe[0]) == [{"stage": "x"}]


def test_a_line_that_was_cut_by_death_is_no_message(pipe):
    os.write(pipe[1], b'{"stage":"x"}\n{"ready":{}}')
    os.close(pipe[1])
    assert told(pipe[0]) == [{"stage": "x"}]


def test_the_pieces_in_which_messages_come_make_no_difference(pipe):
    data = b'{"stage":"a"}\n{"ready":{"pid":1}}\n'
    reading = messages(pipe[0], Deadline(10.0))
    for at in range(14):
        os.write(pipe[1], data[at : at + 1])
    assert next(reading) == {"stage": "a"}
    os.write(pipe[1], data[14:])
    assert next(reading) == {"ready": {"pid": 1}}


def test_a_starter_that_has_gone_does_not_end_the_daemon(pipe):
    os.close(pipe[0])
    reporter = Reporter(pipe[1])
    reporter.enter("config")
    reporter.enter("bind")
    reporter.ready({})
    assert reporter.stage == "bind"


def test_a_daemon_that_nobody_started_reports_to_nobody():
    reporter = Reporter(None)
    reporter.enter("config")
    reporter.ready({})
    reporter.failed("x")
    assert reporter.stage == "config"


def test_the_pipe_is_not_for_the_daemons_own_children(pipe):
    """Hard case 3: the starter waits for its end, which a grandchild would hold open."""
    os.set_inheritable(pipe[1], True)
    Reporter(pipe[1])
    assert not os.get_inheritable(pipe[1])


def test_a_start_is_told_where_poll_was_taken_away(pipe, monkeypatch):
    """By eventlet, which has `select` alone."""
    monkeypatch.delattr(select, "poll")
    monkeypatch.delattr(selectors, "PollSelector")
    reporter = Reporter(pipe[1])
    reporter.ready({"pid": 42})
    assert told(pipe[0]) == [{"ready": {"pid": 42}}]
    read_fd, write_fd = os.pipe()
    assert told(read_fd, 0.01) == [None]
    os.close(read_fd)
    os.close(write_fd)

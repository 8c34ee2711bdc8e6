"""One line a second of each kind and peer, and a count of the others: nobody can write the log full.

Fault 28.  A client that sent 3,000 bad frames had 3,000 lines written, and what was useful rotated away.
"""

import logging
import threading

import pytest

from daemonry import strict_json
from daemonry.process.log import flood
from daemonry.process.log.flood import MOST_PEERS, FloodFilter
from daemonry.process.logs import LogFile
from daemonry.testing import wait_until


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(flood, "clock", made)
    return made


class Kept(logging.Handler):
    """A handler that keeps messages."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.flood = FloodFilter(self)
        self.addFilter(self.flood)

    def emit(self, record):
        self.lines.append(record.getMessage())

    def say(self, text, *filled_in, level=logging.WARNING, name="daemonry.server"):
        self.handle(logging.LogRecord(name, level, "x.py", 1, text, filled_in, None))


@pytest.fixture
def kept(clock):
    made = Kept()
    yield made
    made.flood.close()


def test_of_a_kind_and_peer_one_line_a_second_is_written_and_then_the_count(kept, clock):
    for n in range(3000):
        kept.say("%s: %s; disconnected", "pid 1 uid 0", f"reason {n}")
    assert kept.lines == ["pid 1 uid 0: reason 0; disconnected"]
    clock.now_s += 1.5
    kept.say("%s: %s; disconnected", "pid 1 uid 0", "again")
    assert kept.lines[1:] == [
        "2999 more in 1.5 s, the last: pid 1 uid 0: reason 2999; disconnected",
        "pid 1 uid 0: again; disconnected",
    ]


def test_other_kinds_and_other_peers_have_lines_of_their_own(kept):
    kept.say("%s: %s; disconnected", "pid 1 uid 0", "x")
    kept.say("%s: %s; disconnected", "pid 2 uid 0", "x")
    kept.say("%s does not read; disconnected", "pid 1 uid 0")
    kept.say("no peer at all")
    assert len(kept.lines) == 4


def test_many_peers_that_err_once_each_are_counted_together(kept, clock):
    """A new process for each bad frame is a flood as well."""
    for n in range(500):
        kept.say("%s: bad", f"pid {n}")
    assert len(kept.lines) == MOST_PEERS
    clock.now_s += 1.0
    kept.flood.tell()
    assert kept.lines[MOST_PEERS:] == [f"{500 - MOST_PEERS} more in 1.0 s, the last: pid 499: bad"]


def test_what_is_no_warning_or_not_ours_is_written_as_often_as_it_is_said(kept):
    for _ in range(5):
        kept.say("paused", level=logging.INFO)
        kept.say("%s", "x", name="the.program")
    assert len(kept.lines) == 10


def test_the_count_comes_although_nothing_else_is_logged(tmp_path):
    """By a thread that ends when there is nothing to count."""
    log = LogFile(str(tmp_path / "x.log"))
    log.addFilter(FloodFilter(log))
    for _ in range(7):
        log.handle(logging.LogRecord("daemonry.server", logging.WARNING, "x.py", 1, "bad", None, None))

    def lines():
        return [strict_json.decode_object(line) for line in (tmp_path / "x.log").read_text().splitlines()]

    assert wait_until(lambda: len(lines()) == 2)
    assert lines()[1]["message"].startswith("6 more in ")
    assert lines()[1]["repeated"] == 6
    assert wait_until(lambda: "daemonry-log-counts" not in [one.name for one in threading.enumerate()])
    log.close()


def test_the_count_is_not_lost_at_the_end(tmp_path):
    log = LogFile(str(tmp_path / "x.log"))
    log.addFilter(FloodFilter(log))
    for _ in range(7):
        log.handle(logging.LogRecord("daemonry.server", logging.WARNING, "x.py", 1, "bad", None, None))
    log.close()
    assert (tmp_path / "x.log").read_text().count("\n") == 2


def test_without_a_further_thread_the_next_line_tells(kept, clock, monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    kept.say("bad")
    kept.say("bad")
    clock.now_s += 2.0
    kept.say("other", level=logging.ERROR)
    assert kept.lines == ["bad", "1 more in 2.0 s, the last: bad", "other"]

"""Notices: a stop that needs somebody is told once, and held up by nobody."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.testing import wait_until
from palingenesis.clock_hours import Hours, hours_of
from palingenesis.notices import delivery
from palingenesis.notices.delivery import Receivers, due
from palingenesis.notices.outbox import MAX_WAITING, Notice, NoticeOutbox
from palingenesis.notices.words import MAX_CHARS, name_of, sentence, worth_telling
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.reasons import Reason


def entry_of(state=State.STOPPED, reason=Reason.CREDIT, **more):
    fields = {"cwd": "/home/me/parser", "since_s": 0.0, "reason": reason, "observed": "credit@1.0"} | more
    return SessionEntry("claude:i", "claude", "i", "/x", account="a", state=state, **fields)


def at(hour, minute=0):
    return datetime(2026, 11, 28, hour, minute).astimezone()


def test_hours_of_the_day_reach_over_midnight():
    night = hours_of("22:00-07:00")
    assert night.end_after(at(23)) == at(7).replace(day=29)
    assert night.end_after(at(6, 59)) == at(7)
    assert night.end_after(at(7)) is None
    assert night.end_after(at(21, 59)) is None
    assert hours_of("9:00-17:30").end_after(at(17, 29)) == at(17, 30)
    assert hours_of("").end_after(at(3)) is None
    for wrong in ("22-7", "25:00-01:00", "10:00", "10:00-11:60", "a:b-c:d"):
        with pytest.raises(ValueError, match="22:00-07:00"):
            hours_of(wrong)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_an_end_of_hours_is_within_a_day_and_outside_of_them(begin, end, now):
    hours, moment = Hours(begin, end), at(now // 60, now % 60)
    found = hours.end_after(moment)
    if found is not None:
        assert 0 < (found.replace(tzinfo=None) - moment.replace(tzinfo=None)).total_seconds() <= 86400
        assert hours.end_after(found) is None


def test_what_needs_somebody_is_worth_a_notice_and_nothing_else():
    assert worth_telling(entry_of())
    assert worth_telling(entry_of(State.GAVE_UP, Reason.TRANSIENT))
    assert worth_telling(entry_of(State.HELD, Reason.RUNNING, note="61 requests in a minute"))
    assert worth_telling(entry_of(State.WAITING_INSIDE, Reason.WAITING_INSIDE, observed="waiting@1 overrun"))
    assert not worth_telling(entry_of(State.HELD, note=Happened.HOLD.value))
    assert not worth_telling(entry_of(State.SCHEDULED, Reason.RATE_LIMIT))
    assert not worth_telling(entry_of(State.STOPPED, Reason.UNKNOWN))
    assert not worth_telling(entry_of(State.DONE, Reason.COMPLETED))


def test_a_notice_is_one_line_that_can_be_shown():
    foreign = entry_of(note="x\x1b]0;title\x07\n" + "y" * 999, cwd="/home/me/\udcff\x1b[2J")
    said = sentence(foreign)
    assert len(said) <= MAX_CHARS
    assert said.isprintable()
    assert sentence(entry_of(note="pay")) == "claude in parser: stopped (credit): pay"


def test_the_same_stop_is_told_once_also_after_a_restart(tmp_path):
    notice = Notice("x", 1.0)
    assert NoticeOutbox(str(tmp_path)).put(name_of(entry_of()), notice)
    box = NoticeOutbox(str(tmp_path))
    assert not box.put(name_of(entry_of(observed="credit@1.0 alive")), notice)
    ((path, _),) = box.waiting()
    box.sent(path)
    assert not box.put(name_of(entry_of()), notice)
    assert box.waiting() == []
    assert box.put(name_of(entry_of(observed="credit@2.0")), notice)


def test_the_outbox_is_bounded_and_damage_in_it_is_dropped(tmp_path):
    box = NoticeOutbox(str(tmp_path))
    for number in range(MAX_WAITING + 5):
        box.put(str(number), Notice("x", float(number)))
    assert len(box.waiting()) == MAX_WAITING
    for path in (tmp_path / "notices").iterdir():
        path.write_bytes(b"\xff{")
    assert box.waiting() == []
    assert list((tmp_path / "notices").iterdir()) == []


def test_when_a_notice_is_due():
    waiting = [(str(number), Notice("x", at(12).timestamp() + number)) for number in range(3)]
    told = Receivers(("json://x",))
    assert due(waiting, told, at(12, 1)) == waiting[:1]
    assert due(waiting, Receivers(), at(12, 1)) == []
    assert due(waiting, msgspec.structs.replace(told, quiet=hours_of("11:00-13:00")), at(12, 1)) == []
    digest = msgspec.structs.replace(told, digest_s=600.0)
    assert due(waiting, digest, at(12, 9)) == []
    assert due(waiting, digest, at(12, 11)) == waiting
    later = [(path, msgspec.structs.replace(one, due_s=at(12, 30).timestamp())) for path, one in waiting]
    assert due(later, told, at(12, 29)) == []
    assert due(later, told, at(9)) == later[:1]  # the clock was set back since
    assert due(waiting, digest, at(9)) == waiting
    assert due(later, told, at(12, 31)) == later[:1]


# --- receivers ------------------------------------------------------------------------------------


class Receiver:
    """A receiver on loopback, by apprise's `json://`."""

    def __init__(self, code=200):
        messages = self.messages = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                messages.append(json.loads(body)["message"])
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver():
    pytest.importorskip("apprise")
    receiver = Receiver()
    yield receiver
    receiver.close()


def delivered(box, urls, until):
    """Run the delivery until a condition holds."""

    async def run():
        task = asyncio.create_task(delivery.deliver(box, lambda: Receivers(tuple(urls))))
        try:
            await asyncio.to_thread(wait_until, until, 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_notice_reaches_its_receiver_once(tmp_path, receiver, monkeypatch):
    monkeypatch.setattr(delivery, "LOOK_EVERY_S", 0.05)
    box = NoticeOutbox(str(tmp_path))
    box.put("a", Notice("claude in parser: stopped", time.time()))
    delivered(box, [receiver.url], lambda: not box.waiting())
    assert receiver.messages == ["claude in parser: stopped"]


def test_what_no_receiver_takes_is_tried_again_within_ten_seconds(tmp_path, monkeypatch):
    pytest.importorskip("apprise")
    monkeypatch.setattr(delivery, "LOOK_EVERY_S", 0.05)
    assert delivery.SEND_TIMEOUT_S + delivery.RETRY_S <= 10
    monkeypatch.setattr(delivery, "RETRY_S", 0.1)
    refusing = Receiver(500)
    try:
        box = NoticeOutbox(str(tmp_path))
        box.put("a", Notice("x", time.time()))
        delivered(box, [refusing.url], lambda: len(refusing.messages) >= 2)
        ((_, notice),) = box.waiting()
        assert notice.tries >= 1
    finally:
        refusing.close()


def test_a_receiver_that_hangs_is_left_after_its_time(monkeypatch):
    monkeypatch.setattr(delivery, "SEND_TIMEOUT_S", 0.3)
    monkeypatch.setattr(sys, "executable", "/bin/cat")
    assert "cat" in asyncio.run(delivery.send(["x"], "t", "x"))
    monkeypatch.setattr(sys, "executable", "/bin/sleep")
    assert asyncio.run(delivery.send(["x"], "t", "x"))


FAULTY = """
import os, sys, threading, time
class Apprise:
    def __init__(self): self.urls = []
    def __len__(self): return len(self.urls)
    def add(self, url): self.urls.append(url); return True
    def notify(self, title, body): return exec(self.urls[0]) or True
"""


@pytest.mark.parametrize(
    ("plugin", "failure"),
    [
        ("raise TypeError('json://me:secret@x')", "a receiver failed: TypeError"),
        ("raise KeyboardInterrupt", "a receiver failed: KeyboardInterrupt"),
        ("sys.exit(0)", "a receiver failed: SystemExit"),
        ("os._exit(7)", "exit code 7"),
        ("time.sleep(600)", "no answer within 2 s"),
        ("sys.stderr.write('secret ' * 2000000)", ""),
        ("threading.Thread(target=time.sleep, args=(600,)).start()", ""),
    ],
)
def test_a_plugin_that_fails_in_any_way_holds_nobody_up(tmp_path, monkeypatch, plugin, failure):
    """Plugins are of many authors; a message that was taken is not sent again."""
    (tmp_path / "apprise.py").write_text(FAULTY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(delivery, "SEND_TIMEOUT_S", 2.0 if plugin == "time.sleep(600)" else 20.0)
    assert asyncio.run(delivery.send([plugin], "t", "x")) == failure


def test_whatever_goes_wrong_the_delivery_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(delivery, "LOOK_EVERY_S", 0.01)
    box = NoticeOutbox(str(tmp_path))
    box.put("a", Notice("x", time.time()))
    calls = []

    async def send(*_):
        calls.append(1)
        if len(calls) < 3:
            raise TypeError("of a plugin")
        return ""

    monkeypatch.setattr(delivery, "send", send)
    delivered(box, ["json://x"], lambda: not box.waiting())
    assert len(calls) == 3
    ours = [line.message for line in caplog.records if line.name == delivery.logger.name]
    assert ours == ["notices cannot be delivered now: TypeError: of a plugin"]


def test_an_address_that_is_none_is_told_by_its_number_and_not_by_its_password(receiver):
    failure = asyncio.run(delivery.send([receiver.url, "no-such://me:secret@x"], "t", "x"))
    assert "secret" not in failure
    assert failure


def test_the_daemon_tells_of_a_stop_that_needs_its_user(app, receiver):
    app.config(f'[notices]\nurls = ["{receiver.url}"]\n')
    app.done("daemon", "start")
    record = app.sandbox.path / "home/.claude/projects/-x/11111111-1111-4111-8111-111111111111.jsonl"
    record.parent.mkdir(parents=True)
    line = {
        "type": "assistant", "timestamp": "2100-01-01T00:00:00Z", "sessionId": record.stem, "cwd": "/x",
        "message": {"model": "<synthetic>", "content": [{"type": "text", "text": "Credit balance is low"}]},
        "isApiErrorMessage": True, "error": "billing_error",
    }  # fmt: skip
    record.write_text(json.dumps(line) + "\n")
    wait_until(lambda: receiver.messages, timeout_s=20)
    assert receiver.messages == ["claude in x: stopped (credit): it needs you: credit"]

"""The pure parts of `palingenesis run`: messages, keys, words, what follows, what is printed."""

from __future__ import annotations

import json
import signal
import time
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palingenesis.agents.known import profiles
from palingenesis.evidence.survey import Session
from palingenesis.evidence.transcript import Transcript
from palingenesis.resume.schedule import Delays, jitter_s
from palingenesis.spans import seconds_of
from palingenesis.terminal import frames, keys, screen
from palingenesis.terminal.course import Agent, Course
from palingenesis.terminal.events import MAX_LINE_BYTES, Printed
from palingenesis.terminal.look import Seen
from palingenesis.terminal.next_step import ALONE_S, Allowance, GivenUp, Later, Over, after_end, while_alive
from palingenesis.terminal.words import agent_of, carried, is_headless, next_words
from palingenesis.verdict.facts import Evidence, Fact, Sign, Source
from palingenesis.verdict.judge import Verdict
from palingenesis.verdict.reasons import Confidence, Reason

PROFILES = profiles({}, "c")


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.binary(max_size=50))), st.integers(1, 20))
def test_messages_come_whole_however_they_are_chopped(messages, step):
    data = b"".join(frames.frame(kind, content) for kind, content in messages)
    decoder, found = frames.Decoder(), []
    for at in range(0, len(data), step):
        found += decoder.feed(data[at : at + step])
    assert found == messages


def test_a_message_over_the_bound_is_refused_by_its_head():
    with pytest.raises(frames.FrameTooLarge):
        list(frames.Decoder().feed(b"I" + (frames.MAX_BYTES + 1).to_bytes(4, "big")))
    assert frames.size_of(b"123") is None
    assert frames.size_of(frames.size(24, 80, 70000, -1)) == (24, 80, 65535, 0)


@pytest.mark.parametrize(
    ("data", "typed"),
    [
        (b"a", True), (b"\r", True), (b"\x03", True), (b"\x1b[A", True), (b"\x1b[200~x\x1b[201~", True),
        (b"\x1b[I", False), (b"\x1b[O\x1b[I", False), (b"\x1b[<35;10;4M", False), (b"\x1b[M !!", False),
        (b"\x1b[?62;c", False), (b"\x1b[24;80R", False), (b"\x1b]11;rgb:00/00/00\x07", False),
        (b"\x1bP>|xterm\x1b\\", False), (b"\x1b[?1u", False), (b"\x1b[Iy", True), (b"", False),
    ],
)  # fmt: skip
def test_what_a_terminal_sends_by_itself_is_not_a_person(data, typed):
    assert keys.by_a_person(data) is typed


def test_an_agent_is_known_by_its_program():
    assert agent_of(["/opt/bin/claude", "-p", "x"], PROFILES) == "claude"
    assert agent_of(["npx", "--yes", "codex"], PROFILES) == "codex"
    assert agent_of(["bash", "claude"], PROFILES) == ""
    assert agent_of(["vim", "x", "gemini"], PROFILES) == ""
    assert is_headless(["codex", "exec", "x"], PROFILES["codex"].run)
    assert not is_headless(["codex", "x"], PROFILES["codex"].run)


def test_options_are_carried_over_but_for_those_that_skip_permissions():
    words = [
        "claude", "-p", "say --model x", "--model=opus", "--allowedTools", "Bash(git *)", "Edit", "--verbose",
        "--dangerously-skip-permissions", "--permission-mode", "bypassPermissions", "--", "--model", "no",
    ]  # fmt: skip
    assert carried(words, PROFILES["claude"].run) == [
        "--model=opus", "--allowedTools", "Bash(git *)", "Edit", "--verbose",
    ]  # fmt: skip
    codex = ["codex", "exec", "-s", "danger-full-access", "-c", "sandbox_mode=danger-full-access", "--json"]
    assert carried(codex, PROFILES["codex"].run) == ["--json"]
    values = {"id": "I", "cwd": "/", "prompt": "P", "new_id": "N"}
    after = next_words(
        ["claude", "--permission-mode", "plan"], PROFILES["claude"], values, "acceptEdits", fresh=False
    )
    assert after == ["claude", "P", "--resume", "I", "--permission-mode", "plan"]
    fresh = next_words(["codex", "exec", "x"], PROFILES["codex"], values, "read-only", fresh=True)
    assert fresh == ["codex", "exec", "-c", 'sandbox_mode="read-only"', "P"]
    text = profiles({"x": {"reader": "text", "sessions": ["/x"], "programs": ["x"]}}, "c")["x"]
    assert next_words(["x"], text, values, "", fresh=False) == []


def verdict(reason, *, at_s=100.0, resets_at_s=None, confidence=Confidence.SURE):
    return Verdict(reason, confidence, (Fact(Sign.FAILED, Source.TRANSCRIPT, at_s),), resets_at_s)


ALLOWED = Allowance(100.0, 3600.0)


def test_what_follows_when_the_program_has_ended():
    def after(found, status=1 << 8, attempt=0, allowance=ALLOWED):
        return after_end("k", status, found, attempt, allowance, 100.0)

    limit = verdict(Reason.RATE_LIMIT, resets_at_s=200.0)
    assert isinstance(after(limit), Later)
    assert after(limit).at_s >= 210
    assert after(verdict(Reason.CRASHED), signal.SIGKILL) == Later(101.0, Reason.CRASHED)
    assert after(verdict(Reason.CRASHED), signal.SIGKILL, 1).at_s >= 160
    assert after(verdict(Reason.CONTEXT)) == Later(101.0, Reason.CONTEXT)
    for status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, 143 << 8, 130 << 8):
        assert after(limit, status) == Over(), "somebody asked it to end"
    assert after(verdict(Reason.CRASHED), 0) == Over(), "it left in the middle of a turn by its own will"
    assert after(None) == after(verdict(Reason.UNKNOWN, confidence=Confidence.NONE)) == Over()
    for reason in (Reason.COMPLETED, Reason.USER_EXIT, Reason.CREDIT, Reason.LOGIN, Reason.PERMISSION):
        assert after(verdict(reason)) == Over()
    far = verdict(Reason.RATE_LIMIT, resets_at_s=100.0 + 3600)
    assert after(far) == GivenUp("its budget of time ends before that", 75)
    assert isinstance(after(far, allowance=Allowance(100.0)), Later)
    assert after(limit, attempt=10) == GivenUp("10 tries brought nothing", 75)
    assert after(verdict(Reason.TRANSIENT), attempt=10) == GivenUp("10 tries brought nothing", None)


def test_a_living_program_is_ended_only_when_it_is_alone_with_its_limit():
    limit = verdict(Reason.RATE_LIMIT, resets_at_s=200.0)
    assert isinstance(while_alive("k", limit, 0.0, 0, ALLOWED, 300.0), Later)
    assert while_alive("k", limit, 101.0, 0, ALLOWED, 999.0) is None, "typed since it stopped"
    assert while_alive("k", limit, 99.0, 0, ALLOWED, 99.0 + ALONE_S - 1) is None, "typed just now"
    assert while_alive("k", verdict(Reason.WAITING_INSIDE), 0.0, 0, ALLOWED, 300.0) is None
    assert while_alive("k", verdict(Reason.CRASHED), 0.0, 0, ALLOWED, 300.0) is None
    unsure = verdict(Reason.RATE_LIMIT, confidence=Confidence.LIKELY)
    assert while_alive("k", unsure, 0.0, 0, ALLOWED, 300.0) is None


def test_delays_are_those_of_the_configuration():
    assert [Delays(2, 7, spread=False).after(attempt) for attempt in range(4)] == [2, 4, 7, 7]
    assert Delays(9, 7).after(3) == 9
    assert jitter_s("k", 0) > 0
    assert after_end(
        "k", 256, verdict(Reason.TRANSIENT), 0, Allowance(0.0, None, 10, Delays(5, 9, spread=False)), 100.0
    ) == Later(105.0, Reason.TRANSIENT)
    assert [seconds_of(text) for text in ("90s", "30m", "5h", "2d")] == [90, 1800, 18000, 172800]
    assert [seconds_of(text) for text in ("", "h", "5", "-1s", "1.5h", "9" * 12 + "d", "٣h")] == [0] * 7


def printed(*lines, chop=7):
    found = Printed()
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)[:-1]
    for at in range(0, len(data), chop):
        found.feed(data[at : at + chop], 5.0)
    found.end(5.0)
    return found


def test_headless_agents_tell_their_session_and_the_error_that_ended_them():
    claude = printed(
        {"type": "system", "subtype": "init", "session_id": "S"},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1795852777}},
        {
            "type": "result",
            "subtype": "success",
            "is_error": True,
            "api_error_status": 429,
            "result": "limit",
        },
    )
    assert claude.session_id == "S"
    assert (claude.failure.reason, claude.failure.until_s) == (Reason.RATE_LIMIT, 1795852777.0)
    full = printed(
        {"type": "result", "is_error": True, "terminal_reason": "prompt_too_long", "api_error_status": 400}
    )
    assert full.failure.reason is Reason.CONTEXT
    good = printed({"type": "result", "is_error": False, "result": "API Error: 429", "session_id": "S"})
    assert good.failure is None
    codex = printed(
        {"type": "thread.started", "thread_id": "T"},
        {"type": "error", "message": "Reconnecting... 1/5 (x)"},
        {"type": "turn.failed", "error": {"message": "You have hit your usage limit"}},
    )
    assert (codex.session_id, codex.failure.text) == ("T", "You have hit your usage limit")
    assert printed({"type": "error", "message": "Reconnecting... 1/5"}).failure is None
    opencode = printed({"type": "error", "sessionID": "ses_1", "error": {"data": {"statusCode": 401}}})
    assert opencode.failure.reason is Reason.LOGIN
    gemini = printed({"session_id": "G", "error": {"type": "Error", "message": "quota", "code": 429}})
    assert (gemini.session_id, gemini.failure.reason) == ("G", Reason.RATE_LIMIT)
    stream = printed(
        {"type": "init", "session_id": "G"},
        {"type": "result", "status": "error", "error": {"type": "unknown", "message": "[API Error: x]"}},
    )
    assert (stream.session_id, stream.failure.text) == ("G", "[API Error: x]")
    assert printed({"type": "result", "status": "success", "stats": {}}).failure is None


@given(st.binary(max_size=300))
def test_any_output_is_read_without_an_error(data):
    found = Printed()
    found.feed(data, 0.0)
    found.end(0.0)


def test_a_line_without_end_is_not_kept():
    found = Printed()
    for _ in range(MAX_LINE_BYTES // 2**20 + 2):
        found.feed(b"{" * 2**20, 0.0)
    assert len(found._line) <= MAX_LINE_BYTES
    found.feed(b'\n{"session_id": "S"}\n', 0.0)
    assert found.session_id == "S"


# --- the screen -----------------------------------------------------------------------------------


def drawn(data, rows=5, columns=20):
    """Return what a window shows that attaches after `data`."""
    pytest.importorskip("pyte")
    first, second = screen.Screen(rows, columns), screen.Screen(rows, columns)
    first.feed(data)
    second.feed(first.drawn())
    assert second.text() == first.text()
    return first


def test_a_window_that_attaches_shows_the_same_screen():
    found = drawn(
        b"one\r\n\x1b[1;38;5;200mtwo\x1b[0m\x1b[44m  \x1b[0m\r\n\xe4\xbd\xa0\xe5\xa5\xbd wide\x1b[2;3H"
    )
    assert found.text() == "one\ntwo\n你好 wide"
    assert b"\x1b[2;3H" in found.drawn()


def test_modes_of_the_window_are_set_again():
    found = drawn(b"\x1b[?1049h\x1b[?1002h\x1b[?1006h\x1b[?2004h\x1b[?25lmenu")
    for mode in (b"?1049h", b"?1002h", b"?1006h", b"?2004h", b"?25l"):
        assert b"\x1b[" + mode in found.drawn()
    found.feed(b"\x1b[?1049l\x1b[?1002l")
    assert b"1049" not in found.drawn()
    assert b"1002" not in found.drawn()


def test_the_main_screen_comes_back_after_the_other_one():
    found = drawn(b"shell\x1b[?1049h\x1b[2J\x1b[Hmenu")
    assert found.text() == "menu"
    found.feed(b"\x1b[?1049l")
    assert found.text() == "shell"


def test_lines_that_left_at_the_top_come_with_it():
    found = drawn(b"\r\n".join(b"line %d" % number for number in range(30)))
    assert b"line 0" in found.drawn()
    assert found.text().startswith("line 25")


def test_what_pyte_does_not_know_is_not_drawn_as_something_else():
    pieces = (
        b"\x1b[>4;2m",
        b"\x1b[>1u",
        b"\x1b[4:3m",
        b"\x1bP+q5443\x1b\\",
        b"\x1b[2 q",
        b"\x1b_Gx\x1b\\",
        b"\x1b[=1;1u",
    )
    for piece in pieces:
        for cut in range(len(piece) + 1):
            found = screen.Screen(3, 20)
            pytest.importorskip("pyte")
            found.feed(piece[:cut])
            found.step()
            found.feed(piece[cut:] + b"a")
            assert found.text() == "a", (piece, cut)
            assert b"\x1b[0;4m" not in found.drawn()


@given(st.binary(max_size=200))
@example(b"\t \n           ")  # a line with unset cells that left at the top
def test_any_output_can_be_drawn(data):
    pytest.importorskip("pyte")
    found = screen.Screen(4, 10)
    found.feed(data + b"\x1b\\\x07\x18\r\n")
    assert found.drawn()
    found.resize(2, 3)
    assert found.drawn()


def test_a_flood_is_bounded_and_its_modes_are_kept():
    pytest.importorskip("pyte")
    found = screen.Screen(4, 10)
    found.feed(b"\x1b[?2004h" + b"x" * screen.MAX_UNDRAWN_BYTES)
    found.feed(b"y" * 10)
    assert len(found._waiting) <= screen.MAX_UNDRAWN_BYTES
    assert bytes(found._waiting).startswith(b"\x1b[?2004h")


@pytest.mark.parametrize(
    ("session_id", "goes_on"), [("0b0b0b0b", True), ("--dangerously-skip-permissions", False)]
)
def test_an_id_that_looks_like_an_option_is_no_word_of_a_next_run(tmp_path, session_id, goes_on):
    now_s = time.time()
    stop = verdict(Reason.TRANSIENT, at_s=now_s)
    session = Session("claude", session_id, "/x", now_s, Transcript(id=session_id), Evidence((), now_s), stop)
    agent = Agent("claude", PROFILES["claude"], SimpleNamespace(session_id=session_id))
    course = Course(["claude"], "/", agent, Allowance(0.0), str(tmp_path))
    try:
        words = course._next_words(Seen(session, 0), Reason.TRANSIENT)
        assert (session_id in words) is goes_on
        assert bool(words) is goes_on
    finally:
        course.close()


@pytest.mark.parametrize(("begun_ago_s", "ends"), [(200.0, True), (5.0, False)])
def test_a_resumed_program_is_not_ended_for_the_stop_that_it_goes_on_from(tmp_path, begun_ago_s, ends):
    """An agent that takes longer to start than the first look comes after."""
    now_s = time.time()
    key = "0b0b0b0b-0000-4000-8000-000000000002"
    stop = verdict(Reason.RATE_LIMIT, at_s=now_s - 100, resets_at_s=now_s - 90)
    session = Session("claude", key, "/x", now_s, Transcript(id=key), Evidence((), now_s), stop)
    agent = Agent("claude", PROFILES["claude"], SimpleNamespace(session_id=key))
    course = Course(["claude"], "/", agent, Allowance(0.0), str(tmp_path))
    try:
        course.begun(lambda _: True)
        course._began_s = now_s - begun_ago_s
        course._seen_alive(Seen(session, 0), None)
        assert bool(course.next_order(program_lives=True).end_program) is ends
    finally:
        course.close()

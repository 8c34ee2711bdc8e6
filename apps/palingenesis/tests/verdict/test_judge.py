"""The judge: evidence in, a reason out.  And the readers, on samples of every case and on damaged ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palingenesis.agents.known import profiles
from palingenesis.evidence import opencode, tail
from palingenesis.evidence.json_lines import line_of
from palingenesis.evidence.places import look
from palingenesis.evidence.survey import _from_file
from palingenesis.verdict.facts import Evidence, Fact, Sign, Source
from palingenesis.verdict.judge import HEARTBEAT_S, OVERRUN_S, QUIET_S, judge
from palingenesis.verdict.reasons import Confidence, Reason

SAMPLES = Path(__file__).parents[1] / "samples"
KNOWN = profiles({}, "")
NOW = 1_795_900_000.0
BEFORE = Fact(Sign.BOOTED, Source.MACHINE, NOW - 30 * 86400)
NOBODY = Fact(Sign.NOBODY, Source.PROCESS, NOW)

# Each sample with nobody alive, on a machine that has run for a month.
EXPECTED = {
    "claude-529": (Reason.TRANSIENT, None),
    "claude-api-429": (Reason.RATE_LIMIT, None),
    "claude-compacted": (Reason.COMPLETED, None),
    "claude-completed": (Reason.COMPLETED, None),
    "claude-context": (Reason.CONTEXT, None),
    # An interactive session whose agent's registry has no entry of it: ended cleanly in the middle.
    "claude-crashed-in-tool": (Reason.USER_EXIT, None),
    "claude-credit": (Reason.CREDIT, None),
    "claude-interrupted": (Reason.USER_EXIT, None),
    "claude-mid-response": (Reason.TRANSIENT, None),
    "claude-native-auto-continue": (Reason.COMPLETED, None),
    "claude-network": (Reason.TRANSIENT, None),
    "claude-usage-limit-5h": (Reason.RATE_LIMIT, 1795852777),
    "claude-usage-limit-weekly": (Reason.RATE_LIMIT, 1796104642),
    "claude-waiting-in-process": (Reason.RATE_LIMIT, 1795845475),
    "codex-429": (Reason.RATE_LIMIT, None),
    "codex-completed": (Reason.COMPLETED, None),
    "codex-context": (Reason.CONTEXT, None),
    "codex-crashed": (Reason.CRASHED, None),
    "codex-disconnect": (Reason.TRANSIENT, None),
    "codex-interrupted": (Reason.USER_EXIT, None),
    "codex-overloaded": (Reason.TRANSIENT, None),
    "codex-quota": (Reason.CREDIT, None),
    "codex-rate": (Reason.RATE_LIMIT, 1795845426.5),
    "codex-usage": (Reason.RATE_LIMIT, 1795852642),
    "gemini-session": (Reason.UNKNOWN, None),
}


def agent_of(name):
    return name.partition("-")[0]


def transcript(path, agent):
    found = look(str(path))
    assert found is not None
    return _from_file(found, KNOWN[agent])


def verdict_of(path, *more, agent=None, now_s=NOW):
    agent = agent or agent_of(path.name)
    read = transcript(path, agent)
    facts = (*read.facts, *(more or (BEFORE, NOBODY)))
    profile = KNOWN[agent]
    return judge(
        Evidence(
            facts, now_s, tells_errors=profile.tells_errors, registers=read.registers and agent == "claude"
        )
    )


def sample(name):
    return SAMPLES / f"{name}.jsonl"


@pytest.mark.parametrize("name", EXPECTED)
def test_each_sample(name):
    found = verdict_of(sample(name))
    assert (found.reason, found.resets_at_s) == EXPECTED[name]


def test_every_sample_is_expected():
    files = {path.stem for path in SAMPLES.glob("*.jsonl")}
    assert files == {*EXPECTED, "opencode-events", "opencode-message-data"}


def test_sessions_know_their_id_directory_and_version():
    read = transcript(sample("claude-completed"), "claude")
    assert (read.id, read.cwd, read.version, read.summary) == (
        "11111111-1111-4111-8111-111111111111", "/home/me/proj", "2.1.332", "Done.",
    )  # fmt: skip
    read = transcript(sample("codex-completed"), "codex")
    assert (read.id, read.cwd, read.version) == (
        "01a220bb-1869-7302-8fe3-8a2ee1346d19",
        "/home/me/proj",
        "0.171.0",
    )


# --- opencode -------------------------------------------------------------------------------------


def test_opencode_messages():
    lines = [json.loads(line) for line in sample("opencode-message-data").read_text().splitlines()]
    reasons = {}
    for message in lines:
        facts = tuple(opencode.facts_of(message, NOW - 10, KNOWN["opencode"]))
        reasons[message["_class"].split(" ")[0]] = judge(Evidence((*facts, BEFORE, NOBODY), NOW)).reason
    assert reasons == {
        "completed": Reason.COMPLETED,
        "running,": Reason.CRASHED,
        "context": Reason.CONTEXT,
        "auth": Reason.LOGIN,
        "user": Reason.USER_EXIT,
        "torn": Reason.CRASHED,
    }


def test_opencode_events():
    facts = [
        opencode.event_fact(line_of(line), NOW, KNOWN["opencode"])
        for line in sample("opencode-events").read_bytes().splitlines()
    ]
    assert [fact and fact.sign for fact in facts] == [
        Sign.ANSWERING, Sign.RETRYING, Sign.INTERRUPTED, None, Sign.COMPLETED,
    ]  # fmt: skip
    assert facts[1].until_s == 1795846272.944


# --- rules ----------------------------------------------------------------------------------------


def fact(sign, at_s=NOW - 10, source=Source.TRANSCRIPT, **more):
    return Fact(sign, source, at_s, **more)


def judged(*facts, **more):
    return judge(Evidence(facts, NOW, **more))


ALIVE = fact(Sign.ALIVE, NOW, Source.PROCESS, pid=7)


def test_nothing_seen_is_unknown():
    assert judged().reason is Reason.UNKNOWN
    assert judged(fact(Sign.UNREADABLE, text="locked")).said == "locked"


@pytest.mark.parametrize("sign", [Sign.PROMPTED, Sign.ANSWERING, Sign.TOOL_RUNNING])
def test_in_a_turn_the_process_decides(sign):
    assert judged(fact(sign), ALIVE).reason is Reason.RUNNING
    assert judged(fact(sign), ALIVE).alive_pid == 7
    maybe = judged(fact(sign), fact(Sign.MAYBE_ALIVE, pid=8))
    assert (maybe.reason, maybe.confidence, maybe.alive_pid) == (Reason.RUNNING, Confidence.LIKELY, 8)
    assert judged(fact(sign), NOBODY).reason is Reason.CRASHED
    assert judged(fact(sign), fact(Sign.DEAD), registers=True).confidence is Confidence.SURE
    assert judged(fact(sign), NOBODY, registers=True).reason is Reason.USER_EXIT
    assert judged(fact(sign), NOBODY, tells_errors=False).reason is Reason.UNKNOWN


def test_without_a_look_at_processes_only_a_fresh_turn_runs():
    assert judged(fact(Sign.ANSWERING)).reason is Reason.RUNNING
    assert judged(fact(Sign.ANSWERING, NOW - QUIET_S - 1)).reason is Reason.UNKNOWN


def test_a_turn_that_an_earlier_boot_began_was_stopped_by_the_machine():
    booted = Fact(Sign.BOOTED, Source.MACHINE, NOW - 5)
    assert judged(fact(Sign.TOOL_RUNNING), booted, NOBODY, registers=True).reason is Reason.MACHINE
    assert judged(fact(Sign.TOOL_RUNNING), booted, NOBODY).confidence is Confidence.SURE
    for unknown in ({"registers": True}, {"tells_errors": False}):  # it may have been left before that
        assert judged(fact(Sign.TOOL_RUNNING), booted, NOBODY, **unknown).confidence is Confidence.LIKELY
    assert judged(fact(Sign.TOOL_RUNNING), booted, ALIVE).reason is Reason.RUNNING
    assert judged(fact(Sign.COMPLETED), booted, NOBODY).reason is Reason.COMPLETED


def test_waiting_inside_holds_while_its_process_lives():
    waiting = fact(Sign.RETRYING, NOW - 60, until_s=NOW + 600, text="429 rate limit")
    found = judged(waiting, ALIVE)
    assert (found.reason, found.resets_at_s, found.overrun) == (Reason.WAITING_INSIDE, NOW + 600, False)
    dead = judged(waiting, NOBODY)
    assert (dead.reason, dead.resets_at_s) == (Reason.RATE_LIMIT, NOW + 600)
    late = fact(Sign.RETRYING, NOW - 999, until_s=NOW - OVERRUN_S - 1)
    assert judged(late, ALIVE).overrun
    silent = fact(Sign.RETRYING, NOW - 2 * HEARTBEAT_S, until_s=NOW - HEARTBEAT_S)
    assert judged(silent).reason is Reason.WAITING_INSIDE
    assert judged(fact(Sign.RETRYING, NOW - 2 * HEARTBEAT_S)).reason is Reason.UNKNOWN
    assert judged(fact(Sign.RETRYING, text="ECONNRESET"), NOBODY).reason is Reason.CRASHED


def test_native_waiting_counts_while_its_process_lives():
    lines = sample("claude-native-auto-continue").read_text().splitlines()[:3]
    limit = json.loads(lines[1])["quotaLimits"]["resetsAt"]
    for now_s, overrun in ((limit - 5.0, False), (limit + OVERRUN_S + 1, True)):
        facts = read_lines("claude", lines)
        found = judge(Evidence((*facts, ALIVE), now_s))
        assert (found.reason, found.resets_at_s, found.overrun) == (Reason.WAITING_INSIDE, limit, overrun)
    assert judge(Evidence((*facts, NOBODY), NOW)).reason is Reason.RATE_LIMIT
    stopped = json.loads(lines[2]) | {"content": "Automatic continue stopped after repeated usage-limit hits"}
    facts = read_lines("claude", [*lines, json.dumps(stopped)])
    assert judge(Evidence((*facts, ALIVE), limit - 5.0)).reason is Reason.RATE_LIMIT


def read_lines(agent, lines):
    from palingenesis.evidence import claude, codex

    read = {"claude": claude.read, "codex": codex.read}[agent]
    return read(map(json.loads, reversed(lines)), json.loads(lines[0]), KNOWN[agent]).facts


def test_a_later_hook_counts_more_than_the_transcript():
    ended = fact(Sign.ENDED_BY_USER, NOW, Source.HOOK)
    assert judged(fact(Sign.TOOL_RUNNING), ended).reason is Reason.USER_EXIT
    stale = fact(Sign.ENDED_BY_USER, NOW - 99, Source.HOOK)
    assert judged(stale, fact(Sign.TOOL_RUNNING), ALIVE).reason is Reason.RUNNING
    killed = fact(Sign.ENDED, NOW, Source.HOOK)
    assert judged(fact(Sign.TOOL_RUNNING), killed, NOBODY).reason is Reason.CRASHED
    assert judged(fact(Sign.COMPLETED), killed, NOBODY).reason is Reason.COMPLETED
    assert judged(killed).reason is Reason.UNKNOWN
    assert (
        judged(fact(Sign.TOOL_RUNNING), fact(Sign.ASKS_PERMISSION, NOW, Source.HOOK)).reason
        is Reason.PERMISSION
    )


def test_a_terminal_is_a_hint_and_no_reason():
    seen = fact(Sign.FAILED, NOW, Source.TERMINAL, text="You've hit your 5-hour limit")
    assert judged(seen).reason is Reason.UNKNOWN
    assert judged(fact(Sign.COMPLETED), seen).reason is Reason.COMPLETED


def test_a_quota_s_reset_counts_before_the_words_and_the_last_of_several():
    failed = fact(
        Sign.FAILED, text="You've hit your usage limit, try again at 7:57 AM.", reason=Reason.RATE_LIMIT
    )
    primary = fact(Sign.QUOTA, source=Source.QUOTA, until_s=NOW + 100, used=1.0)
    weekly = fact(Sign.QUOTA, source=Source.QUOTA, until_s=NOW + 9000, used=1.0)
    unused = fact(Sign.QUOTA, source=Source.QUOTA, until_s=NOW + 90000, used=0.4)
    assert judged(primary, unused, failed).resets_at_s == NOW + 100
    assert judged(primary, weekly, failed).resets_at_s == NOW + 9000


def test_the_words_of_an_unpaid_bill_win_over_a_field_that_says_limit():
    failed = fact(
        Sign.FAILED, text="Quota exceeded. Check your plan and billing details.", reason=Reason.RATE_LIMIT
    )
    assert judged(failed).reason is Reason.CREDIT


QUOTES = [
    "I added a handler for `usage limit reached`",
    "You've hit your 5-hour limit · resets 7:59am (UTC)",
    "Claude AI usage limit reached|1795852777",
    "Prompt is too long",
    "[Request interrupted by user]",
    "Credit balance is too low",
]


@pytest.mark.parametrize("quote", QUOTES)
def test_an_answer_that_quotes_a_message_is_no_stop(quote):
    lines = sample("claude-completed").read_text().splitlines()
    answer = json.loads(lines[1])
    answer["message"]["content"][0]["text"] = quote
    assert (
        judge(Evidence(read_lines("claude", [lines[0], json.dumps(answer)]), NOW)).reason is Reason.COMPLETED
    )
    lines = sample("codex-completed").read_text().splitlines()
    end = json.loads(lines[-1])
    end["payload"]["last_agent_message"] = quote
    assert (
        judge(Evidence(read_lines("codex", [*lines[:-1], json.dumps(end)]), NOW)).reason is Reason.COMPLETED
    )


@pytest.mark.parametrize("quote", QUOTES)
def test_a_tool_s_result_that_quotes_a_message_is_no_stop(quote):
    result = {
        "type": "user", "timestamp": "2026-11-28T06:02:00Z", "sessionId": "s",
        "message": {"content": [{"type": "tool_result", "tool_use_id": "t", "content": quote}]},
    }  # fmt: skip
    lines = [*sample("claude-crashed-in-tool").read_text().splitlines(), json.dumps(result)]
    assert judge(Evidence((*read_lines("claude", lines), ALIVE), NOW)).reason is Reason.RUNNING


def test_a_user_s_exit_and_local_commands():
    base = {"type": "user", "timestamp": "2026-11-28T06:05:00Z", "sessionId": "s"}
    lines = sample("claude-usage-limit-5h").read_text().splitlines()
    left = base | {
        "message": {"content": "<command-name>/exit</command-name>\n<command-args></command-args>"}
    }
    assert judge(Evidence(read_lines("claude", [*lines, json.dumps(left)]), NOW)).reason is Reason.USER_EXIT
    local = base | {"message": {"content": "<local-command-stdout>Set model</local-command-stdout>"}}
    assert judge(Evidence(read_lines("claude", [*lines, json.dumps(local)]), NOW)).reason is Reason.RATE_LIMIT


def test_a_compaction_by_hand_ends_a_turn_and_one_by_itself_does_not():
    lines = sample("claude-compacted").read_text().splitlines()[:-1]
    assert judge(Evidence((*read_lines("claude", lines), ALIVE), NOW)).reason is Reason.RUNNING
    by_hand = [line.replace('"trigger": "auto"', '"trigger": "manual"') for line in lines]
    assert judge(Evidence((*read_lines("claude", by_hand), ALIVE), NOW)).reason is Reason.COMPLETED


# --- damaged records ------------------------------------------------------------------------------

BOOKKEEPING = b'{"type":"last-prompt","sessionId":"x"}\n{"type":"cost-state","n":[1,{}]}\n'


@pytest.mark.parametrize("name", EXPECTED)
def test_what_does_not_change_a_verdict(name, tmp_path):
    """A torn last line, unknown lines, unknown fields, unknown types of fields, bytes that are not UTF-8."""
    data = sample(name).read_bytes()
    more = b'{"type":"brand-new","payload":{"type":"brand-new"},"timestamp":"2026-11-28T07:00:00Z"}\n'
    changed = {
        "torn": data + b'{"type":"assistant","message":{"content":[{"type":"text","te',
        "unknown": data + more,
        "bookkeeping": data + BOOKKEEPING,
        "bytes": data + b"\xff\xfe\x00\n" + b'{"type":"attachment","x":"\xc3\x28"}\n',
        "not objects": data + b'[]\n"user"\n7\nnull\n\n\r\n',
        "deep": data + b"[" * 100_000 + b"\n",
        "types": data + b'{"type":["user"],"timestamp":{},"message":3,"payload":[]}\n',
        "no line end": data.rstrip(b"\n"),
        "a long line": data + b'{"type":"attachment","x":"' + b"y" * (tail.MAX_LINE_BYTES + 9) + b'"}\n',
    }
    path = tmp_path / f"{agent_of(name)}-x.jsonl"
    for what, content in changed.items():
        path.write_bytes(content)
        found = verdict_of(path)
        assert (found.reason, found.resets_at_s) == EXPECTED[name], what


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.data())
def test_fields_of_any_type_break_nothing(tmp_path_factory, data):
    """One field of a sample becomes anything: the reader gives a verdict and raises nothing."""
    name = data.draw(st.sampled_from(sorted(EXPECTED)))
    lines = [json.loads(line) for line in sample(name).read_text().splitlines()]
    at = data.draw(st.integers(0, len(lines) - 1))
    place = lines[at]
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(_values)
    path = tmp_path_factory.mktemp("m") / f"{agent_of(name)}-x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert isinstance(verdict_of(path).reason, Reason)


@settings(max_examples=60)
@given(st.sampled_from(sorted(EXPECTED)), st.data())
def test_a_record_that_is_cut_anywhere_is_never_a_stop_that_it_was_not(name, data):
    """Cut short, it says what its whole lines say: what the end said, or a turn in progress, or nothing."""
    content = sample(name).read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"{agent_of(name)}-{os.getpid()}-cut.jsonl"
    path.write_bytes(content[:cut])
    try:
        found = verdict_of(path)
    finally:
        path.unlink()
    earlier = {Reason.UNKNOWN, Reason.CRASHED, Reason.USER_EXIT, Reason.RATE_LIMIT, Reason.COMPLETED}
    assert found.reason in {EXPECTED[name][0], *earlier}


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 5000, b"{", b"garbage\n" * 50, b"\xff" * 200_000])
def test_a_record_of_nothing_is_unknown(content, tmp_path):
    for agent in ("claude", "codex", "gemini"):
        path = tmp_path / f"{agent}-x.jsonl"
        path.write_bytes(content)
        assert verdict_of(path).reason is Reason.UNKNOWN

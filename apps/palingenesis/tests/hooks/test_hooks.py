"""Hooks: settings to the byte, the command that an agent runs, and what its events say."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.testing import wait_until
from palingenesis.agents.known import profiles
from palingenesis.evidence.attention import Attention
from palingenesis.evidence.survey import Survey
from palingenesis.hooks import script
from palingenesis.hooks.agents import AGENTS
from palingenesis.hooks.settings_text import (
    CannotBeRead,
    events_with,
    parse,
    with_hooks,
    without_hooks,
)
from palingenesis.hooks.told import MAX_FACTS, HookFacts, fact_of, read
from palingenesis.resume.context import ResumeLimits
from palingenesis.resume.engine import ResumeEngine
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.states import State
from palingenesis.verdict.facts import Evidence, Fact, Sign, Source
from palingenesis.verdict.judge import judge
from palingenesis.verdict.reasons import Reason

COMMAND = "/home/you/.local/state/palingenesis/hooks/hook claude"
EVENTS = AGENTS["claude"].events
PROFILES = profiles({}, "c")
NOW_S = 1_800_000_000.0  # 08:00 UTC

SETTINGS = {
    "nothing": b"",
    "blank": b" \n\n",
    "a comment": b"// nothing yet",
    "empty object": b"{}",
    "empty object of two lines": b"{\n}\n",
    "odd order and numbers": b'{"z": 1e3, "a": 1.00, "m": {"b":[ ]}}\n',
    "no end of line": b'{\n  "model": "opus"\n}',
    "CRLF": b'{\r\n\t"model": "opus",\r\n\t"env": {}\r\n}\r\n',
    "byte order mark": b'\xef\xbb\xbf{"model": "opus"}',
    "comments": b'// mine\n{ // first\n  /* {"hooks": [ */ "model": "opus", // "x",\n}\n',
    "other hooks": b"""{
    "hooks": {
        "Stop": [
            {"matcher": "*", "hooks": [{"type": "command", "command": "say done"}]},  // loud
        ],
        "PreToolUse": []
    },
    "model": "opus"
}
""",
    "an empty list": b'{"hooks": {"Stop": []}}',
    "an empty object of hooks": b'{"model": "opus", "hooks": {}}',
    "escaped names": b'{"\\u0068ooks": {"St\\u006fp": []}, "emoji": "\xf0\x9f\x8e\x89"}',
}
WRONG = {
    "a list": (b"[]", "line 1: an object was expected"),
    "cut off": (b'{"a":\n', "line 2: the text ends too early"),
    "two objects": (b"{}\n{}", "line 2: something follows the end of the object"),
    "hooks of another type": (b'{"hooks": []}', "'hooks' is not an object"),
    "an event of another type": (b'{"hooks": {"Stop": "x"}}', "'hooks.Stop' is not a list"),
    "hooks twice": (b'{"hooks": {}, "hooks": {}}', "it has the key 'hooks' 2 times"),
    "no comma": (b'{"a": 1 "b": 2}', "line 1: a comma or } was expected"),
    "nested without end": (b'{"a":' + b"[" * 100_000, "line 1: nested deeper than 64"),
    "not UTF-8": (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "byte 1 is not UTF-8"),
}


def plain(text):
    """What a JSON reader makes of a text that has no comments in it."""
    return json.loads(text.removeprefix("\ufeff"))


# --- the text -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_all_that_was_there_stays_and_every_event_has_the_hook(name):
    text = SETTINGS[name].decode()
    after = with_hooks(text, EVENTS, COMMAND)
    assert set(events_with(after, COMMAND)) == set(EVENTS)
    left = iter(after)
    assert all(sign in left for sign in text), "what was there is not there in its order"
    if "//" not in text and "Stop" not in text:
        assert plain(after)["hooks"]["Stop"] == [{"hooks": [{"type": "command", "command": COMMAND}]}]


_leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
_hooks = st.dictionaries(st.sampled_from(["Stop", "SessionEnd", "Other"]), st.lists(_values, max_size=2))


@given(
    value=st.dictionaries(st.text().filter(lambda key: key != "hooks"), _values, max_size=4),
    hooks=st.none() | _hooks,
    indent=st.sampled_from([None, 1, 4, "\t"]),
    ascii_only=st.booleans(),
    first=st.booleans(),
)
def test_whatever_the_settings_are_they_are_the_same_but_for_the_hook(
    value, hooks, indent, ascii_only, first
):
    whole = value if hooks is None else ({"hooks": hooks, **value} if first else {**value, "hooks": hooks})
    text = json.dumps(whole, indent=indent, ensure_ascii=ascii_only)
    after = plain(with_hooks(text, EVENTS, COMMAND))
    ours = {"hooks": [{"type": "command", "command": COMMAND}]}
    for event in EVENTS:
        assert after["hooks"][event].pop(0) == ours
        if not after["hooks"][event] and event not in (hooks or {}):
            del after["hooks"][event]
    if hooks is None:
        assert after.pop("hooks") == {}
    assert after == whole
    edited = with_hooks(text, EVENTS, COMMAND).replace("\n", "\n ")  # as an editor formats it anew
    assert events_with(without_hooks(edited, COMMAND), COMMAND) == []


def test_of_an_entry_that_was_edited_only_ours_is_taken_out():
    other = {"type": "command", "command": "say done"}
    text = with_hooks("{}", ["Stop", "SessionEnd"], COMMAND)
    value = plain(text)
    value["hooks"]["Stop"][0]["hooks"].append(other)
    value["hooks"]["SessionEnd"].append({"hooks": [other]})
    left = plain(without_hooks(json.dumps(value, indent=2), COMMAND))
    assert left == {"hooks": {"Stop": [{"hooks": [other]}], "SessionEnd": [{"hooks": [other]}]}}


@given(st.text(alphabet='{}[]",:/* \n\\ahoks1.'))
def test_any_text_is_understood_or_refused(text):
    try:
        parse(text)
        with_hooks(text, EVENTS, COMMAND)
    except CannotBeRead:
        return
    assert set(events_with(with_hooks(text, EVENTS, COMMAND), COMMAND)) == set(EVENTS)


# --- the commands ---------------------------------------------------------------------------------


@pytest.fixture
def settings(app):
    path = app.sandbox.path / "home/.claude/settings.json"
    path.parent.mkdir()
    return path


@pytest.mark.parametrize("name", SETTINGS)
def test_removal_gives_back_the_same_bytes(app, settings, name):
    settings.write_bytes(SETTINGS[name])
    settings.chmod(0o640)
    shown = app.done("hooks", "install", "claude", "--yes")
    assert shown.startswith(f"--- {settings}\n")
    assert shown.endswith("claude: hooks installed\n")
    assert app.done("hooks", "status", "claude") == f"claude: hooks in {settings}\n"
    assert settings.stat().st_mode & 0o777 == 0o640
    assert (app.state_dir / "hooks/claude.before").read_bytes() == SETTINGS[name]
    assert app.done("hooks", "install", "claude", "--yes") == "claude: hooks are installed already\n"
    app.done("hooks", "remove", "claude", "--yes")
    assert settings.read_bytes() == SETTINGS[name]
    assert app.done("hooks", "remove", "claude", "--yes") == "claude: there are no hooks\n"


def test_a_file_that_was_not_there_is_not_there_again(app, settings):
    app.done("hooks", "install", "--yes")  # of the agents, claude alone is here
    assert settings.exists()
    app.done("hooks", "remove", "--yes")
    assert not settings.exists()


def test_what_was_edited_since_stays(app, settings):
    settings.write_text('{"model": "opus"}')
    app.done("hooks", "install", "claude", "--yes")
    settings.write_text(settings.read_text().replace("opus", "sonnet"))
    app.done("hooks", "remove", "claude", "--yes")
    assert json.loads(settings.read_text()) == {
        "model": "sonnet",
        "hooks": {event: [] for event in EVENTS},
    }


def test_without_a_yes_the_difference_is_shown_and_nothing_is_written(app, settings):
    settings.write_bytes(b"{}")
    ended = app("hooks", "install", "claude")
    assert (ended.code, ended.err) == (1, "palingenesis: nothing was changed; --yes writes it\n")
    assert '+    "Stop": ' in ended.out
    assert settings.read_bytes() == b"{}"
    assert not (app.state_dir / "hooks").exists()


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_understood_is_named_and_left_as_it_is(app, settings, name):
    data, reason = WRONG[name]
    settings.write_bytes(data)
    ended = app("hooks", "install", "claude", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"palingenesis: {settings}: {reason}; nothing was changed\n"
    assert settings.read_bytes() == data


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_settings_that_are_not_a_file_are_named(app, settings, make):
    make(settings)
    ended = app("hooks", "install", "claude", "--yes")
    assert (ended.code, ended.err) == (1, f"palingenesis: {settings} is not a regular file\n")


def test_a_place_whose_name_no_settings_can_hold_is_told(app, settings, tmp_path):
    settings.write_bytes(b"{}")
    app.sandbox.env["PALINGENESIS_STATE"] = os.fsdecode(bytes(tmp_path) + b"/s\xff")
    ended = app("hooks", "install", "claude", "--yes")
    assert ended.code == 1
    assert ended.err.endswith("is not UTF-8: set PALINGENESIS_STATE to a directory whose name is\n")
    assert ended.err.count("\n") == 1
    assert settings.read_bytes() == b"{}"


def test_a_link_is_followed_and_stays_a_link(app, settings):
    kept = app.sandbox.path / "home/dotfiles.json"
    kept.write_bytes(b"{}")
    settings.symlink_to(kept)
    app.done("hooks", "install", "claude", "--yes")
    assert settings.is_symlink()
    assert b"hooks" in kept.read_bytes()
    app.done("hooks", "remove", "claude", "--yes")
    assert kept.read_bytes() == b"{}"


def test_an_agent_that_is_not_here_and_one_that_is_not_known_are_told(app):
    home = app.sandbox.path / "home"
    ended = app("hooks", "install", "codex", "--yes")
    assert (ended.code, ended.err) == (1, f"palingenesis: codex is not here: there is no {home}/.codex\n")
    ended = app("hooks", "install", "aider")
    assert ended.code == 2
    assert ended.err == "palingenesis: aider has no hooks: known are claude, codex, gemini\n"


# --- the script -----------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path):
    directory = tmp_path / "it's state"  # the command line quotes it
    script.write(str(directory))
    return directory


def hook(state, data, agent="claude"):
    """Run the hook as an agent does: by a shell, with the event at its standard input."""
    return subprocess.run(
        script.command(str(state), agent), shell=True, input=data, capture_output=True, check=False
    )


def nothing_told(ended):
    return (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_an_event_waits_as_it_was_told(state):
    assert nothing_told(hook(state, b'{"a": "\xff"}\n'))
    [(path, agent, at_s)] = script.waiting(str(state))
    assert (script.read(path), agent) == (b'{"a": "\xff"}\n', "claude")
    assert abs(at_s - time.time()) < 60
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_what_waits_is_bounded_and_the_agent_is_never_held_up(state):
    assert nothing_told(hook(state, b"x" * (4 * script.MAX_EVENT_BYTES)))
    [(path, _, _)] = script.waiting(str(state))
    assert os.stat(path).st_size == script.MAX_EVENT_BYTES
    for number in range(script.MAX_EVENTS):
        (state / "hooks/spool" / f"claude.{number}").touch()
    before = len(script.waiting(str(state)))
    assert nothing_told(hook(state, b"{}"))
    assert len(script.waiting(str(state))) == before


def test_it_ends_well_when_there_is_nothing_to_write_to(state):
    os.rename(state / "hooks/spool", state / "elsewhere")
    assert nothing_told(hook(state, b"x" * 1_000_000))


# --- what events say ------------------------------------------------------------------------------


def fact(name, **fields):
    return fact_of({"hook_event_name": name, **fields}, PROFILES["claude"], NOW_S)


def seen(sign, at_s, source=Source.TRANSCRIPT, **more):
    return Fact(sign, source, at_s, **more)


def verdict(*facts, **more):
    return judge(Evidence(facts=facts, now_s=NOW_S + 20, **more))


def test_a_closed_terminal_is_not_its_users_exit():
    """Without the hook the two look the same: the transcript stops, and the registry is clean."""
    before = seen(Sign.TOOL_RUNNING, NOW_S - 10)
    gone = seen(Sign.NOBODY, NOW_S + 20, Source.PROCESS)
    closed = fact("SessionEnd", reason="other")
    left = fact("SessionEnd", reason="prompt_input_exit")
    assert verdict(before, gone, registers=True).reason is Reason.USER_EXIT
    assert verdict(before, closed, gone, registers=True).reason is Reason.CRASHED
    assert verdict(before, left, gone, registers=True).reason is Reason.USER_EXIT


def test_the_end_of_a_run_that_met_a_limit_leaves_the_limit_and_its_reset():
    limit = seen(Sign.FAILED, NOW_S - 1, text="You've hit your 5-hour limit", until_s=NOW_S + 500)
    failure = fact("StopFailure", error="rate_limit", last_assistant_message="You've hit your 5-hour limit")
    for facts in [(limit, failure), (limit, failure, fact("SessionEnd", reason="other"))]:
        found = verdict(*facts)
        assert (found.reason, found.resets_at_s) == (Reason.RATE_LIMIT, NOW_S + 500)


def test_a_failure_is_known_before_the_transcript_has_it():
    failure = fact("StopFailure", error="rate_limit", last_assistant_message="limit · resets 8:05am (UTC)")
    found = verdict(seen(Sign.PROMPTED, NOW_S - 10), failure)
    assert (found.reason, found.resets_at_s) == (Reason.RATE_LIMIT, NOW_S + 300)


def test_what_the_transcript_says_later_counts():
    assert verdict(fact("Stop"), seen(Sign.PROMPTED, NOW_S + 10)).reason is Reason.RUNNING
    asks = fact("Notification", notification_type="permission_prompt", message="Claude needs your permission")
    assert verdict(seen(Sign.TOOL_RUNNING, NOW_S - 10), asks).reason is Reason.PERMISSION
    assert verdict(asks, seen(Sign.ANSWERING, NOW_S + 10)).reason is Reason.RUNNING


@given(st.dictionaries(st.text(max_size=20), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_an_event_of_another_form_says_nothing(fields):
    assert fact_of(fields, PROFILES["claude"], 1.0) is None
    for name in ("StopFailure", "SessionEnd", "Notification"):
        found = fact(name, error=[1], reason={}, notification_type=3, message=None)
        assert found is None or found.text == ""


def put(state, name, **event):
    (state / "hooks/spool" / name).write_text(json.dumps(event))


def test_events_are_taken_in_once_and_kept(state):
    told = HookFacts(str(state))
    put(state, "claude.1", session_id="s", hook_event_name="Stop")
    put(state, "claude.2", session_id="s", hook_event_name="SessionStart")
    put(state, "stranger.3", session_id="s", hook_event_name="Stop")
    (state / "hooks/spool/claude.4").write_bytes(b"\xff{")
    (state / "hooks/spool/claude.5").symlink_to("/etc/passwd")
    assert told.take_in(PROFILES, time.time()) == ["claude:s"]
    assert told.take_in(PROFILES, time.time() + script.WRITING_S + 1) == []
    assert script.waiting(str(state)) == []
    assert told.take_in(PROFILES, time.time()) == []
    assert [one.sign for one in read(str(state))["claude:s"]] == [Sign.COMPLETED]


def test_an_event_that_is_still_being_written_waits_for_its_end(state):
    told = HookFacts(str(state))
    whole = json.dumps({"session_id": "s", "hook_event_name": "Stop"})
    path = state / "hooks/spool/claude.1"
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_text(whole[:cut])
        assert told.take_in(PROFILES, time.time()) == []
        assert path.exists()
    path.write_text(whole)
    assert told.take_in(PROFILES, time.time()) == ["claude:s"]
    assert not path.exists()


def test_what_is_kept_of_one_session_is_bounded(state):
    told = HookFacts(str(state))
    for number in range(3 * MAX_FACTS):
        put(state, f"claude.{number}", session_id="s", hook_event_name="Stop")
        os.utime(state / f"hooks/spool/claude.{number}", (number, number))
    told.take_in(PROFILES, time.time())
    assert len(told.facts["claude:s"]) == MAX_FACTS
    assert told.facts["claude:s"][-1].at_s == 3 * MAX_FACTS - 1


def test_the_daemon_takes_in_what_came_before_it_started_and_while_it_runs(app, settings):
    """The transcript says that a tool runs; only the hook knows that its user has left."""
    app.done("hooks", "install", "claude", "--yes")
    command = json.loads(settings.read_text())["hooks"]["SessionEnd"][0]["hooks"][0]["command"]
    home = app.sandbox.path / "home"
    records = home / ".claude/projects/-demo"
    records.mkdir(parents=True)

    def stopped_by(reason, session):
        message = {"role": "assistant", "model": "m", "stop_reason": "tool_use", "content": []}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"type": "assistant", "timestamp": stamp, "sessionId": session, "cwd": str(home / "gone"),
                "entrypoint": "cli", "message": message}  # fmt: skip
        (records / f"{session}.jsonl").write_text(json.dumps(line) + "\n")
        event = {"session_id": session, "hook_event_name": "SessionEnd", "reason": reason}
        subprocess.run(command, shell=True, input=json.dumps(event).encode(), check=True)

    def why(session):
        return app("why", session, "--json").json()["reason"]

    before, during = str(uuid.uuid4()), str(uuid.uuid4())
    stopped_by("other", before)
    assert why(before) == "user exit"  # nobody has taken the event in
    app.done("daemon", "start")
    wait_until(lambda: why(before) == "crashed", what="the event of before")
    stopped_by("other", during)
    wait_until(lambda: why(during) == "crashed", what="the event of meanwhile")


def test_a_hook_of_a_session_without_an_entry_has_it_looked_at(state, tmp_path):
    """Its record told nothing to keep an entry for, and does not change any more: the hook alone tells."""
    home, session = tmp_path / "home", str(uuid.uuid4())
    records = home / ".claude/projects/-demo"
    records.mkdir(parents=True)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    message = {"role": "assistant", "model": "m", "stop_reason": "tool_use", "content": []}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {
        "type": "assistant", "timestamp": stamp, "sessionId": session, "cwd": str(home),
        "entrypoint": "cli", "message": message,
    }  # fmt: skip
    record = records / f"{session}.jsonl"
    record.write_text(json.dumps(line) + "\n")
    os.utime(record, (time.time() - 60, time.time() - 60))
    told = HookFacts(str(state))
    survey = Survey(PROFILES, environment, told.facts)
    ledger = Ledger(str(state), time.time())
    engine = ResumeEngine(survey, ledger, str(state), environment, ResumeLimits(), told)
    try:
        engine.tick()
        assert ledger.entries == {}, "it looks as if its user had left it"
        for number, other in enumerate(["no-record-of-this-one", session[:8], session]):
            put(state, f"claude.{number}", session_id=other, hook_event_name="SessionEnd", reason="other")
        engine.tick()
        (entry,) = ledger.entries.values()
        assert (entry.key, entry.state, entry.reason) == (
            f"claude:{session}", State.SCHEDULED, Reason.CRASHED,
        )  # fmt: skip
    finally:
        ledger.close()


def test_records_are_found_by_the_ids_in_their_names(tmp_path):
    names = {
        "claude": ".claude/projects/-p/{}.jsonl",
        "codex": ".codex/sessions/2026/11/28/rollout-x-{}.jsonl",
        "gemini": ".gemini/tmp/p/chats/session-2026-11-28-{}.jsonl",
    }
    session = str(uuid.uuid4())
    paths = {}
    for agent, name in names.items():
        paths[agent] = tmp_path / name.format(session[:8] if agent == "gemini" else session)
        paths[agent].parent.mkdir(parents=True)
        paths[agent].write_text("{}\n")
    attention = Attention(Survey(PROFILES, {"HOME": str(tmp_path)}))
    attention.changed(time.time())
    for agent, path in paths.items():
        assert attention.named(agent, session) == [(agent, str(path))]
    assert attention.named("claude", str(uuid.uuid4())) == []
    assert attention.named("claude", session[:7]) == attention.named("claude", "") == []

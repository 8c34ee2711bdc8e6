"""Which session a terminal takes for its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime

import pytest

from palingenesis.agents.known import profiles
from palingenesis.evidence import processes
from palingenesis.evidence.process import Process
from palingenesis.terminal.events import Printed
from palingenesis.terminal.look import Look
from palingenesis.terminal.next_step import was_killed
from palingenesis.terminal.words import next_words
from palingenesis.verdict.reasons import Reason

OURS = os.getpid()
FIRST, SECOND = (f"{number}" * 8 + "-0000-4000-8000-000000000001" for number in "12")


def iso(at_s):
    return datetime.fromtimestamp(at_s, UTC).isoformat()


def claude(home, session, project):
    path = home / f".claude/projects/-p/{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    message = {"model": "m", "stop_reason": "end_turn", "content": []}
    line = {"type": "assistant", "sessionId": session, "cwd": str(project), "message": message}
    path.write_text(json.dumps(line | {"timestamp": iso(time.time())}) + "\n")


def codex(home, session, project, began_s):
    path = home / f".codex/sessions/2026/11/28/rollout-{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    error = {"message": "You've hit your usage limit.", "codex_error_info": "usage_limit_exceeded"}
    lines = [
        ("session_meta", {"id": session, "cwd": str(project)}),
        ("event_msg", {"type": "task_started"}),
        ("event_msg", {"type": "task_complete", "error": error}),
    ]
    path.write_text(
        "".join(
            json.dumps({"timestamp": iso(began_s), "type": kind, "payload": payload}) + "\n"
            for kind, payload in lines
        )
    )
    return str(path)


def look_of(agent, home, project):
    return Look(agent, profiles({}, "c")[agent], {"HOME": str(home)}, [agent], str(project))


def test_a_terminal_follows_its_user_to_a_new_session(tmp_path):
    """After `/clear` Claude Code's registry names another session for the same process."""
    registry = tmp_path / f".claude/sessions/{OURS}.json"
    registry.parent.mkdir(parents=True)
    look = look_of("claude", tmp_path, tmp_path)
    for session in (FIRST, SECOND):
        claude(tmp_path, session, tmp_path)
        registry.write_text(json.dumps({"pid": OURS, "sessionId": session, "status": "busy"}))
        seen = look.look(time.time() - 5, lambda pid: pid == OURS)
        assert (seen.session.id, seen.lives_elsewhere) == (session, 0)
    registry.unlink()
    assert look.look(time.time() - 5, lambda pid: pid == OURS).session.id == SECOND


@pytest.mark.parametrize(
    ("windows", "began_ago_s", "found"),
    [
        ([OURS], 1, True),
        ([OURS], 60, False),  # a turn that the server goes on with, of a window that is gone
        ([OURS, 1], 1, False),  # of which of the two it is, nothing tells
        ([], 1, True),  # our window has just ended
    ],
)
def test_a_session_of_a_server_is_the_only_window_s(tmp_path, monkeypatch, windows, began_ago_s, found):
    now_s = time.time()
    record = codex(tmp_path, FIRST, tmp_path, now_s - began_ago_s)
    server = Process(2, "1", "codex", ("codex", "app-server"), str(tmp_path), frozenset({record}))
    seen = [Process(pid, "1", "codex", ("codex",), str(tmp_path), frozenset()) for pid in windows]
    monkeypatch.setattr(processes, "running", lambda _: [server, *seen])
    look = look_of("codex", tmp_path, tmp_path)
    session, elsewhere = look.look(now_s - 10, lambda pid: pid == OURS)
    assert (session is not None) is found
    assert elsewhere == 0


@pytest.mark.parametrize(("killed", "reason"), [(True, Reason.CRASHED), (False, Reason.UNKNOWN)])
def test_an_agent_that_writes_no_errors_crashed_where_its_process_was_killed(tmp_path, killed, reason):
    path = tmp_path / ".gemini/tmp/p/chats/session-2026-11-28T06-00-11111111.jsonl"
    path.parent.mkdir(parents=True)
    prompt = {"type": "user", "id": "u", "timestamp": iso(time.time()), "content": [{"text": "go on"}]}
    path.write_text(json.dumps({"sessionId": FIRST, "kind": "main"}) + "\n" + json.dumps(prompt) + "\n")
    words = ["gemini", "--resume", FIRST]
    look = Look("gemini", profiles({}, "c")["gemini"], {"HOME": str(tmp_path)}, words, str(tmp_path))
    look.hear(Printed(), None, killed=killed)
    seen = look.look(time.time() - 60, lambda _: True)
    assert seen.session is not None
    assert seen.session.verdict.reason is reason


def test_a_wrapper_s_exit_code_tells_of_a_kill_and_an_agent_s_own_code_does_not():
    killed = [signal.SIGKILL, (128 + signal.SIGKILL) << 8, signal.SIGSEGV]
    assert all(was_killed(status) for status in killed)
    # 144 is Gemini CLI's code for a bad request, and 128 + 16 as well.
    assert not any(was_killed(status) for status in (0, 144 << 8, signal.SIGTERM, 143 << 8, 1 << 8))


def test_opencode_s_window_opens_after_the_run_that_gives_the_prompt(tmp_path):
    """Its window drops a prompt that comes with a session."""
    program = tmp_path / "opencode"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@" >>calls; echo >>calls; exit "$(cat code)"\n')
    program.chmod(0o700)
    profile = profiles({}, "c")["opencode"]
    values = {"id": "ses_12345678", "cwd": "/", "prompt": 'it\'s $HOME; "go on"', "new_id": ""}
    words = next_words(["opencode", "-m", "fake/model"], profile, values, "", fresh=False)
    ran = 'run|-m|fake/model|-s|ses_12345678|it\'s $HOME; "go on"|\n'
    for code, calls in (("0", ran + "-m|fake/model|-s|ses_12345678|\n"), ("7", ran)):
        (tmp_path / "code").write_text(code)
        (tmp_path / "calls").unlink(missing_ok=True)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(words, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == int(code)
        assert (tmp_path / "calls").read_text() == calls

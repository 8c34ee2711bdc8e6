"""`call --detach` and `task`, as they are typed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from daemonry.testing import wait_until


def test_a_detached_call_is_waited_for_with_the_exit_codes_of_a_call(app: Any) -> None:
    task = app.done("call", "fake/echo", "text=kept", "--detach").strip()
    assert app.done("task", "wait", task) == "kept\n"
    assert app.done("task", "result", task, "--raw") == '{"content": [{"type": "text", "text": "kept"}]}\n'
    slow = app.done("call", "fake/slow", "n=60", "--detach").strip()
    assert app("task", "wait", slow, "--timeout", "0.2").code == 5
    assert app("task", "result", slow).code == 5
    assert app.done("task", "cancel", slow) == f"{slow}: cancelled\n"
    assert app("task", "wait", slow).code == 6
    crash = app.done("call", "fake/crash", "--detach").strip()
    ended = app("task", "wait", crash)
    assert (ended.code, ended.err.splitlines()[0]) == (
        6,
        "fake/crash: exited with code 7; its outcome is unknown",
    )
    assert app("task", "wait", "none").code == 1
    assert app("call", "fake/echo", "--detach").code == 2
    assert app("--no-daemon", "call", "fake/echo", "text=x", "--detach").code == 2
    assert app("list", "--detach").code == 2
    assert [line.split()[1] for line in app.done("task", "list").splitlines()] == [
        *("completed", "cancelled", "unknown"),
    ]


def test_a_task_outlives_a_daemon_that_is_killed(app: Any, alive: Any) -> None:
    kept = app.done("call", "fake/echo", "text=kept", "--detach").strip()
    assert app.done("task", "wait", kept) == "kept\n"
    slow = app.done("call", "fake/slow", "n=60", "--detach").strip()
    assert app("task", "wait", slow, "--timeout", "0.1").code == 5
    killed = app.pid()
    threads = Path(f"/proc/{killed}/task").glob("*/children")
    children = [int(pid) for thread in threads for pid in thread.read_text().split()]
    assert children
    os.kill(killed, signal.SIGKILL)
    ended = app("task", "wait", slow)
    assert ended.code == 6
    assert "the daemon ended in the call; its outcome is unknown" in ended.err
    assert app("task", "result", kept).out == "kept\n"
    wait_until(lambda: not any(map(alive, children)), what="what the killed one had started is gone")

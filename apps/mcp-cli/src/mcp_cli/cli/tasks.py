"""`call --detach` and `task list|get|wait|result|cancel`: tool calls that the daemon holds.

Owns their words and their output.  Waiting for a task ends as its call would have ended.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from daemonry import errors
from daemonry.cli import kit, terminal
from mcp_cli.cli import events as follow
from mcp_cli.client import failures
from mcp_cli.client.options import DIRECT, Options
from mcp_cli.client.session import Session
from mcp_cli.client.tool_call import ToolCall
from mcp_cli.output.printer import say_line


def detach(options: Options, asked: ToolCall) -> int:
    """Do `call --detach`: print the task's id."""
    with Session(options) as session:
        _needs_daemon(options)
        parameters = asked.parameters(options, "", [])
        for name in ("server", "fingerprint", "logs", "answers"):
            del parameters[name]

        def attempt() -> int:
            task = session.ask("Detach", asked.server, parameters)
            options.printer.facts(lambda: _json(task), lambda: kit.say(str(task["id"])))
            return kit.DONE

        return session.retried(attempt)


def _needs_daemon(options: Options) -> None:
    if options.mode == DIRECT:
        raise errors.ArgumentInvalid("--no-daemon", "leaves nobody to hold the task")


def listed(options: Options, given: argparse.Namespace) -> int:
    """Do `task list`."""
    del given
    _needs_daemon(options)
    with Session(options) as session:
        tasks = session.plain("Tasks", {})["result"]
    rows = [
        [
            one["id"],
            one.get("status", "working"),
            f"{one['server']}/{one['tool']}",
            _age(one),
            one.get("error") or one.get("message") or "",
        ]
        for one in tasks
    ]
    options.printer.facts(lambda: {"tasks": list(map(_json, tasks))}, lambda: _say_rows(rows))
    return kit.DONE


def _say_rows(rows: list[list[str]]) -> None:
    for line in terminal.aligned(rows, None, ""):
        say_line(line)


def get(options: Options, given: argparse.Namespace) -> int:
    """Do `task get`."""
    _needs_daemon(options)
    with Session(options) as session:
        task = session.plain("Task", {"id": given.id})
    options.printer.facts(lambda: _json(task), lambda: _say_task(task))
    return kit.DONE


def _say_task(task: Mapping[str, Any]) -> None:
    status = task.get("status", "working")
    rows = [
        ["tool", f"{task['server']}/{task['tool']}"],
        ["status", f"{status}, the tool says that it failed" if task.get("is_error") else status],
        ["age", _age(task)],
        ["progress", task.get("message", "")],
        ["error", task.get("error", "")],
        ["result", f"{task['result_bytes']} bytes" if task.get("result_bytes") else ""],
        ["server's task", task.get("remote", "")],
        ["questions", ", ".join(task.get("questions", ()))],
    ]
    say_line(str(task["id"]))
    for line in terminal.aligned([row for row in rows if row[1]], None, "  "):
        say_line(line)


def _age(task: Mapping[str, Any]) -> str:
    seconds = max((task.get("ended_at") or time.time()) - task.get("created_at", 0.0), 0.0)
    return f"{'took' if task.get('ended_at') else 'for'} {_span(seconds)}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _json(task: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"status": "working", "message": "", "error": "", "questions": [], "is_error": False}
    return {**empty, **task}


def wait(options: Options, given: argparse.Namespace) -> int:
    """Do `task wait`: end as the call would have."""
    return _follow(options, given.id, wait=True)


def result(options: Options, given: argparse.Namespace) -> int:
    """Do `task result`: the same, without waiting."""
    return _follow(options, given.id, wait=False)


def _follow(options: Options, task_id: str, *, wait: bool) -> int:
    _needs_daemon(options)
    with Session(options) as session:
        task = session.plain("Task", {"id": task_id})
        parameters: dict[str, Any] = {"id": task_id, "wait": wait, **_definition(session, task)}
        if options.timeout_s is not None:
            parameters["timeout_s"] = options.timeout_s
        try:
            events = session.watch("Follow", parameters, None)
            return follow.result(events, options, task["server"], task["tool"])
        except (errors.DaemonryError, KeyboardInterrupt) as error:
            return failures.tell(error, options, task["server"], task["tool"])


def _definition(session: Session, task: Mapping[str, Any]) -> dict[str, str]:
    """Return the fingerprint of a task's server where it may be needed: for a task of the server's own."""
    if not task.get("remote") or task.get("ended_at"):
        return {}
    try:
        (ref,) = session.configure([session.server(task["server"])])
    except errors.DaemonryError:
        return {}  # then the daemon says that it does not know the server
    return {"fingerprint": ref["fingerprint"]}


def cancel(options: Options, given: argparse.Namespace) -> int:
    """Do `task cancel`: a task that has ended stays as it is."""
    _needs_daemon(options)
    with Session(options) as session:
        task = session.plain("Task", {"id": given.id})
        task = session.plain("Cancel", {"id": given.id, **_definition(session, task)})
    status = task.get("status", "working")
    said = "cancelled" if status == "cancelled" else f"has ended already ({status})"
    options.printer.facts(lambda: _json(task), lambda: kit.say(f"{task['id']}: {said}"))
    return kit.DONE

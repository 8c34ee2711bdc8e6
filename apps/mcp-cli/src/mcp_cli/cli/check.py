"""`check SERVER`: is a server as the protocol has it, are its tools usable, and does it stand a load.

Owns the steps and the report.  The faults of tools are `pool.definitions.lint`'s.  It calls no tool, but for
a load: then one that the server declares to read only, and that needs no arguments.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from daemonry import errors
from daemonry.cli import kit, terminal
from mcp_cli.cli.listing import gather
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session
from mcp_cli.client.tool_call import ToolCall
from mcp_cli.output.listed import counted
from mcp_cli.output.printer import say_line
from mcp_cli.pool.definitions.lint import Finding, findings

LISTS = (("Resources", "resource"), ("Templates", "template"), ("Prompts", "prompt"))


def check(options: Options, given: argparse.Namespace) -> int:
    """Do `check SERVER`: 1 where something is wrong, or with `--strict` where there is advice."""
    load = _load(given.load)
    with Session(options) as session:
        config = session.server(given.server)
        state = session.ask("Info", given.server, {})
        (listed,) = gather(session, "Tools", [config], "tool")
        found = _conformance(given.server, listed.items, state)
        if listed.failed:
            found.append(Finding("error", given.server, f"tools/list: {listed.reason}"))
        found += findings([(item["json"], json.loads(item["json"])) for item in listed.items])
        for method, noun in LISTS:
            (other,) = gather(session, method, [config], noun)
            if other.failed:
                found.append(Finding("error", given.server, f"its {noun}s: {other.reason}"))
        tool = safe_tool([json.loads(item["json"]) for item in listed.items]) if load else ""
        loaded = _load_facts(_pings(session, given.server, load), "pings") if load else {}
        if tool:
            loaded["calls"] = _calls(session, given.server, tool, load)
    facts = {
        "server": given.server,
        "protocol": state.get("protocol", ""),
        "tools": len(listed.items),
        "start_ms": state.get("start_ms", 0),
        "findings": [one._asdict() for one in found],
        **({"load": loaded} if loaded else {}),
    }
    options.printer.facts(lambda: facts, lambda: _say(facts, found))
    wrong = any(one.level == "error" or given.strict for one in found)
    return kit.FAILED if wrong else kit.DONE


def _load(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise errors.ArgumentInvalid(text, "must be a number of pings from 1 to 100000")
    return int(text)


def _conformance(server: str, tools: list[dict[str, Any]], state: dict[str, Any]) -> list[Finding]:
    found = []
    info = json.loads(state.get("info") or "{}")
    if not info.get("name") or not info.get("version"):
        found.append(Finding("advice", server, "serverInfo has no name or no version"))
    capabilities = json.loads(state.get("capabilities") or "{}")
    if tools and "tools" not in capabilities:
        found.append(Finding("error", server, "it has tools, and does not say so in its capabilities"))
    if state.get("protocol") and state["protocol"] < "2025-11-25":
        found.append(Finding("advice", server, f"it speaks {state['protocol']}, not a revision of today"))
    return found


def _pings(session: Session, server: str, count: int) -> list[float]:
    """Ping a server so often, and return how long each took, in milliseconds."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        session.ask("Ping", server, {})
        found.append((time.perf_counter() - began) * 1000)
    return found


def safe_tool(tools: list[dict[str, Any]]) -> str:
    """Return the first tool that may be called for a load; "" where there is none.

    The server declares that it changes nothing, and it needs neither arguments nor a task.
    """
    for tool in tools:
        hints, schema = tool.get("annotations"), tool.get("inputSchema")
        if not isinstance(hints, dict) or hints.get("readOnlyHint") is not True:
            continue
        if not isinstance(schema, dict) or schema.get("required"):
            continue
        execution = tool.get("execution")
        if not isinstance(execution, dict) or execution.get("taskSupport") != "required":
            return str(tool["name"])
    return ""


def _calls(session: Session, server: str, tool: str, count: int) -> dict[str, Any]:
    """Call a tool so often without arguments, and return what that took.

    Raises:
        CallFailed: the server did not run one.
    """
    found, failed = [], 0
    for _ in range(count):
        began = time.perf_counter()
        for event in session.call(ToolCall(server, tool, "{}", [])):
            failed += event.get("kind") == "done" and bool(event.get("is_error"))
        found.append((time.perf_counter() - began) * 1000)
    return {"tool": tool, "failed": failed, **_load_facts(found, "calls")}


def _load_facts(times_ms: list[float], what: str) -> dict[str, Any]:
    ordered = sorted(times_ms)
    return {
        what: len(ordered),
        "median_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)], 2),
        "most_ms": round(ordered[-1], 2),
    }


def _say(facts: dict[str, Any], found: list[Finding]) -> None:
    tools = counted(facts["tools"], "tool")
    say_line(f"{facts['server']}: {facts['protocol']}, {tools}, started in {facts['start_ms']} ms")
    for line in terminal.aligned([[one.level, one.where, one.text] for one in found], None, "  "):
        say_line(line)
    if not found:
        say_line("  nothing is wrong")
    if "load" in facts:
        _say_load(facts["load"])


def _say_load(load: dict[str, Any]) -> None:
    say_line(f"  {load['pings']} pings: {_spread(load)}")
    calls = load.get("calls")
    if calls is None:
        say_line("  no tool was called: none without arguments declares readOnlyHint")
        return
    failed = f", {calls['failed']} failed" if calls["failed"] else ""
    say_line(f"  {calls['calls']} calls of {calls['tool']}: {_spread(calls)}{failed}")


def _spread(load: dict[str, Any]) -> str:
    return (
        f"median {load['median_ms']} ms, 99 of 100 within {load['p99_ms']} ms,"
        f" the longest {load['most_ms']} ms"
    )

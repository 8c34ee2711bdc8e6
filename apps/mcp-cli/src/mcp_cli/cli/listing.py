"""`list`, `search`, `resources`, `prompts`: what the servers have.

Owns gathering: all servers are asked together, on a terminal a table fills as they answer, and the
listing itself is in the configuration's order, whoever was first.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import sys
import time
from typing import Any

from daemonry import errors
from daemonry.cli import kit, terminal
from mcp_cli.client import failures
from mcp_cli.client.options import Options
from mcp_cli.client.session import Events, Session
from mcp_cli.config.model import ServerConfig
from mcp_cli.output.listed import (
    columns,
    counted,
    server_json,
    servers_json,
    show_heading,
    show_server,
)
from mcp_cli.output.printer import complain_line, say_line
from mcp_cli.ranking import Ranked


class ServerListing:
    """One server's answer.

    Attributes:
        config: how it is configured.
        items: its entries, as `interfaces.Item` fields.
        filtered: how many are hidden by the configuration.
        state: the server's, as `interfaces.ServerState` fields; empty until it answered.
        reason: why it could not be asked, or "".
        seconds: from asking to its answer.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.items: list[dict[str, Any]] = []
        self.filtered = 0
        self.state: dict[str, Any] = {}
        self.reason = ""
        self.seconds = 0.0

    @property
    def failed(self) -> bool:
        """Whether it could not be asked."""
        return bool(self.reason)


def gather(
    session: Session, method: str, servers: list[ServerConfig], noun: str, *, detail: bool = True
) -> list[ServerListing]:
    """Ask servers for their lists of one sort, all together, and return their answers in order."""
    gathered = {one.name: ServerListing(one) for one in servers}
    askable: list[ServerConfig] = []
    for one in servers:
        try:
            session.definition(one)
        except errors.ConfigError as error:
            gathered[one.name].reason = str(error)
        else:
            askable.append(one)
    if askable:
        table = _Filling(list(gathered.values()), noun, session.options)
        begun = time.monotonic()
        table.draw()
        with contextlib.closing(_listings(session, method, askable, detail)) as listings:
            for listing in listings:
                answer = gathered[listing["server"]]
                answer.items += listing.get("items", [])
                answer.filtered = max(answer.filtered, listing.get("filtered", 0))
                if listing.get("more"):
                    continue
                answer.state = listing["state"]
                answer.seconds = time.monotonic() - begun
                if answer.state.get("error") and not answer.items and answer.state.get("state") != "ready":
                    answer.reason = answer.state["error"]
                table.draw()
        table.clear()
        for answer in gathered.values():
            if not answer.state and not answer.reason:
                answer.reason = "gave no answer"
    return list(gathered.values())


def _listings(session: Session, method: str, servers: list[ServerConfig], detail: bool) -> Events:
    at_once = session.config.concurrency_limit or len(servers)
    for first in range(0, len(servers), at_once):
        with contextlib.closing(
            session.listings(method, servers[first : first + at_once], detail)
        ) as listings:
            yield from listings


class _Filling:
    """A table on the terminal with a row for each server, written over as they answer."""

    def __init__(self, rows: list[ServerListing], noun: str, options: Options) -> None:
        self._rows = rows
        self._noun = noun
        self._drawn = 0
        wanted = sys.stderr.isatty() and sys.stdout.isatty() and not options.quiet
        self._on = wanted and os.environ.get("TERM", "dumb") != "dumb"

    def draw(self) -> None:
        """Draw the table as it stands."""
        if not self._on:
            return
        width, height = terminal.size(2)
        shown = self._rows[: max(1, height - 2)]
        lines = terminal.aligned([self._cells(one) for one in shown], width - 1)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = up + "".join(f"\x1b[K{terminal.shown(line)}\n" for line in lines)
        sys.stderr.write(text)
        sys.stderr.flush()
        self._drawn = len(lines)

    def _cells(self, one: ServerListing) -> list[str]:
        if one.failed:
            return [one.config.name, "failed", terminal.shown(one.reason).replace("\n", " ")]
        if not one.state:
            return [one.config.name, "starting", ""]
        return [one.config.name, counted(len(one.items), self._noun), f"{one.seconds:.1f} s"]

    def clear(self) -> None:
        """Remove it: the listing itself follows."""
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}A\x1b[J")
            sys.stderr.flush()
            self._drawn = 0


def chosen(session: Session, names: list[str]) -> list[ServerConfig]:
    """Return the servers that are named, or all that are enabled.

    Raises:
        NoSuchServer: one is not in the configuration.
    """
    return [session.server(name) for name in names] if names else list(session.config.enabled())


# --- list -------------------------------------------------------------------------------------


def tools(options: Options, given: argparse.Namespace) -> int:
    """Do `list`."""
    with Session(options) as session:
        servers = chosen(session, given.servers)
        gathered = gather(session, "Tools", servers, "tool")

        def show() -> None:
            for one in gathered:
                _say_server(
                    one, "tool", descriptions=given.descriptions or given.schemas, schemas=given.schemas
                )
            if not servers:
                complain_line(f"there is no server in {session.config.path}")

        options.printer.document(lambda: _json_of(gathered, "tools"), show)
    return _code(gathered, given.strict)


def resources(options: Options, given: argparse.Namespace) -> int:
    """Do `resources`: resources, then templates."""
    with Session(options) as session:
        servers = chosen(session, given.servers)
        gathered = gather(session, "Resources", servers, "resource")
        templates = gather(
            session, "Templates", [one.config for one in gathered if not one.failed], "template"
        )
        by_name = {one.config.name: one for one in templates}

        def show() -> None:
            for one in gathered:
                if one.config.name in by_name:
                    one.items += by_name[one.config.name].items
                _say_server(one, "resource", descriptions=given.descriptions, titles=True)

        options.printer.document(lambda: _json_of(gathered, "resources", by_name), show)
    return _code(gathered, given.strict)


def prompts(options: Options, given: argparse.Namespace) -> int:
    """Do `prompts`."""
    with Session(options) as session:
        gathered = gather(session, "Prompts", chosen(session, given.servers), "prompt")

        def show() -> None:
            for one in gathered:
                for item in one.items:
                    item["name"] = f"{item['name']}{_prompt_arguments(item)}"
                _say_server(one, "prompt", descriptions=given.descriptions)

        options.printer.document(lambda: _json_of(gathered, "prompts"), show)
    return _code(gathered, given.strict)


def _prompt_arguments(item: dict[str, Any]) -> str:
    taken = json.loads(item.get("json") or "{}").get("arguments") or []
    names = [one.get("name", "") if one.get("required") else f"[{one.get('name', '')}]" for one in taken]
    return f" {' '.join(names)}" if names else ""


def _say_server(
    one: ServerListing, noun: str, *, descriptions: bool = False, schemas: bool = False, titles: bool = False
) -> None:
    if one.failed:
        sys.stdout.flush()
        reason = one.reason if one.reason.startswith(one.config.name) else f"{one.config.name}: {one.reason}"
        complain_line(reason)
        for line in failures.stderr_lines(one.state):
            complain_line(line)
        return
    rows = [_row(item, descriptions or schemas, titles) for item in one.items]
    about = one.config.description
    if schemas:
        show_heading(one.config.name, noun, len(rows), one.filtered, about)
        for row, item in zip(rows, one.items, strict=True):
            say_line(f"  {row[0]}")
            for line in (item.get("description") or "").strip().splitlines():
                say_line(f"    {line}")
            for key in ("inputSchema", "outputSchema"):
                schema = json.loads(item.get("json") or "{}").get(key)
                if schema is not None:
                    say_line(f"    {key}: {json.dumps(schema, ensure_ascii=False)}")
        return
    show_server(one.config.name, noun, rows, one.filtered, about)


def _row(item: dict[str, Any], descriptions: bool, titles: bool) -> list[str]:
    row = [item["name"]]
    if titles:
        row.append(item.get("title") or "")
    if descriptions:
        row.append(first_line(item.get("description") or item.get("title") or ""))
    return row


def first_line(text: str) -> str:
    """Return the first line of a text that has something in it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _json_of(
    gathered: list[ServerListing], key: str, templates: dict[str, ServerListing] | None = None
) -> str:
    """Return the servers' answers as JSON; each item as the server sent it, to the byte."""
    servers = []
    for one in gathered:
        lists = {key: one.items}
        if templates is not None:
            found = templates.get(one.config.name)
            lists["resourceTemplates"] = found.items if found else []
        failure = ""
        if one.failed:
            told = json.dumps(one.state.get("stderr") or [])
            failure = f'"error":{json.dumps(one.reason)},"stderr":{told}'
        servers.append(server_json(one.config.name, lists, one.filtered, failure))
    return servers_json(servers)


def _code(gathered: list[ServerListing], strict: bool) -> int:
    return kit.FAILED if strict and any(one.failed for one in gathered) else kit.DONE


# --- search -----------------------------------------------------------------------------------


def search(options: Options, given: argparse.Namespace) -> int:
    """Do `search`: a glob over names, or words ranked over names and descriptions."""
    pattern = " ".join(given.pattern)
    with Session(options) as session:
        gathered = gather(session, "Tools", list(session.config.enabled()), "tool")
    pairs = [(one.config.name, item) for one in gathered for item in one.items]
    found = matching(pattern, pairs)
    for one in gathered:
        if one.failed:
            _say_server(one, "tool")
    options.printer.document(lambda: _found_json(found), lambda: _say_found(found))
    if not found:
        complain_line(f"no tool matches {pattern!r}")
        return kit.FAILED
    return kit.DONE


def _found_json(found: list[tuple[str, dict[str, Any]]]) -> str:
    tools = ",".join(f'{{"server":{json.dumps(name)},"tool":{item["json"]}}}' for name, item in found)
    return f'{{"tools":[{tools}]}}'


def _say_found(found: list[tuple[str, dict[str, Any]]]) -> None:
    rows = [[f"{name}/{item['name']}", first_line(item.get("description") or "")] for name, item in found]
    for line in terminal.aligned(rows, columns()):
        say_line(line)


def matching(pattern: str, pairs: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the tools that a pattern finds, the best first.

    Args:
        pattern: a glob (on the name, or on `server/name`), or words.
        pairs: of a server's name and an item.
    """
    if any(char in pattern for char in "*?["):
        wanted = pattern.lower()
        return [
            (server, item)
            for server, item in pairs
            if fnmatch.fnmatchcase(item["name"].lower(), wanted)
            or fnmatch.fnmatchcase(f"{server}/{item['name']}".lower(), wanted)
        ]
    return [pairs[at] for at, _ in Ranked(pairs).best(pattern)]

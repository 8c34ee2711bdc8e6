"""Servers that other programs are configured with: where each keeps them, and reading them.

Owns the list of places, on Linux and on macOS, and how `${...}` of theirs are written in ours.  Nothing is
written here.

    claude-desktop   Linux ~/.config/Claude/claude_desktop_config.json
                     macOS ~/Library/Application Support/Claude/claude_desktop_config.json
    claude-code      ~/.claude.json: its mcpServers, and those of the project in this directory
    cursor           ~/.cursor/mcp.json, ./.cursor/mcp.json
    vscode           Linux ~/.config/Code/User/mcp.json
                     macOS ~/Library/Application Support/Code/User/mcp.json, ./.vscode/mcp.json
    windsurf         ~/.codeium/windsurf/mcp_config.json
    mcporter         ~/.mcporter/mcporter.json, ./config/mcporter.json
    project          ./.mcp.json
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from daemonry.errors import ArgumentInvalid, ConfigError
from mcp_cli.config import files, forms, json_text
from mcp_cli.config.model import ServerConfig
from mcp_cli.config.search import home_dir, user_config_dir

SOURCES = ("claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "mcporter", "project")


class ImportedFile(NamedTuple):
    """One file's servers.

    Attributes:
        source: which of `SOURCES`, or "file".
        path: the file.
        servers: the servers that the file has.
        refused: what could not be: a name, and why.
        lacking: what a server has lost: its name, and what.
    """

    source: str
    path: str
    servers: list[ServerConfig]
    refused: list[tuple[str, str]]
    lacking: list[tuple[str, str]]


def places(source: str, environment: Mapping[str, str], here: str, platform: str = sys.platform) -> list[str]:
    """Return the files in which a program keeps its servers."""
    home = home_dir(environment)
    mac = f"{home}/Library/Application Support"
    above = mac if platform == "darwin" else user_config_dir(environment)
    return {
        "claude-desktop": [f"{above}/Claude/claude_desktop_config.json"],
        "claude-code": [f"{home}/.claude.json"],
        "cursor": [f"{home}/.cursor/mcp.json", f"{here}/.cursor/mcp.json"],
        "vscode": [f"{above}/Code/User/mcp.json", f"{here}/.vscode/mcp.json"],
        "windsurf": [f"{home}/.codeium/windsurf/mcp_config.json"],
        "mcporter": [f"{home}/.mcporter/mcporter.json", f"{here}/config/mcporter.json"],
        "project": [f"{here}/.mcp.json"],
    }[source]


def take(sources: list[str], environment: Mapping[str, str], here: str) -> list[ImportedFile]:
    """Read the servers of programs, or of files; of every program that has any where none is named.

    Raises:
        ArgumentInvalid: a source is neither a program that is known nor a file.
        ConfigError: a file that is there cannot be used.
    """
    taken: list[ImportedFile] = []
    for source in sources or SOURCES:
        if source in SOURCES:
            paths = [path for path in places(source, environment, here) if os.path.exists(path)]
            if not paths and sources:
                looked = ", ".join(places(source, environment, here))
                raise ConfigError(looked, "", f"{source} has no configuration there")
        elif os.path.isfile(source):
            paths, source = [os.path.abspath(source)], "file"  # noqa: PLW2901
        else:
            raise ArgumentInvalid(source, f"is neither a file nor one of {', '.join(SOURCES)}")
        for path in paths:
            in_project = path.removeprefix(f"{here}/") in _IN_PROJECT and here != home_dir(environment)
            taken.append(read(path, source, here, here if in_project else ""))
    return taken


_IN_PROJECT = (".cursor/mcp.json", ".vscode/mcp.json", "config/mcporter.json", ".mcp.json")


def read(path: str, source: str, here: str, folder: str) -> ImportedFile:
    """Return the servers in one file; one that cannot be used does not keep the others away.

    Args:
        path: the file.
        source: as `ImportedFile.source`.
        here: the current directory.
        folder: the directory of the project that the file belongs to; "" for none.

    Raises:
        ConfigError: the file cannot be read or parsed at all.
    """
    text = files.read(path)
    if not path.endswith(".json"):
        return ImportedFile(
            source, path, list(forms.parse(text, path, os.path.dirname(path)).servers), [], []
        )
    try:
        whole = json.loads(json_text.plain(text) or "{}")
    except json.JSONDecodeError as error:
        raise ConfigError(path, "", f"not JSON: {error.msg}", error.lineno, error.colno) from None
    servers: dict[str, ServerConfig] = {}
    refused: list[tuple[str, str]] = []
    lacking: list[tuple[str, str]] = []
    for name, table, inside in _tables(whole, here, folder):
        try:
            one = forms.parse_json(
                json.dumps({"mcpServers": {name: _ours(_known_only(table), inside)}}), path, "/"
            ).servers[0]
        except ConfigError as error:
            refused.append((name, error.reason))
        else:
            servers[name] = one
            lacking += [(name, key) for key in _MISSED if key in table]
    return ImportedFile(source, path, list(servers.values()), refused, lacking)


def _tables(whole: Any, here: str, folder: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each server's name and table, and the directory of its project; "" where it belongs to none."""
    if not isinstance(whole, dict):
        return
    for key in ("mcpServers", "servers"):
        if isinstance(whole.get(key), dict):
            yield from ((name, table, folder) for name, table in whole[key].items())
    projects = whole.get("projects")  # Claude Code's, by directory
    if isinstance(projects, dict) and isinstance(projects.get(here), dict):
        yield from _tables(projects[here], here, here)


# Keys that other programs have and that mean something to them alone.
_KEPT = frozenset(
    (
        "type",
        "transport",
        "command",
        "args",
        "env",
        "cwd",
        "url",
        "httpUrl",
        "serverUrl",
        "headers",
        "disabled",
        "includeTools",
        "excludeTools",
        "allowedTools",
        "disabledTools",
        *forms.OWN_KEYS,
    )
)

# Of those that are not kept: without which a server may not work.
_MISSED = ("envFile",)


def _known_only(table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    known = {key: value for key, value in table.items() if key in _KEPT}
    if "baseUrl" in table:  # mcporter's
        known.setdefault("url", table["baseUrl"])
    if "blockedTools" in table:
        known.setdefault("disabledTools", table["blockedTools"])
    if isinstance(known.get("command"), list):
        known["command"], known["args"] = known["command"][0], known["command"][1:]
    for key in ("env", "headers"):
        if isinstance(known.get(key), dict):
            known[key] = {name: _our_variable(value) for name, value in known[key].items()}
    return known


def _ours(table: Any, folder: str) -> Any:
    """Return a server with VS Code's variables as ours, to be started where its program starts it."""
    if not isinstance(table, dict):
        return table
    made = {key: _our_text(value, folder) if key in _TEXTS else value for key, value in table.items()}
    if folder and "command" in made:
        made.setdefault("cwd", folder)
    return made


_TEXTS = ("command", "args", "env", "cwd", "url", "httpUrl", "serverUrl", "headers")
_THEIRS = re.compile(r"\$\{(?:input:(?P<input>[^}]+)|(?P<name>userHome|workspaceFolder))\}")


def _our_text(value: Any, folder: str) -> Any:
    if isinstance(value, list):
        return [_our_text(one, folder) for one in value]
    if isinstance(value, dict):
        return {name: _our_text(one, folder) for name, one in value.items()}
    return _THEIRS.sub(lambda found: _our_form(found, folder), value) if isinstance(value, str) else value


def _our_form(found: re.Match[str], folder: str) -> str:
    if found["input"]:
        # VS Code asks the user for it: here a variable, whose name the error gives where it is not set.
        return "${" + re.sub(r"\W", "_", found["input"]).upper() + "}"
    if found["name"] == "userHome":
        return "${HOME}"
    return folder or found.group()


def _our_variable(value: Any) -> Any:
    """Return a value with mcporter's `$env:NAME` as `${NAME}`."""
    if isinstance(value, str) and value.startswith("$env:"):
        return "${" + value.removeprefix("$env:") + "}"
    return value

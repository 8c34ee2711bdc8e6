"""Where the configuration is looked for, in which order.

Owns the list.  `-c FILE`, else $MCP_CONFIG_PATH, else the first of these that is there:

    ./mcp_servers.toml  ./mcp_servers.json  ./.mcp.json
    ~/mcp_servers.toml  ~/.mcp_servers.toml
    ~/.config/mcp/mcp_servers.toml  ~/.config/mcp/mcp_servers.json     ($XDG_CONFIG_HOME counts)

On the path of every warm call: the standard library's C modules only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "MCP_CONFIG_PATH"
HERE = ("mcp_servers.toml", "mcp_servers.json", ".mcp.json")
AT_HOME = ("mcp_servers.toml", ".mcp_servers.toml")
IN_CONFIG = ("mcp/mcp_servers.toml", "mcp/mcp_servers.json")


class ConfigFile:
    """A configuration file that is there.

    Attributes:
        path: absolute.
        folder: the directory that a relative `cwd` starts from: the file's own, and the home
            directory for one that belongs to the user as a whole.
        stat: what tells whether it was changed.
    """

    __slots__ = ("folder", "path", "stat")

    def __init__(self, path: str, folder: str, stat: os.stat_result) -> None:
        self.path = path
        self.folder = folder
        self.stat = stat


def home_dir(environment: Mapping[str, str]) -> str:
    """Return the user's home directory, or "" where none is known."""
    home = environment.get("HOME", "")
    return home.rstrip("/") if home.startswith("/") else ""


def user_config_dir(environment: Mapping[str, str]) -> str:
    """Return where the user's own configurations are, or ""."""
    base = environment.get("XDG_CONFIG_HOME", "")
    home = home_dir(environment)
    return base.rstrip("/") if base.startswith("/") else f"{home}/.config" if home else ""


def places(environment: Mapping[str, str], here: str) -> list[tuple[str, str]]:
    """Return the files that are looked for, first to last, each with its folder."""
    home, above = home_dir(environment), user_config_dir(environment)
    found = [(f"{here.rstrip('/')}/{name}", here) for name in HERE]
    if home:
        found += [(f"{home}/{name}", home) for name in AT_HOME]
    if above:
        found += [(f"{above}/{name}", home or above) for name in IN_CONFIG]
    return found


def find(option: str | None, environment: Mapping[str, str]) -> ConfigFile | None:
    """Return the configuration file that counts, or None where there is none at the usual places.

    Args:
        option: what `-c` says.
        environment: the caller's.

    Raises:
        OSError: a file that was named, by `-c` or the variable, is not there or may not be looked at.
    """
    named = option or environment.get(VARIABLE)
    if named:
        path = named if named.startswith("/") else f"{os.getcwd()}/{named}"
        return ConfigFile(path, path.rpartition("/")[0] or "/", os.stat(path))
    try:
        here = os.getcwd()
    except OSError:  # the directory was removed under us
        here = "/nonexistent"
    for path, folder in places(environment, here):
        try:
            stat = os.stat(path)
        except OSError:
            continue
        return ConfigFile(path, folder, stat)
    return None

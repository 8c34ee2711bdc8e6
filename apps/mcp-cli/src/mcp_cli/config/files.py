"""Reading the configuration that counts.

Owns the file: finding it (by `config_search`), reading it, having it parsed (by `config`), and
leaving what a warm call needs (in `config_cache`).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from daemonry.errors import ConfigError
from daemonry.typed_toml import decode
from mcp_cli.config import cache, forms, model, search
from mcp_cli.config.given_files import read_given
from mcp_cli.config.model import Config, ServerConfig
from mcp_cli.config.search import ConfigFile

MAX_CONFIG_BYTES: Final = 4 << 20  # Claude Code's ~/.claude.json holds histories as well
NO_CONFIG = "no configuration was found"
# The name of a server that is given on the command line only.
ONE_OFF = "server"


def find(option: str | None, environment: Mapping[str, str]) -> ConfigFile | None:
    """Return the configuration file that counts, or None where there is none at the usual places.

    Raises:
        ConfigError: the file that was named is not there, or is another user's.
    """
    try:
        found = search.find(option, environment)
    except OSError as error:
        named = option or environment.get(search.VARIABLE) or "."
        by = "" if option else f", which {search.VARIABLE} names"
        raise ConfigError(named, "", f"cannot be read{by}: {_reason(error)}") from None
    if found is not None:
        _refuse_foreign(found, option)
    return found


def _refuse_foreign(found: ConfigFile, option: str | None) -> None:
    """Refuse a file of another user that was not named: its commands run as us."""
    stat = found.stat
    if option is None and (stat.st_uid not in (os.geteuid(), 0) or stat.st_mode & 0o002):
        who = "can be written by everyone" if stat.st_mode & 0o002 else "belongs to another user"
        raise ConfigError(
            found.path, "", f"{who}, and its commands would run as you: give it by -c if you mean it"
        )


def load(option: str | None, environment: Mapping[str, str]) -> Config:
    """Return the configuration that counts.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    found = find(option, environment)
    if found is None:
        places = search.places(environment, ".")
        raise ConfigError(
            places[-2][0] if len(places) > 1 else "mcp_servers.toml",
            "",
            f"{NO_CONFIG}: write one, try `mcp-cli config import`, or name a file by -c or {search.VARIABLE}",
        )
    return load_found(found, environment)


def load_found(found: ConfigFile, environment: Mapping[str, str]) -> Config:
    """Return the configuration in a file that was found, and remember it for the next call.

    Raises:
        ConfigError: it cannot be used.
    """
    loaded = forms.parse(read(found.path), found.path, found.folder)
    cache.remember(
        found,
        loaded.concurrency_limit,
        [
            (one.name, model.fingerprint_of(one, loaded), one.timeout_s or loaded.timeout_s, one.depends_on())
            for one in loaded.enabled()
        ],
        environment,
    )
    return loaded


def read(path: str) -> str:
    """Return a configuration file's text.

    Raises:
        ConfigError: it cannot be read, is too long or is not UTF-8.
    """
    try:
        data = read_given(path, MAX_CONFIG_BYTES)
    except OSError as error:
        raise ConfigError(path, "", f"cannot be read: {_reason(error)}") from None
    return decode(data, path, MAX_CONFIG_BYTES)


def one_off(stdio: str | None, url: str | None, environment: Mapping[str, str]) -> Config:
    """Return a configuration with the one server that the command line gives.

    Args:
        stdio: a command, as a shell would split it.
        url: or where it is.
        environment: the caller's.

    Raises:
        ConfigError: neither can be used.
    """
    folder = os.getcwd()
    if stdio is not None:
        words = split_command(stdio)
        # The shell has filled in the user's words; only a file's text has variables.
        one = ServerConfig(ONE_OFF, model.STDIO, command=_plain(words[0]), args=tuple(map(_plain, words[1:])))
    else:
        assert url is not None
        if not url.startswith(model.URLS):
            raise ConfigError("--url", "", "must begin with http:// or https://")
        kind = model.SSE if url.rstrip("/").endswith("/sse") else model.HTTP
        one = ServerConfig(ONE_OFF, kind, url=_plain(url))
    return Config(model.COMMAND_LINE, folder, (one,))


def split_command(stdio: str) -> list[str]:
    """Return the words of a command that is given as one.

    Raises:
        ConfigError: a quotation mark is missing, or everything.
    """
    try:
        words = shlex.split(stdio)
    except ValueError as error:
        raise ConfigError("--stdio", "", f"{error}") from None
    if not words:
        raise ConfigError("--stdio", "", "needs a command")
    return words


def _plain(text: str) -> str:
    return text.replace("${", "$${")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower() if error.errno != 2 else "there is no such file"

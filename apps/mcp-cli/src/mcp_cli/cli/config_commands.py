"""`config path|list|validate|add|remove|import`.

Owns their words, and which file is changed: the one that counts, or ~/.config/mcp/mcp_servers.toml where
there is none yet.  A change is checked before it is written, and written whole.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import Any

from daemonry import errors, write_atomically
from daemonry.cli import kit, terminal
from mcp_cli.client.options import Options, environment
from mcp_cli.config import edit, files, forms, importers, masked, model, search
from mcp_cli.config.model import HTTP, SSE, STDIO, URLS, Config, ServerConfig


def path(options: Options, given: argparse.Namespace) -> int:
    """Do `config path`."""
    del given
    found = files.find(options.config, environment())
    options.printer.facts(
        lambda: {"path": found.path if found else None}, lambda: _say_path(found.path if found else None)
    )
    return kit.DONE if found else kit.FAILED


def _say_path(found: str | None) -> None:
    if found is not None:
        kit.say(found)
        return
    kit.complain(f"{files.NO_CONFIG}; these were looked for:")
    for place, _ in search.places(environment(), os.getcwd()):
        kit.complain(f"  {place}")


def listed(options: Options, given: argparse.Namespace) -> int:
    """Do `config list`."""
    del given
    loaded = files.load(options.config, environment())
    options.printer.facts(
        lambda: {
            "path": loaded.path,
            "servers": {one.name: _shown(edit.json_table_of(one)) for one in loaded.servers},
            "notes": list(loaded.notes),
        },
        lambda: _say_servers(loaded),
    )
    return kit.DONE


def _say_servers(loaded: Config) -> None:
    rows = [
        [
            one.name,
            one.kind if one.enabled else f"{one.kind}, off",
            masked.reached(one.command, one.args, one.url),
        ]
        for one in loaded.servers
    ]
    kit.say(loaded.path)
    for line in terminal.aligned(rows, None, "  "):
        kit.say("  " + kit.printable(line.strip()))
    _tell_notes(loaded)


def _shown(table: dict[str, Any]) -> dict[str, Any]:
    """Return a server's table without its secrets."""
    made = dict(table)
    for key, value in table.items():
        if key == "args":
            made[key] = masked.command(value)
        elif key in ("env", "headers"):
            made[key] = masked.table(value, all_secret=key == "headers")
        elif key == "oauth" and isinstance(value, dict):
            made[key] = {
                name: masked.table({name: one})[name] if isinstance(one, str) else one
                for name, one in value.items()
            }
        elif isinstance(value, str):
            made[key] = masked.text(value)
    return made


def _tell_notes(loaded: model.Config) -> None:
    sys.stdout.flush()
    for line in loaded.notes:
        kit.complain(kit.printable(line))


def validate(options: Options, given: argparse.Namespace) -> int:
    """Do `config validate`: parse it, fill in its variables, look for its commands."""
    del given
    loaded = files.load(options.config, environment())
    wrong: list[str] = []
    for one in loaded.enabled():
        try:
            filled = model.expanded(one, loaded, environment())
        except errors.ConfigError as error:
            wrong.append(str(error))
            continue
        wrong += _missing(filled, loaded.path)
    options.printer.facts(
        lambda: {
            "path": loaded.path,
            "ok": not wrong,
            "problems": wrong,
            "notes": list(loaded.notes),
            "fingerprint": model.fingerprint(loaded),
            "servers": [one.name for one in loaded.servers],
        },
        lambda: _say_problems(loaded, wrong),
    )
    return kit.FAILED if wrong else kit.DONE


def _say_problems(loaded: Config, wrong: list[str]) -> None:
    for line in wrong:
        kit.complain(kit.printable(line))
    _tell_notes(loaded)
    if not wrong:
        count = len(loaded.servers)
        kit.say(f"{loaded.path}: {count} server{'' if count == 1 else 's'}, all usable")


def _missing(one: ServerConfig, file: str) -> list[str]:
    if one.kind != STDIO:
        return []
    wrong = []
    if not os.path.isdir(one.cwd):
        wrong.append(f"{file}: {one.name}.cwd: there is no directory {one.cwd}")
    searched = one.env.get("PATH", environment().get("PATH"))
    command = os.path.join(one.cwd, one.command) if "/" in one.command else one.command
    if shutil.which(command, path=searched) is None:
        wrong.append(f"{file}: {one.name}.command: {one.command} is not there, or cannot be run")
    return wrong


# --- changing it ------------------------------------------------------------------------------


def _target(options: Options) -> str:
    """Return the file that is changed."""
    try:
        found = search.find(options.config, environment())
    except FileNotFoundError:  # one that is named is made
        return os.path.abspath(options.config or environment()[search.VARIABLE])
    if found is not None:
        return found.path
    above = search.user_config_dir(environment())
    if not above:
        raise errors.ConfigError("~", "", "no home directory is known: name a file by -c")
    return f"{above}/{search.IN_CONFIG[0]}"


def _text(file: str) -> str:
    return files.read(file) if os.path.exists(file) else ""


def _write(file: str, text: str) -> None:
    """Check a changed configuration and write it whole; a link stays one, a mode stays as it is."""
    file = os.path.realpath(file)
    forms.parse(text, file, os.path.dirname(file))
    os.makedirs(os.path.dirname(file), 0o700, exist_ok=True)
    mode = os.stat(file).st_mode & 0o777 if os.path.exists(file) else 0o600
    write_atomically(file, text.encode("utf-8"), mode=mode)


def add(options: Options, given: argparse.Namespace) -> int:
    """Do `config add`."""
    file = _target(options)
    text = _text(file)
    one = _server(given, options)
    there = forms.parse(text, file, "/") if text else None
    if there is not None and any(other.name == one.name for other in there.servers) and not given.force:
        raise errors.ConfigError(file, "", f"has a server {one.name!r} already: --force replaces it")
    _write(file, edit.with_servers(text, file, [one]))
    kit.say(f"{one.name}: added to {file}")
    return kit.DONE


def _words(given: argparse.Namespace, options: Options) -> list[str]:
    """Return the command, or the URL, which may also be given as for a server of no configuration."""
    words: list[list[str]] = [given.target] if given.target else []
    if options.url is not None:
        if not options.url.startswith((*URLS, "${")):
            raise errors.ArgumentInvalid("--url", "must begin with http:// or https://")
        words.append([options.url])
    if options.stdio is not None:
        words.append(files.split_command(options.stdio))
    if not words:
        raise errors.ArgumentInvalid(given.name, "needs a command or a URL")
    if len(words) > 1:
        raise errors.ArgumentInvalid(given.name, "needs one command or URL, and not two")
    return words[0]


def _server(given: argparse.Namespace, options: Options) -> ServerConfig:
    reason = model.bad_name(given.name)
    if reason:
        raise errors.ArgumentInvalid(given.name, reason)
    words = _words(given, options)
    first = words[0]
    common = {
        "description": given.description,
        "allowed_tools": tuple(given.allow),
        "disabled_tools": tuple(given.disable),
        "pass_env": tuple(given.pass_env),
    }
    if options.url is not None or first.startswith(URLS):
        if len(words) > 1:
            raise errors.ArgumentInvalid(words[1], "is one word too many behind a URL")
        kind = SSE if given.sse else HTTP
        return ServerConfig(given.name, kind, url=first, headers=_pairs(given.header, "--header"), **common)
    return ServerConfig(
        given.name,
        STDIO,
        command=first,
        args=tuple(words[1:]),
        env=_pairs(given.env, "--env"),
        cwd=given.cwd,
        **common,
    )


def _pairs(words: list[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise errors.ArgumentInvalid(f"{option} {word}", "is not KEY=VALUE")
        pairs[key] = value
    return pairs


def remove(options: Options, given: argparse.Namespace) -> int:
    """Do `config remove`."""
    file = _target(options)
    _write(file, edit.without_server(_text(file), file, given.name))
    kit.say(f"{given.name}: removed from {file}")
    return kit.DONE


def import_(options: Options, given: argparse.Namespace) -> int:
    """Do `config import`."""
    file = _target_of_import(options)
    text = _text(file)
    there = {one.name for one in forms.parse(text, file, "/").servers} if text else set()
    new: dict[str, ServerConfig] = {}
    for taken in importers.take(given.sources, environment(), os.getcwd()):
        if os.path.realpath(taken.path) == os.path.realpath(file):
            continue
        kit.say(f"{taken.source}: {taken.path}")
        for one in taken.servers:
            if one.name in new:
                kit.say(f"  {kit.printable(one.name)}: there already, from another file")
            elif one.name in there and not given.force:
                kit.say(f"  {kit.printable(one.name)}: there already (--force replaces it)")
            else:
                new[one.name] = one
                kit.say(f"  {kit.printable(one.name)}: {'would be copied' if given.dry_run else 'copied'}")
        for name, reason in taken.refused:
            sys.stdout.flush()
            kit.complain(f"  {kit.printable(name)}: left out: {kit.printable(reason)}")
        for name, key in taken.lacking:
            sys.stdout.flush()
            kit.complain(
                f"  {kit.printable(name)}: its {key} is not read: name its variables in env or pass_env"
            )
    if new and not given.dry_run:
        _write(file, edit.with_servers(text, file, list(new.values())))
    what = "would be copied" if given.dry_run else "copied"
    kit.say(f"{len(new)} server{'' if len(new) == 1 else 's'} {what} to {file}")
    read = _target(options)
    if read != file:
        sys.stdout.flush()
        kit.complain(f"in this directory {read} is read, and not that: -c {file} names it")
    return kit.DONE


def _target_of_import(options: Options) -> str:
    """Return the file that servers are copied to: never a project's `.mcp.json`, unless it is named.

    Other people of the project and other programs share that file; a copied server has a
    user's tokens in it.
    """
    file = _target(options)
    named = options.config or environment().get(search.VARIABLE)
    if named or os.path.basename(file) != ".mcp.json":
        return file
    own = [place for place, _ in search.places(environment(), os.getcwd())][len(search.HERE) :]
    if not own:
        raise errors.ConfigError("~", "", "no home directory is known: name a file by -c")
    first = f"{search.user_config_dir(environment())}/{search.IN_CONFIG[0]}"
    return next((place for place in own if os.path.exists(place)), first)

"""`read`, `prompt`, `complete`, `ping`, `restart`: one question to one server.

Owns their words and their output.
"""

from __future__ import annotations

import argparse
import json
import sys

from daemonry import errors
from daemonry.cli import kit
from mcp_cli import uri_template
from mcp_cli.cli import call
from mcp_cli.cli import events as follow
from mcp_cli.cli.listing import gather
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session
from mcp_cli.output import render


def read(options: Options, given: argparse.Namespace) -> int:
    """Do `read [SERVER] URI`."""
    if len(given.target) > 2:
        raise errors.ArgumentInvalid(given.target[2], "is one word too many: read [SERVER] URI")
    with Session(options) as session:
        uri = given.target[-1]
        server = given.target[0] if len(given.target) == 2 else _server_of(session, uri)
        final, text = follow.last(session.stream("Read", server, {"uri": uri}), options, server)
    _answered(final)
    options.printer.result(text, lambda: render.show_contents(text, options.save_dir, f"{server}-resource"))
    return kit.DONE


def _server_of(session: Session, uri: str) -> str:
    """Return the server that has a resource: the only one, the one that lists it, or whose template fits."""
    servers = list(session.config.enabled())
    if len(servers) == 1:
        return servers[0].name
    for one in gather(session, "Resources", servers, "resource"):
        if any(item["name"] == uri for item in one.items):
            return one.config.name
    fitting = [
        one.config.name
        for one in gather(session, "Templates", servers, "template")
        if any(uri_template.matches(item["name"], uri) for item in one.items)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise errors.ArgumentInvalid(
            uri, f"fits templates of {', '.join(fitting)}: name the server, mcp-cli read SERVER URI"
        )
    raise errors.ArgumentInvalid(
        uri, "is in no server's list and fits no template: name the server, mcp-cli read SERVER URI"
    )


def prompt(options: Options, given: argparse.Namespace) -> int:
    """Do `prompt SERVER/PROMPT key=value ...` (or `prompt SERVER PROMPT key=value ...`)."""
    server, name, words = call.target_of(options, [given.target, *given.arguments])
    taken = _pairs(words)
    with Session(options) as session:
        events = session.stream("Prompt", server, {"prompt": name, "arguments": taken})
        final, text = follow.last(events, options, server)
    _answered(final)
    options.printer.result(text, lambda: render.show_messages(text, options.save_dir, f"{server}-{name}"))
    return kit.DONE


def _pairs(words: list[str]) -> dict[str, str]:
    taken: dict[str, str] = {}
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            found = json.loads(words[0])
        except ValueError as error:
            raise errors.ArgumentInvalid(words[0], f"is not JSON: {error}") from None
        return {
            str(key): value if isinstance(value, str) else json.dumps(value) for key, value in found.items()
        }
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise errors.ArgumentInvalid(word, "is not key=value")
        taken[key.lstrip("-")] = value
    return taken


def complete(options: Options, given: argparse.Namespace) -> int:
    """Do `complete SERVER/PROMPT ARGUMENT [VALUE]`, or with a URI template in the prompt's place."""
    server, name, _ = call.target_of(options, [given.target])
    where = {"uri": name} if "://" in name else {"prompt": name}
    asked = {"argument": given.argument, "value": given.value, "context": _pairs(given.given), **where}
    with Session(options) as session:
        text = session.ask("Complete", server, asked)["result"]
    options.printer.result(text, lambda: _say_values(text))
    return kit.DONE


def _say_values(text: str) -> None:
    found = json.loads(text).get("completion", {})
    for value in found.get("values", []):
        kit.say(kit.printable(str(value)))
    if found.get("hasMore"):
        sys.stdout.flush()
        kit.complain(f"there are more ({found['total']} in all)" if found.get("total") else "there are more")


def _answered(final: object) -> None:
    """See to it that the stream of events had an end.

    Raises:
        ConnectionLost: it had none.
    """
    if final is None:
        raise errors.ConnectionLost("the daemon", "maybe")


def ping(options: Options, given: argparse.Namespace) -> int:
    """Do `ping SERVER`."""
    with Session(options) as session:
        reply = session.ask(
            "Ping", given.server, {"timeout_s": options.timeout_s} if options.timeout_s else {}
        )
    options.printer.facts(
        lambda: {"server": given.server, "ms": reply["ms"]},
        lambda: kit.say(f"{given.server}: answers, {reply['ms']:.1f} ms"),
    )
    return kit.DONE


def restart(options: Options, given: argparse.Namespace) -> int:
    """Do `restart SERVER`."""
    with Session(options) as session:
        state = session.ask("Restart", given.server, {})
    pid = state.get("pid") or None
    options.printer.facts(
        lambda: {"server": given.server, "state": state["state"], "pid": pid},
        lambda: kit.say(f"{given.server}: {state['state']}" + (f" (pid {pid})" if pid else "")),
    )
    return kit.DONE if state["state"] == "ready" else kit.FAILED

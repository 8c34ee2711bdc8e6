"""`auth`: the access to servers over HTTP, granted in a browser, taken from another program, shown and ended.

Owns the words, and the reading of the terminal where the browser is elsewhere: the address to which it was
sent back is handed to the daemon's listener, which believes it no more than a browser's own request.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, Final

from daemonry import errors, read_regular
from daemonry.cli import kit, terminal
from mcp_cli.cli import events as follow
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session
from mcp_cli.names import CODE, FILES, NEEDS_AUTHORIZATION

# A person reads a page, and may have to sign in first.
AUTH_TIMEOUT_S: Final = 300.0
STATUS: Final = "status"
# Of a file with tokens of many servers.
MAX_IMPORT_BYTES: Final = 1 << 20
# Of an address that is pasted: a code of some hundred bytes, and a state.
MAX_LINE_BYTES: Final = 1 << 14
HAND_OVER_S: Final = 5.0

Events = Generator[dict[str, Any], None, None]


def auth(options: Options, given: argparse.Namespace) -> int:
    """Do `auth SERVER` and `auth status [SERVER ...]`."""
    first, *others = given.target
    with Session(options) as session:
        if first == STATUS and session.config.server(STATUS) is None:
            return _status(session, options, others)
        if others:
            raise errors.ArgumentInvalid(others[0], "is one word too many: auth SERVER")
        if given.forget:
            had = session.ask("Forget", first, {}).get("result")
            return _done(options, first, "tokens deleted" if had else "there were no tokens")
        if given.tokens is not None:
            text = _given_tokens(given.tokens)
            session.ask("ImportTokens", first, {"text": text})
            return _done(options, first, "tokens stored; the next call uses them")
        options.timeout_s = options.timeout_s or AUTH_TIMEOUT_S
        events = session.stream("Authorize", first, {"timeout_s": options.timeout_s})
        try:
            final, _ = follow.last(_by_hand(events) if given.no_browser else events, options, first)
        except errors.CallFailed as error:
            if error.error != NEEDS_AUTHORIZATION:
                raise
            # Its sentence is that of a call, and has this command as the cure.
            raise errors.AccessDenied(first, str(error.parameters.get("reason", ""))) from None
    if final is None:
        raise errors.ConnectionLost("the daemon", "maybe")
    return _done(options, first, "authorized")


def _done(options: Options, server: str, what: str) -> int:
    options.printer.facts(lambda: {"server": server, "done": what}, lambda: kit.say(f"{server}: {what}"))
    return kit.DONE


def _given_tokens(path: str) -> str:
    """Return the text of a file, or of standard input for `-`.

    Raises:
        ArgumentInvalid: it cannot be read.
    """
    if path == "-":
        return sys.stdin.read(MAX_IMPORT_BYTES)
    try:
        return read_regular(path, MAX_IMPORT_BYTES).decode()
    except OSError as error:
        raise errors.ArgumentInvalid(path, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise errors.ArgumentInvalid(path, "is not UTF-8") from None


# --- status ---------------------------------------------------------------------------------------


def _status(session: Session, options: Options, names: list[str]) -> int:
    """Do `auth status`: no server is asked."""
    servers = [session.server(name) for name in names] or list(session.config.enabled())
    refs = session.configure([one for one in servers if one.url])
    found = session.plain("Accesses", {"servers": refs})["result"]
    options.printer.facts(lambda: {"servers": found}, lambda: _show(found))
    return kit.DONE


def _show(found: list[dict[str, Any]]) -> None:
    if not found:
        kit.say("no server is reached over HTTP")
    rows = [(one["server"], _state(one), _further(one)) for one in found]
    for line in terminal.aligned(rows, None, "  "):
        kit.say(kit.printable(line))


def _state(one: dict[str, Any]) -> str:
    left = one.get("expires_in_s")
    if one["state"] == "granted":
        return "granted" if left is None else f"granted, for {_span(left)}"
    return {
        "none": "no tokens" if one["grant"] == CODE else "no tokens yet: the first call fetches them",
        "renewable": "expired: the next call renews it",
        "expired": "expired",
        "header": "has an Authorization header",
        "off": "oauth = false",
        "unknown": "unknown",
    }[one["state"]]


def _further(one: dict[str, Any]) -> str:
    facts = []
    if one.get("reason"):
        facts.append(one["reason"])
    if one["state"] == "granted":
        facts.append("renewed by itself" if one.get("renews") else "not renewed")
    if one.get("scopes"):
        facts.append(f"scopes {one['scopes']}")
    if one.get("issuer"):
        facts.append(f"by {one['issuer']}")
    if one["grant"] != CODE:
        facts.append(one["grant"])
    if one["store"] != FILES:
        facts.append(one["store"])
    return "; ".join(facts)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


# --- without a browser here -----------------------------------------------------------------------


def _by_hand(events: Events) -> Events:
    """Yield events; one that asks for a browser is printed, and the address that it ends at is read."""
    try:
        for event in events:
            if event["kind"] != "visit":
                yield event
                continue
            uri = event["result"]
            kit.say(kit.printable(event["text"]))
            sys.stdout.flush()
            kit.complain(
                "open this in any browser; where the last page cannot be shown, paste its address"
                f" ({uri}?...) here:"
            )
            threading.Thread(target=_read_addresses, args=(uri,), daemon=True).start()
    finally:
        events.close()


def _read_addresses(uri: str) -> None:
    """Hand over each line of standard input, until one is taken or there are no more."""
    text = b""
    # Not `sys.stdin`: a thread that waits in it would hold up the interpreter's end.
    while len(text) < MAX_LINE_BYTES and (part := os.read(0, MAX_LINE_BYTES)):
        *lines, text = (text + part).split(b"\n")
        for line in lines:
            if line.strip() and _taken(line.decode("utf-8", "replace"), uri, kit.complain):
                return
    if text.strip():
        _taken(text.decode("utf-8", "replace"), uri, kit.complain)


def _taken(line: str, uri: str, complain: Callable[[str], None]) -> bool:
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    try:
        query = query_of(line, uri)
    except ValueError as error:
        complain(str(error))
        return False
    parts = urlsplit(uri)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=HAND_OVER_S)
    try:
        connection.request("GET", f"{parts.path}?{query}")
        if connection.getresponse().status == 200:
            return True
        complain("it has neither a code nor an error: paste the whole address")
    except (OSError, HTTPException):
        complain("nobody waits for it any more")
    finally:
        connection.close()
    return False


def query_of(line: str, uri: str) -> str:
    """Return what a pasted address brings, `code=...&state=...`.

    Args:
        line: the address to which the browser was sent back, or what follows its `?`.
        uri: where it was to be sent back to.

    Raises:
        ValueError: it is another address, or none.
    """
    from urllib.parse import urlsplit

    pasted = line.strip().strip("'\"<>")
    if not pasted.isascii() or not pasted.isprintable() or " " in pasted:
        raise ValueError("that is not an address")
    if "://" not in pasted:
        query = pasted.lstrip("?")
    else:
        there, here = urlsplit(pasted), urlsplit(uri)
        if (there.scheme, there.netloc, there.path) != (here.scheme, here.netloc, here.path):
            raise ValueError(f"that is another page: the last one's address begins with {uri}")
        query = there.query
    if "=" not in query:
        raise ValueError("it has neither a code nor an error: paste the whole address")
    return query

"""`mcp-cli list` where all that it needs is at hand: no configuration is parsed, and no server started.

Owns the short way.  Where anything is not as it expects, it prints nothing, and `listing` does the whole: a
list may be read twice.  No argparse, no TOML, no JSON beyond the daemon's answers, whose tools are text.
"""

from __future__ import annotations

import sys

import daemonry
from mcp_cli.client.options import DIRECT, Options, environment
from mcp_cli.config import cache, search
from mcp_cli.names import GRACE_S, INTERFACE, NAME

# How long the daemon may take for what it knows itself.
CONFIGURE_S = 30.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Listings = dict[str, dict[str, Any]]


def run(options: Options, names: list[str]) -> int | None:
    """Do `list SERVER ...` and return the exit code; None where it has to be done in full."""
    if options.mode == DIRECT or options.one_off or options.protocol or options.raw:
        return None
    if (
        options.detach
        or options.schema is not None
        or options.answer is not None
        or any(name.startswith("-") for name in names)
    ):
        return None
    try:
        found = search.find(options.config, environment())
        known = cache.every(found, environment()) if found is not None else None
        if not known or not known.keys() >= set(names):
            return None
        asked = {name: known[name] for name in names or known}
        listings = _ask(asked, options)
    except daemonry.errors.DaemonryError as error:
        if type(error).__name__ not in ("DeadlineExceeded", "DaemonSilent"):
            return None
        from mcp_cli.client import failures

        return failures.tell(error, options, NAME)  # the long way would wait for the same silence
    except OSError:
        return None
    if listings is None:
        return None
    options.printer.document(lambda: _json_of(listings), lambda: _show(listings))
    return 0


def _ask(asked: dict[str, cache.CachedServer], options: Options) -> Listings | None:
    """Return each server's whole listing, in order; None where one has no list at hand.

    Raises:
        DaemonryError: the daemon cannot be asked.
    """
    from mcp_cli.client import connect

    client = connect.try_connect()
    if client is None:
        return None
    try:
        refs = [{"server": name, "fingerprint": one.fingerprint} for name, one in asked.items()]
        short_s = min(options.timeout_s or CONFIGURE_S, CONFIGURE_S)
        try:
            running = client.call(f"{INTERFACE}.Servers", timeout_s=short_s)["result"]
        except daemonry.errors.DeadlineExceeded:
            raise daemonry.errors.DeadlineExceeded("configure", short_s, "no", "the daemon") from None
        if not _all_ready(running, refs):
            return None
        limit_s = options.timeout_s or max(one.timeout_s for one in asked.values())
        events = client.stream(
            f"{INTERFACE}.Tools", {"servers": refs, "detail": options.json}, idle_s=limit_s + GRACE_S
        )
        whole: Listings = {name: {"items": [], "filtered": 0} for name in asked}
        for event in connect.watched(events, client):
            one = whole[event["server"]]
            one["items"] += event.get("items", [])
            one["filtered"] = max(one["filtered"], event.get("filtered", 0))
            if not event.get("more"):
                one["state"] = event["state"]
        if any("state" not in one or one["state"].get("error") for one in whole.values()):
            return None
        return whole
    finally:
        client.close()


def _all_ready(running: list[dict[str, Any]], refs: list[dict[str, str]]) -> bool:
    """Whether every server runs: one that has to be started may take its time, which a table shows."""
    ready = {(one["server"], one["fingerprint"]) for one in running if one["state"] == "ready"}
    return all((ref["server"], ref["fingerprint"]) in ready for ref in refs)


def _show(listings: Listings) -> None:
    from mcp_cli.output.listed import show_server

    for name, one in listings.items():
        about = one["state"].get("description", "")
        show_server(name, "tool", [[item["name"]] for item in one["items"]], one["filtered"], about)
    sys.stdout.flush()


def _json_of(listings: Listings) -> str:
    from mcp_cli.output.listed import server_json, servers_json

    return servers_json(
        server_json(name, {"tools": one["items"]}, one["filtered"]) for name, one in listings.items()
    )

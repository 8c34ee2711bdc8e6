"""What happens to services, as their supervisor tells it, and what the commands of a home say of them.

Owns these lines and the calls of `org.daemonry.Home` that tell them.
"""

from __future__ import annotations

import sys
import time

from daemonry.cli import exit_codes, output
from daemonry.cli.homes.home_words import HomeWords
from daemonry.clock import Deadline
from daemonry.errors import ConnectionRefused, DeadlineExceeded, NotListening
from daemonry.home.home import Home
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.terminal_text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any, Final

    from daemonry.service.client.blocking import Client

# Where a service is up as far as it is meant to be.
UP: Final = ("ready", "done", "idle")
NAME_STYLES: Final = ("cyan", "magenta", "blue", "yellow", "green")
INTERFACE: Final = "org.daemonry.Home"
# How often a supervisor that another `up` has just started is looked for.
_LOOK_S: Final = 0.02


def listen(
    client: Client,
    say: Callable[[dict[str, Any]], None],
    method: str,
    names: list[str] | None,
    deadline: Deadline,
    chosen: Collection[str] = (),
) -> None:
    """Show what happens during a call that tells it; of the `chosen` only, where there are some."""
    parameters = None if names is None else {"names": names}
    left_s = deadline.remaining_s()
    for reply in client.stream(f"{INTERFACE}.{method}", parameters, idle_s=left_s, first_s=left_s):
        if not chosen or reply["service"] in chosen:
            say(reply)
        if deadline.expired:
            break


def meant_by(names: Collection[str], services: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the services that have one of these names, or are in a group that has."""
    return [one for one in services if one["name"] in names or {*one["groups"]} & {*names}]


def chosen_of(services: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return the services of these names and groups, with what they need; all for no name."""
    known = {one["name"]: one for one in services}
    left = [one["name"] for one in meant_by(names, services)]
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found and name in known:
            found.add(name)
            left += known[name]["needs"]
    return [name for name in known if name in found or not names]


def services_of(client: Client) -> list[dict[str, Any]]:
    """Return the services, as the supervisor tells them."""
    reply = client.call(f"{INTERFACE}.Services", timeout_s=REQUEST_TIMEOUT_S)
    found: list[dict[str, Any]] = reply["result"]
    return found


def connected(home: Home, deadline: Deadline) -> Client:
    """Return a client of a supervisor that may still be on its way to its socket."""
    while True:
        try:
            return home.connect(REQUEST_TIMEOUT_S)
        except (ConnectionRefused, NotListening):
            if deadline.expired:
                raise DeadlineExceeded("start", deadline.timeout_s or 0.0, "no", home.name) from None
            time.sleep(_LOOK_S)


def event_printer(names: Iterable[str], *, quiet: bool) -> Callable[[dict[str, Any]], None]:
    """Return what prints an event; nothing, where it is `quiet`.

    Args:
        names: of the services: how wide their column is.
        quiet: whether it prints nothing.
    """
    width = max((len(name) for name in names), default=0)

    def say(event: dict[str, Any]) -> None:
        if not quiet:
            name = printable(event["service"]).ljust(width)
            output.say(f"{name}  {event_text(event['state'], event['message'])}")
            sys.stdout.flush()

    return say


def event_text(state: str, message: str) -> str:
    """Return what an event says, its state in the colour of that."""
    text = printable(message)
    first, blank, rest = text.partition(" ")
    if first.rstrip(":") == state:
        return output.state(first) + blank + rest
    return f"{output.state(state)}: {text}"


def say_services(services: list[dict[str, Any]]) -> int:
    """Print a line for each service, and return the exit code."""
    for one in services:
        pid = f" (pid {one['pid']})" if one["pid"] is not None else ""
        output.say(f"{one['name']}: {output.state(one['state'])}{pid}")
    return exit_codes.DONE


def say_result(home: Home, asked: HomeWords, result: str, note: str = "") -> int:
    """Print the result of a command, and return the exit code."""
    if asked.json:
        fields: dict[str, Any] = {"ok": True, "name": home.name, "result": result}
        output.say_json({**fields, "note": note} if note else fields)
    else:
        output.say(printable(f"{home.name}: {result}" + (f" ({note})" if note else "")))
    return exit_codes.DONE

"""A server's list: for people a line for the server and one for each entry, for programs JSON.

On the path of `list` of servers that run: the standard library's C modules only.
"""

from __future__ import annotations

import sys
from _json import encode_basestring_ascii as quoted  # `json` costs a fifth of bare Python

from daemonry.cli import terminal
from mcp_cli.output.printer import say_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def counted(number: int, noun: str) -> str:
    """Return `1 tool`, `2 tools`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def columns() -> int | None:
    """Return the width of the terminal; None where the output goes elsewhere."""
    return terminal.size(1)[0] if sys.stdout.isatty() else None


def show_heading(name: str, noun: str, count: int, hidden: int, about: str) -> None:
    """Print the line of a server.

    Args:
        name: the server's.
        noun: what its entries are.
        count: how many there are.
        hidden: how many more the configuration hides.
        about: its description; may be empty.
    """
    unseen = f", {hidden} hidden" if hidden else ""
    say_line(f"{name}  {counted(count, noun)}{unseen}{f'  {about}' if about else ''}")


def show_server(name: str, noun: str, rows: list[list[str]], hidden: int, about: str) -> None:
    """Print a server and its entries, whose cells are aligned; the arguments are those of `show_heading`."""
    show_heading(name, noun, len(rows), hidden, about)
    for line in terminal.aligned(rows, columns(), "  "):
        say_line(line)


def server_json(
    name: str, lists: Mapping[str, Iterable[Mapping[str, Any]]], hidden: int, failure: str = ""
) -> str:
    """Return what a server has as JSON; each entry as the server sent it, to the byte.

    Args:
        name: the server's.
        lists: of the key in the JSON, such as "tools", the entries, as `interfaces.Item` fields.
        hidden: how many entries the configuration hides.
        failure: the fields that say why it could not be asked, as JSON without braces; "" where it was.
    """
    found = [f"{quoted(key)}:[{','.join(item['json'] for item in items)}]" for key, items in lists.items()]
    ok = f'"ok":false,{failure}' if failure else '"ok":true'
    return f'{{"server":{quoted(name)},{ok},{",".join(found)},"hidden":{hidden}}}'


def servers_json(servers: Iterable[str]) -> str:
    """Return the document of several servers, of each its `server_json`."""
    return f'{{"servers":[{",".join(servers)}]}}'

"""A server's list as people read it: a line for the server, and one for each entry."""

from __future__ import annotations

import sys

from daemonry.cli import terminal
from mcp_cli.output.printer import say_line


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

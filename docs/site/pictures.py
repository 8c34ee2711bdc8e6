"""The drawings of the pages, from Mermaid into the language of Graphviz.

Owns the translation of the one kind of drawing that the pages have, `stateDiagram-v2`.  GitHub draws Mermaid
in the reader's browser; the site's pictures are made when it is built (decision 405).
"""

from __future__ import annotations

import re
from typing import Final

_ARROW: Final = re.compile(r"(\S+) --> (\S+?)(?:: (.+))?")
_ENDS: Final = "[*]"
_HEAD: Final = (
    'bgcolor="white"; nodesep=0.2; ranksep=0.4;',
    'node [shape=box, style="rounded,filled", fillcolor="#eef3fb", color="#5b7db1"];',
    'node [fontname="sans-serif", fontsize=12];',
    'edge [color="#666666", fontname="sans-serif", fontsize=10, fontcolor="#333333"];',
)
_START: Final = 'shape=circle, label="", width=0.15, fillcolor="#333333", color="#333333"'
_END: Final = 'shape=doublecircle, label="", width=0.12, fillcolor="#333333", color="#333333"'


class NotDrawable(ValueError):
    """A line of a drawing is of another kind; the text is that line."""


# A picture of more is wider than the page, and nobody can read it.
MAX_ARROWS: Final = 30


def arrows(lines: list[str]) -> dict[tuple[str, str], list[str]]:
    """Return the arrows of a state diagram of Mermaid, from state to state, each with its events.

    The point where it begins is "[start]", where it ends "[end]".

    Raises:
        NotDrawable: the drawing is of another kind.
    """
    if not lines or lines[0].strip() != "stateDiagram-v2":
        raise NotDrawable(lines[0] if lines else "")
    events: dict[tuple[str, str], list[str]] = {}
    for line in lines[1:]:
        found = _ARROW.fullmatch(line.strip())
        if found is None:
            raise NotDrawable(line)
        before, after, event = found.groups()
        arrow = ("[start]" if before == _ENDS else before, "[end]" if after == _ENDS else after)
        events.setdefault(arrow, []).append(event or "")
    return events


def dot(events: dict[tuple[str, str], list[str]]) -> str:
    """Return arrows as a directed graph of Graphviz."""
    rows = [f'"[start]" [{_START}];'] if any(before == "[start]" for before, _ in events) else []
    rows += [f'"[end]" [{_END}];'] if any(after == "[end]" for _, after in events) else []
    for (before, after), labels in events.items():
        label = r"\n".join(one.replace('"', "'") for one in labels)
        rows.append(f'"{before}" -> "{after}" [label="{label}"];')
    return "\n".join(["digraph {", *(f"    {row}" for row in (*_HEAD, *rows)), "}"])


def table(events: dict[tuple[str, str], list[str]]) -> str:
    """Return arrows as a table in Markdown, for a diagram that is too large for a picture."""
    rows = [
        f"| {before} | {'; '.join(labels)} | {after} |"
        for (before, after), labels in events.items()
        if before != "[start]"
    ]
    first = next((after for before, after in events if before == "[start]"), "")
    begins = [f"It begins as {first}.", ""] if first else []
    return "\n".join([*begins, "| from | event | to |", "| --- | --- | --- |", *rows])

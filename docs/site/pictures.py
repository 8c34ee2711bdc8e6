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
    'bgcolor="white"; rankdir=LR; nodesep=0.35; ranksep=0.9;',
    'node [shape=box, style="rounded,filled", fillcolor="#eef3fb", color="#5b7db1"];',
    'node [fontname="sans-serif", fontsize=12];',
    'edge [color="#666666", fontname="sans-serif", fontsize=10, fontcolor="#333333"];',
)
_START: Final = 'shape=circle, label="", width=0.15, fillcolor="#333333", color="#333333"'
_END: Final = 'shape=doublecircle, label="", width=0.12, fillcolor="#333333", color="#333333"'


class NotDrawable(ValueError):
    """A line of a drawing is of another kind; the text is that line."""


def dot(lines: list[str]) -> str:
    """Return a state diagram of Mermaid as a directed graph of Graphviz.

    Events that lead from one state to the same other one share an arrow.

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
    rows = [f'"[start]" [{_START}];'] if any(before == "[start]" for before, _ in events) else []
    rows += [f'"[end]" [{_END}];'] if any(after == "[end]" for _, after in events) else []
    for (before, after), labels in events.items():
        label = r"\n".join(one.replace('"', "'") for one in labels)
        rows.append(f'"{before}" -> "{after}" [label="{label}"];')
    return "\n".join(["digraph {", *(f"    {row}" for row in (*_HEAD, *rows)), "}"])

"""An agent's settings as text: hooks put in and taken out without a change to any other byte.

Owns the places in the text.  A JSON library that reads and writes a whole file loses comments, the
order of keys, line ends and the form of numbers; here pieces are put between characters that stay.  JSON
with comments and trailing commas is understood, as editors of settings write it.  No I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MAX_DEPTH: Final = 64
BOM: Final = "\ufeff"
_DECODER: Final = json.JSONDecoder()
_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD: Final = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INDENT: Final = re.compile(r"\n([ \t]+)\S")


class CannotBeRead(ValueError):
    """The text is not JSON, or hooks are not where they are to be; its words say what and in which line."""


class Node(NamedTuple):
    """A value in the text.

    Attributes:
        start, end: where it is.
        value: a text's value; else None.
        members: an object's.
        items: a list's; None for another value.
    """

    start: int
    end: int
    value: str | None = None
    members: tuple[tuple[str, Node], ...] | None = None
    items: tuple[Node, ...] | None = None


# --- reading --------------------------------------------------------------------------------------


def parse(text: str) -> Node | None:
    """Return the object that a text is; None for a text with nothing in it.

    Raises:
        CannotBeRead: it is something else.
    """
    at = _skip(text, len(BOM) if text.startswith(BOM) else 0)
    if at == len(text):
        return None
    node = _value(text, at, 0)
    end = _skip(text, node.end)
    if end != len(text):
        raise _wrong(text, end, "something follows the end of the object")
    if node.members is None:
        raise _wrong(text, at, "an object was expected")
    return node


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None
    return found.end()


def _wrong(text: str, at: int, what: str) -> CannotBeRead:
    return CannotBeRead(f"line {text.count(chr(10), 0, at) + 1}: {what}")


def _value(text: str, at: int, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise _wrong(text, at, f"nested deeper than {MAX_DEPTH}")
    sign = text[at : at + 1]
    if sign == "{":
        return _object(text, at, depth)
    if sign == "[":
        return _list(text, at, depth)
    if sign == '"':
        value, end = _string(text, at)
        return Node(at, end, value)
    word = _WORD.match(text, at)
    if word is None:
        raise _wrong(text, at, "the text ends too early" if not sign else f"{sign!r} was not expected")
    return Node(at, word.end())


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except ValueError as error:
        raise _wrong(text, at, str(error).partition(":")[0].lower()) from None
    return str(value), end


def _object(text: str, start: int, depth: int) -> Node:
    members = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise _wrong(text, at, "a key or } was expected")
        key, at = _string(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise _wrong(text, at, f"a colon was expected after {key!r}")
        node = _value(text, _skip(text, at + 1), depth + 1)
        members.append((key, node))
        at = _after_comma(text, node.end, "}")
    return Node(start, at + 1, members=tuple(members))


def _list(text: str, start: int, depth: int) -> Node:
    items = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "]":
        node = _value(text, at, depth + 1)
        items.append(node)
        at = _after_comma(text, node.end, "]")
    return Node(start, at + 1, items=tuple(items))


def _after_comma(text: str, at: int, closing: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != closing:
        raise _wrong(text, at, f"a comma or {closing} was expected")
    return at


def _member(node: Node, key: str, where: str) -> Node | None:
    found = [one for name, one in node.members or () if name == key]
    if len(found) > 1:
        raise CannotBeRead(f"{where} has the key {key!r} {len(found)} times")
    return found[0] if found else None


def _hooks(root: Node) -> Node | None:
    hooks = _member(root, "hooks", "it")
    if hooks is not None and hooks.members is None:
        raise CannotBeRead("'hooks' is not an object")
    return hooks


def _entries(hooks: Node, event: str) -> Node | None:
    entries = _member(hooks, event, "'hooks'")
    if entries is not None and entries.items is None:
        raise CannotBeRead(f"'hooks.{event}' is not a list")
    return entries


# --- putting in -----------------------------------------------------------------------------------


def with_hooks(text: str, events: Sequence[str], command: str) -> str:
    """Return the text with `command` as a hook of each event; all that was in it stays, to the byte.

    Raises:
        CannotBeRead: there is no place for that.
    """
    root = parse(text)
    form = _Form(text, command)
    if root is None:
        head = text if not text or text.endswith("\n") else text + form.newline  # it may end in a comment
        return f"{head}{{{form.hooks(events)}{form.line(0)}}}{form.newline}"
    pieces = sorted(_pieces(root, events, form), reverse=True)
    for at, piece in pieces:
        text = text[:at] + piece + text[at:]
    return text


class _Form:
    """How this file is written: its line ends and its indents."""

    def __init__(self, text: str, command: str) -> None:
        self.newline = "\r\n" if "\r\n" in text else "\n"
        indent = _INDENT.search(text)
        self._indent = indent[1] if indent else "  "
        self._text = text
        hook = {"type": "command", "command": command}
        self.entry = json.dumps({"hooks": [hook]}, ensure_ascii=False)

    def line(self, level: int) -> str:
        return self.newline + self._indent * level

    def event(self, name: str) -> str:
        return f"{self.line(2)}{json.dumps(name)}: [{self.entry}]"

    def hooks(self, events: Sequence[str]) -> str:
        return f'{self.line(1)}"hooks": {{{",".join(map(self.event, events))}{self.line(1)}}}'

    def closed(self, node: Node, level: int) -> str:
        """Return what follows a first member: a comma, or in an empty object of one line a new line."""
        if node.members:
            return ","
        return "" if "\n" in self._text[node.start : node.end] else self.line(level)


def _pieces(root: Node, events: Sequence[str], form: _Form) -> Iterator[tuple[int, str]]:
    hooks = _hooks(root)
    if hooks is None:
        yield root.start + 1, form.hooks(events) + form.closed(root, 0)
        return
    missing = [event for event in events if _entries(hooks, event) is None]
    if missing:
        yield hooks.start + 1, ",".join(map(form.event, missing)) + form.closed(hooks, 1)
    for event in events:
        entries = _entries(hooks, event)
        if entries is not None:
            yield entries.start + 1, form.entry + (", " if entries.items else "")


# --- taking out -----------------------------------------------------------------------------------


def events_with(text: str, command: str) -> list[str]:
    """Return the events that have `command` as a hook.

    Raises:
        CannotBeRead: the text cannot be understood.
    """
    root = parse(text)
    hooks = _hooks(root) if root is not None else None
    return [event for event, node in (hooks.members if hooks else None) or () if any(_ours(node, command))]


def without_hooks(text: str, command: str) -> str:
    """Return the text without the hooks that run `command`, for one that was edited since they were put in.

    Lists and objects that are empty then stay: they may have been there before.

    Raises:
        CannotBeRead: the text cannot be understood.
    """
    root = parse(text)
    hooks = _hooks(root) if root is not None else None
    cuts = [cut for _, node in (hooks.members if hooks else None) or () for cut in _ours(node, command)]
    for start, end in sorted(cuts, reverse=True):
        text = _cut(text, start, end)
    parse(text)
    return text


def _cut(text: str, start: int, end: int) -> str:
    """Return the text without one item of a list, and without the comma that belonged to it."""
    comma = _skip(text, end)
    if text[comma : comma + 1] == ",":
        end = comma + 1
        end += text[end : end + 1] == " "
    elif (head := text[:start].rstrip()).endswith(","):
        start = len(head) - 1
    return text[:start] + text[end:]


def _ours(entries: Node, command: str) -> Iterator[tuple[int, int]]:
    """Yield where our entries are in an event's list; of an entry with other hooks, only ours."""
    for entry in entries.items or ():
        inner = next((node for key, node in entry.members or () if key == "hooks"), None)
        found = (inner.items if inner is not None else None) or ()
        ours = [hook for hook in found if _runs(hook, command)]
        if ours and len(ours) == len(found):
            yield entry.start, entry.end
        else:
            yield from ((hook.start, hook.end) for hook in ours)


def _runs(hook: Node, command: str) -> bool:
    return any(key == "command" and node.value == command for key, node in hook.members or ())

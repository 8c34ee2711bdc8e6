"""`--fields` and `--max-chars`: a part of a tool's result, so that a model reads no more.

Owns the choice of fields and the cut.  What a server sent is on no other way changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from daemonry.cli import kit
from daemonry.cli.terminal import end_of_line, for_stream, json_for_stream, write


class Selected:
    """The form of another printer, and of a tool's result a part.

    Args:
        form: of `printer`; prints all that is not a tool's result, and results of tools that failed.
        fields: paths such as `a`, `a.b`, `items[].name`; empty for all.
        max_chars: of the text that is printed; 0 for no limit.
    """

    def __init__(self, form: Any, fields: tuple[str, ...], max_chars: int) -> None:
        self._form = form
        self._fields = fields
        self._max_chars = max_chars
        self.for_programs = form.for_programs
        self.prints_failures = form.prints_failures
        self.result = form.result
        self.definition = form.definition
        self.document: Callable[..., None] = form.document
        self.facts: Callable[..., None] = form.facts
        self.failure: Callable[..., None] = form.failure
        self.remark: Callable[..., None] = form.remark

    def tool_result(self, final: Mapping[str, Any], text: str, server: str, tool: str) -> None:
        """Print the part of a tool's result."""
        if final.get("is_error"):
            self._form.tool_result(final, text, server, tool)
            return
        if self._fields:
            chosen, missing = selected(_structured(text), self._fields)
            said = json.dumps(chosen, ensure_ascii=False, separators=(",", ":"))
            for one in missing:
                kit.complain(kit.printable(f"{server}/{tool}: the result has no {one}"))
        else:
            said = final.get("text") or _texts(text)
        if self._max_chars and len(said) > self._max_chars:
            sys.stdout.flush()
            kit.complain(f"(the first {self._max_chars} of {len(said)} characters)")
            said = said[: self._max_chars]
            write(end_of_line(for_stream(said, sys.stdout)), sys.stdout)
        elif self._fields:
            write(json_for_stream(said, sys.stdout) + "\n", sys.stdout)
        else:
            self._form.tool_result(final, text, server, tool)


def selected(value: Any, fields: tuple[str, ...]) -> tuple[Any, list[str]]:
    """Return the fields of a value by their paths (for one path the field itself), and the missing paths."""
    chosen: dict[str, Any] = {}
    missing = []
    for path in fields:
        try:
            chosen[path] = _at(value, path.split("."))
        except KeyError:
            missing.append(path)
            chosen[path] = None
    return (next(iter(chosen.values())) if len(fields) == 1 else chosen), missing


def _at(value: Any, path: list[str]) -> Any:
    if not path:
        return value
    name, *rest = path
    every = name.endswith("[]")
    name = name.removesuffix("[]")
    if name:
        if not isinstance(value, dict) or name not in value:
            raise KeyError(name)
        value = value[name]
    if not every:
        return _at(value, rest)
    if not isinstance(value, list):
        raise KeyError(name)
    return [_at(one, rest) for one in value]


def _structured(text: str) -> Any:
    """Return a result's structured content; where there is none, its text as JSON, or the result itself."""
    result = json.loads(text)
    if isinstance(result, dict) and result.get("structuredContent") is not None:
        return result["structuredContent"]
    try:
        return json.loads(_texts(text))
    except ValueError:
        return result


def _texts(text: str) -> str:
    result = json.loads(text)
    content = result.get("content") if isinstance(result, dict) else None
    blocks = content if isinstance(content, list) else []
    return "\n".join(
        str(one.get("text", "")) for one in blocks if isinstance(one, dict) and one.get("type") == "text"
    )

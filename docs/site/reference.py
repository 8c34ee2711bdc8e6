"""The API reference, drawn from the docstrings of the public names, as Markdown.

Owns the form.  The docstrings have Google's sections; their text is Markdown as it stands.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

_WIDTH: Final = 90
_SECTIONS: Final = ("Args", "Attributes", "Raises", "Returns", "Yields", "Note", "Example", "Examples")


def page(title: str, module: Any, names: list[str]) -> str:
    """Return the page of some public names of a module."""
    lines = [f"# {title}", ""]
    for name in names:
        lines += [*_entry(f"{module.__name__}.{name}", name, getattr(module, name), 2), ""]
    return "\n".join(lines) + "\n"


def _entry(full: str, name: str, value: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}"
    yield ""
    signature = _signature(name.rpartition(".")[2], value)
    if signature:
        yield from ("```python", signature, "```", "")
    doc = inspect.getdoc(value) if callable(value) or isinstance(value, property) else None
    yield from markdown(doc or f"`{full}` is {value!r}.")
    if inspect.isclass(value):
        for member, function in _members(value):
            yield ""
            yield from _entry(f"{full}.{member}", f"{name}.{member}", function, level + 1)


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class or one of our classes above it documents."""
    for name in dir(kind):
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(kind, name)
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        is_ours = str(getattr(getattr(function, "fget", function), "__module__", "")).startswith("daemonry")
        if (
            is_ours
            and (inspect.isfunction(function) or isinstance(function, property))
            and inspect.getdoc(function)
        ):
            yield name, function


def _signature(name: str, value: Any) -> str:
    """Return how a class or function is called, with a line for each parameter where one is too short."""
    if isinstance(value, property) or not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    is_class = inspect.isclass(value)
    kind = "class " if is_class else "async def " if inspect.iscoroutinefunction(value) else "def "
    back = (
        "" if is_class or found.return_annotation is found.empty else f" -> {_type(found.return_annotation)}"
    )
    parameters = list(_parameters(found))
    line = f"{kind}{name}({', '.join(parameters)}){back}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join((f"{kind}{name}(", *(f"    {one}," for one in parameters), f"){back}"))


def _parameters(found: inspect.Signature) -> Iterator[str]:
    """Yield the parameters that a caller gives, with the signs that stand between them."""
    named = False
    for one in found.parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and not named:
            yield "*"
        named |= one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        kind = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
        equals = " = " if kind else "="
        yield f"{star}{one.name}{kind}" + ("" if one.default is one.empty else f"{equals}{one.default!r}")


def _type(annotation: Any) -> str:
    return annotation.strip("'") if isinstance(annotation, str) else inspect.formatannotation(annotation)


def markdown(doc: str) -> Iterator[str]:
    """Yield a docstring as Markdown: its sections as lists, its indented parts as code."""
    section = ""
    for line in doc.split("\n"):
        if match := re.fullmatch(rf"({'|'.join(_SECTIONS)}):", line):
            section = match[1]
            yield from ("", f"**{section}**", "")
        elif not line.strip():
            yield ""
        elif not line.startswith(" "):
            section = ""
            yield _plain(line)
        elif section and (item := re.fullmatch(r" {4}([*\w.,\[\] ]+?): (.*)", line)):
            yield f"- {_names(item[1])}: {_plain(item[2])}"
        elif section:
            yield f"  {_plain(line.strip())}"
        else:
            yield line


def _names(text: str) -> str:
    return ", ".join(f"`{one.strip()}`" for one in text.split(","))


def _plain(text: str) -> str:
    """Return text with what Markdown would take for markup outside of code escaped."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(one if one.startswith("`") else re.sub(r"([<*_|\[\]{])", r"\\\1", one) for one in pieces)

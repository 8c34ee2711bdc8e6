"""The API reference, drawn from the docstrings of the public names, as Markdown.

Owns the form.  The docstrings have Google's sections; their text is Markdown as it stands.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

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
    signature = _signature(name, value)
    if signature:
        yield from ("```python", signature, "```", "")
    doc = inspect.getdoc(value) if callable(value) or isinstance(value, property) else None
    yield from markdown(doc or f"`{full}` is {value!r}.")
    if inspect.isclass(value):
        for member, function in _members(value):
            yield ""
            yield from _entry(f"{full}.{member}", member, function, level + 1)


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
    if isinstance(value, property) or not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    kind = (
        "class " if inspect.isclass(value) else "async def " if inspect.iscoroutinefunction(value) else "def "
    )
    whole = f"{kind}{name}{found}"
    if len(whole) <= 100:
        return whole
    parameters = "".join(f"    {one},\n" for one in _parameters(found))
    back = found.return_annotation
    told = (
        ""
        if back is inspect.Signature.empty
        else f" -> {back if isinstance(back, str) else inspect.formatannotation(back)}"
    )
    return f"{kind}{name}(\n{parameters}){told}"


def _parameters(found: inspect.Signature) -> Iterator[str]:
    keyword = positional = False
    for one in found.parameters.values():
        if positional and one.kind is not one.POSITIONAL_ONLY:
            yield "/"
        positional = one.kind is one.POSITIONAL_ONLY
        if one.kind is one.KEYWORD_ONLY and not keyword:
            yield "*"
        keyword |= one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        yield str(one)


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

"""The figures of the house: circles, sizes, names and phrases, each held against a bound that only falls.

    python scripts/figures.py            print the figures, and fail where one is above its bound
    python scripts/figures.py --update   lower the bounds in pyproject.toml to what was measured

Owns the counting and nothing of the code.  Imports count wherever they stand: inside functions and for
types, too.  A circle is a set of neighbours (files or folders of one folder) each of which needs the others,
so that none can be read before the rest; import-linter's `acyclic_siblings` refuses the same.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = {
    "daemonry": "src",
    "mcp_cli": "apps/mcp-cli/src",
    "palingenesis": "apps/palingenesis/src",
    "vx": "apps/vx/src",
}

# What readers of this field's English stumble over: clauses as nouns, and actions without an actor.
PHRASES: Final = re.compile(
    r"\bwhat (?:is|was|are|were|it|they|he|has|had|this|one)\b"
    r"|\bwho(?:ever)? (?:is|takes|has|gives|comes|asks|wants|holds|waits|reads|calls|connects|starts)\b"
    r"|\b(?:is|are|was|were|be) told\b"
    r"|\bas (?:was|is) asked\b|\btwice is as\b"
    r"|\bbesides\b|\banew\b|\bthereby\b|\btherein\b"
    # "is no string" for "must be a string".  "There is no", "is no longer" and Python's `is None` are good.
    r"|(?<!here )\b(?:is|are|was|were|be) no (?!longer\b|more\b|less\b)"
    r"|(?<!here )\b(?:is|are|was|were|be) (?-i:none)\b",
    re.IGNORECASE,
)
PAGES: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "docs",
    "apps/mcp-cli/README.md",
    "apps/palingenesis/README.md",
    "apps/vx/README.md",
)


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, its file, and its parsed text."""

    name: str
    path: Path
    tree: ast.Module
    lines: int


def modules(sources: Mapping[str, str] = SOURCES, root: Path = ROOT) -> dict[str, Module]:
    """Return the modules of the given packages by name."""
    found = {}
    for package, source in sources.items():
        for path in sorted((root / source / package).rglob("*.py")):
            parts = list(path.relative_to(root / source).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            text = path.read_text(encoding="utf-8")
            name = ".".join(parts)
            found[name] = Module(name, path, ast.parse(text), text.count("\n"))
    return found


def imports(module: Module, known: Iterable[str]) -> set[str]:
    """Return the known modules that a module imports, anywhere in it."""
    names = set(known)
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in names:
                    found.add(inner)
                elif node.module in names:
                    found.add(node.module)
    return found - {module.name}


def circles(graph: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Return the circles among the neighbours of each folder, each as the sorted names of its members."""
    folders = {name.rpartition(".")[0] for name in graph} - {""}
    found: set[tuple[str, ...]] = set()
    for folder in folders:
        neighbours: dict[str, set[str]] = {}
        for name, needed in graph.items():
            mine = _child(folder, name)
            if mine is not None:
                others = {_child(folder, other) for other in needed} - {mine, None}
                neighbours.setdefault(mine, set()).update(other for other in others if other is not None)
        found |= set(_knots(neighbours))
    return sorted(found)


def _child(folder: str, name: str) -> str | None:
    """Return the direct child of a folder in which a module is; the folder's own __init__ is one of them."""
    if name == folder:
        return folder
    if not name.startswith(folder + "."):
        return None
    return folder + "." + name.removeprefix(folder + ".").partition(".")[0]


def _knots(graph: Mapping[str, set[str]]) -> Iterator[tuple[str, ...]]:
    reach = {name: _reached(graph, name) for name in graph}
    done: set[str] = set()
    for name in sorted(graph):
        knot = {other for other in reach[name] if name in reach.get(other, ())}
        if len(knot) > 1 and name not in done:
            done |= knot
            yield tuple(sorted(knot))


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    todo = [start]
    while todo:
        for other in graph.get(todo.pop(), ()):
            if other not in reached:
                reached.add(other)
                todo.append(other)
    return reached


def words_and_phrases(texts: Iterable[str]) -> tuple[int, int]:
    """Return how many words the texts have, and how many of the phrases."""
    words = phrases = 0
    for text in texts:
        words += len(re.findall(r"[A-Za-z']+", text))
        phrases += len(PHRASES.findall(text))
    return words, phrases


def prose_of(module: Module) -> Iterator[str]:
    """Yield a module's docstrings and comments."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text
    with module.path.open("rb") as file:
        yield from (
            token.string.lstrip("# ")
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT
        )


def messages_of(module: Module) -> Iterator[str]:
    """Yield a module's literals of two words or more, less docstrings: messages, help, generated text."""
    docstrings = {
        id(node.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words = node.value.split()
            yield from [node.value] if len(words) > 1 else []


def prose_of_page(text: str) -> str:
    """Return a page's prose, less its code and its drawings."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def pages(root: Path = ROOT) -> Iterator[str]:
    """Yield the prose of the pages."""
    for name in PAGES:
        path = root / name
        for page in sorted(path.rglob("*.md")) if path.is_dir() else [path]:
            yield prose_of_page(page.read_text(encoding="utf-8"))


def classes_named_alike(found: Iterable[Module]) -> dict[str, list[str]]:
    """Return the names that several classes have, each with the modules of the classes.

    A class that extends another by the same name counts with it, and so do two of one module, of which only
    one exists.  An underscore in front of a name makes no difference.
    """
    where: dict[str, dict[str, ast.ClassDef]] = {}
    for module in found:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name.lstrip("_"), {})[module.name] = node
    return {
        name: sorted(classes)
        for name, classes in sorted(where.items())
        if sum(not _extends(node, name) for node in classes.values()) > 1
    }


def _extends(node: ast.ClassDef, name: str) -> bool:
    return any(ast.unparse(base).rpartition(".")[2] == name for base in node.bases)


def per_thousand(count: tuple[int, int]) -> float:
    """Return phrases per 1,000 words, with one decimal."""
    words, phrases = count
    return round(1000 * phrases / max(words, 1), 1)


def measure() -> tuple[dict[str, float], dict[str, str]]:
    """Return the figures by name, and for each what it was measured at."""
    found = modules()
    graph = {name: imports(module, found) for name, module in found.items()}
    knots = circles(graph)
    to_root = sorted(
        name for name, needed in graph.items() if "daemonry" in needed and name.startswith("daemonry.")
    )
    longest = max(found.values(), key=lambda module: module.lines)
    classes = {
        f"{module.name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module in found.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    folders: dict[str, int] = {}
    for module in found.values():
        folders[str(module.path.parent.relative_to(ROOT))] = (
            folders.get(str(module.path.parent.relative_to(ROOT)), 0) + 1
        )
    fullest = max(folders, key=lambda folder: folders[folder])
    code = [text for module in found.values() for text in prose_of(module)]
    messages = [text for module in found.values() for text in messages_of(module)]
    alike = {}
    for package in SOURCES:  # two programs may use one word; within one a word has one meaning
        alike |= classes_named_alike(one for name, one in found.items() if name.startswith(f"{package}."))
    figures = {
        "circles": float(len(knots)),
        "modules_importing_the_root": float(len(to_root)),
        "files_in_a_folder": float(folders[fullest]),
        "lines_of_a_file": float(longest.lines),
        "lines_of_a_class": float(max(classes.values())),
        "classes_over_300_lines": float(sum(size > 300 for size in classes.values())),
        "class_names_twice": float(len(alike)),
        "phrases_in_code": per_thousand(words_and_phrases(code)),
        "phrases_in_messages": per_thousand(words_and_phrases(messages)),
        "phrases_in_pages": per_thousand(words_and_phrases(pages())),
    }
    where = {
        "circles": "".join("\n    " + " <-> ".join(knot) for knot in knots),
        "modules_importing_the_root": ", ".join(to_root),
        "files_in_a_folder": fullest,
        "lines_of_a_file": str(longest.path.relative_to(ROOT)),
        "lines_of_a_class": max(classes, key=lambda name: classes[name]),
        "classes_over_300_lines": ", ".join(name for name, size in classes.items() if size > 300),
        "class_names_twice": ", ".join(f"{name} ({', '.join(there)})" for name, there in alike.items()),
        "phrases_in_code": "per 1,000 words of docstrings and comments",
        "phrases_in_messages": "per 1,000 words of messages and help",
        "phrases_in_pages": "per 1,000 words of the pages",
    }
    return figures, where


def bounds() -> dict[str, float]:
    """Return the bounds of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {name: float(value) for name, value in project["tool"]["figures"].items()}


def main(words: list[str]) -> int:
    """Print the figures beside their bounds; 1 where one is above."""
    figures, where = measure()
    if words == ["--update"]:
        _lower(figures)
    limits = bounds()
    failed = False
    for name, value in figures.items():
        limit = limits[name]
        mark = "  ABOVE ITS BOUND" if value > limit else ""
        failed |= value > limit
        sys.stdout.write(f"{name:<28}{value:>8g}  bound {limit:<8g}{where[name]}{mark}\n")
    return 1 if failed else 0


def _lower(figures: Mapping[str, float]) -> None:
    """Write each figure that is below its bound as the new bound."""
    path = ROOT / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    for name, limit in bounds().items():
        value = min(limit, figures[name])
        text = re.sub(rf"^{name} = .*$", f"{name} = {value:g}", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

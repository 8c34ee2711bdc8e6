"""Builds the documentation site: `scripts/docs` runs this, in an environment that has Sphinx.

    python docs/site/build.py OUTPUT     writes the site there, and OUTPUT/llms.txt

Owns the copy of the pages that Sphinx reads: the same folders, so that the links between pages hold; files
that a page links to, as pages of their own; the reference, drawn from docstrings; and the order of it all.
A warning of Sphinx is an error, and so is a link within the site that leads nowhere.
"""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from pictures import MAX_ARROWS, arrows, dot, table
from reference import page

import daemonry
from daemonry import errors

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
TITLE: Final = "daemonry"
SUMMARY: Final = (
    "A local daemon for a command-line tool, done right: found, started, asked, stopped, and never two of it."
)
# The sections of the site, in the order of its navigation; what is in no other section is in the last.
SECTIONS: Final = {
    "Tutorials": (
        "docs/writing-a-daemon.md",
        "docs/typed-calls.md",
        "docs/pipelines.md",
        "docs/found-or-started.md",
        "docs/homes.md",
    ),
    "How do I ...?": (
        "docs/how-to/*.md",
        "docs/developing.md",
        "docs/shipping.md",
        "docs/testing.md",
        "docs/errors.md",
    ),
    "Reference": (
        "reference/*.md",
        "docs/cli.md",
        "docs/home-file.md",
        "docs/configuration.md",
        "docs/text-dialect.md",
        "docs/http.md",
        "docs/files.md",
        "docs/limits.md",
    ),
    "Programs": ("apps/*/README.md", "docs/mcp-cli.md", "docs/vx*.md", "docs/palingenesis*.md"),
    "Explanation": (
        "docs/comparison.md",
        "docs/design.md",
        "docs/decisions.md",
        "docs/security.md",
        "docs/faults.md",
        "docs/reading-order.md",
    ),
    "More": (
        "README.md",
        "docs/*.md",
        "bench/README.md",
        "native/README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/*/README.md",
    ),
}
PAGES: Final = tuple(pattern for patterns in SECTIONS.values() for pattern in patterns)
DOT: Final = shutil.which("dot")
_LINK: Final = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_LANGUAGES: Final = {
    ".py": "python",
    ".toml": "toml",
    ".sh": "sh",
    ".go": "go",
    ".rs": "rust",
    ".ts": "typescript",
}


class Copy:
    """The pages as Sphinx reads them, below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: set[str] = set()

    def make(self) -> None:
        """Write all of it."""
        for pattern in PAGES:
            for path in sorted(ROOT.glob(pattern)):
                self._write(path.relative_to(ROOT), self._page(path))
        names = [name for name in daemonry.__all__ if name != "__version__"]
        self._write(Path("reference/daemonry.md"), page("The names of daemonry", daemonry, names))
        found = [name for name in sorted(dir(errors)) if isinstance(getattr(errors, name), type)]
        self._write(Path("reference/errors.md"), page("The errors", errors, found))
        self._write(Path("index.md"), self._index())
        shutil.copy(HERE / "conf.py", self._directory)

    def _write(self, path: Path, text: str) -> None:
        target = self._directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _page(self, path: Path) -> str:
        """Return a page with its links led into the copy, and its drawings as Sphinx draws them."""
        pieces = re.split(r"(^```.*?^```$)", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        return "".join(
            _drawn(piece) if piece.startswith("```") else _LINK.sub(lambda link: self._led(path, link), piece)
            for piece in pieces
        )

    def _led(self, page_path: Path, link: re.Match[str]) -> str:
        target = (page_path.parent / link[1]).resolve()
        name = os.path.relpath(target, ROOT)
        if target.suffix == ".md" or name.startswith(".."):
            return link[0]
        here = page_path.parent.relative_to(ROOT)
        if target.suffix == ".png":
            (self._directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, self._directory / name)
            return link[0]
        self._add_file(target, name)
        return os.path.relpath(f"files/{name}.md", here)

    def _add_file(self, target: Path, name: str) -> None:
        if name in self._files:
            return
        self._files.add(name)
        if target.is_dir():
            text = "\n".join(
                sorted(one.name + "/" * one.is_dir() for one in target.iterdir() if one.name[0] not in "._")
            )
        else:
            text = target.read_text(encoding="utf-8")
        language = _LANGUAGES.get(target.suffix, "text")
        self._write(
            Path(f"files/{name}.md"), f"---\norphan: true\n---\n\n# {name}\n\n````{language}\n{text}\n````\n"
        )

    def _index(self) -> str:
        lines = [f"# {TITLE}", "", SUMMARY, ""]
        for section, paths in self.sections():
            lines += ["```{toctree}", f":caption: {section}", ":maxdepth: 1", "", *paths, "```", ""]
        return "\n".join(lines)

    def sections(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each section with its pages."""
        done: set[str] = set()
        for section, patterns in SECTIONS.items():
            found = [
                str(path.relative_to(self._directory))
                for pattern in patterns
                for path in sorted(self._directory.glob(pattern))
            ]
            fresh = [name for name in dict.fromkeys(found) if name not in done]
            done.update(fresh)
            yield section, fresh

    def title_and_summary(self, name: str) -> tuple[str, str]:
        """Return a page's title and its first sentence."""
        text = (self._directory / name).read_text(encoding="utf-8")
        title, _, rest = text.lstrip().removeprefix("# ").partition("\n")
        rest = re.sub(r"<!--.*?-->|^(```.*?^```|#.*|\|.*|\[!.*)$", "", rest, flags=re.DOTALL | re.MULTILINE)
        first = " ".join(rest.strip().partition("\n\n")[0].split())
        return title.strip(), re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.split(r"(?<=[.:])\s", first)[0])


def _drawn(block: str) -> str:
    """Return a block; one of Mermaid as a picture, a large one as a table, or as text without Graphviz."""
    first, *lines, _ = block.split("\n")
    if first != "```mermaid":
        return block
    if DOT is None:
        return "\n".join(["```text", *lines, "```"])
    if len(arrows(lines)) > MAX_ARROWS:
        return table(arrows(lines))
    return "\n".join(["```{graphviz}", ":alt: a diagram of states", dot(arrows(lines)), "```"])


def llms(copy: Copy) -> str:
    """Return the list of pages for language models, as llmstxt.org describes it: each as its Markdown."""
    lines = [f"# {TITLE}", "", f"> {SUMMARY}", ""]
    for section, names in copy.sections():
        lines += [f"## {section}", ""]
        for name in names:
            title, summary = copy.title_and_summary(name)
            lines.append(f"- [{title}](_sources/{name}.txt): {summary}".removesuffix(": "))
        lines.append("")
    return "\n".join(lines)


class _Anchors(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.names.add(value)
            elif value and (tag, name) in (
                ("a", "href"),
                ("img", "src"),
                ("link", "href"),
                ("script", "src"),
            ):
                self.links.append(value)


def dead_links(site: Path) -> Iterator[str]:
    """Yield each link within the site that leads to no file, or to no place in it."""
    read: dict[Path, _Anchors] = {}
    for path in sorted(site.rglob("*.html")):
        read[path] = _Anchors()
        read[path].feed(path.read_text(encoding="utf-8"))
    for path, anchors in read.items():
        for link in anchors.links:
            if re.match(r"\w+:|//", link):
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not target.exists():
                yield f"{path.relative_to(site)}: {link} leads to no file"
            elif anchor and target in read and anchor not in read[target].names:
                yield f"{path.relative_to(site)}: {link} leads to no place"


def main(words: list[str]) -> int:
    """Build the site and return the exit code."""
    site = Path(words[0]).resolve()
    if DOT is None:
        print("Graphviz is not installed (on Debian: apt install graphviz): the diagrams of states are text")
    with tempfile.TemporaryDirectory() as directory:
        copy = Copy(Path(directory))
        copy.make()
        options = ("-q", "-W", "--keep-going", "-j", "auto", "-d", str(Path(directory) / "_doctrees"))
        command = [sys.executable, "-m", "sphinx", *options, directory, str(site)]
        code = subprocess.run(command, check=False).returncode
        if code:
            return 1
        (site / "llms.txt").write_text(llms(copy), encoding="utf-8")
    dead = list(dead_links(site))
    for one in dead:
        print(one)
    print(f"{site}/index.html: {len(list(site.rglob('*.html')))} pages, {len(dead)} dead links")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

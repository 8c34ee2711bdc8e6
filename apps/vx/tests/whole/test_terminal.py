"""What hostile sources and manifests say, on a terminal: vx shows it without what commands the terminal."""

from __future__ import annotations

from typing import Any

from daemonry.testing.on_terminal import EVIL, on_a_terminal, unsafe_in

ONE_LINE = EVIL.replace("\u2028", "")


def shown(project: Any, *words: str) -> str:
    """What is shown, less what vx itself says to a terminal when it writes its line of progress anew."""
    return on_a_terminal(project.app.env, *words, cwd=project.path)[1].replace("\r\x1b[K", "")


def test_a_compilers_words_about_a_hostile_source(c: Any) -> None:
    project = c.project("evil")
    project.write("vx.toml", '[project]\nname = "evil"\n[targets.evil]\nsources = ["main.c"]\n')
    project.write("main.c", f"#error {ONE_LINE}\nint main(void) {{ return 0; }}\n")
    for words in (("vx", "build"), ("vx", "explain"), ("vx", "log"), ("vx", "status")):
        text = shown(project, *words)
        assert unsafe_in(text) == [], (words, text)
    assert "gnp.exe" in shown(project, "vx", "build")


def test_names_in_a_hostile_manifest(c: Any) -> None:
    project = c.project("evil")
    name = "".join(f"\\U{ord(char):08x}" for char in EVIL)
    for text in (
        f'[project]\nname = "{name}"\n[targets.a]\nsources = ["main.c"]\n',
        f'[project]\nname = "a"\n[targets."{name}"]\nsources = ["main.c"]\n',
        f'[project]\nname = "a"\n[targets.a]\nsources = ["{name}.c"]\n',
        f'[project]\nname = "a"\n"{name}" = 1\n',
    ):
        project.write("vx.toml", text)
        written = shown(project, "vx", "build")
        assert "Traceback" not in written
        assert written.strip()
        assert unsafe_in(written) == [], (text, written)

"""A command as a person at a terminal sees it: a pseudo-terminal stands for theirs."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping
from typing import Final

from daemonry.terminal_text import is_unsafe

# What hostile text holds: ESC, BEL, C1, bidi, zero-width, TAG, a line separator, DEL.
EVIL: Final = "\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066x\u200b\U000e0041\u2028\x7f"


def on_a_terminal(
    env: Mapping[str, str],
    *words: str | os.PathLike[str],
    cwd: str | os.PathLike[str] | None = None,
    written: bytearray | None = None,
) -> tuple[int, str]:
    """Run a command on a pseudo-terminal, without colours, to its end.

    Args:
        env: its environment.
        words: the command.
        cwd: where it runs; here by default.
        written: gets its output while it runs, for another thread to see.

    Returns:
        (exit code, its output there).
    """
    written = bytearray() if written is None else written
    master, slave = pty.openpty()
    given = {**env, "TERM": "xterm", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=given, cwd=cwd) as process:
        os.close(slave)
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: nobody has the other side any more
                break
            if not data:
                break
            written.extend(data)
        os.close(master)
    return process.returncode, written.decode("utf-8").replace("\r\n", "\n")


def unsafe_in(text: str) -> list[str]:
    """Return which characters of `text` may not reach a terminal, as `U+001B`."""
    return sorted({f"U+{ord(char):04X}" for char in text if char not in "\n\t" and is_unsafe(ord(char))})

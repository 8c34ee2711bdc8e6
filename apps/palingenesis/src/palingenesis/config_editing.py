"""`config edit`: the configuration in its user's editor, and checked before it is the configuration.

Owns the copy that is edited.  The file itself changes only once the edited text can be used.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import Final

from daemonry import load_config, read_regular, write_atomically
from daemonry.cli import kit
from daemonry.errors import ConfigError
from palingenesis.agents.known import configured
from palingenesis.default_config import TEXT
from palingenesis.path_text import shown
from palingenesis.settings import Settings, session_dir, socket_path

MAX_BYTES: Final = 2**20
_NO_EDITOR: Final = "no editor: set EDITOR"


def edit(path: str) -> int:
    """Edit the configuration at `path`, and write it when it can be used.

    Raises:
        OSError: it cannot be read or written.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        before: bytes | None = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        before = None
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    copy = os.path.join(directory, f".{os.path.basename(path)}.{os.getpid()}.edit.toml")
    write_atomically(copy, TEXT.encode() if before is None else before, mode=0o600)
    try:
        return _edit_copy(shlex.split(editor), copy, path, before)
    finally:
        os.unlink(copy)


def _edit_copy(editor: list[str], copy: str, path: str, before: bytes | None) -> int:
    name = kit.printable(shown(path))
    while True:
        try:
            done = subprocess.run([*editor, copy], check=False)
        except (OSError, IndexError) as error:
            reason = error.strerror if isinstance(error, OSError) else _NO_EDITOR
            kit.complain(f"palingenesis: {kit.printable(' '.join(editor))}: {reason}")
            return kit.FAILED
        if done.returncode:
            kit.complain(f"palingenesis: the editor ended with {done.returncode}: nothing was changed")
            return kit.FAILED
        data = read_regular(copy, MAX_BYTES)
        if data == (TEXT.encode() if before is None else before):
            kit.say(f"{name}: not changed")
            return kit.DONE
        wrong = _what_is_wrong(copy, path)
        if not wrong:
            write_atomically(os.path.realpath(path), data, mode=0o600)
            kit.say(f"{name}: written; palingenesis daemon reload makes the daemon use it")
            return kit.DONE
        kit.complain(f"palingenesis: {wrong}")
        if not _again():
            kit.complain(f"palingenesis: {name} is as it was")
            return kit.FAILED


def _what_is_wrong(copy: str, path: str) -> str:
    try:
        settings = load_config(copy, Settings)
        session_dir(settings.monitoring, copy)
        configured(settings, copy)
        socket_path(settings.daemon, copy)
    except ConfigError as error:
        return str(error).replace(copy, path)
    return ""


def _again() -> bool:
    if not os.isatty(0):
        return False
    sys.stderr.write("palingenesis: edit it again? [Y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")

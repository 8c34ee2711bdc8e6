"""The files of terminals: which names are free, which process holds one, its record.

Owns `{state}/terminals`: NAME.json (see `evidence.terminals`), NAME.lock, by which a name is one terminal's,
and NAME.sock, where a window finds it.  Not below the runtime directory: that goes away when its user logs
out, and the terminal does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from typing import Final

from daemonry import open_regular, write_atomically
from palingenesis import names_json
from palingenesis.evidence import terminals
from palingenesis.evidence.terminals import Terminal

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NameInUse(Exception):
    """Another terminal has the name."""


def is_name(text: str) -> bool:
    """Whether a terminal can have this name."""
    return bool(_NAME.fullmatch(text)) and not text.endswith((".json", ".lock", ".sock", ".log"))


class TerminalStore:
    """The directory of one user's terminals; made if it is not there.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.directory = terminals.directory(state_dir)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)

    def path(self, name: str, kind: str) -> str:
        """Return one of a terminal's files."""
        return os.path.join(self.directory, f"{name}.{kind}")

    def take(self, name: str) -> int:
        """Return the lock that makes `name` ours, held as long as its descriptor is open.

        Raises:
            NameInUse: a terminal has it.
            OSError: the lock cannot be made.
        """
        lock = open_regular(self.path(name, "lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise NameInUse(name) from None
        return lock

    def take_free(self, base: str) -> tuple[str, int]:
        """Return the first free name of `base`, `base-2`, ..., and its lock.

        Raises:
            NameInUse: a thousand of them are taken.
            OSError: the lock cannot be made.
        """
        for number in range(1, 1001):
            name = base if number == 1 else f"{base}-{number}"
            with contextlib.suppress(NameInUse):
                return name, self.take(name)
        raise NameInUse(base)

    def write(self, terminal: Terminal) -> None:
        """Tell what a terminal is now.

        Raises:
            OSError: that cannot be written.
        """
        write_atomically(self.path(terminal.name, "json"), names_json.encode(terminal), mode=0o600)

    def remove(self, name: str, *kinds: str) -> None:
        """Remove files of a terminal."""
        for kind in kinds:
            with contextlib.suppress(OSError):
                os.unlink(self.path(name, kind))

    def listen(self, name: str) -> socket.socket:
        """Return the socket at which windows find a terminal; its holder has the lock.

        Raises:
            OSError: it cannot be made.
        """
        self.remove(name, "sock")
        listener = socket.socket(socket.AF_UNIX)
        try:
            with _inside(self.directory):
                before = os.umask(0o177)
                try:
                    listener.bind(f"{name}.sock")
                finally:
                    os.umask(before)
            listener.listen(8)
        except BaseException:
            listener.close()
            raise
        listener.setblocking(False)
        return listener

    def connect(self, name: str, timeout_s: float) -> socket.socket:
        """Return a connection to a terminal, with this time for each of its steps.

        Raises:
            TimeoutError: too many wait for it.
            OSError: nobody listens there.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        try:
            with _inside(self.directory):
                connection.connect(f"{name}.sock")
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def _inside(directory: str) -> Iterator[None]:
    """Work in a directory for a moment: the path of a socket has 107 bytes at most, its name has few."""
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(directory)
        yield
    finally:
        os.fchdir(before)
        os.close(before)

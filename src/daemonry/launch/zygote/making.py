"""A zygote where none is there yet: its socket, and its process, which is spawned as the daemon would be.

Owns the directory of the sockets.  Its lock is held to bind there and to remove: a socket that refuses is
stale, and the file of a living zygote is never removed.  The zygote gets its socket listening, so whoever
comes while it imports waits in the queue.
"""

from __future__ import annotations

import fcntl
import os
import time
from _socket import AF_UNIX, SOCK_SEQPACKET
from _socket import socket as Socket

from daemonry import strict_json
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.launch.zygote import choice
from daemonry.limits import (
    LOCK_RETRY_FIRST_S,
    LOCK_RETRY_MAX_S,
    MAX_ZYGOTES,
    ZYGOTE_PATIENCE_S,
    ZYGOTE_QUIET_S,
)
from daemonry.process.program import launching as program
from daemonry.process.spawn import launch, let_go
from daemonry.process.sweep import BOOT_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

_ENDING: Final = ".sock"
# Room for the words of a daemon, which a child writes over it: they are shown by `ps`.
_ROOM: Final = 160


def address(directory_fd: int, key: str) -> str:
    """Return the address of a key's socket, which is short whatever the directory's path."""
    return f"/proc/self/fd/{directory_fd}/{key}{_ENDING}"


def make(
    directory_fd: int, directory: str, key: str, python: str, environment: Mapping[str, str], sock: Socket
) -> bool:
    """Make the zygote of a key, unless somebody just did, and connect to it.  Return whether it is new.

    Args:
        directory_fd: the open directory of the sockets.
        directory: its path.
        key: the key.
        python: the interpreter.
        environment: the daemon's, without the boot fields.
        sock: the socket to be connected.

    Raises:
        OSError: it could not be made.
    """
    if not lock(directory_fd, Deadline(ZYGOTE_PATIENCE_S)):
        raise TimeoutError
    try:
        living = _swept(directory_fd)
        if key in living:
            sock.connect(address(directory_fd, key))
            return False
        if len(living) >= MAX_ZYGOTES:
            raise OSError("enough of them")
        listener = Socket(AF_UNIX, SOCK_SEQPACKET)
        try:
            listener.bind(address(directory_fd, key))
            try:
                listener.listen(128)
                sock.connect(address(directory_fd, key))
                _spawn(listener, f"{directory}/{key}{_ENDING}", python, environment)
            except BaseException:
                os.unlink(f"{key}{_ENDING}", dir_fd=directory_fd)
                raise
        finally:
            listener.close()
        return True
    finally:
        fcntl.flock(directory_fd, fcntl.LOCK_UN)


def lock(directory_fd: int, deadline: Deadline) -> bool:
    """Take the lock of the directory; say False where another has it all the time."""
    for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
        try:
            fcntl.flock(directory_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not deadline.sleep(delay_s):
                return False
        else:
            return True
    raise AssertionError("delays() is endless")


def _swept(directory_fd: int) -> set[str]:
    """Return the keys of the zygotes that live, and remove the sockets of those that do not."""
    living = set()
    for name in os.listdir(directory_fd):
        if not name.endswith(_ENDING):
            continue
        key = name.removesuffix(_ENDING)
        with_it = Socket(AF_UNIX, SOCK_SEQPACKET)
        try:
            with_it.setblocking(False)
            with_it.connect(address(directory_fd, key))
            living.add(key)
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory_fd)
        except FileNotFoundError:
            pass
        except OSError:
            living.add(key)  # its queue is full
        finally:
            with_it.close()
    return living


def _spawn(listener: Socket, path: str, python: str, environment: Mapping[str, str]) -> None:
    found = os.stat(path)
    boot: dict[str, Any] = {
        "listen_fd": listener.fileno(),
        "path": path,
        "file": [found.st_dev, found.st_ino],
        "quiet_s": ZYGOTE_QUIET_S,
        "began_ns": time.time_ns(),
    }
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        words = [python, *program.USUAL, "run", choice.WORD + "." * _ROOM]
        variables = {**environment, BOOT_VARIABLE: strict_json.encode_names(boot)}
        let_go(launch(words, variables, (listener.fileno(),), nowhere))
    finally:
        os.close(nowhere)

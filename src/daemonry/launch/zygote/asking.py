"""The starter's side: a daemon forked by the zygote, or the word that it has to be spawned.

Owns the conversation up to the order, and the process from then on.  Nothing here raises: for whatever reason
there is no child, `forked` says None, and nothing of the start has left this process.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET
from _socket import socket as Socket

from daemonry import faults, strict_json
from daemonry.launch.zygote import choice, making, messages, surroundings
from daemonry.limits import MAX_ZYGOTE_MESSAGE_BYTES, ZYGOTE_COLD_PATIENCE_S, ZYGOTE_PATIENCE_S
from daemonry.process import platform
from daemonry.process.place import runtime_dir
from daemonry.process.private_dir import ensure_private
from daemonry.process.program import launching as program
from daemonry.process.selector import wait_readable
from daemonry.process.spawn import open_output
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Conversation = tuple[int, int, Socket]


class Wish(Value):
    """A daemon's process, as the arguments of `process.spawn.spawn`."""

    __slots__ = ("python", "words", "arguments", "boot", "pass_fds", "output_path")  # noqa: RUF023  # as the arguments
    python: str
    words: tuple[str, ...]
    arguments: Sequence[str]
    boot: Mapping[str, Any]
    pass_fds: tuple[int, ...]
    output_path: str

    def __init__(
        self,
        python: str,
        words: tuple[str, ...],
        arguments: Sequence[str],
        boot: Mapping[str, Any],
        pass_fds: tuple[int, ...],
        output_path: str,
    ) -> None:
        self._set(
            python=python,
            words=words,
            arguments=arguments,
            boot=boot,
            pass_fds=pass_fds,
            output_path=output_path,
        )


class Forked:
    """A process that a zygote has forked, as its starter sees it; as `process.spawn.Spawned`.

    Attributes:
        pid: its number.
    """

    __slots__ = ("_status_fd", "pid")

    def __init__(self, pid: int, status_fd: int) -> None:
        self.pid: int = pid
        self._status_fd = status_fd

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, negative for a signal; None where it does not end in time, or is unknown."""
        try:
            if not wait_readable(self._status_fd, timeout_s):
                return None
            return messages.code_of(os.read(self._status_fd, 64))
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Leave it to itself; the zygote buries it, and init after the zygote's end."""
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1


def forked(wish: Wish, environment: Mapping[str, str], *, take_over: bool) -> Forked | None:
    """Return the daemon's process, forked by a zygote; None where it has to be spawned.

    Args:
        wish: the process.
        environment: the daemon's, without the boot fields.
        take_over: whether it takes over from a daemon that runs.
    """
    own = (wish.python or program.executable()) == program.executable() and wish.words == program.USUAL
    if choice.why_not(environment, own_program=own, take_over=take_over) or not surroundings.can_be_read():
        return None
    try:
        return _forked(wish, environment)
    except (OSError, faults.DaemonryError, ValueError):
        return None


def _forked(wish: Wish, environment: Mapping[str, str]) -> Forked | None:
    python = program.executable()
    argv = (python, *wish.words, *wish.arguments)
    order = messages.Order(argv, strict_json.encode_names(dict(wish.boot)), wish.pass_fds).encoded()
    material = surroundings.material(python, environment)
    sock, patience_s = _connected(choice.key_of(material), python, environment)
    status_fd, write_fd = os.pipe()
    child = None
    try:
        try:
            pid = _child(sock, material, write_fd, patience_s)
        finally:
            os.close(write_fd)
        if pid is not None:
            _send_order(sock, order, wish)
            child = Forked(pid, status_fd)
        return child
    finally:
        sock.close()
        if child is None:
            os.close(status_fd)


def _connected(key: str, python: str, environment: Mapping[str, str]) -> tuple[Socket, float]:
    """Return a connection to the zygote of a key, made where it is missing, and the patience with it.

    Raises:
        OSError, DaemonryError: it cannot be made.
    """
    directory = f"{runtime_dir('daemonry')}/zygotes"
    ensure_private(directory)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        sock = Socket(AF_UNIX, SOCK_SEQPACKET)
        try:
            sock.settimeout(ZYGOTE_PATIENCE_S)
            try:
                sock.connect(making.address(fd, key))
                made = False
            except (FileNotFoundError, ConnectionRefusedError):
                made = making.make(fd, directory, key, python, environment, sock)
        except BaseException:
            sock.close()
            raise
        return sock, ZYGOTE_COLD_PATIENCE_S if made else ZYGOTE_PATIENCE_S
    finally:
        os.close(fd)


def _child(sock: Socket, material: bytes, write_fd: int, patience_s: float) -> int | None:
    """Return the number of a child that waits for its order; None where the zygote does not fork."""
    if platform.peer_of(sock)[1] != os.geteuid():
        return None
    sock.settimeout(patience_s)
    _send(sock, material, (write_fd,))
    return messages.pid_of(sock.recv(MAX_ZYGOTE_MESSAGE_BYTES))


def _send_order(sock: Socket, order: bytes, wish: Wish) -> None:
    output = open_output(wish.output_path)
    try:
        _send(sock, order, (output, *wish.pass_fds))
    finally:
        os.close(output)


def _send(sock: Socket, message: bytes, fds: Sequence[int]) -> None:
    numbers = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
    if sock.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, numbers)]) != len(message):
        raise OSError("cut")  # a packet is sent whole, or not at all

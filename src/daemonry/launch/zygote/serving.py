"""The zygote: imports what daemons import, forks one for each starter that agrees, ends when nobody asks.

Owns the loop, with one thread and without asyncio's: a child would have a copy of either.  It never waits for
a starter.  It buries its children, and tells the exit code to starters that still listen.
"""

from __future__ import annotations

import os
import select
from _socket import socket as Socket

from daemonry import clock
from daemonry.clock import Deadline
from daemonry.launch.zygote import becoming, choice, making, messages, surroundings
from daemonry.launch.zygote.freshness import Loaded
from daemonry.launch.zygote.preloading import preload
from daemonry.limits import (
    MAX_ZYGOTE_CONNECTIONS,
    MAX_ZYGOTE_MESSAGE_BYTES,
    REQUEST_TIMEOUT_S,
    ZYGOTE_PATIENCE_S,
)
from daemonry.process import platform
from daemonry.process.spawn import take_boot
from daemonry.process.sweep import BOOT_PREFIX
from daemonry.transport import ancillary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


# A child never frees its zygote's state: to do so would make copies of the pages where that stands.
_kept: list[_Zygote] = []


def serve() -> list[str] | None:
    """Be a zygote.

    Returns:
        None at the zygote's end; in each child the words behind `daemonry`.
    """
    boot = take_boot()
    listener = Socket(fileno=boot["listen_fd"])
    os.set_inheritable(listener.fileno(), False)
    try:
        preload()
        becoming.show((*_own_words(), "zygote"))
        zygote = _Zygote(listener, boot)
        words = zygote.run()
        _kept.append(zygote)
    finally:
        # In the zygote, so that starters in the queue see the end; a child's copy is closed already.
        listener.close()
    return words


def _own_words() -> tuple[str, ...]:
    import sys

    return tuple(sys.orig_argv[:3])


class _Zygote:
    """The state of a zygote.

    Args:
        listener: its socket, which listens.
        boot: its boot fields, by `making`.
    """

    def __init__(self, listener: Socket, boot: Mapping[str, Any]) -> None:
        self._listener = listener
        self._boot = boot
        self._loaded = Loaded(boot["began_ns"])
        self._connections: dict[int, tuple[Socket, float]] = {}
        # By the child's pidfd: its number, and the pipe to its starter, -1 once nobody listens.
        self._children: dict[int, tuple[int, int]] = {}
        self._quiet = Deadline(boot["quiet_s"])
        self._goes_on = True
        self._poll = select.poll()
        listener.setblocking(False)
        self._poll.register(listener.fileno(), select.POLLIN)

    def run(self) -> list[str] | None:
        """Serve until it is quiet, or a file has changed; return the words in each child."""
        while self._goes_on and not self._quiet.expired:
            for fd, _ in self._poll.poll(self._wait_ms()):
                words = self._react(fd)
                if words is not None:
                    return words
            self._drop_silent()
        self._withdraw()
        return None

    def _wait_ms(self) -> float:
        waits_s = [self._quiet.remaining_s() or 0.0]
        waits_s += [at_s - clock.monotonic() for _, at_s in self._connections.values()]
        return max(0.0, min(waits_s)) * 1000 + 1

    def _react(self, fd: int) -> list[str] | None:
        if fd == self._listener.fileno():
            self._accept()
        elif fd in self._connections:
            return self._answer(fd)
        elif fd in self._children:
            self._bury(fd)
        else:
            self._forget_starter(fd)
        return None

    # --- starters ------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001  # as `socket` does
        except OSError:
            return
        sock = Socket(fileno=fd)
        if len(self._connections) >= MAX_ZYGOTE_CONNECTIONS or platform.peer_of(sock)[1] != os.geteuid():
            sock.close()
            return
        sock.setblocking(False)
        self._connections[fd] = sock, clock.monotonic() + REQUEST_TIMEOUT_S
        self._poll.register(fd, select.POLLIN)

    def _drop_silent(self) -> None:
        for fd, (sock, at_s) in list(self._connections.items()):
            if clock.monotonic() >= at_s:
                self._poll.unregister(fd)
                del self._connections[fd]
                sock.close()

    def _answer(self, fd: int) -> list[str] | None:
        """Fork for a starter, or tell it why not."""
        sock, _ = self._connections[fd]
        try:
            material, fds = ancillary.receive(sock, MAX_ZYGOTE_MESSAGE_BYTES)
        except BlockingIOError:  # the event was of another descriptor, which had this number
            return None
        except OSError:
            material, fds = b"", []
        self._poll.unregister(fd)
        del self._connections[fd]
        if not material or len(fds) != 1:  # one that only looked whether we live, or no starter of ours
            ancillary.close_all(fds)
            sock.close()
            return None
        self._quiet = Deadline(self._boot["quiet_s"])
        why = self._why_not(material)
        if why:
            self._goes_on = False  # none of the reasons passes
        else:
            words, why = self._fork(sock, fds[0])
            if words is not None:
                return words
        if why:
            try:
                sock.send(messages.no(why))
            except OSError:
                pass
        ancillary.close_all(fds)
        sock.close()
        return None

    def _why_not(self, material: bytes) -> str:
        try:
            agrees = material == surroundings.own_material(BOOT_PREFIX)
            return choice.refusal(
                agrees=agrees, changed=self._loaded.changed(), threads=surroundings.threads()
            )
        except OSError as error:
            return str(error)

    def _fork(self, sock: Socket, status: ancillary.Fd) -> tuple[list[str] | None, str]:
        """Fork; return the words in the child, and the reason where it could not be done."""
        try:
            pid = os.fork()
        except OSError as error:
            return None, str(error)
        if pid == 0:
            status.close()
            self._abandon()
            return becoming.become(sock), ""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor is left: then the starter does not learn how its daemon ended
            return None, ""
        status_fd = status.take()
        self._children[pidfd] = pid, status_fd
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(status_fd, 0)  # POLLERR: the starter has closed its end
        return None, ""

    # --- children ------------------------------------------------------------------------------

    def _bury(self, pidfd: int) -> None:
        pid, status_fd = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        if status_fd >= 0:
            self._poll.unregister(status_fd)
            try:
                os.write(status_fd, messages.status(os.waitstatus_to_exitcode(status)))
            except OSError:
                pass
            os.close(status_fd)

    def _forget_starter(self, fd: int) -> None:
        """Close the pipe to a starter that does not want to know any more."""
        for pidfd, (pid, status_fd) in self._children.items():
            if status_fd == fd:
                self._poll.unregister(fd)
                os.close(fd)
                self._children[pidfd] = pid, -1
                return

    # --- the end -------------------------------------------------------------------------------

    def _abandon(self) -> None:
        """Close a child's copies of everything."""
        self._listener.close()
        for sock, _ in self._connections.values():
            sock.close()
        for pidfd, (_, status_fd) in self._children.items():
            os.close(pidfd)
            if status_fd >= 0:
                os.close(status_fd)

    def _withdraw(self) -> None:
        """Remove the socket's file, unless another's is there by now."""
        directory, name = os.path.split(self._boot["path"])
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if making.lock(fd, Deadline(ZYGOTE_PATIENCE_S)):
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if [found.st_dev, found.st_ino] == self._boot["file"]:
                    os.unlink(name, dir_fd=fd)
        except OSError:
            pass
        finally:
            os.close(fd)

"""The end in the user's window: passes bytes, the window's size and signals on, and ends as the program does.

Owns the window.  It is the only part of a terminal that its user's shell knows: it stops when the program is
stopped, goes on with it, and leaves its exit status.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import socket
from collections.abc import Iterator
from typing import Final

from daemonry.cli import kit
from palingenesis.terminal import frames, screen
from palingenesis.terminal.raw import RawTerminal, size_of

# What `kill` sends to this process is the program's.
_PASSED: Final = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
)
# The window is gone, and the program is not.
_CLOSED: Final = 128 + signal.SIGHUP


class WindowClient:
    """A window at one terminal, until the program ends or the window is detached.

    Args:
        connection: to the holder.
        name: the terminal's.
        detach_key: the byte that detaches; b"" for none.
    """

    def __init__(self, connection: socket.socket, name: str, detach_key: bytes = b"") -> None:
        self._socket = connection
        self._name = name
        self._detach_key = detach_key
        self._raw = RawTerminal(0)
        self._decoder = frames.Decoder()
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)

    def run(self) -> int:
        """Pass on until the end, and return the exit code.

        A program that a signal ended ends this process by the same signal.
        """
        before = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        signals = (*_PASSED, signal.SIGWINCH, signal.SIGHUP, signal.SIGCONT)
        handlers = {number: signal.signal(number, lambda *_: None) for number in signals}
        self._raw.enter()
        try:
            ended = next(self._passing())
        finally:
            self._raw.leave()
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._socket.close()
        return self._leave(ended)

    def _leave(self, ended: tuple[str, int | str]) -> int:
        what, value = ended
        if what == "ended":
            return end_as(int(value))
        if what == "closed":
            return _CLOSED
        if what == "detached":
            with contextlib.suppress(OSError):
                os.write(1, screen.LEAVE + b"\r\n")
            why = f": {kit.printable(str(value))}" if value else ""
            kit.say(f"detached{why}; palingenesis attach {self._name} shows it again")
            return kit.DONE
        kit.complain("palingenesis: the process that held the terminal has ended")
        return kit.FAILED

    def _passing(self) -> Iterator[tuple[str, int | str]]:
        """Yield how it ended, once it has."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ, self._on_holder)
            selector.register(self._wake, selectors.EVENT_READ, self._on_signal)
            selector.register(0, selectors.EVENT_READ, self._on_keys)
            while True:
                for key, _ in selector.select():
                    yield from key.data()

    def _on_keys(self) -> Iterator[tuple[str, int | str]]:
        try:
            data = os.read(0, 65536)
        except InterruptedError:
            return
        except OSError:
            data = b""
        if not data:  # the window is gone
            yield "closed", 0
        typed, key, _ = data.partition(self._detach_key) if self._detach_key else (data, b"", b"")
        if typed:
            self._send(frames.INPUT, typed)
        if key:
            yield "detached", ""

    def _on_signal(self) -> Iterator[tuple[str, int | str]]:
        for number in os.read(self._wake, 512):
            if number == signal.SIGHUP:
                yield "closed", 0
            elif number == signal.SIGWINCH:
                self._send(frames.SIZE, frames.size(*size_of(0)))
            elif number in _PASSED:
                self._send(frames.SIGNAL, bytes([number]))

    def _on_holder(self) -> Iterator[tuple[str, int | str]]:
        try:
            data = self._socket.recv(256 * 1024)
        except OSError:
            data = b""
        if not data:
            yield "gone", 0
        for kind, content in self._decoder.feed(data):
            if kind == frames.OUTPUT:
                if not self._write(content):
                    yield "closed", 0
            elif kind == frames.STOPPED:
                self._stop(content[0] if content else signal.SIGTSTP)
            elif kind == frames.ENDED:
                yield "ended", int(json.loads(content)["status"])
            elif kind == frames.DETACHED:
                yield "detached", content.decode("utf-8", "replace")

    def _stop(self, number: int) -> None:
        """Stop as the program was stopped, and have it go on when the shell continues this process."""
        self._raw.leave()
        if number == signal.SIGSTOP:
            os.kill(0, signal.SIGSTOP)
        else:
            handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(0, signal.SIGTSTP)  # the whole job, as the terminal's driver does
            signal.signal(signal.SIGTSTP, handler)
        self._raw.enter()
        self._send(frames.SIZE, frames.size(*size_of(0)))
        self._send(frames.CONTINUE)

    def _write(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(1, data) :]
            except InterruptedError:
                continue
            except OSError:
                return False
        return True

    def _send(self, kind: bytes, data: bytes = b"") -> None:
        with contextlib.suppress(OSError):  # its end is seen by reading
            self._socket.sendall(frames.frame(kind, data))


def end_as(status: int) -> int:
    """Return the exit code of a program; one that a signal ended ends this process in the same way."""
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number

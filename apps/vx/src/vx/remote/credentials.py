"""The headers that a call is sent with: those of the settings, and those that a credential helper makes.

The helper is Bazel's: `HELPER get` reads {"uri": URL} and prints {"headers": {NAME: [VALUE, ...]},
"expires": TIME}.  Its answer is kept until it expires, or for a while.  Owns running it; its output is
bounded, checked, and never shown: it is a secret.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from vx.remote.failures import RemoteFailed
from vx.remote.settings import is_header

HELPER_TIMEOUT_S: Final = 10.0
# Bazel's: how long an answer without a time is good.
_KEPT_S: Final = 1800.0
# A server takes 16 KiB of headers.
_MAX_ANSWER_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16

Metadata = tuple[tuple[str, str], ...]


class _Answer(msgspec.Struct, frozen=True):
    """A helper's answer."""

    headers: dict[str, list[str]]
    expires: dt.datetime | None = None


class _NoAnswer(Exception):
    """A helper did something else than to answer, in words."""


class Credentials:
    """The headers that prove our identity to a server.

    Args:
        url: of the server.
        headers: of the settings.
        helper: the program; "" for none.
    """

    def __init__(self, url: str, headers: Mapping[str, str], helper: str = "") -> None:
        self._url = url
        self._headers: Metadata = tuple(headers.items())
        self._helper = helper
        self._made: Metadata = ()
        self._until_s = 0.0
        self._lock = threading.Lock()

    def metadata(self) -> Metadata:
        """Return the headers for a call.

        Raises:
            RemoteFailed: the helper makes none.
        """
        if not self._helper:
            return self._headers
        with self._lock:
            if time.time() >= self._until_s:
                self._made, self._until_s = self._ask()
            return self._headers + self._made

    def forget(self) -> None:
        """Have the helper asked again: the server did not accept its answer."""
        self._until_s = 0.0

    def _ask(self) -> tuple[Metadata, float]:
        try:
            answer, status = _answer_of(self._helper, json.dumps({"uri": self._url}).encode())
        except OSError as error:
            raise RemoteFailed(
                f"the credential helper {self._helper} cannot be run: {error.strerror}"
            ) from None
        except _NoAnswer as error:
            raise RemoteFailed(f"the credential helper {self._helper} {error}") from None
        if status != 0:
            raise RemoteFailed(f"the credential helper {self._helper} ended with {status}")
        try:
            return parse(answer, time.time())
        except (ValueError, RecursionError):
            raise RemoteFailed(f"the credential helper {self._helper} prints no headers") from None


def _answer_of(helper: str, question: bytes) -> tuple[bytes, int]:
    """Return what a helper prints, and its exit status.

    Raises:
        OSError: it cannot be run.
        _NoAnswer: it printed too much, or took too long.
    """
    end_s = time.monotonic() + HELPER_TIMEOUT_S
    with subprocess.Popen(
        [helper, "get"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            return _exchanged(process, question, end_s), process.wait(max(0.0, end_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _NoAnswer(f"did not end within {HELPER_TIMEOUT_S:.0f} s") from None
        finally:
            process.kill()  # nothing, if it has ended


def _exchanged(process: subprocess.Popen[bytes], question: bytes, end_s: float) -> bytes:
    """Tell a helper the question, and return its whole output."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(question)  # less than a pipe holds
        process.stdin.close()
    except BrokenPipeError:
        pass  # it answers all questions alike
    waiting = select.poll()
    waiting.register(process.stdout, select.POLLIN)
    said = b""
    while waiting.poll(max(0.0, end_s - time.monotonic()) * 1000):
        piece = os.read(process.stdout.fileno(), _PIECE_BYTES)
        if not piece:
            return said
        said += piece
        if len(said) > _MAX_ANSWER_BYTES:
            raise _NoAnswer(f"prints more than {_MAX_ANSWER_BYTES >> 10} KiB")
    raise _NoAnswer(f"gave no answer within {HELPER_TIMEOUT_S:.0f} s")


def parse(answer: bytes, now_s: float) -> tuple[Metadata, float]:
    """Return the headers of a helper's answer, and until when they are good.

    Raises:
        ValueError, RecursionError: it is not such an answer.
    """
    told = msgspec.json.decode(answer, type=_Answer)
    made = [(name.lower(), value) for name, values in told.headers.items() for value in values]
    for name, value in made:
        if not is_header(name, value):
            raise ValueError(name)
    return tuple(made), told.expires.timestamp() if told.expires is not None else now_s + _KEPT_S

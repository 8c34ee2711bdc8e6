"""The headers that a call is sent with: those of the settings, and those that a credential helper makes.

The helper is Bazel's: `HELPER get` reads {"uri": URL} and prints {"headers": {NAME: [VALUE, ...]},
"expires": TIME}.  Its answer is kept until it expires, or for a while.  Owns running it; its output is
checked, and never shown: it is a secret.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from vx.remote.failures import RemoteFailed

HELPER_TIMEOUT_S: Final = 10.0
# Bazel's: how long an answer without a time is good.
_KEPT_S: Final = 1800.0
_MAX_ANSWER_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[a-z0-9_.-]+")

Metadata = tuple[tuple[str, str], ...]


class _Answer(msgspec.Struct, frozen=True):
    """A helper's answer."""

    headers: dict[str, list[str]]
    expires: dt.datetime | None = None


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
            done = subprocess.run(
                [self._helper, "get"],
                input=json.dumps({"uri": self._url}).encode(),
                capture_output=True,
                timeout=HELPER_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RemoteFailed(f"the credential helper {self._helper} cannot be run: {error}") from None
        if done.returncode != 0:
            raise RemoteFailed(f"the credential helper {self._helper} ended with {done.returncode}")
        try:
            return parse(done.stdout[:_MAX_ANSWER_BYTES], time.time())
        except ValueError:
            raise RemoteFailed(f"the credential helper {self._helper} prints no headers") from None


def parse(answer: bytes, now_s: float) -> tuple[Metadata, float]:
    """Return the headers of a helper's answer, and until when they are good.

    Raises:
        ValueError: it is not such an answer.
    """
    told = msgspec.json.decode(answer, type=_Answer)
    made = [(name.lower(), value) for name, values in told.headers.items() for value in values]
    for name, value in made:
        if not _NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
            raise ValueError(name)
    return tuple(made), told.expires.timestamp() if told.expires is not None else now_s + _KEPT_S

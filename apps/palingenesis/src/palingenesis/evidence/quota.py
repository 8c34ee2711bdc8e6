"""Whether a limit has ended, asked before a resume: the command `quota` of an agent's table.

Owns the run of that command, bounded in time and output.  By default its exit code answers; `quota_reader`
names an agent's own protocol.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from palingenesis.agents.profile import Profile
from palingenesis.evidence import codex_quota
from palingenesis.evidence.quota_answer import UNKNOWN, Quota

TIMEOUT_S: Final = 10.0
NOT_YET: Final = 75  # sysexits.h: EX_TEMPFAIL
MAX_ANSWER_BYTES: Final = 2**20
# A reset that is further away is not a reset: the longest limit is a week.
MAX_AHEAD_S: Final = 8 * 86400.0

_CODES: Final = {0: Quota(ended=True), NOT_YET: Quota(ended=False)}


def ask(profile: Profile, environment: Mapping[str, str], cwd: str) -> Quota:
    """Return whether there is quota again; `UNKNOWN` where nobody is asked, or nothing is answered."""
    if not profile.quota:
        return UNKNOWN
    if profile.quota_reader == "codex":
        # Not in the session's directory: there it would pass for somebody who works in the session.
        found = _converse(profile.quota, environment, codex_quota.REQUEST, codex_quota.answer_of)
    else:
        found = _by_code(profile.quota, environment, cwd)
    now_s = time.time()
    if found.resets_at_s is not None and not now_s < found.resets_at_s < now_s + MAX_AHEAD_S:
        return Quota(found.ended)
    return found


def _by_code(words: Sequence[str], environment: Mapping[str, str], cwd: str) -> Quota:
    try:
        done = subprocess.run(
            list(words), env=dict(environment), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return _CODES.get(done.returncode, UNKNOWN)


def _converse(
    words: Sequence[str],
    environment: Mapping[str, str],
    request: bytes,
    answer_of: Callable[[bytes], Quota | None],
) -> Quota:
    """Start a program, send it a request, and return the first line that is an answer."""
    try:
        child = subprocess.Popen(
            list(words), env=dict(environment), cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True, bufsize=0,
        )  # fmt: skip
    except OSError:
        return UNKNOWN
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        with contextlib.suppress(OSError):  # it has ended already
            child.stdin.write(request)
        return _first_answer(child.stdout.fileno(), answer_of)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.stdin.close()
        child.stdout.close()
        child.wait()


def _first_answer(fd: int, answer_of: Callable[[bytes], Quota | None]) -> Quota:
    deadline_s, read_bytes, torn = time.monotonic() + TIMEOUT_S, 0, b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while read_bytes < MAX_ANSWER_BYTES and (left_s := deadline_s - time.monotonic()) > 0:
            if not selector.select(left_s):
                break
            data = os.read(fd, 65536)
            if not data:
                break
            read_bytes += len(data)
            *lines, torn = (torn + data).split(b"\n")
            for line in lines:
                if (found := answer_of(line)) is not None:
                    return found
    return UNKNOWN

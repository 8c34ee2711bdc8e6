"""The process in which apprise runs: a receiver that hangs, or a library that blocks, holds up nobody else.

Run as a module with a JSON object on its standard input: `urls`, `title`, `text`.  The addresses have
passwords in them, so they are not arguments.  Ends with 0 when all receivers have it; else one line says why
not.  A plugin may raise anything, print without end and leave threads behind: of an exception only the name
is printed, since its words may have the address in them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

NOT_INSTALLED = 3


def main() -> tuple[int, str]:
    """Send one message, and return the exit code and why not."""
    given = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        return NOT_INSTALLED, "apprise is not installed: pip install 'palingenesis[notify]'"
    logging.disable(logging.CRITICAL)  # its lines have the addresses in them
    try:
        return _sent(apprise.Apprise(), given)
    except BaseException as error:  # noqa: BLE001  # a plugin's `sys.exit(0)` delivers nothing
        return 1, f"a receiver failed: {type(error).__name__}"


def _sent(receivers: Any, given: dict[str, Any]) -> tuple[int, str]:
    refused = [number for number, url in enumerate(given["urls"], 1) if not receivers.add(url)]
    done = bool(len(receivers)) and receivers.notify(title=given["title"], body=given["text"])
    if not done:
        return 1, "a receiver did not take it"
    if refused:
        return 1, f"notices.urls: number {refused[0]} is not an address that apprise knows"
    return 0, ""


if __name__ == "__main__":
    answers = os.dup(2)
    os.dup2(1, 2)  # which is /dev/null
    code, why_not = main()
    os.write(answers, why_not.encode("utf-8", "replace"))
    os._exit(code)  # a thread of a plugin that never ends holds nobody up

"""The process in which apprise runs: a receiver that hangs, or a library that blocks, holds up nobody else.

Run as a module with a JSON object on its standard input: `urls`, `title`, `text`.  The addresses have
passwords in them, so they are not arguments.  Ends with 0 when all receivers have it; else one line says why
not.
"""

from __future__ import annotations

import json
import logging
import sys

NOT_INSTALLED = 3


def main() -> int:
    """Send one message, and return the exit code."""
    given = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        sys.stderr.write("apprise is not installed: pip install 'palingenesis[notify]'\n")
        return NOT_INSTALLED
    logging.disable(logging.CRITICAL)  # its lines have the addresses in them
    receivers = apprise.Apprise()
    refused = [number for number, url in enumerate(given["urls"], 1) if not receivers.add(url)]
    if refused:
        sys.stderr.write(f"notices.urls: number {refused[0]} is not an address that apprise knows\n")
    done = bool(len(receivers)) and receivers.notify(title=given["title"], body=given["text"])
    if not done:
        sys.stderr.write("a receiver did not take it\n")
    return 0 if done and not refused else 1


if __name__ == "__main__":
    sys.exit(main())

"""The words of `vx-rhea join URL`, for `vx-rhea`'s help and completion; `joining` does it.

Owns the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daemonry.cli.grammar import SECONDS, Command, Option, Word
from vx.cli import remote_options

if TYPE_CHECKING:
    import argparse

_DRAIN_S: Final = "30"
_NOT_OURS: Final = ("--remote_executor", "--remote_upload_local_results")

JOIN: Final = Command(
    "join",
    "run the Actions of a farm of the Remote Execution API, until Ctrl-C or SIGTERM",
    (Word("url", "URL", "the farm: grpc://HOST:PORT, or grpcs://HOST:PORT with TLS"),),
    (
        Option("--name", "this worker's name at the farm (default: host and home)", "NAME", default=""),
        Option("-j --jobs", "how many Actions at the same time (VX_RHEA_JOBS)", "N", default=""),
        Option(
            "--drain",
            "how long Actions under way may take when it leaves (default: 30)",
            "SECONDS",
            SECONDS,
            default=_DRAIN_S,
        ),
        Option(
            "--timeout",
            "end where the farm is silent for so long (default: wait for it)",
            "SECONDS",
            SECONDS,
            default=None,
        ),
        *(one for one in remote_options.OPTIONS if one.names not in _NOT_OURS),
    ),
)


def join(options: argparse.Namespace) -> int:
    """Do what `vx-rhea join ...` does and return its exit code."""
    from vx.cli import joining

    return joining.join(options)

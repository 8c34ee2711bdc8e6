"""The commands that offer the servers to other programs: serve, record, replay, generate.

Owns their words.  What they do is in `NAME_command`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

ALL: list[tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = []

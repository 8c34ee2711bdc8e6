"""python -m vx."""

from __future__ import annotations

import sys

from vx.cli.entry import main

sys.argv[0] = "vx"
main()

"""python -m palingenesis."""

from __future__ import annotations

import sys

from palingenesis.cli import main

sys.argv[0] = "palingenesis"
main()

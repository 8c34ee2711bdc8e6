"""`python -m daemonry`: the same as the command `daemonry`."""

from __future__ import annotations

from daemonry.cli.main import main

main()

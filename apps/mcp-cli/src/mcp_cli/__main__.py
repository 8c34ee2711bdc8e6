"""python -m mcp_cli."""

from __future__ import annotations

import sys

from mcp_cli.cli.entry import main

sys.argv[0] = "mcp-cli"
main()

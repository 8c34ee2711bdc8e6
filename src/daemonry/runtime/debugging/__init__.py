"""Looking into a running daemon: its stacks, a console, a debugger; for its own user only."""

"""rhea: runs compilers with declared inputs only."""

"""The command line of daemonry and of every daemon written with it."""

"""The commands of a home, and those that are run once for a home or a daemon."""

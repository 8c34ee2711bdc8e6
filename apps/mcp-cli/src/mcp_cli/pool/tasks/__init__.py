"""Calls that outlive their callers: held by the daemon, or run as tasks by their servers."""

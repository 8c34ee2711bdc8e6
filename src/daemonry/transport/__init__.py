"""Byte streams between processes: endpoints, listeners, connections.  Knows no messages."""

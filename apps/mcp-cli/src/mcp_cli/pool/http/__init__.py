"""Servers that are reached over HTTP: the transport, and what answers mean."""

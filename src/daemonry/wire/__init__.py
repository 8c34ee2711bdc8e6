"""Bytes and messages: decides their meaning, never reads or writes."""

"""Bytes and messages: decides what was said, never reads or writes."""

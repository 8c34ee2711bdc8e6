"""The definitions of tools, read for people, models and authors."""

"""Agents as data: what palingenesis knows of each coding agent is one TOML table.

profile        what a table may say                 (pure)
builtin.toml   the tables of the agents that are known
known          built-in tables and the user's, merged and checked
"""

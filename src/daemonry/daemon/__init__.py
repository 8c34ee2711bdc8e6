"""A daemon as a whole: its definition, its life, and how others find, start and stop it."""

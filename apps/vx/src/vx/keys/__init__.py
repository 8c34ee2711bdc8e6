"""Keys: what a result depends on, and the name that follows from it."""

"""Keys: what a result depends on.  The files beside this one say how it is known."""

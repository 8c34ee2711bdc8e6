"""Client modules that are written from an interface's description: typed, and light to import."""

"""`home.toml`: its form, and a home read from it and checked."""

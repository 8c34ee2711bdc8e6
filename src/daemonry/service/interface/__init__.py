"""A typed Python class and the wire: declaration, schema, and what a handler may use."""

"""Code mode: a client's program runs against the generated modules of the servers."""

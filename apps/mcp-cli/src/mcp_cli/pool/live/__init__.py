"""The changes of a server, and those who watch them."""

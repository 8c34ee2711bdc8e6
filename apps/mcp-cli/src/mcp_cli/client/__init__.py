"""How a command or a program reaches the daemon or a server, and its reading of failures."""

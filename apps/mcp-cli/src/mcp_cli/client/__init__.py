"""How a command or a program reaches the daemon or a server, and what it makes of failures."""

"""The questions of servers: who answers them, and those that wait."""

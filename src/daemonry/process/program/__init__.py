"""The program that a process is of: whether it is being developed, and how a new process of it is started."""

"""`daemonry new`: a program with a daemon, complete: package, command, tests, completion, units, CI."""

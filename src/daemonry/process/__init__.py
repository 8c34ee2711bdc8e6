"""One operating-system process: its files, locks, identity, logs and signals.  Knows no protocol."""

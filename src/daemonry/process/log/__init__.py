"""Which records the log gets: all of our own loggers, and of an error that comes again and again a count."""

"""What starts a service later than `up`: a connection, or the clock."""

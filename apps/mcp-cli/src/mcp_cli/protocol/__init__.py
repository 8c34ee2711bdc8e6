"""The interface that both ends of the daemon's socket share."""

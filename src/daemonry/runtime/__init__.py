"""Inside the daemon's process: from an empty process to ready, through its work, to a clean end."""

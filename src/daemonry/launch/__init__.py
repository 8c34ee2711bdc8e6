"""Outside the daemon: find one, start it, replace it, stop it."""

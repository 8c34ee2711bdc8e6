"""Projects that cargo resolves: what it is asked, build scripts, and the plan."""
